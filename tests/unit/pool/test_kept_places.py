"""Which workers are kept for the next ``Parallel``, and which are ended."""

from __future__ import annotations

import pytest

from achilles.config import Settings
from achilles.pool import kept_places
from achilles.pool.kept_places import borrow, close_kept, give_back

LOCAL = Settings()


class FakePlace:
    made: list[FakePlace] = []

    def __init__(self, processes: int, settings: Settings) -> None:
        assert settings is LOCAL
        self.workers = processes
        self.is_closed = False
        self.made.append(self)

    def close(self, *, at_once: bool) -> None:
        assert not self.is_closed
        self.is_closed = True


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakePlace]:
    monkeypatch.setattr(kept_places, "Place", FakePlace)
    monkeypatch.setattr(kept_places, "_kept", {})
    monkeypatch.setattr(kept_places, "_of_parent", [])
    monkeypatch.setattr(FakePlace, "made", [])
    return FakePlace.made


def test_the_same_number_of_workers_is_the_same_place(made: list[FakePlace]) -> None:
    first = borrow(2, LOCAL)
    assert borrow(2, LOCAL) is first
    give_back(2)
    give_back(2)
    assert borrow(2, LOCAL) is first
    assert [each.is_closed for each in made] == [False]


def test_another_number_ends_those_that_nobody_uses(made: list[FakePlace]) -> None:
    borrow(2, LOCAL)
    give_back(2)
    borrow(3, LOCAL)
    assert [(each.workers, each.is_closed) for each in made] == [(2, True), (3, False)]


def test_those_in_use_stay_until_they_are_given_back(made: list[FakePlace]) -> None:
    borrow(2, LOCAL)
    borrow(3, LOCAL)
    assert [each.is_closed for each in made] == [False, False]
    give_back(2)
    assert [each.is_closed for each in made] == [True, False]
    give_back(3)
    assert [each.is_closed for each in made] == [True, False]
    close_kept()
    close_kept()
    assert [each.is_closed for each in made] == [True, True]


def test_a_forked_child_has_none_of_its_parents(made: list[FakePlace]) -> None:
    first = borrow(2, LOCAL)
    kept_places._after_fork()
    give_back(2)
    assert borrow(2, LOCAL) is not first
    assert [each.is_closed for each in made] == [False, False]
