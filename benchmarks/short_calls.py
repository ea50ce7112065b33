"""Where the time of one short call goes: W9 at default chunks, beside the same work done by hand.

    python -m benchmarks.short_calls [turns]

By hand: the array is compared with a copy of it, the function is pickled without it, and the list in as many
parts as there are workers; these have the function already, and read, run and answer with blocking calls. No
other thread, no bookkeeping, no failure is thought of. What that takes is what a call here could reach.

Prints medians of ms, in turns, and how often the two workers by hand ran at the same time: whether the kernel
gives the second one a core of its own while the call is under way is not for achilles to say. Then, of calls
of achilles alone, how long each process ran, and how long it was ready and got no core; and what the caller
does, in µs since the call began, for the order of steps that was seen most.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import statistics
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import achilles
from achilles import calls
from achilles.engines.drawing import Drawer
from achilles.engines.job import Job
from achilles.engines.local import LocalEngine, local_engine
from achilles.engines.progress import Progress
from achilles.engines.spec import JobSpec
from benchmarks.peers.pools import StdlibPool
from benchmarks.processes import scheduled_ns
from benchmarks.tasks import no_op_over
from benchmarks.workloads.large_function import DEFAULT_TASKS

Function = Callable[[Any], Any]
CALLS = 5
HEAD = struct.Struct("<qqq")  # bytes that follow, and when work on them began and ended
STEPS: list[tuple[Any, str, str]] = [
    (calls, "load_settings", "settings"),
    (JobSpec, "function", "function serialized"),
    (LocalEngine, "submit", "job taken on"),
    (Drawer, "draw", "arguments drawn and serialized"),
    (LocalEngine, "send_parcel", "arguments given to workers"),
    (Progress, "results", "results taken in"),
    (Job, "next_parcel", "results waited for"),
]


def _received(link: socket.socket, size_bytes: int) -> bytearray:
    found = bytearray(size_bytes)
    rest = memoryview(found)
    while rest:
        if not (size := link.recv_into(rest)):
            raise EOFError
        rest = rest[size:]
    return found


def _work(link: socket.socket, function: Function) -> None:
    while True:
        size_bytes, _, _ = HEAD.unpack(_received(link, HEAD.size))
        arguments = _received(link, size_bytes)
        began_ns = time.monotonic_ns()
        results = pickle.dumps([function(item) for item in pickle.loads(arguments)], 5)
        link.sendall(HEAD.pack(len(results), began_ns, time.monotonic_ns()) + results)


class ByHand:
    """As many workers, which are forked with the function.

    Args:
        workers: How many.
        function: A partial over an array.
    """

    def __init__(self, workers: int, function: partial[Any]) -> None:
        self._function = function
        self._known = bytearray(function.args[0].tobytes())
        self._links: list[socket.socket] = []
        self._pids: list[int] = []
        self.together = self.calls = 0
        for _ in range(workers):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                ours.close()
                try:
                    _work(theirs, function)
                finally:
                    os._exit(1)
            theirs.close()
            self._links.append(ours)
            self._pids.append(pid)

    def map(self, items: list[Any]) -> list[Any]:
        """What the function returns for each."""
        assert self._known == memoryview(self._function.args[0]).cast("B")
        pickle.dumps((self._function.func, len(self._known)), 5)
        part = -(-len(items) // len(self._links))
        for number, link in enumerate(self._links):
            arguments = pickle.dumps(items[number * part : (number + 1) * part], 5)
            link.sendall(HEAD.pack(len(arguments), 0, 0) + arguments)
        results: list[Any] = []
        spans = []
        for link in self._links:
            size_bytes, *span = HEAD.unpack(_received(link, HEAD.size))
            spans.append(span)
            results += pickle.loads(_received(link, size_bytes))
        self.calls += 1
        self.together += max(began for began, _ in spans) < min(ended for _, ended in spans)
        return results

    def stop(self) -> None:
        """End its processes."""
        for link, pid in zip(self._links, self._pids, strict=True):
            link.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class Marks:
    """When the caller came to which step, of the calls that were made within."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
        self._marks: list[tuple[str, int]] = []

    def watch(self, owner: Any, name: str, step: str) -> None:
        """Have the end of a step noted."""
        function = getattr(owner, name)

        @wraps(function)
        def noted(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            finally:
                self._marks.append((step, time.perf_counter_ns()))

        setattr(owner, name, noted)

    def call(self, function: Callable[[], Any]) -> None:
        """Make a call and note it."""
        self._marks = []
        began_ns = time.perf_counter_ns()
        function()
        self._marks.append(("the end", time.perf_counter_ns()))
        names = tuple(name for name, _ in self._marks)
        self._seen[names].append([moment_ns - began_ns for _, moment_ns in self._marks])

    def show(self) -> None:
        """Print medians of the order that was seen most."""
        names = max(self._seen, key=lambda names: len(self._seen[names]))
        print(f"\nof {sum(map(len, self._seen.values()))} calls, the {len(self._seen[names])} alike, in µs")
        before_us = 0.0
        for name, moments_ns in zip(names, zip(*self._seen[names], strict=True), strict=True):
            at_us = statistics.median(moments_ns) / 1000
            if at_us - before_us >= 10 or name == "the end":
                print(f"{at_us:8.0f}  {name}")
            before_us = at_us


def cores_used(call: Callable[[], Any], times: int) -> list[str]:
    """How long the processes of the embedded engine ran in a call, and waited for a core; as lines."""
    pids = {"caller": os.getpid()}
    pids |= {f"worker {number}": pid for number, pid in enumerate(local_engine().pids)}
    before = {name: scheduled_ns(pid) for name, pid in pids.items()}
    began_ns = time.monotonic_ns()
    for _ in range(times):
        call()
    each_us = times * 1000
    lines = [f"a call of achilles, {(time.monotonic_ns() - began_ns) / each_us:.0f} µs      ran  no core"]
    for name, (ran_ns, waited_ns) in before.items():
        now_ran_ns, now_waited_ns = scheduled_ns(pids[name])
        ran_us, waited_us = (now_ran_ns - ran_ns) / each_us, (now_waited_ns - waited_ns) / each_us
        lines.append(f"{name:28}{ran_us:8.0f}{waited_us:9.0f}")
    return lines


def main() -> None:
    """Measure and print."""
    import numpy as np

    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    function = partial(no_op_over, np.zeros(1_000_000 // 8))
    items = list(range(DEFAULT_TASKS))
    one, two = ByHand(1, function), ByHand(2, function)
    pool = StdlibPool(2)
    pool.start()

    def mapped() -> None:
        achilles.map(function, items, chunksize=None, address="local")

    ways: dict[str, Callable[[], Any]] = {
        "stdlib": lambda: pool.map(function, items, None),
        "achilles": mapped,
        "by hand, one worker": lambda: one.map(items),
        "by hand, two workers": lambda: two.map(items),
    }
    found_ms: dict[str, list[float]] = {name: [] for name in ways}
    marks = Marks()
    try:
        for _ in range(turns):
            for name, call in ways.items():
                calls_ms = []
                for _ in range(CALLS):
                    began_s = time.perf_counter()
                    call()
                    calls_ms.append(1000 * (time.perf_counter() - began_s))
                found_ms[name].append(statistics.median(calls_ms))
        cores = cores_used(mapped, turns * CALLS)
        for step in STEPS:
            marks.watch(*step)
        for _ in range(turns * CALLS):
            marks.call(mapped)
    finally:
        for part in (one, two, pool):
            part.stop()
    print(f"{DEFAULT_TASKS} no-ops over an array of 1 MB           ms  × stdlib")
    for name, each_ms in found_ms.items():
        ratio = statistics.median(a / b for a, b in zip(found_ms["stdlib"], each_ms, strict=True))
        print(f"{name:40}{statistics.median(each_ms):6.2f}{ratio:10.2f}")
    print(f"both workers by hand at the same time in {two.together} of {two.calls} calls")
    print("", *cores, sep="\n")
    marks.show()


if __name__ == "__main__":
    main()
