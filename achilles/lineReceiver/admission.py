"""Who may try to log in, and how many at once.

Rules:

* An address that fails too often within a window is shut out for the rest of it. Its failures up to
  then are logged, what it tries later is not, so that nobody can fill a log.
* So many connections may be waiting for their login. One more, and the oldest of the address with
  the most of them goes: a flood of idle connections, however quick, pushes out itself and not an
  honest peer elsewhere, and one at the same address needs only milliseconds.
* Bounded memory: so many addresses are remembered, and the one that failed longest ago is forgotten.

Knows no sockets and no clock: times come as arguments.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Protocol

__all__ = ["MAX_WAITING", "Admission", "Waiting"]

_log = logging.getLogger("achilles.server")

MAX_WAITING = 512


class Waiting(Protocol):
    """A connection that is not authenticated yet."""

    def make_room(self) -> None:
        """End at once: too many others wait."""


class Admission:
    """Shuts addresses out after too many failures, and bounds the connections that wait.

    Args:
        failures: How many in ``window_s`` seconds shut an address out.
        window_s: For how long a failure counts.
        addresses: How many are remembered.
        max_waiting: How many connections may wait for their login.
    """

    def __init__(
        self,
        failures: int = 10,
        window_s: float = 60.0,
        addresses: int = 4096,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._failures = failures
        self._window_s = window_s
        self._addresses = addresses
        self._max_waiting = max_waiting
        self._failed: OrderedDict[str, list[float]] = OrderedDict()
        self._waiting: dict[Waiting, str] = {}
        self._crowds: dict[str, dict[Waiting, None]] = {}  # the same by address, the oldest first
        self._pushed_out = 0

    @property
    def waiting(self) -> int:
        """How many connections wait for their login."""
        return len(self._waiting)

    def admits(self, address: str, now_s: float) -> bool:
        """Whether this address may try."""
        return len(self._recent(address, now_s)) < self._failures

    def failed(self, address: str, now_s: float) -> bool:
        """Note a failure; returns whether it is worth a line in the log."""
        recent = self._recent(address, now_s)
        shut_out_before = len(recent) >= self._failures
        self._failed[address] = [*recent, now_s][-self._failures :]
        self._failed.move_to_end(address)
        while len(self._failed) > self._addresses:
            self._failed.popitem(last=False)
        if len(recent) + 1 == self._failures:
            _log.warning(
                "%s failed %d times and is shut out for %g s", address, self._failures, self._window_s
            )
        return not shut_out_before

    def arrived(self, connection: Waiting, address: str) -> None:
        """A connection waits for its login; if too many do, the oldest of the largest crowd makes room."""
        self._waiting[connection] = address
        self._crowds.setdefault(address, {})[connection] = None
        if len(self._waiting) > self._max_waiting:
            # Looking at all crowds is bounded by the most that may wait. Of equals the first is the oldest.
            largest = max(self._crowds.values(), key=len)
            oldest = next(iter(largest))
            self.left(oldest)
            self._pushed_out += 1
            if self._pushed_out % self._max_waiting == 1:
                _log.warning("more than %d connections wait for a login: the oldest go", self._max_waiting)
            oldest.make_room()

    def left(self, connection: Waiting) -> None:
        """A connection has logged in or is gone; harmless when repeated."""
        address = self._waiting.pop(connection, None)
        if address is not None:
            crowd = self._crowds[address]
            del crowd[connection]
            if not crowd:
                del self._crowds[address]

    def _recent(self, address: str, now_s: float) -> list[float]:
        return [at_s for at_s in self._failed.get(address, ()) if now_s - at_s < self._window_s]
