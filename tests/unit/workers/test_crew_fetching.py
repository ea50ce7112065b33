"""Modules and blobs that workers wait for, when the job that asked is gone before the answer came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from achilles.workers import channel
from achilles.workers.crew import Crew
from achilles.workers.module_source import ModuleSource
from achilles.workers.sessions import IDLE_SESSIONS

MODULE = ModuleSource.missing("mine")


class Listener:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.wanted: list[tuple[int, int, str]] = []

    def module_wanted(self, job: int, request: int, name: str) -> None:
        self.wanted.append((job, request, name))

    def blob_wanted(self, job: int, request: int, sha256: str, *place: int) -> None:
        self.wanted.append((job, request, sha256))

    def output(self, job: int, stream: int, lines: bytes) -> None:
        raise AssertionError("nobody prints")


class Waiting:
    """A crew with one worker, which imports."""

    def __init__(self) -> None:
        self.listener: Any = Listener()
        loop: Any = SimpleNamespace(callLater=lambda *_: None)
        self.crew = Crew(loop, 1, self.listener, sys_path=[])
        self.answers: list[tuple[int, int]] = []
        self.sent: list[tuple[int, ...]] = []
        self.worker: Any = SimpleNamespace(
            slot=0, send_module=lambda job, request, _: self.answers.append((job, request)), send=self.send
        )
        self.crew._workers[0] = self.worker

    def send(self, kind: int, status: int = 0, job: int = 0, a: int = 0, *, segments: Any = ()) -> None:
        self.sent.append((kind, status, job, a))

    def use_in(self, job: int, request: int) -> None:
        question = (channel.FETCH_BLOB, 0, job, request, 5, 0, bytearray(32))
        self.crew.worker_message(self.worker, *question)

    def import_in(self, job: int, request: int) -> None:
        self.crew.worker_message(self.worker, channel.FETCH, 0, job, request, 0, 0, bytearray(b"mine"))


def test_the_next_job_of_the_program_asks_again() -> None:
    waiting = Waiting()
    waiting.crew.introduce(1, [b"f"], "session", False)
    waiting.import_in(1, 5)
    waiting.crew.forget(1)
    waiting.crew.introduce(2, [b"f"], "session", False)
    waiting.import_in(2, 6)
    (_, first, _), (job, second, _) = waiting.listener.wanted
    assert job == 2 and second != first
    waiting.crew.module_arrived(first, MODULE)
    assert not waiting.answers
    waiting.crew.module_arrived(second, MODULE)
    assert waiting.answers == [(2, 6)]


def test_another_job_that_waits_for_the_same_module_gets_it_all_the_same() -> None:
    waiting = Waiting()
    for job in (1, 2):
        waiting.crew.introduce(job, [b"f"], "session", False)
        waiting.import_in(job, 5 + job)
    assert len(waiting.listener.wanted) == 1
    waiting.crew.forget(1)
    job, request, _ = waiting.listener.wanted[-1]
    assert job == 2
    waiting.crew.module_arrived(request, MODULE)
    assert waiting.answers == [(2, 7)]


def test_the_next_worker_in_a_slot_gets_no_answer_to_a_question_of_the_last() -> None:
    waiting = Waiting()
    waiting.crew.introduce(1, [b"f"], "session", False)
    waiting.import_in(1, 5)
    waiting.crew._supplies.worker_gone(0)
    ((_, request, _),) = waiting.listener.wanted
    waiting.crew.module_arrived(request, MODULE)
    assert not waiting.answers


def test_a_blob_goes_to_who_waits_and_is_dropped_there() -> None:
    waiting = Waiting()
    waiting.crew.introduce(1, [b"f"], "session", False)
    waiting.use_in(1, 3)
    ((job, request, sha256),) = waiting.listener.wanted
    assert (job, sha256) == (1, "00" * 32)
    waiting.crew.blobs.whole_came(request, b"12345")
    waiting.crew.blobs.drop(sha256)
    assert waiting.sent == [(channel.BLOB, 0, 1, 3), (channel.DROP_BLOB, 0, 0, 1)]


def test_a_blob_for_a_job_that_is_gone_is_refused() -> None:
    waiting = Waiting()
    waiting.use_in(1, 3)
    assert waiting.sent == [(channel.BLOB, 1, 1, 3)]
    assert not waiting.listener.wanted


def test_a_session_that_comes_back_under_another_number_has_no_blobs() -> None:
    waiting = Waiting()
    sessions = ["first", *map(str, range(IDLE_SESSIONS + 1)), "first"]
    for job, session in enumerate(sessions, 1):
        waiting.crew.introduce(job, [b"f"], session, False)
        if session == "first":
            waiting.use_in(job, 3)
            waiting.crew.blobs.whole_came(waiting.listener.wanted[-1][1], b"12345")
        waiting.crew.forget(job)
    assert len(waiting.listener.wanted) == 2
    assert waiting.sent[1] == (channel.DROP_BLOB, 0, 0, 1)
