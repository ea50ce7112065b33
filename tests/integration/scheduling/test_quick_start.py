"""The quick start of pydron's document keeps the workers of a cluster busy, and answers in order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.cluster.parties import Cluster, Place
from tests.seeds.pydron_document import PROGRAM

SLOTS = 8
# No call ends before eight have begun: so none ever does unless all workers are busy at once.
MEETING = """
import os, time

os.makedirs(directory, exist_ok=True)

def met(input):
    open(f"{directory}/{input}", "w").close()
    deadline_s = time.monotonic() + 60
    while len(os.listdir(directory)) < SLOTS:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"a worker is idle while {input} waits")
        time.sleep(0.002)
    return input, os.getpid()

outputs = calibration_pipeline(range(CALLS))
print([input for input, _ in outputs] == list(range(CALLS)), len({pid for _, pid in outputs}))
"""


@pytest.fixture
def eight_slots() -> Iterator[Cluster]:
    """A server with two nodes of four workers."""
    place = Place()
    cluster = Cluster(place)
    try:
        for _ in range(2):
            cluster.start_node(SLOTS // 2)
        yield cluster
    finally:
        cluster.close()
        place.remove()


def test_eight_workers_are_busy_at_once(eight_slots: Cluster) -> None:
    place = eight_slots.place
    conf = {"workers": [{"type": "cluster", "address": f"127.0.0.1:{eight_slots.port}"}]}
    place.write("pydron.conf", json.dumps(conf))
    assert PROGRAM.endswith(" ...\n")
    begin = PROGRAM.removesuffix("...\n") + f"return met(input)\n\nSLOTS, CALLS = {SLOTS}, {4 * SLOTS}\n"
    program = f"{begin}directory = {str(place.path / 'begun')!r}\n{MEETING}"
    assert eight_slots.run("quick_start.py", program, timeout_s=120)[-1] == f"True {SLOTS}"
