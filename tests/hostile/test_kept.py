"""Kept values among liars: who asks for another program's, who answers unasked, who drops them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from achilles.limits import PIECE_BYTES
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.server_fetches import MAX_FETCHES
from tests.hostile.speaking import Speaker, connect, log_in
from tests.integration.cluster.parties import Cluster, wait_until

NAME = "5e" * 32
FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()
SIZE = 3 * PIECE_BYTES


@pytest.fixture
def stage(victim: Cluster) -> Iterator[ExitStack]:
    """Closes the speakers; then the server holds no more descriptors than before."""
    process = psutil.Process(victim.server.pid)
    before = process.num_fds()
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: process.num_fds() <= before, what="for the server's descriptors")


def come(stage: ExitStack, victim: Cluster, role: str, **more: Any) -> Speaker:
    return log_in(stage.enter_context(connect(victim, "unix")), role, job_options=wire.KEEPS_OPTION, **more)


def submit(controller: Speaker, node: int, session: str) -> None:
    job = wire.Submit(job=1, function=HASH, session=session, chunksize=2, nodes=(f"#{node}",))
    controller.send(job, FUNCTION)


def until(speaker: Speaker, kind: type) -> Any:
    """The next frame of this type; demands and the like are none of this test's business."""
    while not isinstance(message := speaker.next()[0], kind):
        pass
    return message


class Program:
    """A controller, a node that works for it, and that node's numbers of itself and of the job."""

    def __init__(self, stage: ExitStack, victim: Cluster, session: str) -> None:
        self.controller = come(stage, victim, "controller")
        before = _nodes(self.controller)
        self.node = come(stage, victim, "node")
        (self.number,) = _nodes(self.controller) - before
        submit(self.controller, self.number, session)
        demand = until(self.controller, wire.Demand)
        assert demand.node == self.number
        self.controller.send(wire.Parcel(1, 0, 1, demand.node, 0, 2, 2, [(2, 4)]), b"args")
        self.job = until(self.node, wire.Job).job
        self.node.expect(wire.Parcel)


def _nodes(controller: Speaker) -> set[int]:
    controller.send(wire.Status())
    while not isinstance((frame := controller.next())[0], wire.StatusReply):
        pass
    return {node["id"] for node in json.loads(frame[1])["nodes"]}


def question(job: int, holder: int, **changed: Any) -> wire.FetchKept:
    fields = {"request": 1, "name": NAME, "total": SIZE, "start": 0, "most": PIECE_BYTES, **changed}
    return wire.FetchKept(job=job, holder=holder, **fields)


def test_a_question_comes_in_the_session_of_its_own_job(victim: Cluster, stage: ExitStack) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "other")
    for asker, job in ((other.controller, 1), (other.node, other.job)):
        asker.send(question(job, mine.number, request=7, session="mine"))
        asked = until(mine.node, wire.FetchKept)
        assert (asked.session, asked.name, asked.job) == ("other", NAME, 0)
        mine.node.send(wire.KeptPiece(job=0, request=asked.request, found=False, reason="not yours"))
        answer = until(asker, wire.KeptPiece)
        assert (answer.job, answer.request, answer.found, answer.reason) == (job, 7, False, "not yours")


def test_nobody_asks_for_a_job_that_is_not_his(victim: Cluster, stage: ExitStack) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "other")
    for request in range(100):
        other.node.send(question(mine.job, mine.number, request=request))
        assert not until(other.node, wire.KeptPiece).found
        other.controller.send(question(request + 2, mine.number, request=request))
        assert not until(other.controller, wire.KeptPiece).found
    # Nothing of it was passed on.
    other.node.send(question(other.job, mine.number))
    assert until(mine.node, wire.FetchKept).session == "other"


def test_a_node_that_was_not_asked_answers_nothing(victim: Cluster, stage: ExitStack) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "other")
    mine.controller.send(question(1, mine.number))
    asked = until(mine.node, wire.FetchKept)
    for request in range(asked.request + 2):
        other.node.send(wire.KeptPiece(job=0, request=request, found=True, total=SIZE), b"a lie")
    other.controller.send(wire.Blob(job=1, request=asked.request, found=True, total=SIZE), b"a lie")
    other.node.send(wire.Ping(1))
    until(other.node, wire.Pong)
    mine.node.send(wire.KeptPiece(job=0, request=asked.request, found=True, total=SIZE), b"the truth")
    while not isinstance((frame := mine.controller.next())[0], wire.KeptPiece):
        pass
    assert frame[1] == b"the truth"
    other.node.send(wire.KeptPiece(job=0, request=0, found=True), bytes(PIECE_BYTES + 1))
    other.node.refused("at most")


def test_more_than_was_asked_for(victim: Cluster, stage: ExitStack) -> None:
    mine = Program(stage, victim, "mine")
    mine.controller.send(question(1, mine.number, most=10))
    asked = until(mine.node, wire.FetchKept)
    mine.node.send(wire.KeptPiece(job=0, request=asked.request, found=True, total=SIZE), b"x" * 11)
    mine.node.refused("at most 10 bytes")


def test_who_asks_without_end(victim: Cluster, stage: ExitStack) -> None:
    mine = Program(stage, victim, "mine")
    for request in range(MAX_FETCHES + 1):
        mine.controller.send(question(1, mine.number, request=request))
    mine.controller.refused("waits for at most")


def test_a_holder_that_is_gone_is_told(victim: Cluster, stage: ExitStack) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "mine")
    other.node.send(question(other.job, mine.number))
    other.controller.send(question(1, mine.number))
    for _ in range(2):
        until(mine.node, wire.FetchKept)
    mine.node.socket.close()
    for asker in (other.node, other.controller):
        assert "gone" in until(asker, wire.KeptPiece).reason
        asker.send(question(other.job if asker is other.node else 1, mine.number, request=2))
        assert "gone" in until(asker, wire.KeptPiece).reason
    # And its job, which no other node may run, is over.
    assert until(mine.controller, wire.Failed).code == "nodes"


def test_what_a_stranger_drops_is_his(victim: Cluster, stage: ExitStack) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "other")
    for job in (2, 1):
        other.controller.send(wire.DropKept(name=NAME, job=job, holder=mine.number, session="mine"))
    assert until(mine.node, wire.DropKept).session == "other"


@pytest.mark.parametrize("how", ["dropped", "lost"])
def test_those_that_fetched_it_are_told_as_well(victim: Cluster, stage: ExitStack, how: str) -> None:
    mine, other = Program(stage, victim, "mine"), Program(stage, victim, "mine")
    other.node.send(question(other.job, mine.number))
    asked = until(mine.node, wire.FetchKept)
    mine.node.send(wire.KeptPiece(job=0, request=asked.request, found=True, total=SIZE), b"some")
    until(other.node, wire.KeptPiece)
    if how == "dropped":
        mine.controller.send(wire.DropKept(name=NAME, job=1, holder=mine.number))
        assert until(mine.node, wire.DropKept).session == "mine"
    else:
        mine.node.socket.close()
    dropped = until(other.node, wire.DropKept)
    assert (dropped.name, dropped.session, dropped.job) == (NAME, "mine", 0)
