"""What a caller fetches from nodes: pieces in order, memory as a whole, and an end to every wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from achilles.engines.kept_fetching import PIECES_AHEAD, KeptFetches
from achilles.errors import KeptLost, ProtocolError
from achilles.kept import Reference
from achilles.limits import PIECE_BYTES
from achilles.lineReceiver import messages as wire
from achilles.sealed import Sealed, plain

CONTENT = bytes(range(256)) * (12 * PIECE_BYTES // 256) + b"the end"
REFERENCE = Reference("ab" * 32, len(CONTENT), 3, "lab7#3")

Answer = Callable[[wire.FetchKept], tuple[wire.KeptPiece, bytes]]


def honest(asked: wire.FetchKept, **changed: Any) -> tuple[wire.KeptPiece, bytes]:
    piece = CONTENT[asked.start : asked.start + asked.most]
    fields = {"found": True, "total": asked.total, "start": asked.start, "size": len(piece), **changed}
    return wire.KeptPiece(job=asked.job, request=asked.request, **fields), piece


class Line:
    """A connection whose other end answers in another thread."""

    takes_descriptors = False

    def __init__(self, answer: Answer = honest) -> None:
        self.fetches = KeptFetches()
        self.asked: list[wire.FetchKept] = []
        self.most_open = 0
        self.error: BaseException | None = None
        self._answer = answer
        self._came = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def send(self, message: Any) -> None:
        self.asked.append(message)
        self._came.release()

    def claim_beside(self, size_bytes: int) -> Sealed:
        raise AssertionError("nobody agreed to that")

    def _run(self) -> None:
        for number in range(1000):
            self._came.acquire()
            if number >= len(self.asked):
                return
            self.most_open = max(self.most_open, len(self.asked) - number)
            message, piece = self._answer(self.asked[number])
            try:
                self.fetches.came(self, message, [piece])
            except ProtocolError as error:
                self.error = error
                self.fetches.end("the connection was lost")  # as the engine does then

    def fetch(self, why_not: str = "") -> bytes:
        self._thread.start()
        try:
            return bytes(plain(self.fetches.fetch(self, 7, REFERENCE, lambda: why_not)))
        finally:
            self._came.release()
            self._thread.join()


def test_pieces_come_in_order_a_few_ahead() -> None:
    line = Line()
    assert line.fetch() == CONTENT
    assert [asked.start for asked in line.asked] == list(range(0, len(CONTENT), PIECE_BYTES))
    assert {(asked.job, asked.request, asked.holder, asked.session) for asked in line.asked} == {
        (7, 1, 3, "")
    }
    assert line.most_open == PIECES_AHEAD
    assert not any(asked.descriptor for asked in line.asked)


@pytest.mark.parametrize(
    "lie",
    [
        {"total": len(CONTENT) + 1},
        {"start": PIECE_BYTES * 2},
        {"size": PIECE_BYTES - 1},
    ],
)
def test_what_was_not_asked_for_is_no_answer(lie: dict[str, int]) -> None:
    line = Line(lambda asked: honest(asked, **lie))
    with pytest.raises(KeptLost, match="lost"):
        line.fetch()
    assert "not what was asked for" in str(line.error)


def test_one_that_is_gone() -> None:
    line = Line(lambda asked: (honest(asked, found=False, size=0, reason="it was released")[0], b""))
    with pytest.raises(KeptLost, match="lab7#3 cannot be had: it was released"):
        line.fetch()


def test_nobody_waits_for_a_connection_that_is_lost_already() -> None:
    line = Line()
    with pytest.raises(KeptLost, match="it is lost"):
        line.fetch(why_not="it is lost")
    assert not line.asked


@pytest.mark.parametrize("job", [7, None])
def test_the_end_of_the_job_ends_the_wait(job: int | None) -> None:
    line = Line()

    def answer(asked: wire.FetchKept) -> tuple[wire.KeptPiece, bytes]:
        line.fetches.end("another job's end", 8)
        line.fetches.end("it has ended", job)
        return honest(asked)  # too late

    line._answer = answer
    with pytest.raises(KeptLost, match="it has ended"):
        line.fetch()
