"""Whether a function could tell two values apart, and whether anything can change one."""

from __future__ import annotations

import math
import struct
from functools import partial
from typing import Any

import numpy as np
import pytest

from achilles.scheduling.calls import Handle
from achilles.scheduling.foresight.verifying import (
    estimated_bytes,
    is_lasting,
    same,
    stays_as_it_is,
)

OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]


class Equal:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def method(self) -> None: ...


class Kept:
    def value(self) -> list[int]:
        return [1]


SAME: list[tuple[Any, Any]] = [
    (10**20, 10**20),
    (0.1 + 0.2, 0.3 + 4.440892098500626e-17),
    (math.nan, struct.unpack("<d", struct.pack("<d", math.nan))[0]),
    ([1, ("a", {2: b"x"})], [1, ("a", {2: b"x"})]),
    ({1, 2, 3}, {1, 2, 3}),
    (range(3), range(3)),
    (slice(1, None), slice(1, None)),
    (np.arange(3), np.arange(3)),
    (np.float32(1), np.float32(1)),
    (np.dtype("f4"), np.dtype("<f4")),
    (np.zeros((2, 3)).T, np.zeros((2, 3)).T),
    (np.array([math.nan]), np.array([math.nan])),
]
DIFFERENT: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    (complex(0.0, -0.0), complex(0.0, 0.0)),
    (math.nan, OTHER_NAN),
    ([1], (1,)),
    ({1: 2, 3: 4}, {3: 4, 1: 2}),
    ({1: 2}, {True: 2}),
    ([Equal()], [Equal()]),
    (Equal(), 1),
    (np.arange(3), np.arange(3.0)),
    (np.zeros((2, 3)), np.zeros((3, 2)).T),
    (np.array([0.0]), np.array([-0.0])),
    (np.array([1], dtype=object), np.array([1], dtype=object)),
    (np.float32(1), np.float64(1)),
    (range(3), range(0, 3, 2)),
    ("a", b"a"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=[f"{n}" for n in range(len(SAME))])
def test_the_same(one: Any, other: Any) -> None:
    assert same(one, other)
    assert same([one], [other])


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=[f"{n}" for n in range(len(DIFFERENT))])
def test_not_the_same(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert not same((one,), (other,))


def test_an_array_that_may_not_be_written() -> None:
    one, other = np.arange(3), np.arange(3)
    other.flags.writeable = False
    assert not same(one, other)


def test_one_object_is_itself_whatever_it_is() -> None:
    thing = Equal()
    assert same(thing, thing)
    assert same(thing.method, thing.method)
    assert not same(thing.method, Equal().method)


def test_what_refers_to_itself_is_given_up() -> None:
    one: list[Any] = []
    one.append(one)
    other: list[Any] = []
    other.append(other)
    assert not same(one, other)
    assert not stays_as_it_is(one)


def test_a_handle_is_what_it_stands_for_once_that_was_fetched() -> None:
    handle = Handle(Kept())
    assert not same(handle, [1])
    value = handle.value()
    assert same(handle, value)
    assert not same(handle, [1])


def test_what_nothing_can_change() -> None:
    captured = 1
    lasting = [
        1,
        "a",
        b"",
        None,
        1.5,
        (1, ("a",)),
        frozenset({1}),
        range(3),
        len,
        int,
        np.float64(1),
        slice(1),
    ]
    assert all(is_lasting(each) for each in lasting)
    changing = [[1], {}, (1, [2]), Equal(), np.zeros(2), lambda: captured, [].append, Equal().method]
    assert not any(is_lasting(each) for each in changing)


def test_what_changes_only_at_sync_points() -> None:
    assert all(
        map(stays_as_it_is, (1, [1, {2: (3,)}], Equal(), np.zeros(2), Equal().method, partial(len, [])))
    )
    moving = iter([1])
    assert not any(map(stays_as_it_is, (moving, [1, (moving,)], {1: moving}, partial(len, moving))))


def test_sizes_are_about_right() -> None:
    assert estimated_bytes(np.zeros(1000)) > 8000
    assert 8000 < estimated_bytes([np.zeros(10)] * 100) < 40_000
    assert estimated_bytes("x" * 1000) > 1000
    assert estimated_bytes({1: b"x" * 500}) > 500
    assert estimated_bytes(5) < 100
