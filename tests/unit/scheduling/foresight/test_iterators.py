"""What is left in iterators, without taking it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from achilles.scheduling.foresight.iterators import over, remaining
from achilles.scheduling.foresight.values import Unsafe

WHOLE: dict[str, Callable[[], Any]] = {
    "list": lambda: [1, 2, 3, 4],
    "tuple": lambda: (1, 2, 3, 4),
    "text": lambda: "abcd",
    "text beyond ASCII": lambda: "äöüß",
    "bytes": lambda: b"abcd",
    "range": lambda: range(4),
    "long range": lambda: range(1 << 70, (1 << 70) + 4),
    "dictionary": lambda: {1: 2, 3: 4, 5: 6, 7: 8},
    "items": lambda: {1: 2, 3: 4, 5: 6, 7: 8}.items(),
    "values": lambda: {1: 2, 3: 4, 5: 6, 7: 8}.values(),
    "set": lambda: {1, 2, 3, 4},
    "reversed list": lambda: reversed([1, 2, 3, 4]),
    "reversed tuple": lambda: reversed((1, 2, 3, 4)),
    "reversed range": lambda: reversed(range(4)),
    "reversed dictionary": lambda: reversed({1: 2, 3: 4, 5: 6, 7: 8}),
    "enumerate": lambda: enumerate("abcd", 5),
    "zip": lambda: zip([1, 2, 3, 4], "abcd", strict=False),
    "strict zip": lambda: zip([1, 2, 3, 4], "abcd", strict=True),
    "nested": lambda: enumerate(zip([1, 2, 3, 4], reversed("abcd"), strict=False)),
    "array": lambda: np.arange(4),
    "rows": lambda: list(np.arange(8).reshape(4, 2)),
}


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_what_is_left(name: str, taken: int) -> None:
    iterator = iter(WHOLE[name]())
    for _ in range(taken):
        next(iterator)
    left = remaining(iterator)
    assert left is not None
    expected = list(WHOLE[name]())[taken:]
    assert repr(list(left)) == repr(expected)
    assert repr(list(iterator)) == repr(expected)  # nothing was taken


class Sequence:
    def __getitem__(self, place: int) -> int:
        raise AssertionError("asked")

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("asked")


class Listed(list):
    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("asked")


@pytest.mark.parametrize(
    "make",
    [
        lambda: (x for x in [1]),
        lambda: map(str, [1]),
        lambda: reversed(Sequence()),
        lambda: list.__iter__(Listed([1, 2])),
        lambda: iter(int, 1),
        lambda: enumerate(x for x in [1]),
        lambda: zip([1], map(str, [1]), strict=False),
        lambda: iter({n: n for n in range(20_000)}),
    ],
    ids=["generator", "map", "reversed", "list of a class", "callable", "enumerate", "zip", "large"],
)
def test_what_cannot_be_seen_without_effect(make: Callable[[], Any]) -> None:
    assert remaining(make()) is None


def test_an_iterator_within_that_others_hold() -> None:
    held = iter([1, 2, 3])
    assert remaining(enumerate(held)) is None
    assert remaining(zip(held, [1], strict=False)) is None


def test_only_plain_containers_are_iterated_over() -> None:
    assert list(over({1: 2})) == [1]
    for each in (Sequence(), Listed(), (x for x in [1]), iter([1]), np.array(1)):
        with pytest.raises(Unsafe):
            over(each)
