"""Memory of controller, server and node, in bytes: large arguments before a slow reader, many connections."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.integration.cluster import parties
from tests.integration.cluster.parties import (
    SECRET_KEY,
    USERNAME,
    Cluster,
    Party,
    Place,
    run_program,
    wait_until,
)

MIB = 1024 * 1024
BUDGET_MIB = 128
# A program of its own, the budget, and three items: being drawn, being read, in the reader's hands.
MOST_MIB = 64 + BUDGET_MIB + 3 * 64

SLOW_READER = """
import json, sys, time
from achilles import getClusterStatus, imap

ITEM, ITEMS = 64 << 20, 10
drawn = 0

def arguments():
    global drawn
    for number in range(ITEMS):
        drawn += 1
        yield bytes([number]) * ITEM

def peak(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM"))

def stand_still(where):
    before = -1
    while before != drawn or any(job["running"] for job in getClusterStatus(**where).jobs):
        before = drawn
        time.sleep(0.05)

if __name__ == "__main__":
    where, pids = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    server = {key: where[key] for key in ("host", "port")}
    most_ahead, values = 0, []
    for packet in imap(bytes, arguments, **where):
        stand_still(server)
        most_ahead = max(most_ahead, drawn - len(values))
        for result in packet["RESULT"]:
            assert result[:: 1 << 20] == bytes([len(values)]) * 64
            values.append(len(result))
        del packet, result
    assert values == [ITEM] * ITEMS
    print(json.dumps([most_ahead, peak("self"), *map(peak, pids)]))
"""


def test_large_arguments_and_results_before_a_slow_reader(place: Place) -> None:
    """640 MiB each way; the reader takes the next packet only when the producer stands still."""
    cluster = Cluster(place, fresh=True, ACHILLES_MEMORY_BUDGET=f"{BUDGET_MIB}M")
    try:
        node = cluster.start_node(1)
        where = {**cluster.address, "memory_budget": BUDGET_MIB * MIB}
        pids = [cluster.server.pid, node.pid]
        said = run_program(place, "slow.py", SLOW_READER, json.dumps(where), json.dumps(pids))[-1]
        most_ahead, *peaks_mib = json.loads(said)
        assert most_ahead <= 3
        assert max(peaks_mib) < MOST_MIB, peaks_mib
    finally:
        cluster.close()


MANY_INTS = """
import itertools, json, sys
import psutil
from achilles import imap_unordered

def count(number):
    return number

if __name__ == "__main__":
    items = int(sys.argv[2])
    me, sizes, total, every = psutil.Process(), [], 0, items // 20
    for packet in imap_unordered(count, iter(range(items)), chunksize=10_000, **json.loads(sys.argv[1])):
        total += sum(packet["RESULT"])
        if packet["ARGS_COUNTER"] // every >= len(sizes):
            sizes.append(me.memory_info().rss >> 10)
    assert total == items * (items - 1) // 2
    print(json.dumps(sizes))
"""


def test_millions_of_lazily_drawn_integers(where: dict[str, Any], place: Place) -> None:
    """`make many` does the same with 100 million."""
    sizes_kib = json.loads(run_program(place, "many.py", MANY_INTS, json.dumps(where), 4_000_000)[-1])
    assert max(sizes_kib) - sizes_kib[1] < 24 * 1024, sizes_kib


CROWD = """
import json, resource, sys, threading
import psutil
from achilles import map
from achilles.config import load_settings
from achilles.lineReceiver.dialling import dial

IDLE, WORKING, ITEMS = 2000, 200, 20

def task(item):
    return item + 1

if __name__ == "__main__":
    where, server = json.loads(sys.argv[1]), psutil.Process(int(sys.argv[2]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    empty = server.memory_info().rss
    settings = load_settings(**where)
    links = [dial(settings) for _ in range(IDLE)]
    each = (server.memory_info().rss - empty) / IDLE
    right = []

    def control():
        values = [value for packet in map(task, range(ITEMS), **where) for value in packet]
        right.append(values == list(range(1, ITEMS + 1)))

    threads = [threading.Thread(target=control) for _ in range(WORKING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(f"/proc/{server.pid}/status") as file:
        peak_kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    print(json.dumps([each, sum(right), peak_kib]))
"""


def test_two_thousand_idle_and_two_hundred_working_controllers(place: Place) -> None:
    cluster = Cluster(place, fresh=True)
    try:
        cluster.start_node(2)
        where = json.dumps(cluster.address)
        said = run_program(place, "crowd.py", CROWD, where, cluster.server.pid, timeout_s=60)[-1]
        each_bytes, right, peak_kib = json.loads(said)
        assert right == 200
        assert each_bytes < 8 * 1024
        assert peak_kib < 96 * 1024
    finally:
        cluster.close()


# One result has to be more than the budget and all that sockets hold: nobody knows how many items were sent.
STOPPED = """
import json, os, sys, time
from achilles import imap

def enlarge(item):
    gate, number = item
    open(gate + ".begun", "a").close()
    while not os.path.exists(gate):
        time.sleep(0.01)
    return bytes([number]) * 24_000_000

values = []
items = [(sys.argv[2], number) for number in range(4)]
for packet in imap(enlarge, items, **json.loads(sys.argv[1])):
    values += [(result[0], len(result)) for result in packet["RESULT"]]
print("right" if values == [(number, 24_000_000) for number in range(4)] else values)
"""
LIVELY_SERVER = parties.SERVER.replace("port=", "heartbeat_s=0.5, port=")


def test_a_controller_that_was_stopped_for_too_long_comes_again(place: Place) -> None:
    variables = {"ACHILLES_MEMORY_BUDGET": "4M", "ACHILLES_LOCAL_SOCKET": "off"}
    cluster = Cluster(place, server_code=LIVELY_SERVER, **variables)
    gate = place.work / "stopped"
    try:
        key = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}"
        cluster.start_node(1, more=key)
        script = place.write("stopped.py", STOPPED)
        caller = Party([script, json.dumps(cluster.with_key), gate], place=place, **variables)
        wait_until(lambda: Path(f"{gate}.begun").exists())
        caller.send(signal.SIGSTOP)
        try:
            gate.touch()
            wait_until(lambda: "reads nothing" in cluster.server.text)
        finally:
            caller.send(signal.SIGCONT)
        assert caller.wait() == 0
        assert caller.lines[-1] == "right"
    finally:
        cluster.close()
