"""Descriptors arrive with the bytes that tell of them, in order, and none is lost or left open."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest

from achilles import sealed
from achilles.errors import ProtocolError
from achilles.sealed import Descriptor, open_descriptors, seal
from achilles.workers.channel import BlockingChannel
from achilles.workers.frames import BY_DESCRIPTOR, PLACE, BrokenChannelError, FrameReader, pack_header
from achilles.workers.passing import MAX_UNCLAIMED, Arrived, SendQueue, receive, rights

pytestmark = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    before = open_descriptors()
    with ours, theirs:
        yield ours, theirs
    assert open_descriptors() == before


def shared(content: bytes) -> Descriptor:
    made = seal([[content]])
    assert made is not None
    return made.descriptor


def content_of(descriptor: Descriptor) -> bytes:
    return os.pread(descriptor.fileno(), 100, 0)


def test_a_queue_sends_each_descriptor_with_its_bytes(pair: Pair) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    rng = random.Random(3)
    queue, expected = SendQueue(), []
    for number in range(40):
        if rng.random() < 0.5:
            queue.put([b"." * rng.randrange(9_000), b"."])
        else:
            queue.put([b"D", b"." * rng.randrange(5_000)], shared(b"%d" % number))
            expected.append(b"%d" % number)
    arrived, came = Arrived(), []
    while queue:
        try:
            queue.send(ours)
        except BlockingIOError:
            # No letter is seen before its descriptor can be claimed.
            for _ in range(receive(theirs, 3_000, arrived).count(b"D")):
                came.append(content_of(arrived.claim()))
    ours.close()
    while data := receive(theirs, 3_000, arrived):
        came += [content_of(arrived.claim()) for _ in range(data.count(b"D"))]
    assert came == expected
    assert queue.size_bytes == queue.descriptors == 0


def test_a_queue_that_is_cleared_closes_what_waited() -> None:
    queue = SendQueue()
    before = open_descriptors()
    queue.put([b"x"], shared(b"content"))
    assert queue.descriptors == 1 and open_descriptors() == before + 1
    queue.clear()
    assert queue.descriptors == queue.size_bytes == 0 and open_descriptors() == before


def test_a_flood_is_refused(pair: Pair) -> None:
    ours, theirs = pair
    arrived = Arrived()
    descriptor = shared(b"content")
    for _ in range(MAX_UNCLAIMED):
        ours.sendmsg([b"x"], rights(descriptor))
        receive(theirs, 100, arrived)
    ours.sendmsg([b"x"], rights(descriptor))
    with pytest.raises(ProtocolError, match="without their frames"):
        receive(theirs, 100, arrived)
    arrived.close()


def test_too_many_at_once_are_refused(pair: Pair) -> None:
    ours, theirs = pair
    arrived = Arrived()
    descriptor = shared(b"content")
    level, kind, one = rights(descriptor)[0]
    ours.sendmsg([b"x"], [(level, kind, one * 200)])
    with pytest.raises(ProtocolError, match="descriptors were lost"):
        receive(theirs, 100, arrived)
    arrived.close()


def test_what_did_not_come_cannot_be_claimed() -> None:
    with pytest.raises(ProtocolError, match="none came"):
        Arrived().claim()


def test_a_worker_reads_what_came_by_descriptor_as_memory_of_its_own(pair: Pair) -> None:
    ours, theirs = pair
    channel = BlockingChannel(theirs.detach())
    descriptor = shared(b"content")
    place = PLACE.pack(3, 2, 7)
    header = pack_header(2 | BY_DESCRIPTOR, 0, 1, 5, 6, 7, len(place))
    ours.sendmsg([header[:11]], rights(descriptor))
    ours.sendall(header[11:] + place)
    messages = channel.receive() or channel.receive()
    assert messages == [(2, 0, 1, 5, 6, 7, bytearray(b"te"))]
    channel.close()


@pytest.mark.parametrize(
    "payload",
    [PLACE.pack(0, 8, 7), PLACE.pack(0, 7, 8), PLACE.pack(2**63, 2**63, 7), b"short", bytes(100)],
    ids=["too long", "another size", "overflow", "cut", "no place"],
)
def test_a_worker_that_lies_about_its_memory_breaks_its_channel(payload: bytes) -> None:
    reader = FrameReader()
    reader.arrived.put(shared(b"content"))
    stream = pack_header(17 | BY_DESCRIPTOR, 0, 1, 0, 0, 0, len(payload)) + payload
    reader.target()[: len(stream)] = stream
    with pytest.raises(BrokenChannelError):
        reader.received(len(stream))
