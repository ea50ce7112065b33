"""Values that workers made: whose they are, how long they stay, how much of them there may be."""

from __future__ import annotations

import pytest

from achilles import sealed
from achilles.sealed import Sealed, seal
from achilles.workers import kept_store
from achilles.workers.kept_store import KEPT_PART, KeptStore

VALUE = bytes(1000)


class Node:
    """A store, what it told workers, and what it left of the budget for blobs."""

    def __init__(self, budget_bytes: int | None = 10_000) -> None:
        self.dropped: list[tuple[int, int, str]] = []
        self.reserved_bytes = 0
        self.store = KeptStore(self, self, budget_bytes)  # of blobs, reserve alone

    def reserve(self, size_bytes: int) -> None:
        self.reserved_bytes = size_bytes

    def drop_at(self, slot: int, session: int, sha256: str) -> None:
        self.dropped.append((slot, session, sha256))

    def keep(self, job: int = 1, slot: int = 0, session: str = "s", told: bool = True) -> str:
        name = self.store.keep(session, 7, job, slot, VALUE)
        assert name is not None
        if told:
            self.store.unit_over(slot)
        return name


def test_only_its_session_gets_it() -> None:
    node = Node()
    name = node.keep()
    assert node.store.find("s", name) == VALUE
    assert node.store.find("t", name) is None
    assert node.store.give("t", name, 0) is None
    node.store.drop("t", name)
    assert node.store.find("s", name) == VALUE


def test_names_cannot_be_guessed() -> None:
    node = Node(None)
    names = {node.keep() for _ in range(100)}
    assert len(names) == 100
    assert {len(bytes.fromhex(name)) for name in names} == {32}


def test_it_is_dropped_with_its_job_where_it_was_given() -> None:
    node = Node()
    first, other = node.keep(job=1), node.keep(job=2)
    node.store.give("s", first, 3)
    node.store.give("s", first, 4)
    node.store.worker_died(4)
    node.store.job_went(1)
    assert node.dropped == [(3, 7, first)]
    assert node.store.find("s", first) is None
    assert node.store.find("s", other) == VALUE
    node.store.drop("s", first)
    assert len(node.store) == 1


def test_what_nobody_heard_of_is_dropped_with_its_worker() -> None:
    node = Node()
    told, untold = node.keep(slot=1), node.keep(slot=1, told=False)
    of_another = node.keep(slot=2, told=False)
    node.store.worker_died(1)
    assert [node.store.find("s", name) is None for name in (told, untold, of_another)] == [False, True, False]


def test_all_together_stay_within_a_part_of_the_budget() -> None:
    node = Node(KEPT_PART * 2 * len(VALUE))
    first, _ = node.keep(), node.keep()
    assert node.reserved_bytes == node.store.size_bytes == 2 * len(VALUE)
    assert node.store.keep("s", 7, 1, 0, b"1") is None
    node.store.drop("s", first)
    assert node.store.keep("s", 7, 1, 0, b"1") is not None
    assert node.reserved_bytes == len(VALUE) + 1
    node.store.close()
    assert node.reserved_bytes == node.store.size_bytes == len(node.store) == 0


@pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")
def test_descriptors_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    shared = seal([[VALUE]])
    assert shared is not None
    kept = node.store.keep("s", 7, 1, 0, shared)
    assert kept is not None
    assert isinstance(node.store.find("s", kept), Sealed)
    monkeypatch.setattr(kept_store, "HELD_DESCRIPTORS", 0)
    copied = node.store.keep("s", 7, 1, 0, shared)
    assert copied is not None
    assert node.store.find("s", copied) == bytearray(VALUE)
