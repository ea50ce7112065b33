"""How code within a task has its worker process replaced: it ends after the item, another takes its place.

For what a process gathers and nothing else gets rid of: memory that native code leaks, handles, caches.
Nothing is lost and nobody is blamed: results of what was run are sent, and the rest runs elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["leave_after_this_item", "within_worker"]

_leave: Callable[[], None] | None = None
_worker_pid = 0


def leave_after_this_item() -> None:
    """Have this worker process begin no further item, and end; nothing happens where there is none.

    Items that its unit still holds run elsewhere; where the worker reduces packets itself, the packet that
    was begun is finished first. Called while nothing runs, it counts for the next item. It may be
    called more than once, in any thread.
    """
    if _leave is not None and within_worker():  # a child of the worker is none
        _leave()


def within_worker() -> bool:
    """Whether this process is a worker."""
    return _leave is not None and os.getpid() == _worker_pid


def become_worker(leave: Callable[[], None]) -> None:
    """This process is a worker, and this is how it is told to leave."""
    global _leave, _worker_pid
    _leave, _worker_pid = leave, os.getpid()
