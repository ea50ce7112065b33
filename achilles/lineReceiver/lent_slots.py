"""How many of a node's slots single calls have had for a while, which the server is told.

A node lends idle workers for single calls, past what the server plans. Most are over before that could
matter. One that is not may go on for ever, and what the server has sent meanwhile would wait for it. So a
node says how many such calls there are, once they have lasted for `LONG_S`, and when that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..workers.loan import Loans

__all__ = ["LONG_S", "LentSlots"]

# After this, and before twice this, the server is told of a call.
LONG_S = 0.05


class LentSlots:
    """What one server is told.

    Args:
        loans: The workers that are lent.
        reactor: Twisted's reactor.
        tell: Called with how many of them have been for a while, when that changes.
    """

    def __init__(self, loans: Loans, reactor: Any, tell: Callable[[int], None]) -> None:
        self._loans = loans
        self._reactor = reactor
        self._tell = tell
        self._seen: set[int] = set()  # at the last look
        self._long: set[int] = set()
        self._told = 0
        self._next_look: Any = None
        loans.on_change = self._changed
        self._changed()  # some may be out from before

    def close(self) -> None:
        """Tell nothing more."""
        self._loans.on_change = None
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _changed(self) -> None:
        if self._long:
            self._say()
        if self._next_look is None and len(self._loans) > len(self._long):
            self._next_look = self._reactor.callLater(LONG_S, self._look)

    def _look(self) -> None:
        self._next_look = None
        lent = self._loans.lent()
        self._long = lent & self._seen
        self._seen = lent
        self._say()
        if len(lent) > len(self._long):
            self._next_look = self._reactor.callLater(LONG_S, self._look)

    def _say(self) -> None:
        self._long &= self._loans.lent()
        if len(self._long) != self._told:
            self._told = len(self._long)
            self._tell(self._told)
