"""Modules that workers wait for: each is asked for once, however many import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Fetching", "Waiter"]

# (slot of the worker, job, the worker's own number of its question)
Waiter = tuple[int, int, int]


class _Open(NamedTuple):
    session: str
    name: str
    asker: int  # the job in whose name it was asked
    waiting: list[Waiter]


class Fetching:
    """The questions that are out.

    Args:
        ask: Gets ``(job, request, module)``; somebody calls `arrived` with that request, now or later.
    """

    def __init__(self, ask: Callable[[int, int, str], None]) -> None:
        self._ask = ask
        self._open: dict[int, _Open] = {}
        self._serial = 0

    def wait(self, session: str, name: str, waiter: Waiter) -> None:
        """Have a worker wait for a module of a session."""
        for fetch in self._open.values():
            if (fetch.session, fetch.name) == (session, name):
                fetch.waiting.append(waiter)
                return
        self._ask_for(session, name, [waiter])

    def _ask_for(self, session: str, name: str, waiting: list[Waiter]) -> None:
        self._serial += 1
        asker = waiting[0][1]
        self._open[self._serial] = _Open(session, name, asker, waiting)
        self._ask(asker, self._serial, name)

    def arrived(self, request: int) -> tuple[str, str, list[Waiter]]:
        """The answer is there: whose session it belongs to, its name, and who waits (nobody: too late)."""
        fetch = self._open.pop(request, None)
        return ("", "", []) if fetch is None else (fetch.session, fetch.name, fetch.waiting)

    def worker_gone(self, slot: int) -> None:
        """Who comes after a worker in its slot numbers its own questions anew."""
        for fetch in self._open.values():
            fetch.waiting[:] = [waiter for waiter in fetch.waiting if waiter[0] != slot]

    def forget(self, job: int) -> None:
        """No answer comes to what was asked for a job that is gone: others who wait ask for themselves."""
        for request in [request for request, fetch in self._open.items() if fetch.asker == job]:
            fetch = self._open.pop(request)
            waiting = [waiter for waiter in fetch.waiting if waiter[1] != job]
            if waiting:
                self._ask_for(fetch.session, fetch.name, waiting)
