"""Measures how long the cluster takes to recover: ``python -m tests.integration.recovery.table``.

Prints the table of docs/faults.md. Each figure is the longest time without a result after the fault
(or, for parties that leave, until they are gone), the median of `ROUNDS` runs on a cluster of two
nodes, with tasks of 10 ms.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from achilles import getClusterStatus, imap
from tests.integration.recovery.conftest import Cluster

ROUNDS = 3
CALLER = """
import sys, time
from achilles import imap
from tests.integration.recovery.table import task
print("ready", flush=True)
try:
    for packet in imap(task, (item for item in range(10**6)), **{where}):
        if packet["ARGS_COUNTER"] < 60:
            print("result", flush=True)
except KeyboardInterrupt:
    sys.exit(7)
"""


def task(item: int) -> int:
    time.sleep(0.01)
    return item


def longest_gap_s(cluster: Cluster, fault: Callable[[], object], items: int = 1500) -> float:
    """The longest wait for the next result after the fault."""
    gaps: list[float] = []
    last_s = 0.0
    values: list[int] = []
    for packet in imap(task, range(items), **cluster.where):
        now_s = time.monotonic()
        if last_s:
            gaps.append(now_s - last_s)
        values += packet["RESULT"]
        if len(values) >= 200 and not last_s:
            fault()
            now_s = time.monotonic()
        if len(values) >= 200:
            last_s = now_s
    assert values == list(range(items))
    return max(gaps)


def worker_killed(cluster: Cluster) -> float:
    nodes = getClusterStatus(**cluster.where).nodes
    worker = psutil.Process(nodes[0]["pid"]).children()[0]
    return longest_gap_s(cluster, worker.kill, 600)


def node_killed(cluster: Cluster) -> float:
    node = cluster.programs[-1]
    return longest_gap_s(cluster, lambda: node.signal(signal.SIGKILL))


def node_frozen(cluster: Cluster) -> float:
    node = cluster.programs[-1]
    try:
        return longest_gap_s(cluster, lambda: node.signal(signal.SIGSTOP))
    finally:
        node.signal(signal.SIGCONT)


def server_restarted(cluster: Cluster) -> float:
    def restart() -> None:
        cluster.server.signal(signal.SIGKILL)
        cluster.server.wait_for_end()
        cluster.server = cluster.start_server()

    started_s = 0.0

    def timed() -> None:
        nonlocal started_s
        started_s = time.monotonic()
        restart()
        started_s = time.monotonic() - started_s

    gap_s = longest_gap_s(cluster, timed, 800)
    return started_s + gap_s


def node_asked_to_leave(cluster: Cluster) -> float:
    node = cluster.programs[-1]
    left_s = 0.0

    def leave() -> None:
        nonlocal left_s
        started_s = time.monotonic()
        node.signal(signal.SIGTERM)
        node.wait_for_end()
        left_s = time.monotonic() - started_s

    longest_gap_s(cluster, leave, 600)
    return left_s


def caller_ended(cluster: Cluster, number: int) -> float:
    program = cluster.run("caller", CALLER.format(where=cluster.where), PYTHONPATH=os.getcwd())
    for _ in range(10):
        program.wait_for("result")
    started_s = time.monotonic()
    program.signal(number)
    if number == signal.SIGINT:
        program.wait_for_end()
    else:
        cluster.wait_for(lambda status: not status.jobs and not status.nodes[0]["tasks_running"])
    return time.monotonic() - started_s


def iterator_dropped(cluster: Cluster) -> float:
    results = imap(task, (item for item in range(10**6)), **cluster.where)
    for _ in range(20):
        next(results)
    started_s = time.monotonic()
    results.close()
    cluster.wait_for(lambda status: not status.jobs)
    return time.monotonic() - started_s


FAULTS: list[tuple[str, Callable[[Cluster], float]]] = [
    ("a worker is killed: longest wait for the next result", worker_killed),
    ("a node is killed: longest wait", node_killed),
    ("a node is frozen (heartbeat 0.5 s): longest wait", node_frozen),
    ("the server is killed and started again: longest wait, its start included", server_restarted),
    ("a node gets SIGTERM: until it has left", node_asked_to_leave),
    ("a caller is killed: until its job is gone", lambda cluster: caller_ended(cluster, signal.SIGKILL)),
    ("Ctrl-C at a caller: until it has ended", lambda cluster: caller_ended(cluster, signal.SIGINT)),
    ("an `imap` loop is left: until its job is gone", iterator_dropped),
]


@contextlib.contextmanager
def fresh_cluster() -> Iterator[Cluster]:
    """Two nodes of two workers."""
    with tempfile.TemporaryDirectory(prefix="rec-") as directory:
        cluster = Cluster(Path(directory), fresh=True)
        for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            os.environ[variable] = cluster.environment[variable]
        try:
            cluster.add_node(2)
            cluster.add_node(2)
            yield cluster
        finally:
            cluster.stop()


def main() -> None:
    """Print the table."""
    print("| fault | seconds (median, all) |\n|---|---|")
    for name, measure in FAULTS:
        figures = []
        for _ in range(ROUNDS):
            with fresh_cluster() as cluster, contextlib.redirect_stdout(io.StringIO()):
                figures.append(measure(cluster))
        every = ", ".join(f"{figure:.2f}" for figure in figures)
        print(f"| {name} | {statistics.median(figures):.2f} ({every}) |", flush=True)
    version = subprocess.run(["uname", "-rm"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"\n{os.cpu_count()} cores, {version}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
