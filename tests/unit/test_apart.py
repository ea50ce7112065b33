"""Slices that are serialized together and come out sharing nothing that can change."""

from __future__ import annotations

from functools import partial
from pickle import PickleBuffer
from typing import Any

import numpy as np
import pytest

from achilles import Broadcast
from achilles.apart import apart, serialized_apart
from achilles.errors import SerializationError
from achilles.salvage import Broken, salvage
from achilles.serialization import Serialized, deserialize, join, serialize


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise RuntimeError("not here")


class Unhashable(Holder):
    def __hash__(self) -> int:
        raise RuntimeError("no hash")


def contents(item: Any) -> Any:
    return item.held if isinstance(item, Holder) else item.args if isinstance(item, partial) else item


def sent(given: Any) -> Serialized:
    return serialize(given, "arguments")


def travelled(items: list[Any], slice_tasks: int = 1) -> list[Any]:
    return deserialize(join(serialized_apart(items, slice_tasks, sent)), "arguments")


SHARED: list[int] = [1, 2, 3]


AGAIN = partial(max, SHARED)


@pytest.mark.parametrize("before", [[], [1], [(2.0, "a")]])
@pytest.mark.parametrize(
    ("make", "reach"),
    [
        pytest.param(lambda: SHARED, lambda item: item, id="item"),
        pytest.param(lambda: (SHARED, 1), lambda item: item[0], id="tuple"),
        pytest.param(lambda: [1, SHARED], lambda item: item[1], id="list"),
        pytest.param(lambda: {"a": SHARED}, lambda item: item["a"], id="dict"),
        pytest.param(lambda: ((0, SHARED), 1), lambda item: item[0][1], id="deeper"),
        pytest.param(lambda: Holder(SHARED), lambda item: item.held, id="attribute"),
        pytest.param(lambda: AGAIN, lambda item: item.args[0], id="partial"),
        pytest.param(lambda: (0, AGAIN), lambda item: item[1].args[0], id="partial in a tuple"),
        pytest.param(lambda: Unhashable(SHARED), lambda item: item.held, id="no hash"),
    ],
)
def test_what_slices_share_is_one_object_for_each(make, reach, before) -> None:
    *_, first, second = travelled([*before, make(), make()])
    assert reach(first) == reach(second) == SHARED
    reach(first).append(4)
    assert reach(second) == [1, 2, 3] == SHARED


def test_within_a_slice_what_is_one_stays_one() -> None:
    found = travelled([SHARED, SHARED, (SHARED, 2), SHARED, SHARED], 2)
    assert found[0] is found[1] and found[2][0] is found[3]
    assert len({id(found[0]), id(found[2][0]), id(found[4])}) == 3
    assert found == [SHARED, SHARED, (SHARED, 2), SHARED, SHARED]


def test_what_may_be_shared_costs_nothing() -> None:
    handle = Broadcast([1])
    for items in (
        [1, 2.0, None, "a", b"b", True],
        [("name", 1), ("name", 2)],
        [(max, SHARED), (max, [1])],
        [(handle, 1), (handle, 2)],
        [(Holder, 1), (Holder, 2)],
    ):
        assert apart(items, 1) is items
    shared = [SHARED, SHARED]
    assert apart(shared, 0) is shared
    assert apart(shared, 2) is shared
    assert apart(shared, 1, seen=[1, 2]) is shared


def test_a_buffer_that_slices_share_has_a_hash_and_is_one_for_each_all_the_same() -> None:
    buffer = PickleBuffer(bytearray(b"abc"))
    _, first, second = travelled([1, buffer, buffer])
    first[:1] = b"A"
    assert (bytes(first), bytes(second)) == (b"Abc", b"abc")


@pytest.mark.parametrize(
    ("items", "calls"),
    [
        pytest.param([*range(1000)], 1, id="numbers"),
        pytest.param([(n, f"name {n}", None) for n in range(1000)], 1, id="tuples"),
        pytest.param([0, *([n] for n in range(1000))], 1, id="no hash"),
        pytest.param([0, *map(Holder, range(1000))], 1, id="looked at, and nothing shared"),
        pytest.param([0, *[AGAIN] * 1000], 2, id="shared after all"),
    ],
)
def test_a_list_is_serialized_again_only_if_slices_share_something(items, calls) -> None:
    given: list[Any] = []

    def counted(what: Any) -> Serialized:
        given.append(what)
        return sent(what)

    found = deserialize(join(serialized_apart(items, 1, counted)), "arguments")
    assert len(given) == calls and (given[0] is items) and ((given[-1] is items) == (calls == 1))
    assert list(map(contents, found)) == list(map(contents, items))


def test_numbers_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("achilles.apart._share", lambda *_: pytest.fail("looked at"))
    for items in ([*range(99)], [1.5, None, True, "text", b"bytes"], [(1, ("a", b"b"))] * 99):
        assert travelled(items) == items
    with pytest.raises(pytest.fail.Exception):
        travelled([("x" * 5000, 1)] * 2)


def test_arrays_stay_out_of_the_pickle_and_can_be_written_to() -> None:
    array = np.arange(100_000.0)
    whole = serialize(apart([(array, 0), (array, 1)], 1), "arguments")
    assert sum(isinstance(segment, memoryview) for segment in whole.segments) == 2
    (first, _), (second, _) = deserialize(join(whole), "arguments")
    first[:] = -1.0
    assert second[1] == 1.0 and array[1] == 1.0


def test_functions_by_value_say_so() -> None:
    scale = 3
    whole = serialize(apart([(SHARED, lambda x: x * scale), (SHARED, lambda x: x + scale)], 1), "arguments")
    assert whole.by_value
    (_, times), (_, plus) = deserialize(join(whole), "arguments")
    assert (times(2), plus(2)) == (6, 5)


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(SerializationError, match="arguments cannot be sent"):
        serialize(apart([(SHARED, 1), (SHARED, (x for x in ()))], 1), "arguments")


def test_of_slices_that_cannot_be_loaded_the_others_are_saved() -> None:
    payload = join(serialize(apart([(SHARED, 1), (SHARED, 2), (SHARED, Unloadable()), (SHARED, 4)], 2), "x"))
    with pytest.raises(SerializationError):
        deserialize(payload, "x")
    found = salvage(payload, "argument", 0)
    assert found is not None and found[:2] == [(SHARED, 1), (SHARED, 2)]
    assert [type(item) for item in found[2:]] == [Broken, Broken]
