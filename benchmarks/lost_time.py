"""Where the time goes that cores do not spend in tasks: ``python -m benchmarks.lost_time [jobs] [peers]``.

Runs a job whose efficiency W1, W6 or W8 takes, with tasks that also say when they began and ended. Splits
the time of all workers into that within tasks, before the first task of each, between its tasks and after
its last; and says what each process used of CPU, and what the cores did meanwhile. What they did beyond
our processes was somebody else's; ``steal`` is what the host took.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.peers import Peer, open_peer
from benchmarks.processes import adopt_orphans, end_all
from benchmarks.tasks import stamped
from benchmarks.workloads.skewed import LONG_US, SHORT_US

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of the first line of /proc/stat.
STAT = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def jobs() -> dict[str, tuple[list[int], int | None]]:
    """Arguments and chunk size, by name."""
    at_tail = [SHORT_US] * 1_960 + [LONG_US] * 40
    return {
        "W1": ([1_000] * 1_000, 1),
        "W6": ([10_000] * 300, 1),
        "W8": (random.Random(4).sample(at_tail, len(at_tail)), None),
        "W8tail": (at_tail, None),
    }


def cores_s() -> dict[str, float]:
    """Seconds of all cores so far, by what they were used for."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    return {name: int(ticks) / TICKS_PER_S for name, ticks in zip(STAT, fields, strict=False)}


def used_s(peer: Peer) -> dict[str, float]:
    """CPU seconds so far of the caller, of what belongs to the peer, and of workers, together and by name."""
    named = {pid: name for name, pid in peer.other_pids().items()}
    found: dict[str, float] = defaultdict(float)
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        name = "caller" if process == me else named.get(process.pid, "workers and the like")
        found[name] += times.user + times.system
    return found


def since(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in now.items()}


def measure(peer: Peer, args: list[int], chunksize: int | None) -> None:
    peer.map(stamped, [10] * 4 * peer.workers, 1)
    used_before, cores_before = used_s(peer), cores_s()
    began_s = time.monotonic()
    pieces = peer.map(stamped, args, chunksize)
    ended_s = time.monotonic()
    used, cores = since(used_s(peer), used_before), since(cores_s(), cores_before)
    wall_s = ended_s - began_s
    tasks = sorted(peer.results(pieces), key=lambda task: task[1])
    by_worker: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for pid, from_s, to_s, _ in tasks:
        by_worker[pid].append((from_s, to_s))
    whole_s = peer.workers * wall_s
    in_tasks_s = sum(task[3] for task in tasks)
    preempted_s = sum(to_s - from_s for _, from_s, to_s, _ in tasks) - in_tasks_s
    start_s = sum(spans[0][0] - began_s for spans in by_worker.values())
    tail_s = sum(ended_s - spans[-1][1] for spans in by_worker.values())
    gaps_s = sorted(b[0] - a[1] for spans in by_worker.values() for a, b in pairwise(spans))
    print(f"  wall {wall_s:.3f} s, efficiency {in_tasks_s / whole_s:.3f}")
    print(f"  lost of {peer.workers} × wall, in ms (share):")
    for name, seconds in (
        ("tasks that had to wait for a core", preempted_s),
        ("before the workers' first tasks", start_s),
        ("between tasks", sum(gaps_s)),
        ("after the workers' last tasks", tail_s),
    ):
        print(f"    {name}: {1e3 * seconds:.0f} ({seconds / whole_s:.3f})")
    print(f"    longest gaps between tasks: {', '.join(f'{1e3 * gap:.1f}' for gap in gaps_s[-1:-9:-1])}")
    print(
        "  CPU of processes, ms: "
        + ", ".join(f"{name} {1e3 * spent_s:.0f}" for name, spent_s in used.items())
    )
    print("  of cores, ms: " + ", ".join(f"{name} {1e3 * spent_s:.0f}" for name, spent_s in cores.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="?", default="W1,W6,W8,W8tail")
    parser.add_argument("peers", nargs="?", default="stdlib,achilles,cluster")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    adopt_orphans()
    try:
        for name in options.peers.split(","):
            with open_peer(name, options.workers) as peer:
                for job in options.jobs.split(","):
                    print(f"{job} {name}")
                    measure(peer, *jobs()[job])
    finally:
        end_all()


if __name__ == "__main__":
    main()
