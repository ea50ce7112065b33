"""Inside TLS, a party killed in the middle of a large frame: the others go on, with whole frames alone.

A party that is stopped reads nothing, so that a frame that is larger than what sockets hold lies half on the
way to it; then it, or the one at the other end, is killed.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from achilles import map
from tests.integration.cluster import tasks
from tests.integration.cluster.conftest import WITH_KEY
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster, Party, Place, wait_until

FRAME_BYTES = 48 << 20

CALLER = f"""
import sys
import numpy as np
from achilles import map

def identity(item):
    return item

def made(item):
    return np.zeros({FRAME_BYTES} // 8)

where = dict(host="127.0.0.1", port=int(sys.argv[1]), username={USERNAME!r}, secret_key={SECRET_KEY!r})
map(abs, [-1], **where)
print("ready", flush=True)
if sys.argv[2] == "sends":
    for turn in range(1000):
        map(identity, [np.full({FRAME_BYTES} // 8, float(turn))], **where)
else:
    for turn in range(1000):
        map(made, range(4), **where)
"""


@pytest.fixture
def far(place: Place) -> Iterator[Cluster]:
    """A server and two nodes of one worker, as on three machines."""
    cluster = Cluster(place, ACHILLES_LOCAL_SOCKET="off")
    try:
        for _ in range(2):
            cluster.start_node(1, more=WITH_KEY)
        yield cluster
    finally:
        for party in (cluster.server, *cluster.nodes):
            party.send(signal.SIGCONT)
        cluster.close()


def unread_bytes(pid: int) -> int:
    """What lies in the largest receive queue of a process's TCP connections."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if found := re.fullmatch(r"socket:\[(\d+)\]", target):
            sockets.add(found[1])
    most = 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[9] in sockets and fields[3] == "01":  # established
            most = max(most, int(fields[4].partition(":")[2], 16))
    return most


def stop_in_mid_frame(party: Party) -> None:
    """Stop a party at a moment when there is much for it to read."""

    def stopped() -> bool:
        party.send(signal.SIGSTOP)
        if unread_bytes(party.pid) > 100_000:
            return True
        party.send(signal.SIGCONT)
        return False

    wait_until(stopped, what="for a frame on its way")


def check(cluster: Cluster) -> None:
    """Large arrays go there and back, through every node."""
    arrays = [np.full(1 << 18, float(number)) for number in range(8)]
    packets = map(tasks.identity, arrays, chunksize=1, **cluster.with_key)
    found = [came for packet in packets for came in packet]
    for sent, came in zip(arrays, found, strict=True):
        assert np.array_equal(sent, came)


def call(place: Place, cluster: Cluster, what: str) -> Party:
    program = place.write(f"{what}.py", CALLER)
    caller = Party([program, cluster.port, what], place=place, ACHILLES_LOCAL_SOCKET="off")
    caller.wait_for("ready")
    return caller


def test_the_sender_is_killed(far: Cluster, place: Place) -> None:
    caller = call(place, far, "sends")
    stop_in_mid_frame(far.server)
    caller.stop(signal.SIGKILL)
    far.server.send(signal.SIGCONT)
    check(far)
    for node in far.nodes:
        assert not any(line.startswith("ALERT") for line in node.lines if "lost" in line), node.text


def test_the_controller_is_killed_while_results_come(far: Cluster, place: Place) -> None:
    caller = call(place, far, "takes")
    stop_in_mid_frame(caller)
    caller.stop(signal.SIGKILL)
    check(far)
    for node in far.nodes:
        assert not any(line.startswith("ALERT") for line in node.lines if "lost" in line), node.text


@pytest.mark.parametrize("which", ["receives", "sends"])
def test_a_node_is_killed(far: Cluster, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    count = 6
    arrays = [np.full(FRAME_BYTES // 8, float(number)) for number in range(count)]
    found: list[Any] = []

    def run() -> None:
        packets = map(tasks.identity, arrays, chunksize=1, **far.with_key)
        found.extend(came for packet in packets for came in packet)

    caller = threading.Thread(target=run)
    caller.start()
    victim = far.nodes[0]
    stop_in_mid_frame(victim if which == "receives" else far.server)
    far.end_node(victim, signal.SIGKILL)
    far.server.send(signal.SIGCONT)
    caller.join()
    assert len(found) == count
    for sent, came in zip(arrays, found, strict=True):
        assert np.array_equal(sent, came)
    check(far)
