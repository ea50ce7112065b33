"""Results whose node is gone are made again, if the calls that made them can be repeated."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from achilles.errors import KeptLost
from achilles.scheduling import functional, schedule
from achilles.scheduling.calls import Handle
from achilles.scheduling.recovering import MAX_CALLS, recipe_of
from tests.differential.stub_calls import StubCalls, StubKept, StubStarted


class Node:
    """Where results stay until it is lost."""

    def __init__(self) -> None:
        self.epoch = 0

    def lose(self) -> None:
        self.epoch += 1


class Fragile(StubKept):
    def __init__(self, payload: bytes, node: Node) -> None:
        super().__init__(payload)
        self.node, self.epoch = node, node.epoch

    def value(self) -> Any:
        if self.epoch != self.node.epoch:
            raise KeptLost("it is gone", node="n", size_bytes=1, reason="lost")
        return super().value()

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (pickle.dumps(self.value()),)


class FragileStarted(StubStarted):
    def finish(self, outcome: Any, *, failed: bool) -> None:
        if type(outcome) is Handle:
            outcome = Handle(Fragile(outcome.content.payload, self._calls.node))
        super().finish(outcome, failed=failed)


class FragileCalls(StubCalls):
    made = FragileStarted

    def __init__(self, node: Node) -> None:
        super().__init__(keeps=True)
        self.node = node


NODE = Node()
RUNS: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RUNS.clear()


@functional
def make(x: Any) -> list[Any]:
    RUNS.append(f"make {x}")
    return [x]


@functional
def join(*parts: Any) -> list[Any]:
    RUNS.append("join")
    return [each for part in parts for each in part]


def run(function: Callable[..., Any]) -> Any:
    calls = FragileCalls(NODE)
    result = schedule(function, calls=calls.provider)()
    assert not calls.under_way
    return result


def lose() -> None:
    NODE.lose()


def _fetched_after_loss() -> Any:
    a = make(1)
    b = join(a, make(2))
    lose()
    return b, a


def test_a_value_that_is_lost_is_made_again_when_it_is_fetched() -> None:
    assert run(_fetched_after_loss) == ([1, 2], [1])
    assert sorted(RUNS) == ["join", "join", "make 1", "make 1", "make 1", "make 2", "make 2"]


def _given_after_loss() -> Any:
    parts = [make(i) for i in range(3)]
    whole = join(*parts)
    lose()
    return join(whole, parts[1], [7])


def test_an_argument_that_is_lost_is_made_again() -> None:
    assert run(_given_after_loss) == [0, 1, 2, 1, 7]


def _changed_before_loss() -> Any:
    a = make(1)
    a.append(5)
    parts = [a]
    b = join(*parts)
    parts[0].append(9)
    lose()
    return b


def test_it_is_made_from_the_arguments_that_it_had() -> None:
    assert run(_changed_before_loss) == [1, 5]


class Thing:
    def __iter__(self) -> Any:
        return iter([4])


def _from_an_object() -> Any:
    b = join(Thing())
    lose()
    return b


def test_what_was_made_from_an_object_that_may_change_is_not_made_again() -> None:
    with pytest.raises(KeptLost):
        run(_from_an_object)


def _lost_for_ever() -> Any:
    a = make(1)
    lose()
    return slow_join(a)


@functional
def slow_join(part: Any) -> Any:
    raise KeptLost("gone", node="n", size_bytes=1, reason="lost")


def test_it_is_not_tried_for_ever() -> None:
    with pytest.raises(KeptLost):
        run(_lost_for_ever)


def _kept_for_a_while() -> Any:
    parts = [make(i) for i in range(4)]
    seen = []
    for part in parts:
        whole = join(part, part)
        if len(seen) < 3:
            seen.append(whole)

    def inner(x: int) -> Any:
        return make(x)

    last = inner(3)
    return len(join(*seen)), len(last)


def test_results_go_with_their_last_use_not_with_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Handle] = weakref.WeakSet()
    begin = Handle.__init__

    def noted(handle: Handle, kept: Any) -> None:
        begin(handle, kept)
        alive.add(handle)

    monkeypatch.setattr(Handle, "__init__", noted)
    calls = FragileCalls(NODE)
    run = schedule(_kept_for_a_while, calls=calls.provider)
    run()
    calls.started.clear()
    gc.collect()
    gc.disable()
    try:
        assert run() == (6, 1)
        calls.started.clear()
        assert not alive
    finally:
        gc.enable()


def test_what_is_remembered_is_bounded_and_holds_no_handle() -> None:
    remembered = []
    handle: Any = 0
    for _ in range(MAX_CALLS + 2):
        recipe = recipe_of(make, (handle,), {})
        handle = Handle(Fragile(b"", NODE))
        handle.recipe = recipe
        remembered.append(recipe)
    assert remembered[MAX_CALLS - 1] is not None and remembered[MAX_CALLS] is None
    assert "Handle" not in repr(remembered[5])
    assert recipe_of(make, ([1, (2, "x")],), {"k": {"a": 1.5}}) is not None
    assert recipe_of(make, (object(),), {}) is None
