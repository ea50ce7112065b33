"""When a node tells of the slots that single calls have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from achilles.lineReceiver.lent_slots import LONG_S, LentSlots
from achilles.workers.loan import Loans


class Worker:
    def __init__(self, slot: int) -> None:
        self.slot = slot


class Node:
    """Three workers, and what the server was told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[int] = []
        self.loans = Loans(self.clock, lambda call: call, lambda slot: None)
        self.lent = LentSlots(self.loans, self.clock, self.told.append)

    def lend(self, slot: int) -> None:
        self.loans.make(Worker(slot), 1)

    def returned(self, slot: int) -> None:
        assert self.loans.over(slot, (0, 1, b""))


@pytest.fixture
def node() -> Iterator[Node]:
    found = Node()
    yield found
    found.lent.close()
    assert not found.clock.getDelayedCalls()


def test_nothing_is_told_of_short_calls_and_one_look_serves_many(node: Node) -> None:
    for _ in range(1000):
        node.lend(0)
        assert len(node.clock.getDelayedCalls()) == 1
        node.returned(0)
        node.clock.advance(0.9 * LONG_S)
    assert node.told == []
    node.clock.advance(LONG_S)
    assert not node.clock.getDelayedCalls()  # nobody looks while there is nothing to see


def test_one_that_lasts_is_told_of_and_its_end_at_once(node: Node) -> None:
    node.lend(0)
    node.clock.pump([LONG_S] * 2)
    assert node.told == [1] and not node.clock.getDelayedCalls()
    node.lend(1)
    node.clock.pump([LONG_S] * 2)
    assert node.told == [1, 2]
    node.returned(0)
    node.returned(1)
    assert node.told == [1, 2, 1, 0]


def test_short_ones_beside_it_change_nothing(node: Node) -> None:
    node.lend(0)
    node.clock.pump([LONG_S] * 2)
    for _ in range(10):
        node.lend(1)
        node.clock.advance(0.6 * LONG_S)
        node.returned(1)
    assert node.told == [1]


def test_a_worker_that_dies_of_it_is_lent_no_more(node: Node) -> None:
    node.lend(0)
    node.clock.pump([LONG_S] * 2)
    assert node.loans.over(0, None)
    assert node.told == [1, 0]


def test_the_next_server_is_told_as_well(node: Node) -> None:
    node.lend(0)
    node.clock.pump([LONG_S] * 2)
    node.lent.close()
    told: list[int] = []
    node.lent = LentSlots(node.loans, node.clock, told.append)
    node.clock.pump([LONG_S] * 2)
    assert told == [1] and node.told == [1]
