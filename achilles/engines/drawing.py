"""Draws arguments from the caller's iterable and serializes them, unit by unit.

Runs in the caller's thread or a feeder thread, never in an engine's loop: the iterable is the
user's code and may take as long as it likes. While it does, another thread may send on what is
already complete (`Drawer.cut`): the iterable may be waiting for just these results.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any, Protocol

from ..apart import serialized_apart
from ..core.packets import MAX_UNITS_PER_PARCEL, cut_list, cut_units
from ..core.record import Record, made_by
from ..core.submission import DrawPlan
from ..repeats import Repeats
from ..serialization import Buffer, Serialized, check_size, detach, numbered, serialize
from .interrupts import opened
from .iterables import QUICK, next_of, source_of

__all__ = ["Draw", "Drawer", "HandOver", "Source"]

# A parcel is sent once so much was drawn, or drawing took so long, at the end of a packet.
PARCEL_BYTES = 4 * 1024 * 1024
DRAW_NS = 2_000_000
# How many arguments are drawn between two looks at the clock: from an iterator that may be slow, and
# from one that never is.
GULP_TASKS = 32
QUICK_GULP_TASKS = 1 << 20
_SMALL = frozenset({int, float, bool, type(None)})


class Draw(Record):
    """One parcel's worth of arguments, serialized. ``first`` is the index of its first task."""

    first: int = 0
    unit_tasks: list[int] = made_by(default_factory=list)
    units: list[list[Buffer]] = made_by(default_factory=list)
    tasks: int = 0
    packets: int = 0
    packet_tasks: int = 0
    size_bytes: int = 0
    draw_ns: int = 0
    ended: bool = False
    error: BaseException | None = None
    # By index: why arguments of a flat job could not be sent, which fail alone.
    refused: dict[int, Exception] = made_by(default_factory=dict)

    def split_off(self, tasks: int) -> Draw:
        """Take away the units beyond so many tasks, at the end of a unit; returns them."""
        rest = Draw()
        while self.tasks > tasks:
            unit, length = self.units.pop(), self.unit_tasks.pop()
            size_bytes = sum(memoryview(segment).nbytes for segment in unit)
            rest.units.insert(0, unit)
            rest.unit_tasks.insert(0, length)
            for draw, sign in ((self, -1), (rest, 1)):
                draw.tasks += sign * length
                draw.size_bytes += sign * size_bytes
        return rest


HandOver = Callable[[DrawPlan, Draw], None]


class Source(Protocol):
    """Where the arguments of a job come from: `Drawer`, for an iterable."""

    lists: bool | None
    tasks: int | None
    task_bytes: float | None

    def look(self) -> BaseException | None:
        """Learn what can be known before anything is drawn."""

    def left(self) -> int | None:
        """How many arguments are left to draw, if that is known."""

    def draw(self, plan: DrawPlan, hand_over: HandOver) -> bool:
        """Draw one parcel; returns whether there is more."""

    def cut(self, hand_over: HandOver) -> None:
        """Hand over what is complete of a draw that takes its time."""


class Drawer:
    """Takes arguments from an iterator as `Submission` plans it.

    Args:
        iterator: The arguments.
        keep_views: Refer to the arguments' large buffers instead of copying them. Only when nobody
            changes an argument before its results are in; a generator may refill one array.
        flat: Lists are arguments as any others.
        whole_packets: When the iterator raises, what it gave of the last packet is dropped.
    """

    def __init__(
        self,
        iterator: Iterator[Any],
        *,
        keep_views: bool = False,
        flat: bool = False,
        whole_packets: bool = False,
    ) -> None:
        self._iterator = iterator
        self._again = source_of(iterator)
        self._keep_views = keep_views
        self._flat = flat
        self._whole_packets = whole_packets
        self._gulp_tasks = QUICK_GULP_TASKS if type(iterator) in QUICK else GULP_TASKS
        self._ahead: list[Any] = []
        self.lists: bool | None = None
        self.tasks: int | None = None  # in all, where all can be drawn at once and nobody would notice
        self.task_bytes: float | None = None  # the first one's size, about
        # Held while drawing, except while the iterable runs.
        self._turn = threading.Lock()
        self._plan: DrawPlan | None = None
        self._slice_tasks = 0
        self._draw = Draw()
        self._first = 0  # index of the first task that was not handed over
        self._items: list[Any] = []  # what came of the next unit
        self._cut_tasks = 0  # how many of these another thread has taken
        self._pulling_since_ns = 0
        self._repeats = Repeats()
        self._carried: set[object] = set()  # kept for as long as the job, and with it this, is there

    def look(self) -> BaseException | None:
        """Draw the first argument to learn whether arguments are lists; returns what it raised."""
        if self._flat and type(self._iterator) not in QUICK:
            self.lists = False  # and the iterator may take its time
            return None
        try:
            with opened():
                self._ahead = [next(self._iterator)]
        except StopIteration:
            self.lists = False
            self._iterator = iter(())
        except Exception as error:  # noqa: BLE001 - the caller's code: what it raises is theirs
            self.lists = False
            self._iterator = iter(())
            return error
        else:
            self.lists = isinstance(self._ahead[0], list) and not self._flat
            if type(self._iterator) in QUICK and not self.lists:
                self._measure(self._ahead[0], 1 + length_hint(self._iterator))
        return None

    def _measure(self, argument: Any, tasks: int) -> None:
        """Learn how much there is to draw, before anything is known of a task."""
        if tasks == 1 or type(argument) in _SMALL:
            self.tasks = tasks
            return
        try:
            self.task_bytes = float(_serialize([argument], "argument 0").size_bytes)
        except Exception:  # noqa: BLE001 - it will fail again where it is reported
            return
        self.tasks = tasks

    def rewind(self, first: int) -> None:
        """Draw from this task on once more, where it was known how many there are. By who draws."""
        with self._turn:
            assert self._again is not None
            source, begin = self._again
            kind: Any = next(kind for kind in (list, tuple, range, bytes) if isinstance(source, kind))
            again = kind.__iter__(source)
            again.__setstate__(begin + first)
            self._iterator = again
            self._ahead = []
            self._first = first

    def left(self) -> int | None:
        """How many arguments are left to draw, if that is known."""
        if type(self._iterator) not in QUICK:
            return None
        return len(self._ahead) + length_hint(self._iterator)

    def draw(self, plan: DrawPlan, hand_over: HandOver) -> bool:
        """Draw one parcel.

        Args:
            plan: What to draw.
            hand_over: Called with the plan and what was drawn; in the order of the arguments, also of
                what `cut` takes meanwhile.

        Returns:
            Whether there is more to draw.
        """
        with self._turn:
            self._begin(plan)
            if self.lists:
                self._draw_list(plan, self._draw)
            else:
                self._draw_packets(plan)
            return not self._finish(hand_over).ended

    def cut(self, hand_over: HandOver) -> None:
        """Hand over the complete packets of a draw whose thread waits for the iterable, if there are any."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            plan = self._plan
            if plan is None or self.lists or self._draw.ended:
                return
            draw, items = self._draw, self._items[self._cut_tasks :]
            whole = (draw.tasks + len(items)) // plan.packet_tasks * plan.packet_tasks
            if not whole:
                return
            rest = draw.split_off(whole)
            del items[max(whole - draw.tasks, 0) :]
            self._cut_tasks += len(items)
            now_ns = time.perf_counter_ns()
            draw.draw_ns += now_ns - self._pulling_since_ns
            self._pulling_since_ns = now_ns
            for start in range(0, len(items), plan.unit_tasks):
                if not draw.ended:
                    self._add_unit(items[start : start + plan.unit_tasks], draw)
            self._finish(hand_over)
            if draw.ended:
                # What came after an argument that cannot travel is not sent either.
                self._iterator = iter(())
                rest = Draw(ended=True)
            self._plan = plan
            rest.first, rest.packet_tasks = self._first, plan.packet_tasks
            self._draw = rest
        finally:
            self._turn.release()

    def _begin(self, plan: DrawPlan) -> None:
        self._plan = plan
        self._slice_tasks = plan.slice_tasks
        self._draw = Draw(self._first, packet_tasks=plan.packet_tasks)

    def _finish(self, hand_over: HandOver) -> Draw:
        plan, draw = self._plan, self._draw
        assert plan is not None
        self._plan = None
        if not self.lists:
            draw.packets = -(-draw.tasks // plan.packet_tasks)
        self._first += draw.tasks
        hand_over(plan, draw)
        return draw

    def _draw_packets(self, plan: DrawPlan) -> None:
        started_ns = time.perf_counter_ns()
        begun = self._draw
        for length in cut_units(plan.packets, plan.packet_tasks, plan.unit_tasks):
            items, all_came = self._take(length, plan.packet_tasks)
            draw = self._draw
            if items:
                self._add_unit(items, draw)
            if draw.ended or not all_came:
                return
            if draw.tasks % plan.packet_tasks == 0 and (
                draw is not begun  # the iterable is slow
                or draw.size_bytes >= PARCEL_BYTES
                or len(draw.units) >= MAX_UNITS_PER_PARCEL - plan.cpu_count
                or time.perf_counter_ns() - started_ns > DRAW_NS
            ):
                return

    def _take(self, length: int, packet_tasks: int) -> tuple[list[Any], bool]:
        """Draw so many arguments, or fewer, whole packets, when the iterable turns out to be slow.

        Returns:
            What came, less what another thread has taken of it; and whether all of it came.
        """
        items = self._items = self._ahead
        self._ahead = []
        started_ns = now_ns = self._pulling_since_ns = time.perf_counter_ns()
        slow_ns = started_ns + DRAW_NS
        # Packets are all that is shown, so their ends are where drawing may pause.
        gulp = -(-self._gulp_tasks // packet_tasks) * packet_tasks
        end = 0
        ended = False
        error: BaseException | None = None
        self._turn.release()
        try:
            with opened():
                while end < length and now_ns < slow_ns:
                    end = min(end + gulp, length)
                    some = next_of(self._iterator, end - len(items))
                    if not items and type(some) is list:
                        items = self._items = some
                    else:
                        # A list keeps what it got when the iterator raises half-way.
                        items.extend(some)
                    if len(items) < end:
                        ended = True
                        break
                    now_ns = time.perf_counter_ns()
            # A list that is used up says so, which spares another demand to learn it.
            ended = ended or self.left() == 0
        except BaseException as raised:  # noqa: BLE001 - as in look()
            error = raised
        finally:
            self._turn.acquire()
        came = len(items)
        self._items = []
        del items[: self._cut_tasks]
        self._cut_tasks = 0
        if error is not None and self._whole_packets:
            del items[len(items) - len(items) % packet_tasks :]
        draw = self._draw
        if draw.ended:
            return [], False
        draw.draw_ns += time.perf_counter_ns() - self._pulling_since_ns
        draw.error = error
        draw.ended = ended or error is not None
        return items, came == length

    def _add_unit(self, items: list[Any], draw: Draw) -> None:
        start = draw.first + draw.tasks
        try:
            unit = self._serialized(items, start, self._repeats)
            check_size(draw.size_bytes + unit.size_bytes, f"the packet of argument {start}")
        except Exception as error:  # noqa: BLE001 - user code runs while pickling
            if self._flat:
                replaced, draw.refused = _refused(items, start, draw.refused)
                if replaced is not None:
                    self._add_unit(replaced, draw)
                    return
            good, draw.error = _before_bad_item(items, start, error)
            draw.ended = True
            if not good:
                return
            items = good
            unit = self._serialized(items, start)
        self._put(unit, len(items), draw)

    def _serialized(self, items: list[Any], start: int, repeats: Repeats | None = None) -> Serialized:
        subject = numbered("argument", start, len(items))
        return serialized_apart(items, self._slice_tasks, lambda sent: _serialize(sent, subject, repeats))

    def _put(self, unit: Serialized, tasks: int, draw: Draw) -> None:
        draw.units.append((unit if self._keep_views else detach(unit)).segments)
        if unit.carried:
            self._carried.update(unit.carried)
        draw.unit_tasks.append(tasks)
        draw.tasks += tasks
        draw.size_bytes += unit.size_bytes

    def _draw_list(self, plan: DrawPlan, draw: Draw) -> None:
        items, _ = self._take(1, 1)
        if not items:
            return
        argument = items[0]
        if not isinstance(argument, list):
            draw.ended = True
            draw.error = TypeError(
                f"the first argument was a list, so each argument must be one (a packet of its own), "
                f"but a later one is {type(argument).__name__}: {argument!r:.80}"
            )
            return
        draw.packets = 1
        draw.packet_tasks = len(argument)
        start = 0
        for length in cut_list(len(argument), plan.cpu_count, plan.task_ns):
            part = argument[start : start + length]
            try:
                subject = f"items {start} to {start + length - 1} of a list argument"
                unit = _serialize(part, subject, self._repeats)
                check_size(draw.size_bytes + unit.size_bytes, "a list argument")
            except Exception as error:  # noqa: BLE001 - user code runs while pickling
                _, draw.error = _before_bad_item(part, draw.first + start, error)
                draw.ended = True
                # A packet that cannot be sent whole is not sent at all.
                draw.units, draw.unit_tasks = [], []
                draw.tasks = draw.packets = draw.size_bytes = 0
                return
            self._put(unit, length, draw)
            start += length


def _refused(
    items: list[Any], start: int, known: dict[int, Exception]
) -> tuple[list[Any] | None, dict[int, Exception]]:
    """The items, with something that fails in place of those that cannot be sent; and why, by index.

    None in place of the items when each of them can be sent alone.
    """
    from ..salvage import Refused

    errors = dict(known)
    replaced = list(items)
    for offset, item in enumerate(items):
        try:
            _serialize([item], f"argument {start + offset}")
        except Exception as error:  # noqa: BLE001 - as above
            errors[start + offset] = error
            replaced[offset] = Refused(str(error))
    return (replaced, errors) if len(errors) > len(known) else (None, known)


def _before_bad_item(items: list[Any], start: int, error: Exception) -> tuple[list[Any], Exception]:
    """The items before the first that cannot be serialized, and the error that names it."""
    for offset, item in enumerate(items):
        try:
            _serialize([item], f"argument {start + offset}")
        except Exception as item_error:  # noqa: BLE001 - as above
            return items[:offset], item_error
    return [], error


def _serialize(items: Any, subject: str, repeats: Repeats | None = None) -> Serialized:
    """Pickling runs the caller's code, and may take its time."""
    with opened():
        return serialize(items, subject, repeats=repeats)
