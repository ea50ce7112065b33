"""Values that aren't known yet, and models of containers that hold some."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.scheduling.foresight.values import (
    UNKNOWN,
    ListModel,
    Pending,
    TupleModel,
    Unsafe,
    abandon,
    concrete,
    pending_in,
    settled,
)


def known(value: Any) -> Pending:
    pending = Pending()
    pending.known, pending.value = True, value
    return pending


@given(
    base=st.lists(st.integers(), max_size=5),
    size=st.integers(0, 5),
    steps=st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(), max_size=3)), max_size=12),
)
def test_models_that_grow_from_one_another_share_nothing_that_shows(
    base: list[int], size: int, steps: list[tuple[int, list[int]]]
) -> None:
    size = min(size, len(base))
    models = [ListModel([], list(base), size)]
    expected = [base[:size]]
    for which, more in steps:
        which %= len(models)
        models.append(models[which].extended(more))
        expected.append(expected[which] + more)
    assert [list(each) for each in models] == expected
    for model, elements in zip(models, expected, strict=True):
        assert len(model) == len(elements)
        assert [model[place] for place in range(len(elements))] == elements
        with pytest.raises(IndexError):
            model[len(elements)]
        assert concrete(model) == elements


def test_a_model_sees_its_base_as_it_was() -> None:
    base = [1, 2]
    model = ListModel([], base, 2).extended([3])
    base.append(9)
    assert list(model) == [1, 2, 3]


def test_known_elements_take_the_place_of_pendings() -> None:
    first, second = Pending(), Pending()
    model = ListModel([]).extended([first]).extended([second])
    first.known, first.value = True, 1
    longer = model.extended([3])
    assert list(longer) == [1, second, 3]
    assert longer._buffer[0] == 1
    assert pending_in([longer]) == [second]


def test_what_is_waited_for() -> None:
    a, b = Pending(), Pending()
    nested = TupleModel((1, ListModel([a, known(ListModel([b]))]), a))
    assert sorted(map(id, pending_in([nested, 5, b]))) == sorted(map(id, [a, b]))
    assert pending_in([known(known(7)), [a]]) == []  # a real list holds real objects
    with pytest.raises(Unsafe):
        pending_in([TupleModel((UNKNOWN,))])


def test_real_objects_of_models() -> None:
    model = ListModel([known(1), TupleModel((known(2), 3))])
    made: dict[int, Any] = {}
    assert concrete(model, made) == [1, (2, 3)]
    both = concrete(TupleModel((model, model)), {})
    assert both[0] is both[1]
    with pytest.raises(Unsafe):
        concrete(TupleModel((Pending(),)))
    assert settled(known(known(4))) == 4


class Waiting:
    def __init__(self, promised: list[Pending]) -> None:
        self.promised = promised

    def ready(self) -> None:
        raise AssertionError

    def promised_values(self) -> list[Pending]:
        return self.promised


def test_waiters_are_let_go_all_the_way() -> None:
    first, second, third = Pending(), Pending(), Pending()
    first.waiters.append(Waiting([second, first]))
    second.waiters.append(Waiting([third]))
    third.waiters.append(Waiting([]))
    abandon([first])
    assert first.waiters == second.waiters == third.waiters == []
