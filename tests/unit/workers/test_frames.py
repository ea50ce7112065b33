"""Frames are cut the same however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.workers.frames import HEADER, BrokenChannelError, FrameReader, Message, pack_header


def fed(reader: FrameReader, stream: bytes, cuts: list[int]) -> list[Message]:
    """Feed the stream in reads no longer than the cuts say, over and over."""
    messages: list[Message] = []
    position = turn = 0
    while position < len(stream):
        target = reader.target()
        count = max(1, min(len(target), cuts[turn % len(cuts)], len(stream) - position))
        target[:count] = stream[position : position + count]
        del target
        messages += reader.received(count)
        position += count
        turn += 1
    return messages


payload_sizes = st.one_of(st.integers(0, 200), st.integers(0, 40_000))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(payload_sizes, st.integers(-(2**63), 2**63 - 1)), max_size=12),
    st.lists(st.integers(1, 30_000), min_size=1, max_size=5),
    st.sampled_from([64, 1000, 20_000, 65_536]),
)
def test_any_cutting_of_the_stream_gives_the_same_messages(frames, cuts, scratch_bytes) -> None:
    expected, stream = [], b""
    for number, (size_bytes, a) in enumerate(frames):
        payload = bytes([number % 256]) * size_bytes
        expected.append((number, 1, 7, a, -a - 1, 3, payload))
        stream += pack_header(number, 1, 7, a, -a - 1, 3, size_bytes) + payload
    messages = fed(FrameReader(scratch_bytes), stream, cuts)
    assert messages == expected
    assert all(type(message[6]) is bytearray for message in messages)


def test_payloads_are_free_to_be_resized_by_who_gets_them() -> None:
    stream = pack_header(1, 0, 0, 0, 0, 0, 100_000) + bytes(100_000)
    [message] = fed(FrameReader(), stream, [65_536])
    message[6].append(1)  # BufferError if the reader still held a view


def test_foreign_bytes_break_the_stream() -> None:
    with pytest.raises(BrokenChannelError):
        fed(FrameReader(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(HEADER.size), [4096])


def test_a_size_beyond_reason_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(BrokenChannelError):
        fed(FrameReader(), pack_header(1, 0, 0, 0, 0, 0, 1 << 60), [4096])
