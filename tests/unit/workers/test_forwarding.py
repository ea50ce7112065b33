"""Which printed lines are sent, when, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.workers import forwarding
from achilles.workers.forwarding import Forwarding
from achilles.workers.streams import WORKER_BYTES_PER_S


class Desk:
    def __init__(self) -> None:
        self.sent: list[tuple[int, int, bytes]] = []
        self.calls: list[Any] = []
        loop: Any = self
        self.forwarding = Forwarding(loop, "lab7", lambda *said: self.sent.append(said), lambda call: call)
        self.forwarding.want(1)

    def callLater(self, delay: float, call: Any) -> None:
        self.calls.append(call)

    def wait(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_lines_are_tagged_gathered_and_sent_before_results(desk) -> None:
    desk.forwarding.heard(0, 1, (1, 4), b"a\n\n", 0)
    desk.forwarding.heard(1, 1, (1, 5), b"b\n", 0)
    desk.forwarding.heard(0, 2, (1, 4), b"c\n", 0)
    assert desk.sent == []
    desk.forwarding.unit_over(0)
    assert desk.sent == [
        (1, 1, b"[lab7 item 4] a\n[lab7 item 4] \n[lab7 item 5] b\n"),
        (1, 2, b"[lab7 item 4] c\n"),
    ]


def test_lines_of_a_long_item_are_sent_soon(desk) -> None:
    desk.forwarding.heard(0, 1, (1, 4), b"a\n", 0)
    desk.wait()
    assert desk.sent == [(1, 1, b"[lab7 item 4] a\n")]
    desk.forwarding.heard(0, 1, (1, 4), b"b\n", 0)
    desk.wait()
    assert len(desk.sent) == 2


def test_what_nobody_wants_is_not_sent(desk) -> None:
    desk.forwarding.heard(0, 1, (2, 0), b"quiet\n", 5)
    desk.forwarding.heard(0, 1, (1, 0), b"a\n", 0)
    desk.forwarding.forget(1)
    desk.forwarding.heard(0, 1, (1, 0), b"b\n", 0)
    desk.forwarding.unit_over(0)
    desk.wait()
    assert desk.sent == []


def test_a_flood_passes_its_budget_and_one_line_tells_the_rest(desk, monkeypatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(forwarding.time, "monotonic", lambda: now_s)
    line = b"x" * 99 + b"\n"
    for _ in range(200):
        desk.forwarding.heard(0, 1, (1, 4), line * 100, 0)
    desk.forwarding.unit_over(0)
    (_, stream, text), (_, notice_stream, notice) = desk.sent
    assert (stream, notice_stream) == (1, 2)
    passed_bytes = text.count(line) * len(line)
    assert WORKER_BYTES_PER_S < passed_bytes <= 2 * WORKER_BYTES_PER_S
    assert notice.decode() == (
        f"[lab7 item 4] ... {2_000_000 - passed_bytes} bytes of output were dropped: "
        f"more than 256 KiB in a second\n"
    )


def test_the_next_flood_is_told_of_a_second_later(desk, monkeypatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(forwarding.time, "monotonic", lambda: now_s)
    desk.forwarding.heard(0, 1, (1, 4), b"", 10)
    desk.forwarding.unit_over(0)
    desk.forwarding.heard(0, 1, (1, 5), b"", 10)
    desk.forwarding.heard(0, 1, (1, 6), b"", 10)
    desk.forwarding.unit_over(0)
    assert len(desk.sent) == 1
    now_s += forwarding.NOTICE_S
    desk.wait()
    desk.wait()
    assert [b"10 bytes" in desk.sent[0][2], b"20 bytes" in desk.sent[1][2]] == [True, True]
    assert len(desk.sent) == 2


def test_much_that_is_dropped_just_after_a_notice_is_told_before_results(desk, monkeypatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(forwarding.time, "monotonic", lambda: now_s)
    desk.forwarding.heard(0, 1, (1, 0), b"", 5)
    desk.wait()
    now_s += forwarding.NOTICE_PAUSE_S / 2
    desk.forwarding.heard(0, 1, (1, 0), b"", 5)
    desk.forwarding.unit_over(0)
    desk.forwarding.heard(0, 1, (1, 0), b"", WORKER_BYTES_PER_S)
    desk.forwarding.unit_over(0)
    said = b"".join(lines for _, _, lines in desk.sent).decode()
    assert said.count("bytes of output were dropped") == 2
    assert f" {WORKER_BYTES_PER_S + 5} bytes of output were dropped" in said


def test_who_borrows_a_worker_gets_what_that_prints(desk) -> None:
    borrowed: list[tuple[int, int, bytes]] = []
    desk.forwarding._borrower = lambda slot, label: (
        (lambda *said: borrowed.append(said)) if (slot, label) == (0, (1, 4)) else None
    )
    desk.forwarding.heard(0, 1, (1, 4), b"a\n", 0)
    desk.forwarding.heard(0, 1, (1, 3), b"of the one before\n", 0)
    desk.forwarding.heard(1, 1, (1, 5), b"b\n", 0)
    desk.forwarding.unit_over(0)
    assert borrowed == [(1, 1, b"[lab7 item 4] a\n")]
    assert desk.sent == [(1, 1, b"[lab7 item 3] of the one before\n[lab7 item 5] b\n")]
