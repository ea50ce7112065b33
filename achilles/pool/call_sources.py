"""The calls of a stream that were made and not sent, and how they become units."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..apart import apart
from ..core.packets import MAX_UNITS_PER_PARCEL
from ..core.submission import DrawPlan
from ..engines.drawing import PARCEL_BYTES, Draw, HandOver
from ..serialization import Serialized, detach, serialize
from .running import as_local

__all__ = ["Call", "Calls", "MadeCalls", "SerializedCalls", "serialized"]

#: (function, arguments, keyword arguments)
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
C = TypeVar("C")


class Sent(Protocol):
    """What is told of a call."""

    index: int | None
    is_given_up: bool
    carried: object

    def begin(self) -> bool:
        """Whether it is still wanted."""

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It is over."""


class Calls(Generic[C]):
    """The source of a stream's job: the calls that were made and not sent."""

    # How many may be one unit.
    most_in_unit: int | None = None

    def __init__(self) -> None:
        self.lists: bool | None = False
        self.tasks: int | None = None
        self.task_bytes: float | None = None
        self.waiting: deque[tuple[C, Any]] = deque()
        self.sent: dict[int, Any] = {}  # by index
        self.cancel: Callable[[int], None]  # cancels what was drawn
        self._first = 0

    def look(self) -> BaseException | None:
        return None

    def left(self) -> int | None:
        return None

    def cut(self, hand_over: HandOver) -> None:
        """Nothing is ever left unsent that was drawn."""

    def draw(self, plan: DrawPlan, hand_over: HandOver) -> bool:
        """Draw what waits, or what is wanted of it."""
        draw = Draw(self._first, packet_tasks=1)
        most = plan.packets * plan.packet_tasks
        # Of few calls every worker gets its share, however short they are.
        length = max(min(plan.unit_tasks, -(-len(self.waiting) // (2 * plan.cpu_count))), 1)
        length = min(length, self.most_in_unit or length)
        while (
            draw.tasks < most
            and len(draw.units) < MAX_UNITS_PER_PARCEL
            and draw.size_bytes < PARCEL_BYTES
            and (calls := self._take(min(length, most - draw.tasks)))
        ):
            self._add(calls, draw)
        draw.packets = draw.tasks
        self._first += draw.tasks
        hand_over(plan, draw)
        return True

    def _take(self, most: int) -> list[tuple[C, Any]]:
        calls: list[tuple[C, Any]] = []
        while len(calls) < most:
            try:
                call = self.waiting.popleft()
            except IndexError:
                break
            if call[1].begin():
                calls.append(call)
        return calls

    def _add(self, calls: list[tuple[C, Any]], draw: Draw) -> None:
        """Serialize calls as one unit; if that fails, each alone."""
        start = draw.first + draw.tasks
        try:
            unit = self.unit_of([call for call, _ in calls])
        except Exception as error:  # noqa: BLE001 - pickling runs the caller's code
            if len(calls) == 1:
                calls[0][1].settle(None, as_local(error))
                return
            for call in calls:
                self._add([call], draw)
            return
        # Results may come as soon as it is handed over.
        for index, (_, promise) in enumerate(calls, start):
            self.sent[index] = promise
            promise.index = index
            promise.carried = unit.carried
            if promise.is_given_up:  # while it was serialized
                self.cancel(index)
        draw.units.append(unit.segments)
        draw.unit_tasks.append(len(calls))
        draw.tasks += len(calls)
        draw.size_bytes += unit.size_bytes

    def unit_of(self, calls: list[C]) -> Serialized:
        """Serialize calls as one unit.

        Raises:
            Exception: What pickling them raised.
        """
        raise NotImplementedError


class MadeCalls(Calls[Call]):
    """Calls that are serialized when they are sent, those together that leave together."""

    def unit_of(self, calls: list[Call]) -> Serialized:
        """Serialize calls as one unit."""
        return serialized(calls)


class SerializedCalls(Calls[Serialized]):
    """Calls that were serialized when they were made, each by itself."""

    most_in_unit = 1

    def unit_of(self, calls: list[Serialized]) -> Serialized:
        """The one call."""
        return calls[0]


def serialized(calls: list[Call]) -> Serialized:
    """Serialize calls as one unit, which nothing changes that happens to their arguments later."""
    subject = "the arguments of a call" if len(calls) == 1 else "the arguments of calls"
    # The caller may change them as soon as the call was made.
    return detach(serialize(apart(calls, 1, seen=[(args, kwds) for _, args, kwds in calls]), subject))
