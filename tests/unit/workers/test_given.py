"""What a worker was given and has not answered."""

from __future__ import annotations

from achilles.workers.given import Given


def given() -> Given:
    found = Given()
    for piece, first in ((7, 0), (8, 10), (9, 20)):
        found.add(piece, 1, first)
    return found


def test_answers_come_in_order() -> None:
    found = given()
    assert [found.first(), found.answered(1, 0), found.answered(1, 10), found.first()] == [7, 7, 8, 9]
    assert [found.answered(1, 20), found.first(), found.answered(1, 20)] == [9, None, None]


def test_an_answer_to_something_else_is_nobodys() -> None:
    found = given()
    assert found.answered(1, 10) is None
    assert found.answered(2, 0) is None
    assert found.answered(1, 0) == 7


def test_what_is_not_run_is_named_by_its_number() -> None:
    found = given()
    assert [found.unit_of(8), found.unbegun(2), found.unit_of(8), found.unbegun(2)] == [2, 8, None, None]
    assert [found.answered(1, 0), found.answered(1, 20)] == [7, 9]
    found.add(10, 1, 30)
    assert found.unit_of(10) == 4


def test_after_an_early_answer_what_is_due_is_the_rest() -> None:
    found = given()
    assert found.answered_early(1, 10, 3) is None
    assert [found.answered_early(1, 0, 4), found.piece_of(1), found.unit_of(7)] == [7, 7, 1]
    assert found.answered(1, 0) is None
    assert [found.answered(1, 4), found.answered(1, 10)] == [7, 8]
    assert Given().answered_early(1, 0, 4) is None
