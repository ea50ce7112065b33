"""Runs the cells: round after round, within a round every peer in turn, each in a process of its own."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.peers import ADAPTERS
from benchmarks.processes import ROOT, adopt_orphans, end_all
from benchmarks.records import Cell, Rounds
from benchmarks.workloads import WORKLOADS, Effort

# After its figures a peer has so long to stop by itself.
STOP_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        workloads: Names of workloads, in order.
        peers: Names of peers, in order.
        rounds: How often.
        workers: Worker processes of each peer.
        effort: How much for one figure.
        cell_timeout_s: What takes longer is ended and counts as failed.
        enough_s: After so long no further round is begun.
        only: (workload, peer) to measure; None: all.
        fewer: Peers that take part in so many rounds alone.
    """

    workloads: tuple[str, ...]
    peers: tuple[str, ...]
    rounds: int
    workers: int
    effort: Effort
    cell_timeout_s: float
    enough_s: float = math.inf
    only: frozenset[tuple[str, str]] | None = None
    fewer: Mapping[str, int] = field(default_factory=dict)

    def cells(self) -> list[tuple[int, str, str]]:
        """(round, workload, peer), in order. Every other round goes through the peers backwards."""
        cells = []
        for number in range(self.rounds):
            peers = self.peers if number % 2 == 0 else self.peers[::-1]
            for workload in self.workloads:
                allowed = WORKLOADS[workload].peers
                cells += [
                    (number, workload, peer)
                    for peer in peers
                    if (peer in allowed if allowed else ADAPTERS[peer][1] != "Nobody")
                    and (self.only is None or (workload, peer) in self.only)
                    and number < self.fewer.get(peer, self.rounds)
                ]
        return cells


def run(plan: Plan, rounds: Rounds, say: Callable[[str], None]) -> None:
    """Run everything that is not among the rounds yet."""
    adopt_orphans()
    missing = [cell for cell in plan.cells() if not rounds.has(*cell)]
    began_s = time.monotonic()
    round_number = missing[0][0] if missing else 0
    try:
        for done, (number, workload, peer) in enumerate(missing, start=1):
            if number != round_number and time.monotonic() - began_s > plan.enough_s:
                say(f"{number} rounds are enough: {plan.enough_s:g} s have passed")
                return
            round_number = number
            cell = run_cell(plan, number, workload, peer)
            rounds.add(cell)
            said = cell.failure or ", ".join(f"{key} {value:.5g}" for key, value in cell.figures.items())
            say(f"[{done}/{len(missing)}] round {number + 1} {workload} {peer} ({cell.wall_s:.1f} s): {said}")
    finally:
        end_all()


def run_cell(plan: Plan, number: int, workload: str, peer: str) -> Cell:
    """One measurement; a failure is a cell too."""
    load = os.getloadavg()[0]
    began_s = time.perf_counter()
    figures: dict[str, float] = {}
    failure: str | None = None
    command = [sys.executable, "-m", "benchmarks.cell", workload, peer]
    command += ["--workers", str(plan.workers)]
    command += ["--seconds", str(plan.effort.seconds), "--scale", str(plan.effort.scale)]
    # Settings of whoever runs this must not decide what is measured; without compiled modules, for one,
    # each process would compile ours anew, and none of the standard library's.
    variables = {
        key: value for key, value in os.environ.items() if not key.startswith(("ACHILLES_", "PYTHON"))
    }
    variables["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        try:
            line = _first_line(process, plan.cell_timeout_s)
            if line is None:
                failure = f"not done after {plan.cell_timeout_s:g} s"
            elif not line:
                process.wait(STOP_S)
                complaints.seek(0)
                last = complaints.read().decode(errors="replace").strip().splitlines()[-1:]
                failure = (last or [f"ended with {process.returncode}"])[0][:300]
            else:
                figures = json.loads(line)
                process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Whatever it left behind is ours now, and goes with it.
            end_all()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    wall_s = time.perf_counter() - began_s
    return Cell(number, workload, peer, figures, failure, round(wall_s, 2), round(load, 2))


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
    """The line of figures; empty when it ended without; None when it took too long."""
    assert process.stdout is not None
    received = b""
    end_s = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not received.endswith(b"\n"):
            if not selector.select(max(0.0, end_s - time.monotonic())):
                return None
            if not (read := os.read(process.stdout.fileno(), 65_536)):
                return b""
            received += read
    return received
