"""Which processes are there, asked while they may be ending."""

from __future__ import annotations

import psutil

__all__ = ["is_running"]


def is_running(process: psutil.Process) -> bool:
    """Whether it exists and is more than an entry that nobody has reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
