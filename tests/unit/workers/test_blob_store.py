"""A node's blobs: asked for once, believed only when checked, kept within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from achilles.limits import PIECE_BYTES
from achilles.sealed import Buffer, Sealed, seal
from achilles.workers import blob_store
from achilles.workers.blob_store import KEEP_IDLE_S, PIECES_AHEAD, BlobStore, BlobWaiter

CONTENT = bytes(range(256)) * (PIECE_BYTES * 20 // 256) + b"the end"


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Call:
    def __init__(self, delay_s: float, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.delay_s, self.call, self.arguments, self.cancelled = delay_s, call, arguments, False

    def cancel(self) -> None:
        self.cancelled = True

    def active(self) -> bool:
        return not self.cancelled


class Node:
    """A store, and all that it asked, answered and wanted done."""

    def __init__(self, budget_bytes: int | None = 1 << 30) -> None:
        self.asked: list[tuple[int, int, str, int, int, int, int | None]] = []
        self.answers: dict[BlobWaiter, bytes | str] = {}
        self.payloads: list[Buffer | Sealed] = []
        self.dropped: list[tuple[int, int, str]] = []
        self.calls: list[Call] = []
        self.store = BlobStore(self, self, budget_bytes)  # no loop beyond callLater
        self.store.job_came("s")

    def callLater(self, delay_s: float, call: Callable[..., Any], *arguments: Any) -> Call:
        self.calls.append(Call(delay_s, call, arguments))
        return self.calls[-1]

    def run_calls(self, delay_s: float) -> None:
        due, self.calls = [each for each in self.calls if each.delay_s == delay_s], []
        for call in due:
            if not call.cancelled:
                call.cancelled = True
                call.call(*call.arguments)

    def ask(self, *question: Any) -> None:
        self.asked.append(question)

    def answer(self, waiter: BlobWaiter, payload: Buffer | Sealed | None, reason: str) -> None:
        assert waiter not in self.answers
        if payload is not None:
            self.payloads.append(payload)
            self.answers[waiter] = bytes(payload.read() if isinstance(payload, Sealed) else payload)
        else:
            self.answers[waiter] = reason

    def drop_at(self, slot: int, session: int, sha256: str) -> None:
        self.dropped.append((slot, session, sha256))

    def want(self, content: bytes, waiter: BlobWaiter, session: str = "s") -> None:
        self.store.wanted(session, 7, name(content), len(content), waiter)

    def send(self, content: bytes, questions: int | None = None) -> None:
        """Answer honestly what was asked, and what is asked then."""
        while self.asked and questions != 0:
            _, request, _, total, start, size, _ = self.asked.pop(0)
            self.store.piece_came(request, start, total, content[start : start + size])
            questions = None if questions is None else questions - 1

    def has(self, content: bytes, waiter: BlobWaiter, session: str = "s") -> None:
        self.want(content, waiter, session)
        self.send(content)
        assert self.answers.pop(waiter) == content


def test_it_is_fetched_once_for_all_who_wait_and_all_who_come_later() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.want(CONTENT, (1, 1, 1))
    assert [question[4:] for question in node.asked] == [(0, PIECE_BYTES, None)]
    node.send(CONTENT)
    node.want(CONTENT, (2, 1, 1))
    assert node.answers == dict.fromkeys([(0, 1, 1), (1, 1, 1), (2, 1, 1)], CONTENT)
    assert not node.asked
    assert len({id(payload) for payload in node.payloads}) == 1


def test_few_pieces_are_on_their_way_at_a_time() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    most = 0
    while node.asked:
        most = max(most, len(node.asked))
        node.send(CONTENT, 1)
    assert most == PIECES_AHEAD
    assert node.answers[0, 1, 1] == CONTENT


LIES: dict[str, tuple[Callable[[int, int], tuple[int, int, bytes]], str]] = {
    "another place": (
        lambda start, size: (start + 1, len(CONTENT), CONTENT[start : start + size]),
        "not what was",
    ),
    "another size": (
        lambda start, size: (start, len(CONTENT) + 1, CONTENT[start : start + size]),
        "not what was",
    ),
    "too short": (
        lambda start, size: (start, len(CONTENT), CONTENT[start : start + size - 1]),
        "not what was",
    ),
    "too long": (
        lambda start, size: (start, len(CONTENT), CONTENT[start : start + size + 1]),
        "not what was",
    ),
    "nothing": (lambda start, size: (start, len(CONTENT), b""), "not what was"),
    "other bytes": (lambda start, size: (start, len(CONTENT), bytes(size)), "another SHA-256"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("honest", [0, 3])
def test_a_lie_is_told_to_who_waits_and_then_it_is_asked_again(lie: str, honest: int) -> None:
    tell, because = LIES[lie]
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.send(CONTENT, honest)
    while node.asked:
        _, request, _, _, start, size, _ = node.asked.pop(0)
        place, total, piece = tell(start, size)
        node.store.piece_came(request, place, total, piece)
    assert because in str(node.answers[0, 1, 1])
    node.has(CONTENT, (0, 1, 2))


@pytest.mark.parametrize("honest", [True, False])
def test_a_whole_one_is_hashed_in_parts(honest: bool) -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    came = seal([[CONTENT if honest else bytes(len(CONTENT))]])
    assert came is not None
    node.store.whole_came(node.asked[0][1], came)
    turns = 0
    while not node.answers:
        node.run_calls(0.0)
        turns += 1
    assert turns == len(CONTENT) // blob_store.HASH_BYTES
    if honest:
        assert node.payloads == [came]
    else:
        assert "another SHA-256" in str(node.answers[0, 1, 1])


def test_a_whole_one_of_another_size() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.store.whole_came(node.asked[0][1], b"short")
    assert "not what was asked for" in str(node.answers[0, 1, 1])


def test_what_nobody_asked_for_is_passed_over() -> None:
    node = Node()
    node.store.piece_came(99, 0, 5, b"12345")
    node.store.whole_came(99, b"12345")
    node.store.refused(99, "no")
    assert not node.answers


def test_a_refusal_reaches_all_who_wait() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.want(CONTENT, (1, 1, 5))
    node.store.refused(node.asked[0][1], "it is gone")
    assert node.answers == {(0, 1, 1): "it is gone", (1, 1, 5): "it is gone"}


def test_when_the_job_that_asked_is_gone_another_that_waits_asks_on() -> None:
    node = Node()
    node.store.job_came("s")
    node.want(CONTENT, (0, 1, 1))
    node.send(CONTENT, 3)
    node.want(CONTENT, (1, 2, 1))
    late = list(node.asked)
    node.asked.clear()
    node.store.job_went(1, "s")
    (job, request, *_, start, _, _) = node.asked[0]
    assert job == 2 and start == 3 * PIECE_BYTES
    for _, old, _, total, place, size, _ in late:
        assert old != request
        node.store.piece_came(old, place, total, CONTENT[place : place + size])
    node.send(CONTENT)
    assert node.answers == {(0, 1, 1): blob_store.OVER, (1, 2, 1): CONTENT}


def test_when_nobody_waits_any_more_nothing_is_asked() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.send(CONTENT, 1)
    node.store.worker_died(0)
    node.send(CONTENT)
    assert not node.answers
    node.has(CONTENT, (0, 1, 1))


def test_sessions_do_not_see_each_others() -> None:
    node = Node()
    node.store.job_came("t")
    node.has(CONTENT, (0, 1, 1))
    node.want(CONTENT, (1, 2, 1), "t")
    assert node.asked


def test_kept_for_a_while_after_the_last_job() -> None:
    node = Node()
    node.has(CONTENT, (0, 1, 1))
    node.store.job_went(1, "s")
    node.store.job_came("s")
    node.run_calls(KEEP_IDLE_S)
    node.want(CONTENT, (0, 2, 1))
    assert node.answers.pop((0, 2, 1)) == CONTENT
    node.store.job_went(2, "s")
    node.run_calls(KEEP_IDLE_S)
    assert node.dropped == [(0, 7, name(CONTENT))]
    node.store.job_came("s")
    node.want(CONTENT, (0, 3, 1))
    assert node.asked


def test_the_one_not_asked_for_longest_makes_room() -> None:
    first, second, third = (bytes([number]) * 1000 for number in range(3))
    node = Node(budget_bytes=2500)
    node.has(first, (0, 1, 1))
    node.has(first, (1, 1, 1))
    node.has(second, (0, 1, 2))
    node.want(first, (2, 1, 1))
    node.has(third, (0, 1, 3))
    assert node.dropped == [(0, 7, name(second))]
    node.has(second, (0, 1, 4))
    assert {(slot, sha256) for slot, _, sha256 in node.dropped[1:]} == {
        (slot, name(first)) for slot in range(3)
    }


def test_a_worker_that_died_has_none_to_drop() -> None:
    node = Node()
    node.has(CONTENT, (0, 1, 1))
    node.has(CONTENT, (1, 1, 1))
    node.store.worker_died(0)
    node.store.drop(name(CONTENT))
    assert node.dropped == [(1, 7, name(CONTENT))]


def test_what_fits_only_after_what_is_on_its_way_waits() -> None:
    first, second = bytes(1000), bytes(999)
    node = Node(budget_bytes=1500)
    node.want(first, (0, 1, 1))
    node.want(second, (1, 1, 1))
    assert [question[2] for question in node.asked] == [name(first)]
    node.send(first, 1)
    assert [question[2] for question in node.asked] == [name(second)]
    assert node.dropped == [(0, 7, name(first))]
    node.send(second)
    assert node.answers == {(0, 1, 1): first, (1, 1, 1): second}


@pytest.mark.parametrize("end", ["refused", "died", "went"])
def test_what_waits_for_room_begins_however_the_other_ends(end: str) -> None:
    first, second = bytes(1000), bytes(999)
    node = Node(budget_bytes=1500)
    node.store.job_came("s")
    node.want(first, (0, 1, 1))
    node.want(second, (1, 2, 1))
    request = node.asked.pop()[1]
    if end == "refused":
        node.store.refused(request, "no")
    elif end == "died":
        node.store.worker_died(0)
    else:
        node.store.job_went(1, "s")
    node.send(second)
    assert node.answers[1, 2, 1] == second


def test_what_never_fits_is_refused() -> None:
    node = Node(budget_bytes=10)
    node.want(CONTENT, (0, 1, 1))
    assert "MEMORY_BUDGET" in str(node.answers[0, 1, 1])
    assert not node.asked


def test_one_may_go_beyond_the_budget_alone() -> None:
    small, large = bytes(100), bytes(1001)
    node = Node(budget_bytes=1000)
    node.store._most_bytes = 1001
    node.has(small, (0, 1, 1))
    node.has(large, (0, 1, 2))
    assert node.dropped == [(0, 7, name(small))]
    node.want(large, (1, 1, 1))
    assert node.answers.pop((1, 1, 1)) == large
    node.want(small, (0, 1, 3))
    assert node.dropped[1:] == [(0, 7, name(large)), (1, 7, name(large))]
    node.want(large, (0, 1, 4))
    assert {question[2] for question in node.asked} == {name(small)}


def test_a_size_that_is_not_what_others_said() -> None:
    node = Node()
    node.want(CONTENT, (0, 1, 1))
    node.store.wanted("s", 7, name(CONTENT), 5, (1, 1, 1))
    node.send(CONTENT)
    node.store.wanted("s", 7, name(CONTENT), 5, (2, 1, 1))
    assert node.answers[0, 1, 1] == CONTENT
    assert "size" in str(node.answers[1, 1, 1]) and "size" in str(node.answers[2, 1, 1])


def test_memory_that_is_the_parents_own_is_neither_checked_nor_dropped_by_itself() -> None:
    node = Node(budget_bytes=None)
    node.want(CONTENT, (0, 1, 1))
    node.store.whole_came(node.asked[0][1], CONTENT)
    node.store.job_went(1, "s")
    assert node.payloads == [CONTENT] and not node.calls
    node.store.job_came("s")
    node.want(CONTENT, (0, 2, 1))
    assert len(node.asked) == 1
    node.store.drop(name(CONTENT))
    assert node.dropped == [(0, 7, name(CONTENT))]


def test_closing_ends_what_waits_for_its_time() -> None:
    node = Node()
    node.has(CONTENT, (0, 1, 1))
    node.store.job_went(1, "s")
    node.store.close()
    assert all(call.cancelled for call in node.calls)


def test_a_kept_value_of_another_node_is_asked_for_there_and_believed() -> None:
    node = Node()
    token = "ab" * 32
    how: dict[str, Any] = {"is_named_by_hash": False, "kept_at": 3}
    node.store.wanted("s", 7, token, len(CONTENT), (0, 1, 1), **how)
    assert {question[6] for question in node.asked} == {3}
    node.send(CONTENT)
    node.store.wanted("s", 7, token, len(CONTENT), (1, 1, 1), **how)
    assert node.answers == dict.fromkeys([(0, 1, 1), (1, 1, 1)], CONTENT)
    # Whole, from another session.
    node.store.job_came("t")
    node.store.wanted("t", 8, token, len(CONTENT), (2, 2, 1), **how)
    request = node.asked.pop()[1]
    node.store.whole_came(request, CONTENT[1:])
    assert "not what was asked for" in str(node.answers.pop((2, 2, 1)))
    node.store.wanted("t", 8, token, len(CONTENT), (2, 2, 2), **how)
    node.store.whole_came(node.asked.pop()[1], CONTENT)
    assert node.answers[2, 2, 2] == CONTENT
    assert not node.calls  # nothing is hashed


def test_what_is_reserved_is_no_room() -> None:
    node = Node(budget_bytes=3 * len(CONTENT))
    others = [CONTENT[:-1] + bytes([number]) for number in range(3)]
    for number, content in enumerate(others):
        node.has(content, (number, 1, 1))
    node.store.reserve(len(CONTENT))
    assert [dropped for *_, dropped in node.dropped] == [name(others[0])]
    node.store.reserve(5 * len(CONTENT))
    assert len(node.dropped) == 3
    node.has(CONTENT, (0, 1, 2))  # alone, beyond it


def test_only_a_sessions_own_is_dropped_for_it() -> None:
    node = Node()
    node.store.job_came("t")
    node.has(CONTENT, (0, 1, 1))
    node.has(CONTENT, (1, 2, 1), session="t")
    node.store.drop_of("t", name(CONTENT))
    node.store.drop_of("t", name(CONTENT))
    node.store.drop_of("t", name(b"another"))
    assert node.dropped == [(1, 7, name(CONTENT))]
    node.want(CONTENT, (0, 1, 2))
    assert node.answers.pop((0, 1, 2)) == CONTENT
