"""What Python code prints in a worker: marks, lines, and the bytes that may pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.workers import streams
from achilles.workers.streams import MARK, PENDING_BYTES, Budget, MarkedStream, text_stream

TOKEN = b"\0token!!"


class Writer:
    """A stream, what it runs, and the pipe behind it."""

    def __init__(self, bytes_per_s: int = 1_000_000) -> None:
        self.reading_fd, self.writing_fd = os.pipe()
        os.set_blocking(self.reading_fd, False)
        self.item = (1, 0)
        self.stream = MarkedStream(self.writing_fd, 1, TOKEN, lambda: self.item, Budget(bytes_per_s))
        self.text = text_stream(self.stream)

    def written(self) -> bytes:
        try:
            return os.read(self.reading_fd, 1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Writer] = []

    def make(*arguments: Any) -> Writer:
        made.append(Writer(*arguments))
        return made[-1]

    yield make
    for writer in made:
        os.close(writer.reading_fd)
        os.close(writer.writing_fd)


def mark(job: int, index: int, dropped_bytes: int = 0) -> bytes:
    return MARK.pack(TOKEN, job, index, dropped_bytes)


def test_a_line_is_written_when_it_ends_with_one_mark_per_item(make) -> None:
    writer = make()
    print("a", end="", file=writer.text)
    assert writer.written() == b""
    assert writer.stream.waiting
    print("b", file=writer.text)
    print("c", file=writer.text)
    assert writer.written() == mark(1, 0) + b"ab\nc\n"
    assert not writer.stream.waiting
    writer.item = (1, 1)
    print("d", file=writer.text)
    assert writer.written() == mark(1, 1) + b"d\n"


def test_an_unfinished_line_keeps_its_item(make) -> None:
    writer = make()
    writer.text.write("a")
    writer.item = (1, 1)
    writer.text.write("b")
    writer.stream.flush()
    assert writer.written() == mark(1, 0) + b"a" + mark(1, 1) + b"b"


def test_a_line_without_end_is_written_in_parts(make) -> None:
    writer = make()
    writer.text.write("x" * PENDING_BYTES)
    assert len(writer.written()) == MARK.size + PENDING_BYTES


def test_too_much_is_dropped_and_counted(make) -> None:
    writer = make(10_000)
    writer.text.write("x" * 25_000)
    writer.text.write("y" * 1_000)
    writer.stream.flush()
    assert writer.written() == mark(1, 0) + b"x" * 10_000 + mark(1, 0, 16_000)


def test_a_budget_fills_again_after_a_pause() -> None:
    budget = Budget(1000)
    assert budget.take(600, 10.0) == 600
    assert budget.take(600, 10.125) == 525
    assert budget.take(1, 10.125 + streams.PAUSE_S / 2) == 0
    assert budget.take(200, 10.125 + streams.PAUSE_S) == 200
    assert budget.take(5000, 100.0) == 1000


def test_it_behaves_as_a_standard_stream(make) -> None:
    writer = make()
    assert (writer.text.fileno(), writer.text.name, writer.text.encoding) == (1, "<stdout>", "utf-8")
    assert writer.text.writable() and not writer.text.isatty()
    assert writer.text.buffer.write(memoryview(b"raw\n")) == 4
    print("lone \ud800", file=writer.text)
    writer.text.close()
    print("still open", file=writer.text)
    assert writer.written() == mark(1, 0) + b"raw\nlone \\ud800\nstill open\n"


def test_a_forked_child_does_not_write_what_the_parent_printed(make) -> None:
    writer = make()
    writer.text.write("parent's")
    writer.stream.after_fork()
    writer.stream.flush()
    assert writer.written() == b""


def test_nobody_reads_any_more() -> None:
    reading_fd, writing_fd = os.pipe()
    os.close(reading_fd)
    stream = MarkedStream(writing_fd, 2, TOKEN, lambda: (1, 1), Budget(1000))
    assert stream.write(b"lost\n") == 5
    os.close(writing_fd)
