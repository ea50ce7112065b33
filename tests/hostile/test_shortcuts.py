"""Who abuses the socket that goes past the server: with jobs of others, too many calls, or other bytes."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from achilles import sealed
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.server_shortcuts import MAX_SHORTCUTS_OF_ONE
from achilles.lineReceiver.wire import Limits
from tests.hostile.speaking import Speaker, connect, log_in
from tests.integration.cluster.parties import Cluster, Party, wait_until

pytestmark = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")

FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()
NEW = {"calls": True, "descriptors": True, "shortcuts": True}


class Near(Speaker):
    """A peer that takes descriptors."""

    def __init__(self, speaker: Speaker) -> None:
        super().__init__(speaker.socket)
        self.parser, self.waiting = speaker.parser, speaker.waiting
        self.numbers: list[int] = []

    def next(self) -> tuple[wire.Message, bytes]:
        while True:
            while not self.waiting:
                data, numbers, _, _ = socket.recv_fds(self.socket, 65_536, 8)
                self.numbers += numbers
                if not data:
                    raise EOFError("the other side has closed the connection")
                self.waiting += self.parser.feed(data)
            message, chunks = self.waiting.pop(0)
            if not isinstance(message, wire.Ping | wire.Capacity):
                return message, b"".join(chunks)

    def until(self, kind: type) -> Any:
        while not isinstance(message := self.next()[0], kind):
            pass
        return message

    def call(self, job: int, number: int) -> int:
        """Make a call; what its answer says."""
        self.send(wire.Call(job, number, 0), b"argument")
        answer = self.until(wire.Answer)
        assert answer.call == number
        return int(answer.status)

    def shortcut(self) -> tuple[wire.Shortcut, Speaker]:
        """The next that is opened."""
        message = self.until(wire.Shortcut)
        assert message.opens
        return message, Near(Speaker(socket.socket(fileno=self.numbers.pop(0))))


@pytest.fixture
def stage(victim: Cluster) -> Iterator[ExitStack]:
    """Closes the speakers; then the server holds no more descriptors than before."""
    process = psutil.Process(victim.server.pid)
    before = process.num_fds()
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: process.num_fds() <= before, what="for the server's descriptors")


@pytest.fixture
def come(victim: Cluster, stage: ExitStack) -> Any:
    def come(role: str, **more: Any) -> Near:
        speaker = stage.enter_context(connect(victim, "unix"))
        return Near(log_in(speaker, role, **{**NEW, **more}))

    return come


@pytest.fixture
def node(victim: Cluster) -> Iterator[Party]:
    """A real node of one worker, which holds no more descriptors after the test than before."""
    found = victim.start_node(1)
    process = psutil.Process(found.pid)
    wait_until(lambda: len(found.descendants()) >= 1)
    before = process.num_fds()
    yield found
    wait_until(lambda: process.num_fds() <= before, what="for the node's descriptors")
    victim.end_node(found)


def submit(controller: Near, job: int = 1) -> None:
    controller.send(wire.Submit(job=job, function=HASH, session="mine", chunksize=2), FUNCTION)


def led(stage: ExitStack, controller: Near) -> tuple[int, Near]:
    """The number of job 1 at its node, and the socket to that."""
    submit(controller)
    number = 0
    while controller.call(1, number) == wire.CALL_REFUSED:  # its worker is about to start
        number += 1
    message, shortcut = controller.shortcut()
    assert message.job == 1 and isinstance(shortcut, Near)
    return message.there, stage.enter_context(shortcut)


def goes_on(controller: Near) -> None:
    """What happened on the shortcut harms nothing else."""
    assert controller.call(1, 1000) != wire.CALL_REFUSED


def test_it_runs_what_was_named_for_it(node: Party, come: Any, stage: ExitStack) -> None:
    controller = come("controller")
    there, shortcut = led(stage, controller)
    assert shortcut.call(there, 7) == 2  # its function cannot be loaded
    controller.send(wire.Cancel(1))
    wait_until(lambda: shortcut.call(there, 7) == wire.CALL_REFUSED)


def test_jobs_of_others_are_refused(node: Party, come: Any, stage: ExitStack) -> None:
    mine, other = come("controller"), come("controller")
    there, shortcut = led(stage, mine)
    theirs, _ = led(stage, other)
    assert theirs != there
    for number, job in enumerate((theirs, there + 100, 2**62)):
        assert shortcut.call(job, number) == wire.CALL_REFUSED
    assert shortcut.call(there, 9) == 2


@pytest.mark.parametrize(
    ("said", "because"),
    [
        (b"what is this?", "starts with one of"),
        (b"C 1 1 0 65537\r\n", "announces more than 65536"),
        (b"C 1 01 0 0\r\n", "header of a call"),
        (b"A 1 0 0 0\r\n", "answer frame is not allowed"),
        (b'{"type":"ping","sent_ns":1}\r\n', "ping frame is not allowed"),
        (b'{"type":"status"}\r\n', "status frame is not allowed"),
        (b'{"type":"job","job":9,"function":"","session":"x"}\r\n', "job frame is not allowed"),
        (b'{"type":"shortcut","shortcut":1,"job":1}\r\n', "shortcut frame is not allowed"),
        (b'{"type":"output","job":1,"stream":1}\r\n', "output frame is not allowed"),
    ],
)
def test_other_bytes_end_it_and_nothing_else(
    node: Party, come: Any, stage: ExitStack, said: bytes, because: str
) -> None:
    controller = come("controller")
    _, shortcut = led(stage, controller)
    shortcut.raw(said)
    shortcut.refused(because)
    goes_on(controller)


def test_descriptors_that_nobody_wants_are_closed(node: Party, come: Any, stage: ExitStack) -> None:
    controller = come("controller")
    _, shortcut = led(stage, controller)
    shortcut.send(wire.GiveUp(call=1))
    pipe = os.pipe()
    try:
        for _ in range(65):
            socket.send_fds(shortcut.socket, [b'{"type":"give_up","call":1}\r\n'], [pipe[0]])
        shortcut.refused("without their frames")
    finally:
        for number in pipe:
            os.close(number)
    goes_on(controller)


def test_who_reads_nothing_is_not_answered_without_end(node: Party, come: Any, stage: ExitStack) -> None:
    controller = come("controller")
    _, shortcut = led(stage, controller)
    process = psutil.Process(node.pid)
    before_bytes = process.memory_info().rss
    calls = b"".join(b"C 99 %d 0 0\r\n" % number for number in range(10_000))
    for _ in range(100):
        shortcut.raw(calls)
    assert process.memory_info().rss - before_bytes < 16 << 20
    shortcut.refused("their answers are not read")
    goes_on(controller)


def test_it_ends_with_its_controller_and_with_its_node(come: Any, victim: Cluster, stage: ExitStack) -> None:
    node, first, second = come("node"), come("controller"), come("controller")
    ends = []
    for number, controller in enumerate((first, second)):
        submit(controller)
        controller.send(wire.Call(1, number, 0), b"x")
        call = node.until(wire.Call)
        node.send(wire.Answer(call.call, 0, 5), b"result")
        ends.append((controller.shortcut()[1], node.shortcut()[1]))
        for end in ends[-1]:
            stage.enter_context(end)
    first.socket.close()
    for end in ends[0]:
        assert end.socket.recv(1) == b""
    node.socket.close()
    for end in ends[1]:
        assert end.socket.recv(1) == b""


def test_only_those_that_said_so_get_one(come: Any, stage: ExitStack) -> None:
    for old in ({"shortcuts": False}, {"descriptors": False}):
        for parties in ((NEW, old), (old, NEW)):
            node, controller = come("node", **parties[0]), come("controller", **parties[1])
            submit(controller)
            controller.send(wire.Call(1, 1, 0), b"x")
            node.send(wire.Answer(node.until(wire.Call).call, 0, 5), b"result")
            assert isinstance(controller.until(wire.Answer | wire.Shortcut), wire.Answer)
            controller.send(wire.Status())
            assert not controller.numbers and isinstance(controller.next()[0], wire.StatusReply)
            controller.socket.close()
            node.socket.close()


def test_a_closed_one_is_replaced_and_each_job_is_named_once(come: Any, stage: ExitStack) -> None:
    node, controller = come("node"), come("controller")
    for job in (1, 2):
        submit(controller, job)

    def calls(job: int, number: int) -> None:
        controller.send(wire.Call(job, number, 0), b"x")
        node.send(wire.Answer(node.until(wire.Call).call, 0, 5), b"result")

    calls(1, 1)
    opened, mine = controller.shortcut()
    _, its = node.shortcut()
    calls(2, 2)
    named = controller.until(wire.Shortcut)
    assert (named.shortcut, named.job, named.opens) == (opened.shortcut, 2, False)
    assert node.until(wire.Shortcut).job == named.there != opened.there
    calls(2, 3)
    calls(1, 4)
    controller.until(wire.Answer)
    controller.send(wire.Status())
    assert isinstance(controller.until(wire.Shortcut | wire.StatusReply), wire.StatusReply)
    mine.socket.close()
    its.socket.close()
    calls(1, 5)
    again, end = controller.shortcut()
    with end:
        assert again.shortcut > opened.shortcut


def test_there_are_few_for_a_controller(come: Any, stage: ExitStack) -> None:
    controller = come("controller")
    submit(controller)
    opened = 0
    for number in range(MAX_SHORTCUTS_OF_ONE + 2):
        # The nodes before it go on to be connected, but take nothing more.
        node = come("node")
        while True:
            controller.send(wire.Call(1, number, 0), b"x")
            node.socket.settimeout(0.5)
            try:
                call = node.until(wire.Call)
            except TimeoutError:
                continue
            break
        node.socket.settimeout(20)
        node.send(wire.Answer(call.call, 0, 5), b"result")
        answered = controller.until(wire.Answer)
        assert answered.status == 0
        node.send(wire.Drain())
        controller.send(wire.Status())
        while not isinstance(message := controller.next()[0], wire.StatusReply):
            opened += isinstance(message, wire.Shortcut)
    assert opened == len(controller.numbers) == MAX_SHORTCUTS_OF_ONE
    for each in controller.numbers:
        os.close(each)


def test_a_payload_without_end_is_refused_before_it_comes(node: Party, come: Any, stage: ExitStack) -> None:
    assert Limits().payload_bytes > wire.MAX_CALL_BYTES
    controller = come("controller")
    there, shortcut = led(stage, controller)
    shortcut.raw(b"C %d 1 0 %d\r\n" % (there, 2**40))
    shortcut.refused("announces more than 65536")
