"""How a worker's output pipe is cut into lines that know whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.workers.output import LINE_BYTES, TAIL_BYTES, Label, OutputPipe
from achilles.workers.streams import MARK

TOKEN = b"\0token!!"


class NoLoop:
    def addReader(self, reader: Any) -> None: ...
    def removeReader(self, reader: Any) -> None: ...


class Pipe:
    def __init__(self) -> None:
        self.heard: list[tuple[int, Label, bytes, int]] = []
        self.guess: Label | None = None
        reading_fd, self.writing_fd = os.pipe()
        loop: Any = NoLoop()
        self.pipe = OutputPipe(
            loop, reading_fd, 2, TOKEN, lambda *said: self.heard.append(said), lambda: self.guess
        )

    def close(self) -> None:
        self.pipe.close()
        os.close(self.writing_fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def mark(job: int, index: int, dropped_bytes: int = 0) -> bytes:
    return MARK.pack(TOKEN, job, index, dropped_bytes)


def test_marks_say_whose_lines_are(pipe) -> None:
    pipe.pipe.feed(mark(7, 1) + b"a\nb\n" + mark(7, 2) + b"c\n")
    assert pipe.heard == [(2, (7, 1), b"a\nb\n", 0), (2, (7, 2), b"c\n", 0)]


def test_without_a_mark_the_running_item_is_taken(pipe) -> None:
    pipe.pipe.feed(b"nobody's\n")
    pipe.guess = (3, 4)
    pipe.pipe.feed(b"from C\n")
    pipe.pipe.feed(mark(3, 5) + b"marked\n")
    pipe.pipe.feed(b"more\n")
    pipe.pipe.unit_over(3, 5, 1)
    pipe.pipe.feed(b"guessed\n")
    assert pipe.heard == [
        (2, (3, 4), b"from C\n", 0),
        (2, (3, 5), b"marked\n", 0),
        (2, (3, 5), b"more\n", 0),
        (2, (3, 4), b"guessed\n", 0),
    ]


def test_lines_wait_until_they_end_and_end_with_their_unit(pipe) -> None:
    pipe.pipe.feed(mark(1, 0) + b"a")
    assert pipe.heard == []
    pipe.pipe.feed(b"b\nc")
    assert pipe.heard == [(2, (1, 0), b"ab\n", 0)]
    pipe.pipe.unit_over(1, 0, 1)
    assert pipe.heard[1:] == [(2, (1, 0), b"c\n", 0)]


def test_the_end_of_a_unit_does_not_end_the_next_one(pipe) -> None:
    pipe.pipe.feed(mark(1, 0) + b"a\n" + mark(1, 1) + b"b\nc")
    pipe.guess = (1, 2)
    pipe.pipe.unit_over(1, 0, 1)
    pipe.pipe.feed(b"d\n")
    assert [said[1:3] for said in pipe.heard] == [((1, 0), b"a\n"), ((1, 1), b"b\n"), ((1, 1), b"cd\n")]


def test_a_long_line_comes_in_parts(pipe) -> None:
    pipe.pipe.feed(mark(1, 0) + b"x" * (LINE_BYTES + 1))
    assert pipe.heard == [(2, (1, 0), b"x" * (LINE_BYTES + 1) + b"\n", 0)]


def test_dropped_bytes_are_told(pipe) -> None:
    pipe.pipe.feed(mark(1, 0, 99))
    assert pipe.heard == [(2, (1, 0), b"", 99)]


def test_the_tail_is_that_of_the_last_item(pipe) -> None:
    pipe.pipe.feed(mark(1, 0) + b"old\n" + mark(1, 1) + b"x" * 3000 + b"\nlast words")
    assert pipe.pipe.tail_of(1).endswith("x\nlast words")
    assert len(pipe.pipe.tail_of(1)) <= TAIL_BYTES
    assert "old" not in pipe.pipe.tail_of(1)
    assert pipe.pipe.tail_of(2) == ""
    assert pipe.pipe.tail_of(None) == pipe.pipe.tail_of(1)


def test_it_reads_until_the_pipe_is_empty_and_sees_its_end(pipe) -> None:
    os.write(pipe.writing_fd, mark(1, 0) + b"a\n")
    pipe.pipe.drain()
    assert not pipe.pipe.ended
    os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.writing_fd)
    pipe.pipe.drain()
    assert pipe.pipe.ended
    assert pipe.heard == [(2, (1, 0), b"a\n", 0)]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=30)), max_size=8), st.integers(1, 40))
def test_nothing_depends_on_how_bytes_arrive(parts: list[tuple[int, bytes]], step: int) -> None:
    parts = [(index, text.replace(TOKEN, b"") + b"\n") for index, text in parts]
    stream = b"".join(mark(1, index) + text for index, text in parts)
    pipe = Pipe()
    for start in range(0, len(stream), step):
        pipe.pipe.feed(stream[start : start + step])
    assert b"".join(said[2] for said in pipe.heard) == b"".join(text for _, text in parts)
    for index in range(4):
        assert b"".join(said[2] for said in pipe.heard if said[1] == (1, index)) == b"".join(
            text for owner, text in parts if owner == index
        )
    pipe.close()
