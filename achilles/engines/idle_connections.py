"""Connections that no call uses just now, kept for the next call to the same server.

Knows: which connection is idle since when, and what made it (`origin_of`). Must never know: what a
connection is, or a key: of that it keeps a hash under a secret of this process.

Rules:

1. A connection belongs to one call at a time: taken by it, and put back when it is over. So a call
   that fails, or reads slowly, holds up no other.
2. It is given only to a call with the same origin: the same server, proven with the same key or, on
   the local socket, without one.
3. It is asked whether it is still good when it is put back and when it is taken.
4. What nobody took for `IDLE_S` is closed, and beyond `MOST_IDLE` the one that was used longest ago.
5. At the end of the process all are closed. A forked child drops its copies of the descriptors, and
   sends nothing: the connection is its parent's.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..config import Settings

__all__ = ["IDLE_S", "MOST_IDLE", "IdleConnections", "Origin", "origin_of"]

IDLE_S = 30.0
MOST_IDLE = 16

Origin = tuple[object, ...]

# What lets nobody who reads this process's memory dump for keys compare them with guesses made before.
_SECRET = secrets.token_bytes(32)


class Connection(Protocol):
    """What can be kept."""

    origin: Origin

    def is_good(self) -> bool:
        """Whether another call could use it; never blocks."""

    def close(self) -> None:
        """End it; harmless when repeated."""


C = TypeVar("C", bound=Connection)


def origin_of(settings: Settings) -> Origin:
    """All that decides which server a connection leads to, and as whom."""
    key = settings.secret_key
    proof = None
    if key is not None:
        proof = settings.username, hashlib.blake2b(key.encode(errors="surrogatepass"), key=_SECRET).digest()
    # Where `dial` looks for a server of this user on this machine.
    local = (os.environ.get("ACHILLES_LOCAL_SOCKET"), os.environ.get("XDG_RUNTIME_DIR"), os.geteuid())
    return settings.host, settings.port, proof, local


class IdleConnections(Generic[C]):
    """Keeps connections between calls.

    Args:
        later: Calls a function after so many seconds, in some thread.
        idle_s: How long a connection is kept.
        most: How many are kept.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Any],
        *,
        idle_s: float = IDLE_S,
        most: int = MOST_IDLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._later = later
        self._idle_s = idle_s
        self._most = most
        self._clock = clock
        # Reentrant: the garbage collector may let a dropped iterator's connection go at any moment.
        self._lock = threading.RLock()
        self._idle: list[tuple[float, C]] = []  # idle since, longest first
        self._looks_later = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, origin: Origin) -> C | None:
        """The connection of this origin that was used last, if one is still good; the caller has it now."""
        while True:
            with self._lock:
                for place in range(len(self._idle) - 1, -1, -1):
                    if self._idle[place][1].origin == origin:
                        connection = self._idle.pop(place)[1]
                        break
                else:
                    return None
            if connection.is_good():
                return connection
            connection.close()

    def put(self, connection: C) -> None:
        """Keep a connection that its call no longer needs, or close it."""
        if not connection.is_good():
            connection.close()
            return
        with self._lock:
            surplus = None
            if self._closed:
                surplus = connection
            else:
                self._idle.append((self._clock(), connection))
                if len(self._idle) > self._most:
                    surplus = self._idle.pop(0)[1]
            look = bool(self._idle) and not self._looks_later
            self._looks_later = self._looks_later or look
        if surplus is not None:
            surplus.close()
        if look:
            self._later(self._idle_s, self._close_old)

    def drop(self, connection: C) -> None:
        """Keep it no longer, whoever may have closed it."""
        with self._lock:
            self._idle = [entry for entry in self._idle if entry[1] is not connection]

    def close_all(self) -> None:
        """Close what is idle now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def close(self) -> None:
        """Close what is idle, and keep nothing from now on."""
        self._closed = True
        self.close_all()

    def _close_old(self) -> None:
        """Close what has been idle for long; look again when the next one will have been."""
        with self._lock:
            old_s = self._clock() - self._idle_s
            old = [connection for since_s, connection in self._idle if since_s <= old_s]
            self._idle = [entry for entry in self._idle if entry[0] > old_s]
            wait_s = self._idle[0][0] - old_s if self._idle else None
            self._looks_later = wait_s is not None
        for connection in old:
            connection.close()
        if wait_s is not None:
            self._later(wait_s, self._close_old)
