"""Pools on this machine that are there while scheduled functions run, and for a while after, if so
configured.

States of a pool, by its number of workers: *used* by one call or more; *idle*, with a timer that ends it;
gone. Calls that overlap, in several threads or one within the other, share the pool of their number of
workers.

Rules
    1. Whoever takes a pool out of ``_kept``, under the lock, ends it, outside of the lock: ending may wait.
    2. At the end of the program all pools are ended, and no timer's thread is left.
    3. A forked child has none of its parent's pools, and never ends them.
"""

from __future__ import annotations

import atexit
import os
import threading

from ...config_values import LOCAL
from ...pool import Pool

__all__ = ["borrow", "close_pools", "give_back"]


class _Kept:
    """A pool, how many calls use it, and what ends it while none does."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.users = 0
        self.timer: threading.Timer | None = None


_lock = threading.Lock()
_kept: dict[int, _Kept] = {}
# Of a forked child's parent: not to be ended from here, by the garbage collector either.
_of_parent: list[_Kept] = []


def borrow(workers: int) -> Pool:
    """A pool of so many workers, to be given back."""
    with _lock:
        kept = _kept.get(workers)
        if kept is None:
            kept = _kept[workers] = _Kept(Pool(workers, address=LOCAL))
        kept.users += 1
        _stop_timer(kept)
        return kept.pool


def give_back(workers: int, keep_alive_s: float) -> None:
    """One call less. A pool that no call uses ends when it was idle for so long.

    Blocks until its workers are gone if that is 0 s.
    """
    with _lock:
        kept = _kept.get(workers)
        if kept is None:  # it was borrowed before this process was forked
            return
        kept.users -= 1
        if kept.users:
            return
        if keep_alive_s:
            timer = threading.Timer(keep_alive_s, lambda: _end_idle(workers, timer))
            timer.name, timer.daemon = "achilles-pydron-idle", True
            kept.timer = timer
            timer.start()
            return
        del _kept[workers]
    _end(kept)


def close_pools() -> None:
    """End all pools, also those in use."""
    with _lock:
        ended = list(_kept.values())
        _kept.clear()
        for kept in ended:
            _stop_timer(kept)
    for kept in ended:
        _end(kept)


def _end_idle(workers: int, timer: threading.Timer) -> None:
    with _lock:
        kept = _kept.get(workers)
        if kept is None or kept.timer is not timer:
            return  # a call came first
        del _kept[workers]
    _end(kept)


def _stop_timer(kept: _Kept) -> None:
    if kept.timer is not None:
        kept.timer.cancel()
        kept.timer = None


def _end(kept: _Kept) -> None:
    kept.pool.terminate()  # nothing runs there that anybody waits for
    kept.pool.join()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _of_parent.extend(_kept.values())
    _kept.clear()


atexit.register(close_pools)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
