"""Twisted's epoll reactor without what servers and nodes do not need at every event.

Twisted calls each descriptor's method within a context for its log, which names the descriptor. Nothing here
logs by that, and for a short frame that is passed on it costs more than to pass it on.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

from twisted.python import log

__all__ = ["install_reactor"]


def install_reactor() -> None:
    """Have this process use it, unless it has a reactor already, or the system has no epoll."""
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return
    from select import EPOLLIN

    from twisted.internet.main import installReactor

    class QuickReactor(EPollReactor):
        """The reactor."""

        def doPoll(self, timeout: float | None) -> None:  # noqa: N802 - Twisted's name
            """Wait for events so long, and deal with them."""
            try:
                events = self._poller.poll(-1 if timeout is None else timeout, len(self._selectables))
            except OSError as error:
                if error.errno == errno.EINTR:
                    return
                raise
            for fd, event in events:
                selectable = self._selectables.get(fd)
                if selectable is not None:
                    try:
                        if event == EPOLLIN:
                            self._read(selectable)
                        else:
                            self._doReadOrWrite(selectable, fd, event)  # type: ignore[no-untyped-call]
                    except KeyboardInterrupt:
                        raise
                    except BaseException:  # noqa: BLE001 - as Twisted's own
                        log.err()  # type: ignore[no-untyped-call] # as all of Twisted

        def _read(self, selectable: Any) -> None:
            try:
                reason = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 - likewise: one descriptor ends, and no other
                log.err()  # type: ignore[no-untyped-call]
                reason = error
            if reason:
                self._disconnectSelectable(selectable, reason, True)  # type: ignore[no-untyped-call]

        doIteration = doPoll  # noqa: N815 - likewise

    installReactor(QuickReactor())  # type: ignore[no-untyped-call]
