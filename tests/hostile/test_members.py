"""Attacks on the server by peers that have logged in: nodes and controllers that lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from achilles.core.promised import MAX_PROMISED
from achilles.core.scheduler_state import MAX_UNASKED
from achilles.lineReceiver import messages as wire
from tests.hostile.speaking import Speaker, connect, log_in
from tests.integration.cluster.parties import Cluster

FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()


@pytest.fixture
def stage(victim: Cluster) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def come(stage: ExitStack, victim: Cluster, role: str, how: str = "unix", cpu_count: int = 1) -> Speaker:
    return log_in(stage.enter_context(connect(victim, how)), role, cpu_count)


def submit(controller: Speaker, job: int = 1, **changed: object) -> None:
    fields = {"job": job, "function": HASH, "session": "s", "chunksize": 2, **changed}
    controller.send(wire.Submit(**fields), FUNCTION)


def parcel(node: int = 0, **changed: int) -> wire.Parcel:
    fields = {"job": 1, "parcel": 0, "attempt": 1, "node": node, "first": 0, "tasks": 2, "packet_tasks": 2}
    fields.update(changed)
    return wire.Parcel(**fields, units=[(fields["tasks"], 4)])


def at_work(stage: ExitStack, victim: Cluster) -> tuple[Speaker, Speaker, wire.Parcel]:
    """A controller and a node that has its one parcel, items 0 and 1."""
    controller, node = come(stage, victim, "controller"), come(stage, victim, "node")
    submit(controller)
    demand = controller.expect(wire.Demand)
    controller.send(parcel(demand.node), b"args")
    node.expect(wire.Job)
    return controller, node, node.expect(wire.Parcel)


LIES = {
    "too many": [(0, 3, 0, 1, 1)],
    "elsewhere": [(7, 2, 0, 1, 1)],
    "twice": [(0, 1, 0, 1, 1), (0, 1, 0, 1, 0)],
    "overlapping": [(0, 2, 0, 1, 1), (1, 1, 0, 1, 0)],
    "nothing": [(0, 0, 0, 1, 1)],
    "absurd": [(2**62, 2**62, 2, 2**62, 1)],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_lies_is_dropped_and_its_work_done_elsewhere(
    victim: Cluster, stage: ExitStack, lie: str
) -> None:
    controller, liar, work = at_work(stage, victim)
    liar.send(wire.Results(work.job, work.parcel, work.attempt, LIES[lie]), b"x")
    liar.refused("the results of parcel 0 hold")
    liar.socket.close()
    honest = come(stage, victim, "node")
    while not isinstance(asked := controller.next()[0], wire.Resend):
        pass
    controller.send(parcel(asked.node, attempt=asked.attempt), b"args")
    honest.expect(wire.Job)
    work = honest.expect(wire.Parcel)
    honest.send(wire.Results(work.job, work.parcel, work.attempt, [(0, 2, 0, 1, 2)]), b"ok")
    while not isinstance(answer := controller.next(), tuple) or not isinstance(answer[0], wire.Results):
        pass
    assert answer[1] == b"ok"


def test_a_node_may_only_ask_for_modules_of_its_jobs(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    submit(controller, python=(3, 99))  # no node can run it, so none works for it
    spy = come(stage, victim, "node")
    for job in range(200):
        spy.send(wire.Fetch(job=job, request=job, module="secrets_of_others"))
        assert not spy.expect(wire.Fetched).found
    controller.send(wire.Status())
    controller.expect(wire.StatusReply)  # nothing else was asked of it


def test_a_node_that_fetches_without_end(victim: Cluster, stage: ExitStack) -> None:
    _, node, work = at_work(stage, victim)
    for request in range(4097):
        node.send(wire.Fetch(job=work.job, request=request, module="m"))
    node.refused("at most 4096 modules")


def test_results_of_jobs_that_are_not_there(victim: Cluster, stage: ExitStack) -> None:
    node = come(stage, victim, "node")
    for number in range(2000):
        node.send(wire.Results(number, 0, 1, [(0, 1, 0, 1, 1)]), b"x")
        node.send(wire.Returned(job=number, parcel=0, attempt=1, given=True))
    node.send(wire.Fetch(job=1, request=1, module="m"))
    node.expect(wire.Fetched)


def test_a_node_more_of_whose_slots_have_calls_than_it_has(victim: Cluster, stage: ExitStack) -> None:
    node = come(stage, victim, "node")
    node.send(wire.Lent(slots=wire.MAX_SLOTS))
    node.refused("slots of a node that has")


def test_a_node_that_tells_of_its_slots_without_end_gets_its_work(victim: Cluster, stage: ExitStack) -> None:
    controller, node, work = at_work(stage, victim)
    for slots in (0, 1) * 2000:
        node.send(wire.Lent(slots=slots))
    node.send(wire.Lent(slots=0))
    node.send(wire.Results(work.job, work.parcel, work.attempt, [(0, 1, 0, 1, 1)]), b"x")
    asked = 0
    while isinstance(message := controller.next()[0], wire.Demand):
        asked += 1
    assert isinstance(message, wire.Results) and asked <= 1


@pytest.mark.parametrize("how", ["unix", "tls"])
@pytest.mark.parametrize(
    "message",
    [
        wire.Submit(job=1, function=HASH, session="s", chunksize=1),
        wire.Status(),
        wire.Kill(shutdown_server=True),
        wire.Demand(job=1, node=0, cpu_count=1, packets=1, grant=0),
        wire.Hello(protocol=1, role="controller"),
        parcel(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_a_node_may_not_say(victim: Cluster, stage: ExitStack, message: wire.Message, how: str) -> None:
    node = come(stage, victim, "node", how)
    node.send(message, b"args" if isinstance(message, wire.Parcel) else b"")
    node.refused("is not allowed here")


def test_a_function_under_another_ones_hash(victim: Cluster, stage: ExitStack) -> None:
    thief = come(stage, victim, "controller")
    submit(thief, function=hashlib.sha256(b"somebody else's").hexdigest())
    thief.refused("does not have the hash")


def test_the_same_job_twice(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    submit(controller)
    submit(controller)
    controller.refused("submitted before")


def test_a_slice_of_nothing(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    submit(controller, chunksize=0)
    controller.refused("chunksize")


def test_a_huge_slice_and_a_huge_parcel(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    come(stage, victim, "node", cpu_count=4096)
    submit(controller, chunksize=10**18)
    controller.expect(wire.Demand)
    controller.raw(b"P 1 0 1 0 0 1000000000000000000 1 1000000000000000000:4 4\r\nargs")
    controller.refused("more tasks than can be counted")


def test_parcels_for_nobody(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    controller.send(parcel(job=77), b"args")
    controller.send(wire.Cancel(job=77))
    controller.send(wire.Exhausted(job=77))
    controller.send(wire.Fetched(job=77, request=5, found=True), b"nobody asked")
    submit(controller)
    for number in range(MAX_UNASKED + 1):
        controller.send(parcel(9, parcel=number), b"args")
    controller.refused("was not asked for")


def test_parcels_by_the_thousand_do_not_reach_a_node(victim: Cluster, stage: ExitStack) -> None:
    controller, node, work = at_work(stage, victim)
    for number in range(1, 100):
        controller.send(parcel(work.node, parcel=number), b"args")
    controller.refused("was not asked for")
    controller.socket.close()
    while not isinstance(node.next()[0], wire.Forget):
        pass


def test_more_parcels_than_were_promised(victim: Cluster, stage: ExitStack) -> None:
    """A promise for nodes that never were spares no bound, and one that is not kept keeps no room."""
    controller, node = come(stage, victim, "controller"), come(stage, victim, "node")
    submit(controller, promised=(7_000, 7_001) * (MAX_PROMISED // 2))
    for number in range(MAX_PROMISED + MAX_UNASKED + 2):  # one answers a demand that was made
        controller.send(parcel(7_000 + number % 2, parcel=number), b"args")
    controller.refused("was not asked for")
    silent, honest = come(stage, victim, "controller"), come(stage, victim, "controller")
    submit(silent, promised=(0, 1, 2, 3, 4, 5, 6, 7))
    submit(honest)
    honest.send(parcel(honest.expect(wire.Demand).node), b"args")
    while not isinstance(node.next()[0], wire.Parcel):
        pass


def test_promises_by_the_thousand(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    fields = ",".join(["0"] * (MAX_PROMISED + 1))
    line = (
        f'{{"type":"submit","job":1,"function":"{HASH}","session":"s","chunksize":1,"promised":[{fields}]}}'
    )
    controller.raw(line.encode() + b"\r\n")
    controller.refused(f"length <= {MAX_PROMISED}")


def test_jobs_by_the_thousand(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    for job in range(10_001):
        submit(controller, job)
    controller.refused("at most 10000 live jobs")


@pytest.mark.parametrize("how", ["unix", "tls"])
def test_a_controller_that_never_reads(victim: Cluster, stage: ExitStack, how: str) -> None:
    """The server here may keep 32 MiB for all controllers."""
    lines = len(victim.server.lines)
    lazy, other = come(stage, victim, "controller", how), come(stage, victim, "controller")
    node = come(stage, victim, "node")
    submit(lazy)
    demand = lazy.expect(wire.Demand)
    lazy.send(parcel(demand.node), b"args")
    node.expect(wire.Job)
    work = node.expect(wire.Parcel)
    for index in range(2):
        payload = bytes(24 << 20)
        node.send(
            wire.Results(work.job, work.parcel, work.attempt, [(index, 1, 0, 1, len(payload))]), payload
        )
    while not isinstance(node.next()[0], wire.Forget):
        pass
    line = victim.server.wait_for("WARNING:achilles.server:controller", after=lines)
    assert "reads nothing" in line and "MEMORY_BUDGET is 32 MiB" in line
    assert sum("reads nothing" in said for said in victim.server.lines[lines:]) == 1
    other.send(wire.Status())
    other.expect(wire.StatusReply)
    with pytest.raises(OSError):  # noqa: PT012 - some of it was read by the kernel
        while lazy.socket.recv(1 << 20):
            pass
        raise ConnectionResetError


@pytest.mark.parametrize("node_comes", ["before", "after"])
def test_a_whole_job_gets_its_node_when_there_is_one(
    victim: Cluster, stage: ExitStack, node_comes: str
) -> None:
    node = come(stage, victim, "node") if node_comes == "before" else None
    controller = come(stage, victim, "controller")
    submit(controller, whole=True)
    controller.send(parcel(node=77), b"args")
    node = node or come(stage, victim, "node")
    node.expect(wire.Job)
    work = node.expect(wire.Parcel)
    node.send(wire.Results(work.job, work.parcel, work.attempt, [(0, 2, 0, 1, 2)]), b"ok")
    controller.expect(wire.Results)
    controller.expect(wire.Finished)
    node.expect(wire.Forget)


def test_a_whole_job_whose_node_is_lost_is_asked_for_again(victim: Cluster, stage: ExitStack) -> None:
    controller, lost = come(stage, victim, "controller"), come(stage, victim, "node")
    submit(controller, whole=True)
    controller.send(parcel(), b"args")
    lost.expect(wire.Job)
    lost.expect(wire.Parcel)
    lost.socket.close()
    node = come(stage, victim, "node")
    asked = controller.expect(wire.Resend)
    controller.send(parcel(asked.node, attempt=asked.attempt), b"args")
    node.expect(wire.Job)
    work = node.expect(wire.Parcel)
    node.send(wire.Results(work.job, work.parcel, work.attempt, [(0, 2, 0, 1, 2)]), b"ok")
    controller.expect(wire.Results)
    controller.expect(wire.Finished)


def test_a_whole_job_is_small_and_one_parcel(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    submit(controller, whole=True)
    big = wire.Parcel(1, 0, 1, 0, 0, 2, 2, [(2, wire.MAX_WHOLE_BYTES + 1)])
    controller.send(big, bytes(wire.MAX_WHOLE_BYTES + 1))
    controller.refused("a whole input is one parcel")
    controller = come(stage, victim, "controller")
    submit(controller, whole=True)
    controller.send(parcel(), b"args")
    controller.send(parcel(parcel=1, first=2), b"args")
    controller.refused("a whole input is one parcel")


def test_a_controller_that_cancels_what_is_not_in_its_parcel(victim: Cluster, stage: ExitStack) -> None:
    controller, node, work = at_work(stage, victim)
    controller.send(wire.CancelItem(1, 0, 1, 1))
    assert node.expect(wire.CancelItem) == wire.CancelItem(work.job, 0, 1, 1)
    controller.send(wire.CancelItem(1, 0, 1, 2))
    controller.refused("item 2 was cancelled, and is not in parcel 0")


def test_items_cancelled_beforehand_reach_the_node_before_their_parcel(
    victim: Cluster, stage: ExitStack
) -> None:
    controller, node = come(stage, victim, "controller"), come(stage, victim, "node")
    submit(controller)
    demand = controller.expect(wire.Demand)
    for index in (1, 7):
        controller.send(wire.CancelItem(1, 0, 1, index))
    controller.send(parcel(demand.node), b"args")
    job = node.expect(wire.Job).job
    assert node.next()[0] == wire.CancelItem(job, 0, 1, 1)
    assert isinstance(node.next()[0], wire.Parcel)
