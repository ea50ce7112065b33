"""The scheduler alone: packets decided per second, with few nodes and with many.

    python benchmarks/scheduler.py [--nodes 10 100 10000] [--jobs 100] [--packets 60000]

The scheduler is driven in a closed loop without sockets: each demand is answered by a parcel as long as
was asked for, and parcels finish in the order in which they were sent. It is measured once all nodes are
full, and only the scheduler's own time counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler

CPU_COUNT = 2


def run(nodes: int, jobs: int, packets: int, task_us: int, tasks_told: int = 0) -> dict[str, float]:
    """One closed loop; returns packets and parcels per second of deciding.

    ``tasks_told``: how many tasks each job says it has, as those over lists do; 0: none says.
    """
    brain = Scheduler()
    handle = brain.handle
    now_ns = 0
    deciding_ns = 0
    packets_done = parcels_done = events = 0
    numbers = [0] * jobs
    demands: deque[ev.Demand] = deque()
    running: deque[tuple[int, int, int, int]] = deque()
    clock = time.perf_counter_ns

    def hear(event: ev.Event) -> None:
        nonlocal deciding_ns, events
        started_ns = clock()
        commands = handle(event)
        deciding_ns += clock() - started_ns
        events += 1
        for command in commands:
            if type(command) is ev.Demand:
                demands.append(command)
            elif type(command) is ev.SendParcel:
                running.append((command.node, command.job, command.parcel, sizes.pop()))

    sizes: list[int] = []
    for node in range(nodes):
        hear(ev.NodeJoined(now_ns, node, CPU_COUNT, (3, 11)))
    for job in range(jobs):
        hear(ev.JobSubmitted(now_ns, job, job, 1, tasks=tasks_told))
    # Each node has been filled by then, and gives and takes as much as ever after.
    warm_at = 6 * nodes
    counted_from = -1
    while counted_from < 0 or packets_done < counted_from + packets:
        if counted_from < 0 and parcels_done >= warm_at:
            deciding_ns = events = parcels_done = 0
            counted_from = packets_done
        while demands:
            demand = demands.popleft()
            tasks = demand.packets * CPU_COUNT
            sizes.append(tasks)
            parcel = numbers[demand.job]
            numbers[demand.job] += 1
            hear(ev.ParcelArrived(now_ns, demand.job, parcel, demand.node, tasks, 100 * tasks))
        node, job, number, tasks = running.popleft()
        now_ns += 1_000
        hear(ev.ResultsArrived(now_ns, node, job, number, 1, [(0, tasks, 0, tasks * task_us)]))
        packets_done += tasks // CPU_COUNT
        parcels_done += 1
    seconds = deciding_ns / 1e9
    counted = packets_done - counted_from
    return {
        "nodes": nodes,
        "jobs": jobs,
        "task_us": task_us,
        "packets_per_s": round(counted / seconds),
        "parcels_per_s": round(parcels_done / seconds),
        "us_per_event": round(1e6 * seconds / events, 2),
        "packets_per_parcel": round(counted / parcels_done, 1),
    }


def main() -> None:
    """Print one line for each number of nodes, and the ratio between the first and the last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 1_000, 10_000])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--packets", type=int, default=60_000)
    parser.add_argument("--task-us", type=int, nargs="+", default=[100, 1_000, 20_000])
    parser.add_argument("--tasks-told", type=int, default=0, help="tasks each job says it has")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for task_us in options.task_us:
        figures = []
        for nodes in options.nodes:
            figure = run(nodes, options.jobs, options.packets, task_us, options.tasks_told)
            figures.append(figure)
            if options.json:
                print(json.dumps(figure), flush=True)
            else:
                print("  ".join(f"{name} {value:,}" for name, value in figure.items()), flush=True)
        ratio = figures[0]["parcels_per_s"] / figures[-1]["parcels_per_s"]
        if not options.json:
            print(f"    cost per parcel, {options.nodes[-1]:,} to {options.nodes[0]:,} nodes: {ratio:.2f}")


if __name__ == "__main__":
    main()
