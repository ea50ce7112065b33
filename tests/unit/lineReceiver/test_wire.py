"""The parser gives the same frames however the bytes are cut, and keeps no more than it must."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.errors import ProtocolError
from achilles.lineReceiver.messages import Error, Fetched, Message, Parcel, Ping, Results, StatusReply
from achilles.lineReceiver.wire import (
    BEFORE_AUTHENTICATION_LIMITS,
    Buffer,
    FrameParser,
    Limits,
    frame_segments,
    gather,
)

Frames = list[tuple[Message, bytes]]


def joined(message: Message, *segments: Buffer) -> bytes:
    return b"".join(frame_segments(message, segments))


def collect(parser: FrameParser, *reads: bytes) -> Frames:
    return [(message, bytes(gather(chunks))) for read in reads for message, chunks in parser.feed(read)]


payloads = st.binary(max_size=200) | st.sampled_from(
    [b"\r\n", b"P 1 2", b'{"type":"ping"}\r\n', pickle.dumps(2573), b"x" * 5000]
)
frames = payloads.flatmap(
    lambda payload: st.sampled_from(
        [
            (Ping(7), b""),
            (StatusReply(), payload),
            (Fetched(1, 2, True, origin="naïve\r\n"), payload),
            (Parcel(1, 2, 1, 0, 16, 8, 4, [(8, len(payload))]), payload),
            (Results(1, 2, 1, [(0, 4, 0, 9, 0), (4, 4, 0, 9, len(payload))]), payload),
        ]
    )
)


@given(st.lists(frames, max_size=8), st.data())
def test_frames_do_not_depend_on_how_the_stream_is_cut(sent: Frames, data: st.DataObject) -> None:
    stream = b"".join(joined(message, payload) for message, payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reads = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parser = FrameParser()
    assert collect(parser, *reads) == sent
    assert not parser.mid_frame
    assert collect(FrameParser(), *[stream[i : i + 1] for i in range(len(stream))]) == sent


@given(st.lists(frames, min_size=1, max_size=3), st.binary(max_size=100), st.data())
def test_garbage_anywhere_is_an_error_or_an_unfinished_frame(
    sent: Frames, garbage: bytes, data: st.DataObject
) -> None:
    stream = b"".join(joined(message, payload) for message, payload in sent)
    at = data.draw(st.integers(0, len(stream)))
    parser = FrameParser()
    try:
        collect(parser, stream[:at] + garbage + stream[at:])
    except ProtocolError:
        with pytest.raises(ProtocolError, match="refused after an earlier"):
            parser.feed(stream)


def test_a_segmented_payload_is_one_payload() -> None:
    parcel = Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 12)])
    wire = joined(
        parcel, b"abcd", memoryview(bytearray(b"efgh")), b"", memoryview(bytearray(8)).cast("H")[:2]
    )
    assert collect(FrameParser(), wire) == [(parcel, b"abcdefgh\0\0\0\0")]


def test_a_joined_payload_is_writable() -> None:
    ((_, chunks),) = FrameParser().feed(joined(StatusReply(), b"x" * 100))
    whole = gather(chunks)
    whole[0] = 0
    assert gather([]) == bytearray() and gather([b"ab", memoryview(b"cd")]) == b"abcd"


@pytest.mark.parametrize(
    "first_read",
    [
        pickle.dumps({"job": 1})[:1],
        pickle.dumps([1, 2], protocol=0)[:1],
        b"GET / HTTP/1.1",
        b"\x16\x03\x01",
        b"\n",
        b"\r",
        b" ",
    ],
)
def test_what_cannot_be_a_header_is_refused_at_its_first_byte(first_read: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameParser().feed(first_read)


def test_a_header_without_end_is_refused_at_the_limit_even_byte_by_byte() -> None:
    parser = FrameParser()
    for _ in range(16_383):
        parser.feed(b"{")
    with pytest.raises(ProtocolError, match="no line end within 16384 bytes"):
        parser.feed(b"{")
    with pytest.raises(ProtocolError, match="no line end") as caught:
        FrameParser().feed(b"P" * 10_000_000)
    assert len(str(caught.value)) < 150


def test_the_longest_header_passes_and_one_byte_more_does_not() -> None:
    short = b'{"type":"ping","sent_ns":1'
    longest = short + b" " * (16_384 - len(short) - 3) + b"}\r\n"
    assert collect(FrameParser(), longest) == [(Ping(1), b"")]
    assert collect(FrameParser(), longest[:9000], longest[9000:]) == [(Ping(1), b"")]
    with pytest.raises(ProtocolError, match="no line end"):
        FrameParser().feed(longest.replace(b"}", b" }"))


def test_a_line_that_ends_with_lf_alone_is_refused() -> None:
    with pytest.raises(ProtocolError, match="LF alone"):
        FrameParser().feed(b'{"type":"ping","sent_ns":1}\n')


def test_payload_limits_hold_before_the_payload_comes_and_may_change_between_frames() -> None:
    big, small = joined(StatusReply(), b"x" * 70_000), joined(Ping(1))
    with pytest.raises(ProtocolError, match="announces 70000 bytes of payload; the limit is 65536"):
        FrameParser(BEFORE_AUTHENTICATION_LIMITS).feed(big[:100])
    parser = FrameParser(BEFORE_AUTHENTICATION_LIMITS)
    seen = []
    for message, _ in parser.frames(small + big + small):  # all in one read, as after a welcome
        parser.limits = Limits()
        seen.append(type(message))
    assert seen == [Ping, StatusReply, Ping]


def test_announcing_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        FrameParser(Limits(payload_bytes=2**60)).feed(b'{"type":"status_reply","size":1000000000000}\r\nx')
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_small_payload_does_not_keep_a_large_read_alive() -> None:
    read = joined(StatusReply(), b"x" * 1000) * 900
    chunks = [chunk for _, parts in FrameParser().feed(read) for chunk in parts]
    assert all(type(chunk) is bytes for chunk in chunks)
    ((_, (chunk,)),) = FrameParser(Limits()).feed(joined(StatusReply(), b"x" * 1_000_000))
    assert isinstance(chunk, memoryview)


def copied_bytes(read_bytes: int, payload_bytes: int) -> int:
    """Peak of memory while a payload arrives in small reads; reads themselves come from one buffer."""
    wire = joined(StatusReply(), bytes(payload_bytes))
    reads = [wire[i : i + read_bytes] for i in range(0, len(wire), read_bytes)]
    parser = FrameParser(Limits())
    tracemalloc.start()
    try:
        assert sum(len(parser.feed(read)) for read in reads) == 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_payload_is_never_copied_by_the_parser() -> None:
    assert copied_bytes(65_536, 8 << 20) < 1 << 20


def test_an_error_text_of_any_kind_travels() -> None:
    error = Error("internal", "über\r\n\0")
    assert collect(FrameParser(), joined(error)) == [(error, b"")]
