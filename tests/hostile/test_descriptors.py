"""Local peers that send something else than the memory they announce, or too much of it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import queue
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from achilles import sealed
from achilles.config import Settings
from achilles.errors import ProtocolError
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.achilles_controller import Controller, controller_loop
from achilles.lineReceiver.dialling import Link
from achilles.lineReceiver.wire import Limits, frame_segments
from achilles.workers.passing import MAX_UNCLAIMED
from tests.hostile.speaking import Speaker, connect, log_in
from tests.integration.cluster.parties import Cluster, wait_until

pytestmark = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")

FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()
SIZE = 1_000_000
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def memory(size: int = SIZE, seals: int = SEALS) -> int:
    number = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(number, b"x" * size)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number


def pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


BAD: dict[str, tuple[Callable[[], int] | None, str]] = {
    "none": (None, "none came"),
    "not sealed": (lambda: memory(seals=0), "not of sealed memory"),
    "open to writing": (lambda: memory(seals=SEALS & ~fcntl.F_SEAL_WRITE), "not of sealed memory"),
    "open to cutting": (lambda: memory(seals=SEALS & ~fcntl.F_SEAL_SHRINK), "not of sealed memory"),
    "too short": (lambda: memory(SIZE - 1), f"of {SIZE} bytes came by a descriptor of {SIZE - 1} bytes"),
    "too long": (lambda: memory(SIZE + 1), f"of {SIZE} bytes came by a descriptor of {SIZE + 1} bytes"),
    "a pipe": (pipe, "not of sealed memory"),
    "a directory": (lambda: os.open("/", os.O_RDONLY), "not of sealed memory"),
    "a socket": (lambda: socket.socket(socket.AF_UNIX).detach(), "not of sealed memory"),
}


@pytest.fixture
def stage(victim: Cluster) -> Iterator[ExitStack]:
    """Closes the speakers; then the server holds no more descriptors than before."""
    process = psutil.Process(victim.server.pid)
    before = process.num_fds()
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: process.num_fds() <= before, what="for the server's descriptors")


def come(stage: ExitStack, victim: Cluster, role: str, *, descriptors: bool = True) -> Speaker:
    return log_in(stage.enter_context(connect(victim, "unix")), role, descriptors=descriptors)


def pass_on(speaker: Speaker, data: bytes, number: int | None, times: int = 1) -> None:
    if number is None:
        speaker.raw(data)
        return
    try:
        assert socket.send_fds(speaker.socket, [data], [number] * times) == len(data)
    finally:
        os.close(number)


def header(message: wire.Parcel | wire.Results, size: int = SIZE) -> bytes:
    message.by_descriptor, message.size = True, size
    return bytes(frame_segments(message)[0])


def parcel(node: int, size: int = SIZE) -> wire.Parcel:
    return wire.Parcel(1, 0, 1, node, 0, 2, 2, [(2, size)])


def submitted(stage: ExitStack, victim: Cluster, *, descriptors: bool = True) -> tuple[Speaker, Speaker, int]:
    """A controller with a job, a node that takes descriptors, and the node's number."""
    controller = come(stage, victim, "controller", descriptors=descriptors)
    node = come(stage, victim, "node")
    controller.send(wire.Submit(job=1, function=HASH, session="s", chunksize=2), FUNCTION)
    return controller, node, controller.expect(wire.Demand).node


def at_work(stage: ExitStack, victim: Cluster) -> tuple[Speaker, Speaker, wire.Parcel]:
    controller, node, number = submitted(stage, victim)
    small = parcel(number, 4)
    controller.send(small, b"args")
    node.expect(wire.Job)
    return controller, node, node.expect(wire.Parcel)


@pytest.mark.parametrize("bad", BAD)
def test_a_controller_that_sends_something_else_is_refused(
    victim: Cluster, stage: ExitStack, bad: str
) -> None:
    controller, _, node = submitted(stage, victim)
    make, reason = BAD[bad]
    pass_on(controller, header(parcel(node)), make and make())
    controller.refused(reason)


@pytest.mark.parametrize("bad", BAD)
def test_a_node_that_sends_something_else_is_refused(victim: Cluster, stage: ExitStack, bad: str) -> None:
    _, node, work = at_work(stage, victim)
    make, reason = BAD[bad]
    results = wire.Results(work.job, work.parcel, work.attempt, [(0, 2, 0, 1, SIZE)])
    pass_on(node, header(results), make and make())
    node.refused(reason)


@pytest.mark.parametrize("role", ["controller", "node"])
def test_a_flood_of_descriptors_is_refused(victim: Cluster, stage: ExitStack, role: str) -> None:
    speaker = come(stage, victim, role)
    ping = b"".join(map(bytes, frame_segments(wire.Ping(1))))
    for place in range(MAX_UNCLAIMED + 1):
        pass_on(speaker, ping[place % len(ping) :][:1], memory(1))
    speaker.refused("without their frames")


def test_hundreds_of_descriptors_at_once_are_refused(victim: Cluster, stage: ExitStack) -> None:
    speaker = come(stage, victim, "controller")
    pass_on(speaker, b"{", memory(1), times=250)
    speaker.refused("too many came at once")


def test_descriptors_that_were_not_agreed_upon_are_refused(victim: Cluster, stage: ExitStack) -> None:
    speaker = come(stage, victim, "controller", descriptors=False)
    pass_on(speaker, b"{", memory(1))
    speaker.refused("nobody agreed to that")


def test_a_stranger_may_send_none(victim: Cluster, stage: ExitStack) -> None:
    speaker = stage.enter_context(connect(victim, "unix"))
    pass_on(speaker, b"{", memory(1), times=50)
    speaker.refused("nobody agreed to that")


@pytest.mark.parametrize("how", ["tls", "unix"])
def test_a_payload_that_was_not_agreed_to_come_so_is_refused(
    victim: Cluster, stage: ExitStack, how: str
) -> None:
    speaker = log_in(stage.enter_context(connect(victim, how)), descriptors=how == "tls")
    speaker.raw(header(parcel(0)))
    speaker.refused("nobody agreed to that")


def test_size_counts_against_the_limit(victim: Cluster, stage: ExitStack) -> None:
    speaker = come(stage, victim, "controller")
    pass_on(speaker, header(parcel(0, 2**60), 2**60), memory())
    speaker.refused("the limit is")


def test_a_parcel_for_a_job_that_is_over_is_let_go(victim: Cluster, stage: ExitStack) -> None:
    controller, _, node = submitted(stage, victim)
    controller.send(wire.Cancel(job=1))
    descriptors = victim.server.descriptors()
    for _ in range(200):
        pass_on(controller, header(parcel(node)), memory())
    controller.send(wire.Status())
    controller.expect(wire.StatusReply)
    assert victim.server.descriptors() <= descriptors


def test_the_memory_reaches_the_node_as_it_was_sent(victim: Cluster, stage: ExitStack) -> None:
    controller, node, number = submitted(stage, victim)
    pass_on(controller, header(parcel(number)), memory())
    numbers: list[int] = []
    came: list[wire.Message] = []
    try:
        while not any(isinstance(message, wire.Parcel) for message in came):
            data, more, _, _ = socket.recv_fds(node.socket, 65_536, 8)
            numbers += more
            came += [message for message, _ in node.parser.feed(data)]
        assert len(numbers) == 1
        assert os.pread(numbers[0], SIZE + 1, 0) == b"x" * SIZE
    finally:
        for each in numbers:
            os.close(each)


def test_a_node_that_did_not_agree_gets_the_bytes(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    node = come(stage, victim, "node", descriptors=False)
    controller.send(wire.Submit(job=1, function=HASH, session="s", chunksize=2), FUNCTION)
    number = controller.expect(wire.Demand).node
    work = wire.Parcel(1, 0, 1, number, 0, 2, 2, [(1, 999_900), (1, 4)])
    content = b"a" * 999_900 + b"." * 36 + b"bbbb"  # the second starts at a multiple of 64
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    pass_on(controller, header(work, 999_904), descriptor)
    node.expect(wire.Job)
    message, payload = node.next()
    assert isinstance(message, wire.Parcel) and not message.by_descriptor
    assert payload == b"a" * 999_900 + b"bbbb"


class Listener:
    """What a controller's connection reports."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def frame_received(self, message: wire.Message, chunks: list[Any]) -> None:
        self.said.put(message)

    def connection_lost(self, reason: BaseException | str) -> None:
        self.said.put(reason)


@pytest.mark.parametrize("bad", BAD)
def test_a_server_that_sends_something_else_loses_its_controller(bad: str) -> None:
    before = sealed.open_descriptors()
    ours, theirs = socket.socketpair()
    link = Link(ours, Settings(host="127.0.0.1", port=1))
    link.parser.limits, link.descriptors = Limits(), True
    listener = Listener()
    controller = Controller(link, controller_loop(), listener)
    controller.start()
    make, reason = BAD[bad]
    with Speaker(theirs) as server:
        pass_on(server, header(wire.Results(1, 0, 1, [(0, 1, 0, 1, SIZE)])), make and make())
        lost = listener.said.get(timeout=10)
        assert isinstance(lost, ProtocolError) and reason in str(lost)
        server.refused(reason)
    controller.close()
    wait_until(lambda: sealed.open_descriptors() == before and ours.fileno() < 0)
