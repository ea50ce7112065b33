"""Jobs with a priority, jobs for some nodes only, and tasks that take several slots."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles import NoNodesError, getClusterStatus, imap
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import Cluster, Place, wait_until
from tests.integration.cluster.test_other_python import HASTY_SERVER


def run(where: dict[str, Any], func: Callable[[Any], Any], args: Iterable[Any], **needs: Any) -> list[Any]:
    """All results of a call."""
    return [result for packet in imap(func, args, **needs, **where) for result in packet["RESULT"]]


@pytest.fixture(scope="module")
def named(place: Place) -> Iterator[Cluster]:
    """A server with nodes that are called alice and gpu-7; half a second of patience instead of ten."""
    cluster = Cluster(place, server_code=HASTY_SERVER)
    try:
        cluster.start_node(1, name="alice")
        cluster.start_node(4, name="gpu-7.Lab")
        yield cluster
    finally:
        cluster.close()


@pytest.mark.parametrize(
    ("nodes", "ran"),
    [
        (("gpu*",), {1}),
        (("*.lab",), {1}),
        (("ALICE", "bob"), {0}),
        (("127.0.0.*",), {0, 1}),
        (("localhost",), {0, 1}),
    ],
)
def test_a_job_runs_on_its_nodes_alone(named: Cluster, nodes: tuple[str, ...], ran: set[int]) -> None:
    found = run(named.address, tasks.parent_and_item, range(60), nodes=nodes)
    assert [number for _, number in found] == list(range(60))
    assert {node for node, _ in found} <= {named.nodes[number].pid for number in ran}
    assert run(named.address, tasks.square, [[7]], nodes=nodes) == [49]


def test_over_tls_as_well(named: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    found = run(named.with_key, tasks.parent_and_item, [3], nodes=("gpu-?.lab",), slots=2, priority=5)
    assert found == [(named.nodes[1].pid, 3)]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"nodes": ("bob", "carol*")}, ["`bob` and `carol*`", "alice (127.0.0.1", "gpu-7.Lab (127.0.0.1"]),
        ({"slots": 5}, ["5 slots", "gpu-7.Lab", "has 4"]),
        ({"slots": 2, "nodes": ("alice",)}, ["2 slots", "`alice`", "has 1"]),
    ],
)
def test_a_job_that_no_node_can_run_fails_with_the_reason(
    named: Cluster, needs: dict[str, Any], said: list[str]
) -> None:
    for items in (range(50), [1]):
        with pytest.raises(NoNodesError) as caught:
            run(named.address, tasks.square, items, **needs)
        for part in said:
            assert part in str(caught.value)


def test_a_node_that_comes_in_time_gets_the_job(place: Place) -> None:
    cluster = Cluster(place, server_code=HASTY_SERVER.replace("500_000_000", "600_000_000_000"))
    try:
        cluster.start_node(1, name="alice")
        found: list[Any] = []
        thread = threading.Thread(
            target=lambda: found.extend(
                run(cluster.address, tasks.parent_and_item, range(5), nodes=("late",))
            )
        )
        thread.start()
        wait_until(lambda: getClusterStatus(**cluster.address).jobs)
        late = cluster.start_node(1, name="late")
        thread.join(30)
        assert found == [(late.pid, number) for number in range(5)]
    finally:
        cluster.close()


def test_what_a_lost_node_had_stays_among_the_others_of_its_kind(place: Place) -> None:
    cluster = Cluster(place)
    try:
        cluster.start_node(2, name="alice")
        lost, other = cluster.start_node(2, name="gpu-1"), cluster.start_node(2, name="gpu-2")
        gate = place.work / "kind"
        marks = Path(f"{gate}.begun")
        found: list[Any] = []
        items = [(str(gate), number) for number in range(20)]
        thread = threading.Thread(
            target=lambda: found.extend(run(cluster.address, tasks.after_gate, items, nodes=("gpu*",)))
        )
        thread.start()
        wait_until(lambda: marks.exists() and str(lost.pid) in marks.read_text())
        cluster.end_node(lost, signal.SIGKILL)
        gate.touch()
        thread.join(30)
        assert [number for _, number in found] == list(range(20))
        assert {node for node, _ in found} == {other.pid}
    finally:
        cluster.close()


def most_at_once(path: Path) -> dict[int, int]:
    """How many tasks ran at once on each node, by their marks."""
    running: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for line in path.read_text().splitlines():
        mark, node, _ = line.split()
        running[int(node)] += 1 if mark == "+" else -1
        most[int(node)] = max(most[int(node)], running[int(node)])
    return most


def test_no_more_tasks_run_than_their_slots_go_into_a_node(named: Cluster) -> None:
    """Beside a job of ordinary tasks, which also ends."""
    path = named.place.work / "wide"
    found: dict[str, list[Any]] = {}

    def narrow() -> None:
        found["narrow"] = run(named.address, tasks.half_a_millisecond, range(2_000))

    thread = threading.Thread(target=narrow)
    thread.start()
    wide = run(named.address, tasks.between_marks, [(str(path), number) for number in range(40)], slots=2)
    thread.join(30)
    assert [number for _, number in wide] == list(range(40))
    assert found["narrow"] == list(range(2_000))
    assert {node: most <= 2 for node, most in most_at_once(path).items()} == {named.nodes[1].pid: True}


def test_the_slots_of_a_killed_worker_are_free_again(named: Cluster) -> None:
    gate = named.place.work / "killed-wide"
    items = [(str(gate), number) for number in range(3)]
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.extend(run(named.address, tasks.after_gate, items, slots=4))
    )
    thread.start()
    marks = Path(f"{gate}.begun")
    wait_until(lambda: marks.exists() and marks.read_text())
    for worker in named.nodes[1].descendants():
        worker.kill()
    gate.touch()
    thread.join(30)
    assert [number for _, number in found] == [0, 1, 2]
    gate.unlink()
    assert run(named.address, tasks.square, range(20), nodes=("gpu*",)) == [n * n for n in range(20)]


def at_node(cluster: Cluster) -> list[int]:
    """How many tasks of each job are at nodes."""
    return [job["running"] for job in getClusterStatus(**cluster.address).jobs]


def test_a_job_of_a_higher_priority_runs_before_what_waits(place: Place) -> None:
    cluster = Cluster(place)
    try:
        cluster.start_node(1)
        gate = place.work / "first"
        marks = Path(f"{gate}.begun")
        threads = []
        for base, count, needs in ((0, 12, {}), (100, 4, {"priority": 10})):
            items = [(str(gate), base + number) for number in range(count)]
            call = (cluster.address, tasks.long_after_gate, items)
            job = threading.Thread(target=run, args=call, kwargs=needs)
            job.start()
            threads.append(job)
            # Something of it has reached the node.
            wait_until(lambda: all(at_node(cluster)) and len(at_node(cluster)) == len(threads))
            wait_until(marks.exists)
        gate.touch()
        for job in threads:
            job.join(30)
        order = [int(line.split()[1]) for line in marks.read_text().splitlines()]
        assert sorted(order) == [*range(12), *range(100, 104)]
        # One runs when it comes; another may begin while the first parcel is on its way.
        assert order.index(100) <= 2
        last = order.index(103)
        assert sum(number < 100 for number in order[:last]) <= 3
    finally:
        cluster.close()


# This machine's cores.


@pytest.mark.parametrize("nodes", [("local",), ("LocalHost",), (f"{socket.gethostname()[:2]}*", "bob")])
def test_the_embedded_engine_is_this_machine(embedded: dict[str, Any], nodes: tuple[str, ...]) -> None:
    assert run(embedded, tasks.square, [1, 2, 3], nodes=nodes, priority=-3) == [1, 4, 9]


def test_the_embedded_engine_refuses_other_nodes_at_once(embedded: dict[str, Any]) -> None:
    with pytest.raises(NoNodesError, match="matches none of `gpu-x\\*`"):
        run(embedded, tasks.square, [1], nodes=("gpu-x*",))
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(NoNodesError, match=f"needs {cores + 1} slots, and this machine has {cores}"):
        run(embedded, tasks.square, [1], slots=cores + 1)
    assert run(embedded, tasks.square, [3]) == [9]


def test_tasks_of_several_slots_on_this_machine(embedded: dict[str, Any], place: Place) -> None:
    cores = len(os.sched_getaffinity(0))
    path = place.work / "embedded-wide"
    items = [(str(path), number) for number in range(10)]
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.extend(run(embedded, tasks.half_a_millisecond, range(1_000)))
    )
    thread.start()
    wide = run(embedded, tasks.between_marks, items, slots=cores)
    thread.join(30)
    assert [number for _, number in wide] == list(range(10)) and found == list(range(1_000))
    assert list(most_at_once(path).values()) == [1]


def test_priorities_on_this_machine(embedded: dict[str, Any], place: Place) -> None:
    gate = place.work / "embedded-first"
    marks = Path(f"{gate}.begun")
    cores = len(os.sched_getaffinity(0))
    low = threading.Thread(
        target=run, args=(embedded, tasks.long_after_gate, [(str(gate), number) for number in range(30)])
    )
    low.start()
    wait_until(lambda: marks.exists() and len(marks.read_text().splitlines()) >= cores)
    high = threading.Thread(
        target=run,
        args=(embedded, tasks.long_after_gate, [(str(gate), 100 + number) for number in range(4)]),
        kwargs={"priority": 1},
    )
    from achilles.engines.local import local_engine

    brain = local_engine()._scheduler
    high.start()
    wait_until(lambda: any(job.priority and job.tasks_came for job in list(brain.jobs.values())))
    gate.touch()
    low.join(30)
    high.join(30)
    order = [int(line.split()[1]) for line in marks.read_text().splitlines()]
    assert sorted(order) == [*range(30), *range(100, 104)]
    # What workers have at hand already runs first, not the others. Tasks are long, so that a worker that gets
    # no core for a while does not begin its own when another has run all that was behind it.
    assert max(order.index(number) for number in range(100, 104)) < 15 + 4
