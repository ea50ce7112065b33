"""What a node lets a shortcut do: whose calls, how many, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.call_frames import MAX_CALLS
from achilles.lineReceiver.node_shortcuts import NodeShortcut
from achilles.lineReceiver.wire import FrameParser, Limits


class Loan:
    """A worker that is lent."""

    def __init__(self, job: int) -> None:
        self.job = job
        self.index = -1
        self.answer: tuple[int, int, bytes] | None = None
        self.on_output: Callable[[int, int, bytes], None] | None = None
        self.on_over: Callable[[], None] = lambda: None

    def begin(self, index: int, arguments: list[Any], on_over: Callable[[], None]) -> None:
        self.index, self.on_over = index, on_over

    def over(self, answer: tuple[int, int, bytes] | None) -> None:
        self.answer = answer
        self.on_over()


class Crew:
    """Has workers without end."""

    def __init__(self) -> None:
        self.lent: list[Loan] = []
        self.given_up: list[Loan] = []
        self.loans = self

    def lend(self, job: int) -> Loan:
        self.lent.append(Loan(job))
        return self.lent[-1]

    def give_up(self, loan: Loan) -> None:
        self.given_up.append(loan)


class Clock:
    def callLater(self, delay_s: float, call: Any, *args: Any) -> Any:
        return self

    def cancel(self) -> None: ...


class Slow(NodeShortcut):
    """One whose controller has so much to read."""

    waiting_bytes = 0

    @property
    def unsent_bytes(self) -> int:
        return self.waiting_bytes


class Stage:
    def __init__(self) -> None:
        self.crew, self.ended = Crew(), 0
        crew: Any = self.crew
        self.shortcut = Slow(crew, Clock(), self.end)
        self.transport = StringTransport()
        self.shortcut.makeConnection(self.transport)
        self.shortcut.jobs = {7, 8}

    def end(self) -> None:
        self.ended += 1

    def call(self, number: int, job: int = 7) -> None:
        self.shortcut.dataReceived(b"C %d %d 3 1\r\nx" % (job, number))

    def said(self) -> list[tuple[wire.Message, bytes]]:
        frames = FrameParser(Limits()).feed(self.transport.value())
        self.transport.clear()
        return [(message, b"".join(chunks)) for message, chunks in frames]


@pytest.fixture
def stage() -> Stage:
    return Stage()


REFUSED = wire.CALL_REFUSED


def test_a_call_is_run_and_answered_after_what_it_prints(stage: Stage) -> None:
    stage.call(1)
    (loan,) = stage.crew.lent
    assert (loan.job, loan.index) == (7, 3) and loan.on_output is not None
    loan.on_output(7, 2, b"x\n")
    loan.over((0, 5_000, b"result"))
    assert stage.said() == [
        (wire.Output(job=7, stream=2, size=2), b"x\n"),
        (wire.Answer(1, 0, 5, 6), b"result"),
    ]


def test_jobs_that_were_not_named_are_refused(stage: Stage) -> None:
    stage.call(1, job=9)
    assert not stage.crew.lent and stage.said() == [(wire.Answer(1, REFUSED, 0), b"")]


def test_calls_of_a_job_that_is_over_are_lost_and_the_next_refused(stage: Stage) -> None:
    for number, job in enumerate((7, 8, 7)):
        stage.call(number, job)
    stage.shortcut.job_gone(7)
    assert stage.said() == [(wire.Answer(number, wire.CALL_LOST, 0), b"") for number in (0, 2)]
    for loan in stage.crew.lent:
        loan.over((0, 0, b"late"))
    stage.call(3)
    assert [message for message, _ in stage.said()] == [wire.Answer(1, 0, 0, 4), wire.Answer(3, REFUSED, 0)]


def test_no_more_are_out_than_a_controller_may_have(stage: Stage) -> None:
    for number in range(MAX_CALLS + 1):
        stage.call(number)
    assert len(stage.crew.lent) == MAX_CALLS
    assert stage.said() == [(wire.Answer(MAX_CALLS, REFUSED, 0), b"")]


def test_nothing_is_run_or_printed_for_who_has_much_to_read_and_a_flood_ends_it(stage: Stage) -> None:
    stage.call(0)
    stage.shortcut.waiting_bytes = wire.MAX_CALL_BYTES + 1
    for number in range(1, MAX_CALLS + 1):
        stage.call(number)
    assert len(stage.crew.lent) == 1 and len(stage.said()) == MAX_CALLS
    stage.shortcut.waiting_bytes = 0
    stage.call(100)
    assert len(stage.crew.lent) == 2
    stage.shortcut.waiting_bytes = 1 << 24
    assert stage.crew.lent[0].on_output is not None
    stage.crew.lent[0].on_output(7, 1, b"x\n")
    assert not stage.said()
    for number in range(200, 201 + MAX_CALLS):
        stage.call(number)
    ((error, _),) = [frame for frame in stage.said() if isinstance(frame[0], wire.Error)]
    assert isinstance(error, wire.Error) and "are not read" in error.message


def test_a_number_that_is_out_is_not_used_again(stage: Stage) -> None:
    stage.call(1)
    stage.call(1)
    ((error, _),) = stage.said()
    assert isinstance(error, wire.Error) and "came twice" in error.message


def test_what_is_given_up_is_stopped_as_is_all_when_it_ends(stage: Stage) -> None:
    for number in range(3):
        stage.call(number)
    stage.shortcut.dataReceived(b'{"type":"give_up","call":1}\r\n{"type":"give_up","call":9}\r\n')
    assert stage.crew.given_up == [stage.crew.lent[1]]
    stage.shortcut.connectionLost()
    assert stage.ended == 1 and set(stage.crew.given_up) == set(stage.crew.lent)
    stage.crew.lent[0].over((0, 5_000, b"late"))
