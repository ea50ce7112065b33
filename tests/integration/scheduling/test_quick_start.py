"""The quick start of pydron's document keeps every worker of a cluster busy, and answers in order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.cluster.parties import Cluster, Place
from tests.seeds.pydron_document import PROGRAM

SLOTS = 8
# Each call waits until those of its eight have all begun: they never end unless eight are under way at once.
MEETING = """
import os, time

def met(input):
    group = f"{directory}/{input // SLOTS}"
    os.makedirs(group, exist_ok=True)
    with open(f"{group}/{input}", "w"):
        pass
    deadline_s = time.monotonic() + 60
    while len(os.listdir(group)) < SLOTS:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"too few calls are under way, at input {input}")
        time.sleep(0.002)
    return input, os.getpid()

outputs = calibration_pipeline(range(3 * SLOTS))
print([input for input, _ in outputs] == list(range(3 * SLOTS)))
for start in range(0, 3 * SLOTS, SLOTS):
    print(len({pid for _, pid in outputs[start : start + SLOTS]}))
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


def test_eight_workers_are_busy_all_the_time(eight_slots: Cluster) -> None:
    place = eight_slots.place
    conf = {"workers": [{"type": "cluster", "address": f"127.0.0.1:{eight_slots.port}"}]}
    place.write("pydron.conf", json.dumps(conf))
    assert PROGRAM.endswith(" ...\n")
    begin = PROGRAM.removesuffix("...\n") + f"return met(input)\n\nSLOTS = {SLOTS}\n"
    program = f"{begin}directory = {str(place.path / 'meeting')!r}\n{MEETING}"
    assert eight_slots.run("quick_start.py", program, timeout_s=120) == ["True", "8", "8", "8"]
