"""Foresight: walking ahead of the real run of a scheduled function, to start its functional calls early."""

from __future__ import annotations

from .ahead import Foresight, sync_points
from .program import SyncPoint

__all__ = ["Foresight", "SyncPoint", "sync_points"]
