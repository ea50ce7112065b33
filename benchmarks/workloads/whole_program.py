"""W7: a program of its own that imports the peer, starts it, runs one task and stops it.

Wall-clock seconds of the process, Python's own start (about 15 ms) included; for an achilles cluster
those of server, node and controller together. For achilles also the time that ``from achilles import
map`` takes in a fresh interpreter, in ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.peers import ADAPTERS, Peer
from benchmarks.processes import ROOT
from benchmarks.workloads.workload import Effort, Figure, Workload, seconds_of

PROGRAM = """
from benchmarks.peers import open_peer
from benchmarks.tasks import no_op
if __name__ == "__main__":
    with open_peer({name!r}, {workers}) as peer:
        assert len(peer.map(no_op, [1], None)) == 1
"""
IMPORT = """
import time
began_s = time.perf_counter()
from achilles import map
print(time.perf_counter() - began_s)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-500:])
    return done.stdout


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    name = next(name for name, adapter in ADAPTERS.items() if adapter[1] == type(peer).__name__)
    program = PROGRAM.format(name=name, workers=peer.workers)
    repeats = effort.of(3, 1)
    seconds = statistics.median(seconds_of(lambda: run(program)) for _ in range(repeats))
    if name != "achilles":
        return {"program_s": seconds}
    import_ms = statistics.median(1e3 * float(run(IMPORT)) for _ in range(repeats))
    return {"program_s": seconds, "import_ms": import_ms}


WORKLOADS = [
    Workload(
        "W7",
        "import, start, one task, stop",
        (
            Figure("program_s", "whole program, s", more_is_better=False),
            Figure("import_ms", "import, ms", more_is_better=False),
        ),
        measure,
        starts_peer=True,
    )
]
