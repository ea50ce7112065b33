"""The calls that are ahead of the real run: by key, and within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..calls import Handle
from .values import abandon
from .verifying import estimated_bytes, is_lasting, same
from .waiting import Entry

if TYPE_CHECKING:
    from ..calls import Calls

__all__ = ["Entries", "fits"]

# How many calls may be ahead of the real run, done or not, for each slot; and at least.
_AHEAD_PER_SLOT: Final = 4
_AHEAD_AT_LEAST: Final = 32
# Walks of branches may start some more: what they start is wanted sooner.
_ROOM_FOR_BRANCHES: Final = 2
# How much memory the arguments of these calls may hold, and their results, of which the largest that came
# lately says how large the others will be. The first few always may; before the first result, that is all.
_AHEAD_BYTES: Final = 256 * 1024 * 1024
_ALWAYS_PER_SLOT: Final = 2
_LARGEST_FADES: Final = 0.9
# Operations that may wait for something, for each of these calls. When a value comes that they wait for, all
# are evaluated before the real run goes on.
_WAITING_PER_CALL: Final = 16


class Entries:
    """Calls that a walk has come to and the real run hasn't.

    Args:
        calls: What runs them; says how many slots there are.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._entries: dict[Any, Entry] = {}
        # Started before something was forgotten, and as good as ever: the walk may come to them once more.
        self._left: dict[Any, Entry] = {}
        self._held_bytes = 0
        self._started = 0
        self._result_bytes: float | None = None  # about what a result takes

    def __bool__(self) -> bool:
        return bool(self._entries or self._left)

    def _room(self) -> int:
        return max(_AHEAD_AT_LEAST, _AHEAD_PER_SLOT * self._calls.slots)

    def is_full(self, outstanding: int, for_branch: bool) -> bool:
        """Whether nothing more may be started for now.

        Args:
            outstanding: Operations that wait for something.
            for_branch: Whether it is for a branch that was put off.
        """
        room = self._room() * (_ROOM_FOR_BRANCHES if for_branch else 1)
        return (
            len(self._entries) >= room
            or outstanding > _WAITING_PER_CALL * room
            or (self._held_bytes > _AHEAD_BYTES and len(self._entries) > self._calls.slots)
            or self._started >= self._room_for_results()
        )

    def _room_for_results(self) -> float:
        always = _ALWAYS_PER_SLOT * self._calls.slots
        if self._result_bytes is None:
            return always
        return max(always, (_AHEAD_BYTES - self._held_bytes) / self._result_bytes)

    def learn(self, outcome: Any) -> None:
        """A call is done, with this result."""
        size_bytes = outcome.size_bytes if type(outcome) is Handle else estimated_bytes(outcome)
        self._result_bytes = max(size_bytes, 1.0, _LARGEST_FADES * (self._result_bytes or 0.0))

    def add(self, entry: Entry) -> None:
        """A walk came to a call."""
        known = self._entries.pop(entry.key, None)
        if known is not None:
            self.drop(known)
        entry.before = self._left.pop(entry.key, None)
        self._entries[entry.key] = entry

    def holds(self, entry: Entry) -> bool:
        """Whether a call is still to be started."""
        return self._entries.get(entry.key) is entry

    def adopt(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Give an entry its arguments, and the call that was started with the same ones before, if any.

        Returns:
            Whether there was one.
        """
        before, entry.before = entry.before, None
        self._started += 1
        entry.counts = True
        entry.args, entry.kwargs = args, kwargs
        if before is not None:
            if before.started is not None and fits(before, entry.function, args, kwargs):
                entry.started, entry.lasting, entry.bytes = before.started, before.lasting, before.bytes
                self._started -= 1  # it counted before
                return True
            self.drop(before)
        entry.lasting = all(is_lasting(each) for each in (entry.function, *args, *kwargs.values()))
        entry.bytes = sum(estimated_bytes(each) for each in (*args, *kwargs.values()))
        self._held_bytes += entry.bytes
        return False

    def pop(self, key: Any) -> Entry | None:
        """The entry of a call that the real run has come to; the caller owns its call from here on."""
        entry = self._entries.pop(key, None) or self._left.pop(key, None)
        if entry is not None:
            self._held_bytes -= entry.bytes
            self._started -= entry.counts
            if entry.before is not None:
                self.drop(entry.before)
        return entry

    def forget(self) -> None:
        """Drop all but calls whose arguments nothing can change: these are as good wherever they are met."""
        abandon(entry.result for entry in self._entries.values())
        left = self._left
        for key, entry in self._entries.items():
            if entry.lasting:
                left[key] = entry
            else:
                self.drop(entry)
        self._entries.clear()
        # The oldest go first, when they pile up: the way of the real run may never come by them.
        surplus = len(left) - self._room() if left else 0
        for key in list(left)[: max(0, surplus)]:
            self.drop(left.pop(key))

    def clear(self) -> None:
        """Drop all."""
        self.forget()
        for entry in self._left.values():
            self.drop(entry)
        self._left.clear()

    def drop(self, entry: Entry) -> None:
        """Cancel a call, which nobody wants any more."""
        self._held_bytes -= entry.bytes
        self._started -= entry.counts
        if entry.started is not None:
            entry.started.cancel()
        if entry.before is not None:
            self.drop(entry.before)


def fits(entry: Entry, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call was started with what the real run calls with."""
    return same(entry.function, function) and same(entry.args, args) and same(entry.kwargs, kwargs)
