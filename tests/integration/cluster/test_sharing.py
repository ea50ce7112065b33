"""Many controllers on few nodes, and nodes that come and go while jobs run."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from achilles import getClusterStatus, imap, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import PROMPT_S, Cluster, Party, Place, wait_until

CONTROLLER = """
import json, os, sys, time
from achilles import imap

def work(item):
    time.sleep(0.002)
    return os.getppid(), item * 3

if __name__ == "__main__":
    where, gate, first = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    list(imap(abs, [1], **where))  # so that its connection is there
    print("ready", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.002)
    times, nodes, values = [], set(), []
    for packet in imap(work, range(first, first + 150), **where):
        times.append(time.monotonic())
        for node, value in packet["RESULT"]:
            nodes.add(node)
            values.append(value)
    assert values == [item * 3 for item in range(first, first + 150)]
    print(json.dumps([times[0], times[-1], sorted(nodes)]), flush=True)
"""


def test_eight_controllers_at_once_wait_for_none_to_end(pair: Cluster, place: Place) -> None:
    script, gate = place.write("controller.py", CONTROLLER), place.work / "eight"
    where = json.dumps(pair.address)
    parties = [Party([script, where, gate, 1000 * number], place=place) for number in range(8)]
    try:
        for party in parties:
            party.wait_for("ready")
        gate.touch()
        for party in parties:
            assert party.wait() == 0, party.text
    finally:
        for party in parties:
            party.stop(signal.SIGKILL)
    said = [json.loads(party.lines[-1]) for party in parties]
    # Each had results before any other had its last.
    assert max(first for first, _, _ in said) < min(last for _, last, _ in said), said
    nodes = {node.pid for node in pair.nodes}
    assert {pid for _, _, pids in said for pid in pids} == nodes
    assert not getClusterStatus(**pair.address).jobs


class Job:
    """An ``imap`` read in a thread, whose tasks wait at a gate."""

    def __init__(self, cluster: Cluster, name: str, items: int) -> None:
        self.gate = cluster.place.work / name
        self.items = items
        self.packets: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self._where = cluster.address
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        arguments = ((str(self.gate), number) for number in range(self.items))
        try:
            self.packets.extend(imap(tasks.after_gate, arguments, **self._where))
        except BaseException as error:  # noqa: BLE001 - told by check()
            self.failure = error

    def begun(self) -> Counter[int]:
        """How many tasks each node began."""
        marks = Path(f"{self.gate}.begun")
        lines = marks.read_text().splitlines() if marks.exists() else []
        return Counter(int(line.split()[0]) for line in lines)

    def open_gate(self) -> None:
        self.gate.touch()

    def check(self) -> Counter[int]:
        """Every item came back once and in order; how many ran where."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the job does not end"
        assert self.failure is None, self.failure
        results = [result for packet in self.packets for result in packet["RESULT"]]
        assert [number for _, number in results] == list(range(self.items))
        counters = [packet["ARGS_COUNTER"] for packet in self.packets]
        assert counters == sorted(counters)
        return Counter(node for node, _ in results)


def test_a_node_that_joins_late_gets_work(moving: Cluster) -> None:
    first = moving.start_node(1)
    job = Job(moving, "late", 30)
    wait_until(lambda: job.begun()[first.pid])
    second = moving.start_node(2)
    wait_until(lambda: job.begun()[second.pid], what="for the late node to begin")
    job.open_gate()
    assert set(job.check()) == {first.pid, second.pid}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_work_of_a_node_that_leaves_is_done_elsewhere(moving: Cluster, number: signal.Signals) -> None:
    leaving, staying = moving.start_node(2), moving.start_node(1)
    job = Job(moving, f"leave-{number}", 40)
    wait_until(lambda: job.begun()[leaving.pid] and job.begun()[staying.pid])
    if number == signal.SIGTERM:
        # It finishes what it has begun, so the gate must open for it to leave.
        leaving.send(number)
        wait_until(lambda: any(node["draining"] for node in getClusterStatus(**moving.address).nodes))
        job.open_gate()
        assert moving.end_node(leaving, 0) == 0
        ran = job.check()
        assert ran[leaving.pid] == job.begun()[leaving.pid] == 2
        # Nothing was lost, so nothing ran twice.
        assert sum(job.begun().values()) == 40
    else:
        moving.end_node(leaving, number)
        job.open_gate()
        ran = job.check()
        assert ran == {staying.pid: 40}
    assert [node["pid"] for node in getClusterStatus(**moving.address).nodes] == [staying.pid]


def test_a_job_survives_the_loss_of_all_nodes(moving: Cluster) -> None:
    gone = [moving.start_node(1), moving.start_node(1)]
    job = Job(moving, "all", 10)
    wait_until(lambda: all(job.begun()[node.pid] for node in gone))
    for node in gone:
        moving.end_node(node, signal.SIGKILL)
    wait_until(lambda: not getClusterStatus(**moving.address).nodes)
    job.open_gate()
    came = moving.start_node(2)
    assert job.check() == {came.pid: 10}


def test_a_worker_that_is_killed_costs_nothing_but_time(moving: Cluster) -> None:
    node = moving.start_node(2)
    job = Job(moving, "worker", 10)
    wait_until(lambda: job.begun()[node.pid] == 2)
    node.descendants()[0].kill()
    wait_until(lambda: job.begun()[node.pid] >= 3, what="for the item to run again")
    job.open_gate()
    assert job.check() == {node.pid: 10}


def test_a_controller_that_is_killed_leaves_no_job(moving: Cluster, place: Place) -> None:
    node = moving.start_node(2)
    script = place.write("controller.py", CONTROLLER)
    gate = place.work / "killed"
    gate.touch()
    party = Party([script, json.dumps(moving.address), gate, 0], place=place)
    wait_until(lambda: getClusterStatus(**moving.address).jobs)
    party.stop(signal.SIGKILL)
    wait_until(lambda: not getClusterStatus(**moving.address).jobs, PROMPT_S)
    assert map(tasks.square, [[1, 2, 3]], **moving.address) == [[1, 4, 9]]
    assert node.process.poll() is None
