"""What nobody planned for and somebody does: nested calls, feedback, sudden deaths, wrong addresses."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from achilles import ServerUnreachable, getClusterStatus, imap, imap_unordered, killCluster, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import (
    PROMPT_S,
    Cluster,
    Party,
    Place,
    in_session,
    run_program,
    wait_until,
)

Where = dict[str, Any]


def flat(packets: Any) -> list[Any]:
    return [value for packet in packets for value in packet]


NESTED = """
import json, sys
from achilles import map

def outer(number):
    from achilles import map

    return map(lambda x: x + number, [[1, 2]], address="local")

print(map(outer, [[10, 20]], **json.loads(sys.argv[1])))
"""


def test_a_task_that_calls_map_itself(place: Place) -> None:
    """Its worker then has workers of its own, which end with it."""
    cluster = Cluster(place)
    try:
        node = cluster.start_node(1)
        for where in (cluster.address, {"address": "local"}):
            assert (
                run_program(place, "nested.py", NESTED, json.dumps(where))[-1] == "[[[[11, 12]], [[21, 22]]]]"
            )
        assert len(node.descendants()) > 1
    finally:
        cluster.close()


def test_a_task_that_uses_multiprocessing(where: Where) -> None:
    def outer(number: int) -> Any:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-number, number])

    assert map(outer, [[1, 2]], **where) == [[[1, 1], [2, 2]]]


def test_a_generator_that_calls_map_itself(where: Where) -> None:
    def arguments() -> Iterator[int]:
        for number in range(5):
            yield sum(flat(map(tasks.square, range(number), **where)))

    assert flat(map(tasks.identity, arguments, **where)) == [0, 0, 1, 5, 14]
    assert flat(packet["RESULT"] for packet in imap(tasks.identity, arguments, **where)) == [0, 0, 1, 5, 14]


@pytest.mark.parametrize("call", [imap, imap_unordered])
def test_lists_that_depend_on_earlier_results(where: Where, call: Any) -> None:
    """A search that chooses its next candidates by what came back; each list is sent when it is drawn."""
    seen: list[int] = []
    came = threading.Condition()

    def candidates() -> Iterator[list[int]]:
        for round_ in range(6):
            with came:
                assert came.wait_for(lambda: len(seen) >= round_, 10), "results are held back"  # noqa: B023
            yield [round_]

    for packet in call(tasks.square, candidates, **where):
        with came:
            seen += packet["RESULT"]
            came.notify_all()
    assert seen == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("call", [imap, imap_unordered])
@pytest.mark.parametrize("warm_up", [0, 1, 5000])
def test_packets_that_depend_on_earlier_results(where: Where, call: Any, warm_up: int) -> None:
    """The same with single arguments: what is complete is sent, however much more was asked for."""
    seen: list[int] = []
    came = threading.Condition()
    length = 4  # of a packet, at most, on the nodes of these tests
    total = warm_up + 6 * length

    def candidates() -> Iterator[int]:
        # These show that tasks are short, so that many are asked for at a time.
        yield from range(warm_up)
        for number in range(warm_up, total):
            with came:
                due = number - length
                assert came.wait_for(lambda: len(seen) > due, 10), f"held back at {number}"  # noqa: B023
            yield number

    for packet in call(tasks.square, candidates, **where):
        with came:
            seen += packet["RESULT"]
            came.notify_all()
    assert sorted(seen) == [number * number for number in range(total)]


def test_arrays_and_files_as_arguments(where: Where, tmp_path: Path) -> None:
    assert flat(map(tasks.square, np.arange(5), **where)) == [0, 1, 4, 9, 16]
    rows = flat(map(np.sum, np.ones((4, 3)), **where))
    assert rows == [3.0] * 4
    path = tmp_path / "lines"
    path.write_text("a\nbb\n")
    with path.open() as lines:
        assert flat(map(len, lines, **where)) == [2, 3]


def test_the_status_of_a_running_job(pair: Cluster) -> None:
    gate = pair.place.work / "status"
    with imap(tasks.after_gate, ((str(gate), n) for n in range(50)), **pair.address) as packets:
        wait_until(lambda: Path(f"{gate}.begun").exists())
        status = getClusterStatus(**pair.address)
        (job,) = status.jobs
        assert (job["name"], job["done"], job["failed"]) == ("after_gate", 0, 0)
        assert job["running"] > 0
        assert status.server["controllers"] == 2
        assert sum(node["tasks_running"] for node in status.nodes) == job["running"]
        assert json.loads(json.dumps(status.as_dict())) == status.as_dict()
        gate.touch()
        assert len(flat(packet["RESULT"] for packet in packets)) == 50


def test_killing_the_cluster_under_a_job(place: Place) -> None:
    from tests.integration.cluster.test_sharing import Job

    cluster = Cluster(place)
    try:
        gone = cluster.start_node(1)
        job = Job(cluster, "kill", 10)
        wait_until(lambda: job.begun()[gone.pid])
        assert killCluster(**cluster.address, command_verified=True) == 1
        assert gone.wait() == 0
        cluster.nodes.remove(gone)
        job.open_gate()
        came = cluster.start_node(1)
        assert job.check() == {came.pid: 10}
    finally:
        cluster.close()


ENDLESS = """
import itertools, json, sys, time
from achilles import imap
for packet in imap(lambda item: time.sleep(0.001), itertools.count(), **json.loads(sys.argv[1])):
    print("running", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_program_that_is_killed_leaves_nothing(where: Where, place: Place, number: int) -> None:
    party = Party([place.write("endless.py", ENDLESS), json.dumps(where)], place=place, own_group=True)
    party.wait_for("running")
    party.stop(number)
    wait_until(lambda: not in_session(party.pid), PROMPT_S, "for workers of a killed program")
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs, PROMPT_S)


def test_a_server_by_another_name(pair: Cluster) -> None:
    for host in ("localhost", "127.0.0.1"):
        assert map(abs, [[-1]], host=host, port=pair.port) == [[1]]
    assert map(abs, [[-1]], address=f"achilles://localhost:{pair.port}") == [[1]]


def test_something_else_that_listens() -> None:
    """A web server, say, at the address that was given."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{port}"):
            map(abs, [1], host="127.0.0.1", port=port, username="u", secret_key="k")
        thread.join(10)
