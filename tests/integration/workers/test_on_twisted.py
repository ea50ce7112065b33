"""Workers run on Twisted's reactor as they do on the loop of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
from twisted.internet import reactor
import numpy
from achilles.serialization import deserialize, serialize
from achilles.workers import channel
from achilles.workers.worker import Worker
from tests.integration.workers import tasks

DIE = serialize((tasks.die, None, None, "raise"), "function").segments
ECHO = serialize((tasks.identity, None, None, "raise"), "function").segments

class Owner:
    deaths = 0
    def worker_ready(self, worker):
        worker.send(channel.FUNCTION, 0, 1, 1, 0, 0, ECHO)
        worker.send(channel.FUNCTION, 0, 2, 1, 0, 0, DIE)
        items = [numpy.zeros(1 << 20) for _ in range(3)]
        worker.send(channel.UNIT, 0, 1, 0, 3, 0, serialize(items, "a").segments)
    def worker_message(self, worker, kind, status, job, a, b, c, payload):
        print(status, len(payload), flush=True)
        if worker.slot == 0:
            worker.send(channel.UNIT, 0, 2, 5, 1, 0, serialize(["segfault"], "a").segments)
        else:
            worker.close(10.0)
    def worker_died(self, worker, exit_code):
        print("died", worker.slot, exit_code, worker.progress(), flush=True)
        self.deaths += 1
        if self.deaths == 2:
            reactor.callLater(0, reactor.stop)

owner = Owner()
def start():
    for slot in (0, 1):
        Worker(reactor, slot, owner, sys.path, own_modules="local").start()
reactor.callWhenRunning(start)
reactor.callLater(30, reactor.stop)
reactor.run()
"""


def test_results_and_deaths_reach_an_owner_on_twisted() -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    lines = sorted(process.stdout.splitlines())
    assert lines[2:] == ["died 0 -11 6", "died 1 0 0"], process.stderr
    assert all(line.startswith("0 2516") for line in lines[:2])
    assert process.stderr == ""
