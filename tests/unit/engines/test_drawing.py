"""What is drawn is handed over whole, in order and once, also while the iterable keeps its thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.core.submission import DrawPlan
from achilles.engines import drawing
from achilles.engines.drawing import Draw, Drawer
from achilles.serialization import deserialize

LIMIT_S = 10.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine even these iterables may be slow, and a draw then ends before it waits."""
    monkeypatch.setattr(drawing, "DRAW_NS", 10**15)


class Caller:
    """A thread that draws from an iterable which can be made to wait, and what was handed over."""

    def __init__(self, arguments: list[Any], wait_at: int, plan: DrawPlan) -> None:
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self.draws: list[Draw] = []
        self.arguments = arguments
        self.wait_at = wait_at
        self.plan = plan
        self.drawer = Drawer(self._iterate())
        self.drawer.look()
        self.thread = threading.Thread(target=self.drawer.draw, args=(plan, self.hand_over))

    def _iterate(self) -> Iterator[Any]:
        for number, argument in enumerate(self.arguments):
            if number == self.wait_at:
                self.waits.set()
                assert self.goes_on.wait(LIMIT_S)
            yield argument

    def hand_over(self, plan: DrawPlan, draw: Draw) -> None:
        assert plan is self.plan
        self.draws.append(draw)

    def begin(self) -> None:
        self.thread.start()
        assert self.waits.wait(LIMIT_S)

    def end(self) -> None:
        self.goes_on.set()
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()

    def tasks(self) -> list[list[Any]]:
        """The arguments of each draw, after a look at how they are accounted."""
        first = 0
        came = []
        for draw in self.draws:
            units = [deserialize(b"".join(unit), "a unit") for unit in draw.units]
            assert draw.unit_tasks == [len(unit) for unit in units]
            assert draw.tasks == sum(draw.unit_tasks)
            assert draw.size_bytes == sum(len(memoryview(part)) for unit in draw.units for part in unit)
            assert draw.packets == -(-draw.tasks // self.plan.packet_tasks)
            assert not draw.tasks or draw.first == first
            first += draw.tasks
            came.append([argument for unit in units for argument in unit])
        return came


def plan_of(packets: int, packet_tasks: int, unit_tasks: int) -> DrawPlan:
    return DrawPlan(0, 2, packets, packet_tasks, unit_tasks, 1000.0)


@pytest.mark.parametrize("unit_tasks", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("wait_at", [1, 4, 5, 9, 11, 19])
def test_complete_packets_of_a_draw_that_waits(unit_tasks: int, wait_at: int) -> None:
    caller = Caller(list(range(20)), wait_at, plan_of(5, 4, unit_tasks))
    caller.begin()
    caller.drawer.cut(caller.hand_over)
    whole = wait_at // 4 * 4
    assert caller.tasks() == ([list(range(whole))] if whole else [])
    caller.drawer.cut(caller.hand_over)
    assert len(caller.draws) == bool(whole), "nothing is handed over twice"
    caller.end()
    plan = plan_of(5, 4, unit_tasks)
    while caller.drawer.draw(plan, lambda _, draw: caller.draws.append(draw)):
        pass
    assert [argument for draw in caller.tasks() for argument in draw] == list(range(20))
    assert all(draw.tasks % 4 == 0 for draw in caller.draws)


def test_nothing_is_cut_when_nobody_draws() -> None:
    caller = Caller(list(range(4)), 99, plan_of(1, 4, 4))
    caller.drawer.cut(caller.hand_over)
    caller.drawer.draw(caller.plan, caller.hand_over)
    caller.drawer.cut(caller.hand_over)
    assert caller.tasks() == [[0, 1, 2, 3]]


def test_an_argument_that_cannot_travel_among_what_is_cut() -> None:
    """What came before it is sent, and nothing that comes after."""
    caller = Caller([0, 1, 2, threading.Lock(), 4, 5, 6, 7], 6, plan_of(4, 2, 8))
    caller.begin()
    caller.drawer.cut(caller.hand_over)
    caller.end()
    assert not caller.drawer.draw(caller.plan, caller.hand_over)
    assert [argument for draw in caller.tasks() for argument in draw] == [0, 1, 2]
    (error,) = {draw.error for draw in caller.draws} - {None}
    assert "argument 3" in str(error)
    assert all(draw.ended for draw in caller.draws)


def test_what_the_iterable_raises_after_a_cut() -> None:
    def arguments() -> Iterator[int]:
        yield from range(3)
        waits.set()
        assert goes_on.wait(LIMIT_S)
        raise KeyError("3")

    waits, goes_on = threading.Event(), threading.Event()
    draws: list[Draw] = []
    drawer = Drawer(arguments())
    drawer.look()
    thread = threading.Thread(target=drawer.draw, args=(plan_of(4, 2, 8), lambda _, draw: draws.append(draw)))
    thread.start()
    assert waits.wait(LIMIT_S)
    drawer.cut(lambda _, draw: draws.append(draw))
    goes_on.set()
    thread.join(LIMIT_S)
    assert [(draw.first, draw.tasks, draw.ended) for draw in draws] == [(0, 2, False), (2, 1, True)]
    assert isinstance(draws[1].error, KeyError)


class Doubled(list[int]):
    """A list whose items are others when they are asked for by their place."""

    def __getitem__(self, place: Any) -> Any:
        raise AssertionError("an iterator does not come here")


@pytest.mark.parametrize("kind", [list, tuple, Doubled, range, iter])
def test_whatever_is_quick_to_iterate_is_drawn_in_order_and_once(kind: Any) -> None:
    drawn: list[int] = []
    drawer = Drawer(iter(range(10) if kind is range else kind(list(range(10)))))
    drawer.look()
    assert drawer.left() == 10

    def hand_over(_: DrawPlan, draw: Draw) -> None:
        for unit in draw.units:
            drawn.extend(deserialize(b"".join(unit), "a unit"))

    while drawer.draw(plan_of(1, 4, 3), hand_over):
        assert drawer.left() == 10 - len(drawn)
    assert drawn == list(range(10))


def test_a_list_may_change_while_it_is_drawn_as_while_it_is_iterated_over() -> None:
    drawn: list[int] = []
    arguments = [1, 2, 3, 4, 5]
    drawer = Drawer(iter(arguments))
    drawer.look()

    def hand_over(_: DrawPlan, draw: Draw) -> None:
        for unit in draw.units:
            drawn.extend(deserialize(b"".join(unit), "a unit"))

    assert drawer.draw(plan_of(1, 2, 2), hand_over)
    arguments.append(6)
    assert drawer.draw(plan_of(1, 2, 2), hand_over)
    del arguments[4:]
    assert not drawer.draw(plan_of(1, 2, 2), hand_over)
    assert drawn == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [list, tuple, Doubled, range, bytes])
@pytest.mark.parametrize("first", [0, 3, 4, 10])
def test_what_is_quick_to_iterate_can_be_drawn_again(kind: Any, first: int) -> None:
    drawn: list[int] = []
    drawer = Drawer(iter(range(10) if kind is range else kind(list(range(10)))))
    drawer.look()

    def hand_over(_: DrawPlan, draw: Draw) -> None:
        assert draw.first == len(drawn)
        for unit in draw.units:
            drawn.extend(deserialize(b"".join(unit), "a unit"))

    while drawer.draw(plan_of(1, 4, 3), hand_over):
        pass
    del drawn[first:]
    drawer.rewind(first)
    assert drawer.left() == 10 - first
    while drawer.draw(plan_of(1, 3, 3), hand_over):
        pass
    assert drawn == list(range(10))
