"""What is left of a list of which some items cannot be loaded."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from achilles.errors import SerializationError
from achilles.salvage import Broken, Refused, refusing, salvage
from achilles.serialization import deserialize, join, serialize


class _Failing:
    def __init__(self, value: int) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> NoReturn:
        raise LookupError("no state")


class _Odd(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return _Odd._make, ()

    @staticmethod
    def _make() -> NoReturn:
        raise LookupError("not made")


def _salvaged(items: list[Any]) -> list[Any]:
    payload = join(serialize(items, "items"))
    with pytest.raises(SerializationError):
        deserialize(payload, "items")
    found = salvage(payload, "item", 10)
    assert found is not None
    return found


@pytest.mark.parametrize("bad", [_Failing(3), _Odd(), {"deep": [(_Failing(3),)]}, [_Odd(), 1], (_Odd(),)])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_neighbours_are_saved(bad: Any, place: int) -> None:
    items: list[Any] = [1, "two", {"three": 3}, bytes(2_000_000)]
    items.insert(place, bad)
    found = _salvaged(items)
    broken = found.pop(place)
    assert isinstance(broken, Broken)
    assert f"item {10 + place} cannot be loaded here: LookupError" in str(broken.error)
    del items[place]
    assert found == items


def test_what_neighbours_share_with_a_broken_item_is_saved() -> None:
    shared = [1, 2]
    found = _salvaged([[shared, _Odd()], shared])
    assert isinstance(found[0], Broken) and found[1] == shared


def test_refused_items_say_why() -> None:
    found = _salvaged([1, Refused("argument 1 is no good"), 3])
    assert str(found[1].error) == "argument 1 is no good"
    run = refusing(abs)
    assert run(-1) == 1
    with pytest.raises(SerializationError, match="no good"):
        run(found[1])


def test_what_is_no_list_cannot_be_saved() -> None:
    assert salvage(join(serialize({1: 2}, "items")), "item", 0) is None
    assert salvage(b"nothing", "item", 0) is None
