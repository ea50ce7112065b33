"""What one worker costs: start, memory, round trip, per unit, per item, megabytes per second.

Run: python benchmarks/workers.py        (stdlib figures beside ours, one process each)
"""

from __future__ import annotations

import multiprocessing
import queue
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from achilles.serialization import serialize
from achilles.workers import channel
from achilles.workers.loop import SelectorLoop
from achilles.workers.worker import Worker

ROUNDS = 5


class Owner:
    """Puts everything a worker says in a queue."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def worker_ready(self, worker: Worker) -> None:
        self.said.put(time.perf_counter())

    def worker_message(self, worker: Worker, *message: Any) -> None:
        self.said.put(message)

    def worker_died(self, worker: Worker, exit_code: int) -> None:
        self.said.put(exit_code)


def identity(x: Any) -> Any:
    return x


def resident_mb(pid: int) -> tuple[float, float]:
    """(all, anonymous) resident memory."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def median_s(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure_worker() -> None:
    owner, loop = Owner(), SelectorLoop()
    loop.start()
    ready_s = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        worker = Worker(loop, 0, owner, sys.path, own_modules="local")
        worker.start()
        ready_s.append(owner.said.get() - began)
        memory = resident_mb(worker.pid)
        loop.callFromThread(worker.close)
        owner.said.get()
    print(f"start to ready {statistics.median(ready_s) * 1e3:.0f} ms, resident {memory[0]:.1f} MB")
    print(f"  of it its own {memory[1]:.1f} MB")

    worker = Worker(loop, 0, owner, sys.path, own_modules="local")
    worker.start()
    owner.said.get()
    for job, function in ((1, abs), (2, identity)):
        worker.send(
            channel.FUNCTION, 0, job, 1, segments=serialize((function, None, None, "raise"), "f").segments
        )

    def unit(job: int, segments: Any, tasks: int) -> None:
        worker.send(channel.UNIT, 0, job, 0, tasks, 0, segments)

    one = serialize([1], "a").segments

    def round_trips() -> None:
        for _ in range(2000):
            unit(1, one, 1)
            owner.said.get()

    print(f"round trip {median_s(round_trips) / 2000 * 1e6:.1f} us")

    def pipelined() -> None:
        for _ in range(20_000):
            unit(1, one, 1)
        for _ in range(20_000):
            owner.said.get()

    print(f"units of one item, pipelined {median_s(pipelined) / 20_000 * 1e6:.1f} us each")

    many = serialize([1] * 100_000, "a").segments
    for job, function in ((1, abs), (2, identity)):
        began = time.perf_counter()
        for _ in range(1_000_000):
            function(1)
        bare_ns = (time.perf_counter() - began) * 1e3
        busy_ns = []
        for _ in range(ROUNDS):
            unit(job, many, 100_000)
            busy_ns.append(owner.said.get()[5] / 100_000)
        print(
            f"per item of {function.__name__} {statistics.median(busy_ns):.0f} ns with pickling, "
            f"a bare loop of calls {bare_ns:.0f} ns"
        )

    for size_mib in (1, 8, 64):
        payload = serialize([np.zeros(size_mib << 17)], "a").segments
        repeat = max(2, 64 // size_mib)

        def echo(payload: Any = payload, repeat: int = repeat) -> None:
            for _ in range(repeat):
                unit(2, payload, 1)
                owner.said.get()

        print(
            f"echo of {size_mib} MiB arrays {repeat * size_mib * 1.048576 / median_s(echo):.0f} MB/s each way"
        )
    loop.callFromThread(worker.close)
    owner.said.get()
    loop.stop()


def measure_stdlib() -> None:
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    with context.Pool(1) as pool:
        pool.apply(abs, (1,))
        print(f"stdlib spawn Pool(1): start to first result {(time.perf_counter() - began) * 1e3:.0f} ms")
        pid = pool._pool[0].pid  # type: ignore[attr-defined]
        print("  resident {:.1f} MB, of it its own {:.1f} MB".format(*resident_mb(pid)))

        def round_trips() -> None:
            for _ in range(1000):
                pool.apply(abs, (1,))

        print(f"  round trip {median_s(round_trips) / 1000 * 1e6:.1f} us")
        for size_mib in (8, 64):
            array = np.zeros(size_mib << 17)
            seconds = median_s(lambda array=array: pool.apply(identity, (array,)))  # type: ignore[misc]
            print(f"  echo of {size_mib} MiB arrays {size_mib * 1.048576 / seconds:.0f} MB/s each way")


if __name__ == "__main__":
    measure_worker()
    measure_stdlib()
