"""Stands in where only the machine itself is measured."""

from __future__ import annotations

from benchmarks.peers.peer import Peer


class Nobody(Peer):
    """No workers at all."""
