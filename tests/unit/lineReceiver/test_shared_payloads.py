"""What goes by descriptor, what goes as bytes, and that nothing stays open."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from achilles import sealed
from achilles.lineReceiver import shared_payloads
from achilles.lineReceiver.messages import Message, Parcel, Ping, Results
from achilles.lineReceiver.protocol import AchillesProtocol
from achilles.lineReceiver.shared_payloads import (
    COPIED_BYTES,
    kept,
    parts,
    result_frames,
    share_units,
    units_of,
)
from achilles.lineReceiver.wire import Buffer, FrameParser, Limits, frame_segments, gather
from achilles.sealed import SHARE_BYTES, Sealed, open_descriptors, seal
from achilles.workers.passing import MAX_UNCLAIMED

pytestmark = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")


class Passing(StringTransport):
    """A transport that takes descriptors, and keeps them until they are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def sendFileDescriptor(self, descriptor: Any) -> None:
        self.waiting.append(descriptor)

    def loseConnection(self) -> None:
        pass

    def abortConnection(self) -> None:
        pass


class Recorder(AchillesProtocol):
    def __init__(self) -> None:
        super().__init__()
        self.received: list[tuple[Message, list[Buffer]]] = []

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        self.received.append((message, chunks))


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What other tests of this process still hold does not count here."""
    monkeypatch.setattr(sealed, "_open", set())
    yield
    assert open_descriptors() == 0


def connected() -> tuple[Recorder, Passing]:
    protocol, transport = Recorder(), Passing()
    protocol.makeConnection(transport)
    protocol.exchange_descriptors()
    protocol.set_limits(Limits())
    return protocol, transport


def shared(content: bytes = b"x" * 1000) -> Sealed:
    made = seal([[content]])
    assert made is not None
    return made


def results(payload: Sealed) -> Results:
    return Results(1, 0, 1, [(0, 1, 0, 1, len(payload))], len(payload), shared=payload)


def frames(transport: Passing) -> list[tuple[Message, bytes]]:
    parser = FrameParser(Limits())
    return [(message, bytes(gather(chunks))) for message, chunks in parser.feed(transport.value())]


def test_so_many_wait_and_the_rest_goes_as_bytes() -> None:
    protocol, transport = connected()
    for _ in range(MAX_UNCLAIMED + 3):
        protocol.send(results(shared()))
    assert len(transport.waiting) == open_descriptors() == MAX_UNCLAIMED
    sent = frames(transport)
    assert [message.by_descriptor for message, _ in sent] == [True] * MAX_UNCLAIMED + [False] * 3
    assert [payload for _, payload in sent[MAX_UNCLAIMED:]] == [b"x" * 1000] * 3
    transport.waiting.clear()  # they are sent
    protocol.send(results(shared()))
    assert len(transport.waiting) == 1
    transport.waiting.clear()


def test_a_peer_that_says_nothing_is_not_given_memory_without_end() -> None:
    protocol, transport = connected()
    protocol.exchange_descriptors(2500)
    for _ in range(4):
        protocol.send(results(shared()))
        transport.waiting.clear()
    assert [message.by_descriptor for message, _ in frames(transport)] == [True, True, True, False]
    protocol.dataReceived(b"".join(map(bytes, frame_segments(Ping(1)))))
    protocol.send(results(shared()))
    assert frames(transport)[-1][0].by_descriptor
    transport.waiting.clear()


def test_who_takes_much_says_something() -> None:
    protocol, transport = connected()
    payload = shared(b"x" * (shared_payloads.TELL_BYTES // 4))
    for _ in range(9):
        message = results(payload)
        message.by_descriptor = True
        protocol.fileDescriptorReceived(os.dup(payload.descriptor.fileno()))
        protocol.dataReceived(b"".join(map(bytes, frame_segments(message))))
    assert [type(message) for message, _ in frames(transport)] == [Ping, Ping]
    protocol.received.clear()


def test_what_waits_is_closed_with_the_connection() -> None:
    protocol, transport = connected()
    protocol.send(results(shared()))
    other = shared()
    protocol.fileDescriptorReceived(os.dup(other.descriptor.fileno()))
    del other
    assert open_descriptors() == 2
    protocol.connectionLost()
    assert open_descriptors() == 0 and len(transport.waiting) == 1


def test_a_frame_and_its_descriptor_meet_in_any_order_of_arrival() -> None:
    protocol, _ = connected()
    first, second = shared(b"first"), shared(b"second")
    lines = []
    for payload in (first, second):
        message = results(payload)
        message.by_descriptor = True
        lines += frame_segments(message)
        # Ahead of their frames, as Twisted sends them.
        protocol.fileDescriptorReceived(os.dup(payload.descriptor.fileno()))
    for byte in b"".join(map(bytes, lines)):
        protocol.dataReceived(bytes([byte]))
    assert [bytes(parts(message)[0].read()) for message, _ in protocol.received] == [b"first", b"second"]


def test_large_units_are_shared_and_small_ones_not() -> None:
    large, small = [[b"x" * SHARE_BYTES], [b"y"]], [[b"z" * 1000]] * 300
    for units, expected in ((large, True), (small, False), ([[b"x"]], False)):
        parcel = Parcel(1, 0, 1, 0, 0, len(units), 1, [(1, len(unit[0])) for unit in units])
        share_units(parcel, units)
        assert (parcel.shared is not None) is expected
        if parcel.shared is not None:
            assert [bytes(part.read()) for part in parts(parcel)] == [unit[0] for unit in units]


def test_results_of_any_sizes_become_frames_that_a_header_can_hold() -> None:
    payloads: list[Any] = [b"." if number % 3 else shared(b"large") for number in range(900)]
    segments = [(number, 1, 0, 5, payload) for number, payload in enumerate(payloads)]
    seen = set()
    for frame, payload in result_frames(1, 2, 3, segments):
        frame.by_descriptor = frame.shared is not None
        line = frame_segments(frame, payload)[0]
        assert len(line) < 16_384
        seen |= {segment[0] for segment in frame.segments}
        assert (frame.shared is not None) == (not payload)
    assert seen == set(range(900))


def test_who_holds_many_copies_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_payloads, "HELD_DESCRIPTORS", 2)
    first = kept([shared(b"a")])
    others = kept([shared(b"b")]), kept([shared(b"c")])
    assert isinstance(first[0], Sealed) and isinstance(others[0][0], Sealed)
    assert others[1] == [[b"c"]]


@pytest.mark.parametrize("seed", range(20))
def test_units_are_cut_out_of_what_came_however_it_was_split(seed: int) -> None:
    chance = random.Random(seed)
    most = chance.choice([10, 3 * COPIED_BYTES])
    sizes = [chance.choice([0, 1, chance.randrange(most)]) for _ in range(chance.randrange(1, 20))]
    payload = chance.randbytes(sum(sizes))
    chunks: list[Buffer] = []
    position = 0
    while position < len(payload):
        size = chance.randrange(1, max(2, most))
        chunks.append(payload[position : position + size])
        position += size
    parcel = Parcel(1, 2, 3, 4, 0, len(sizes), 1, [(1, size) for size in sizes], len(payload))
    units = [b"".join(unit) for unit in units_of(parcel, chunks) if isinstance(unit, list)]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    assert units == [payload[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def test_large_units_are_not_copied_and_small_ones_let_go_of_their_reads() -> None:
    read = bytes(4 * COPIED_BYTES)
    large = Parcel(1, 2, 3, 4, 0, 2, 1, [(1, COPIED_BYTES), (1, 5)], COPIED_BYTES + 5)
    small = Parcel(1, 2, 3, 4, 0, 2, 1, [(1, 100), (1, 5)], 105)
    for parcel, copied in (large, False), (small, True):
        for unit in units_of(parcel, [memoryview(read)[: parcel.size]]):
            assert isinstance(unit, list)
            for part in unit:
                assert isinstance(part, memoryview)
                assert (part.obj is not read) == copied
