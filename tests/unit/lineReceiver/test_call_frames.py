"""Calls and answers on the wire: what is written, what is refused, and the shorter way through the parser."""

from __future__ import annotations

import pytest

from achilles.errors import ProtocolError
from achilles.lineReceiver import messages as m
from achilles.lineReceiver.wire import FrameParser, Limits, frame_segments


def written(message: m.Message, payload: bytes = b"") -> bytes:
    return b"".join(frame_segments(message, [payload]))


def test_headers_are_written_as_documented() -> None:
    assert written(m.Call(3, 17, 40), b"abc") == b"C 3 17 40 3\r\nabc"
    assert written(m.Answer(17, 1, 250), b"xy") == b"A 17 1 250 2\r\nxy"
    assert written(m.Answer(17, m.CALL_REFUSED, 0)) == b"A 17 3 0 0\r\n"
    by_descriptor = m.Answer(17, 0, 250, 999, by_descriptor=True)
    assert b"".join(frame_segments(by_descriptor)) == b"a 17 0 250 999\r\n"
    assert m.parse_header(b"a 17 0 250 999").by_descriptor


@pytest.mark.parametrize(
    "line",
    [
        b"C",
        b"C ",
        b"C 1 2 3",
        b"C 1 2 3 4 5",
        b"C1 2 3 4",
        b"C 01 2 3 4",
        b"C 1 2 3 ",
        b"C 1  3 4",
        b"C -1 2 3 4",
        b"C 1 2 3 65537",
        b"C 1 2 9223372036854775808 4",
        b"C 1 2 3:4",
        b"c 1 2 3 4",
        b"A 1 0 3",
        b"A 1 5 0 0",
        b"A 1 3 0 1",
        b"A 1 4 0 1",
        b"A 1 0 0 00",
        b"A 1 0 0 0 0",
        b"a 1 0 0 0",
        b"a 1 4 0 9",
        b"aa 1 0 0 9",
    ],
)
def test_others_are_refused_in_a_short_ascii_sentence(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        m.parse_header(line)
    assert str(caught.value).isascii() and len(str(caught.value)) < 300


def test_what_the_other_side_would_refuse_is_not_written() -> None:
    with pytest.raises(ValueError, match="at most"):
        m.encode(m.Call(1, 1, 1), m.MAX_CALL_BYTES + 1)
    with pytest.raises(ValueError, match="no payload"):
        m.encode(m.Answer(1, m.CALL_LOST, 1), 1)


def test_one_whole_frame_takes_the_shorter_way_and_is_the_same() -> None:
    for message, payload in (
        (m.Call(1, 2, 3), b"abc"),
        (m.Answer(1, 0, 2), b"xyz"),
        (m.Answer(1, 3, 0), b""),
    ):
        data = written(message, payload)
        (whole,) = FrameParser().feed(data)
        only = FrameParser().only(data)
        assert only is not None
        assert only[0] == whole[0] and b"".join(only[1]) == b"".join(whole[1]) == payload


def test_all_else_takes_the_other_way_and_nothing_was_taken() -> None:
    frame = written(m.Call(1, 2, 3), b"abc")
    others = [
        frame + frame,
        frame[:-1],
        frame[:7],
        b"",
        written(m.Ping(1)),
        b"C nonsense\r\nabc",
        b"C 1 2 3 4\n" + bytes(4),
        b"a 17 0 250 999\r\n",
    ]
    for data in others:
        assert FrameParser().only(data) is None
    parser = FrameParser()
    assert parser.feed(frame[:5]) == []
    assert parser.only(frame) is None  # in the middle of a header
    ((message, chunks),) = parser.feed(frame[5:])
    assert message == m.Call(1, 2, 3, 3) and b"".join(chunks) == b"abc"
    assert parser.feed(frame[:-1]) == []
    assert parser.only(frame) is None  # of a payload
    with pytest.raises(ProtocolError):
        FrameParser().feed(b"C nonsense\r\nabc")


def test_limits_hold_on_the_shorter_way() -> None:
    answer = written(m.Answer(1, 0, 2), bytes(100))
    parser = FrameParser(Limits(payload_bytes=99))
    assert parser.only(answer) is None
    with pytest.raises(ProtocolError, match="the limit is 99"):
        parser.feed(answer)
    assert parser.only(answer) is None  # refused for good
