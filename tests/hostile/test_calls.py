"""Single calls among liars: who makes those of others, answers what was not asked, or has too many out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.server_calls import MAX_CALLS
from tests.hostile.speaking import Speaker, connect, log_in
from tests.integration.cluster.parties import Cluster, wait_until

FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()


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
    def come(role: str, **more: Any) -> Speaker:
        more.setdefault("calls", True)
        return log_in(stage.enter_context(connect(victim, "unix")), role, **more)

    return come


def until(speaker: Speaker, kind: type) -> Any:
    """The next frame of this type."""
    while not isinstance(message := speaker.next()[0], kind):
        pass
    return message


def submit(controller: Speaker, job: int = 1) -> None:
    controller.send(wire.Submit(job=job, function=HASH, session="mine", chunksize=2), FUNCTION)


def answered(speaker: Speaker) -> tuple[int, int]:
    answer = until(speaker, wire.Answer)
    return answer.call, answer.status


def called(node: Speaker) -> wire.Call:
    call: wire.Call = until(node, wire.Call)
    return call


def test_a_call_goes_to_the_node_after_its_job_and_the_answer_comes_back(come: Any) -> None:
    node, controller = come("node"), come("controller")
    submit(controller)
    controller.send(wire.Call(1, 7, 40), b"argument")
    job = until(node, wire.Job).job
    message, payload = node.next()
    assert (message.job, message.index, payload) == (job, 40, b"argument")
    node.send(wire.Answer(message.call, 0, 5), b"result")
    while not isinstance((frame := controller.next())[0], wire.Answer):
        pass
    assert frame == (wire.Answer(7, 0, 5, 6), b"result")
    controller.send(wire.Cancel(1))
    assert until(node, wire.Forget).job == job


def test_calls_of_jobs_that_one_does_not_have_are_refused_and_go_nowhere(come: Any) -> None:
    node, mine, other = come("node"), come("controller"), come("controller")
    submit(mine)
    mine.send(wire.Call(1, 1, 0), b"mine")
    call = called(node)
    for job in (call.job + 1, 2, 10**9):
        other.send(wire.Call(job, job, 0), b"other")
        assert answered(other) == (job, wire.CALL_REFUSED)
    other.send(wire.GiveUp(call=1))
    mine.send(wire.GiveUp(call=99))
    mine.send(wire.Call(1, 2, 0), b"mine")
    message, payload = node.next()
    assert isinstance(message, wire.Call) and payload == b"mine"  # and no other came in between


def test_without_a_node_that_takes_calls_they_are_refused(come: Any) -> None:
    controller = come("controller")
    submit(controller)
    controller.send(wire.Call(1, 1, 0), b"x")
    assert answered(controller) == (1, wire.CALL_REFUSED)
    old = come("node", calls=False)
    controller.send(wire.Call(1, 2, 0), b"x")
    assert answered(controller) == (2, wire.CALL_REFUSED)
    old.send(wire.Ping(1))
    assert isinstance(old.next()[0], wire.Pong)


def test_a_number_that_is_out_is_not_used_again(come: Any) -> None:
    come("node")
    controller = come("controller")
    submit(controller)
    for _ in range(2):
        controller.send(wire.Call(1, 7, 0), b"x")
    controller.refused("was made before")


def test_a_flood_is_refused_beyond_the_bound(come: Any) -> None:
    node, controller = come("node"), come("controller")
    submit(controller)
    for number in range(MAX_CALLS + 3):
        controller.send(wire.Call(1, number, 0), b"x")
    for number in range(MAX_CALLS, MAX_CALLS + 3):
        assert answered(controller) == (number, wire.CALL_REFUSED)
    calls = [called(node) for _ in range(MAX_CALLS)]
    node.send(wire.Answer(calls[5].call, 2, 0), b"failed")
    assert answered(controller) == (5, 2)
    controller.send(wire.Call(1, 5, 0), b"x")
    assert called(node).call > calls[-1].call


def test_a_call_that_is_too_large_is_refused_by_its_header(come: Any) -> None:
    come("node")
    controller = come("controller")
    submit(controller)
    controller.raw(b"C 1 1 0 65537\r\n")
    controller.refused("announces more than 65536 bytes")


def test_nothing_goes_to_a_node_that_reads_nothing(come: Any) -> None:
    come("node")  # and never reads
    controller = come("controller")
    submit(controller)
    refused = number = 0
    while refused < 10:
        controller.send(wire.Call(1, number, 0), bytes(wire.MAX_CALL_BYTES))
        controller.send(wire.GiveUp(call=number))
        controller.send(wire.Ping(1))
        message = controller.next()[0]
        while not isinstance(message, wire.Pong):
            refused += isinstance(message, wire.Answer)
            message = controller.next()[0]
        number += 1
        assert number < 500


def test_a_node_that_answers_what_it_was_not_asked(come: Any) -> None:
    node, other, controller = come("node"), come("node"), come("controller")
    submit(controller)
    controller.send(wire.Call(1, 1, 0), b"x")
    controller.send(wire.Ping(1))
    until(controller, wire.Pong)
    for speaker in (node, other):
        speaker.send(wire.Ping(1))
    frames = {speaker: speaker.next()[0] for speaker in (node, other)}
    (asked,) = [speaker for speaker, frame in frames.items() if isinstance(frame, wire.Job)]
    liar = other if asked is node else node
    call = called(asked)
    liar.send(wire.Answer(call.call, 0, 0), b"a lie")
    liar.refused("was not sent to")
    asked.send(wire.Answer(call.call, 0, 0), b"the truth")
    assert answered(controller) == (1, 0)
    asked.send(wire.Answer(call.call, 0, 0), b"again")  # as of one that was given up
    asked.send(wire.Answer(call.call + 1, 0, 0), b"a guess")
    asked.refused("was not sent to")
    controller.send(wire.Status())
    assert isinstance(until(controller, wire.Answer | wire.StatusReply), wire.StatusReply)


def test_a_controller_answers_nothing_and_a_node_calls_nobody(come: Any) -> None:
    node, controller = come("node"), come("controller")
    controller.send(wire.Answer(1, 0, 0), b"x")
    controller.refused("answer frame is not allowed")
    node.send(wire.Call(1, 1, 0), b"x")
    node.refused("call frame is not allowed")


def test_what_a_lost_node_or_a_job_that_is_over_leaves_is_answered(come: Any) -> None:
    node, controller = come("node"), come("controller")
    submit(controller)
    submit(controller, 2)
    for number, job in enumerate((1, 2, 1)):
        controller.send(wire.Call(job, number, 0), b"x")
    calls = [called(node) for _ in range(3)]
    controller.send(wire.Cancel(1))
    assert {answered(controller), answered(controller)} == {(0, wire.CALL_LOST), (2, wire.CALL_LOST)}
    node.send(wire.Answer(calls[0].call, 0, 0), b"late")
    node.socket.close()
    assert answered(controller) == (1, wire.CALL_LOST)


def test_a_call_that_was_given_up_is_told_to_its_node_and_its_answer_dropped(come: Any) -> None:
    node, controller = come("node"), come("controller")
    submit(controller)
    controller.send(wire.Call(1, 7, 0), b"x")
    call = called(node)
    controller.send(wire.GiveUp(call=7))
    assert until(node, wire.GiveUp).call == call.call
    node.send(wire.Answer(call.call, 0, 0), b"late")
    controller.send(wire.Call(1, 7, 1), b"x")
    node.send(wire.Answer(called(node).call, 0, 9), b"of the second")
    assert until(controller, wire.Answer) == wire.Answer(7, 0, 9, 13)


def test_calls_of_a_controller_that_is_gone(come: Any) -> None:
    node, controller = come("node"), come("controller")
    submit(controller)
    controller.send(wire.Call(1, 7, 0), b"x")
    call = called(node)
    controller.socket.close()
    assert until(node, wire.Forget).job == call.job
    node.send(wire.Answer(call.call, 0, 0), b"late")
    node.send(wire.Ping(1))
    until(node, wire.Pong)
