"""A parent of real workers, and a check that each test leaves no process and no descriptor."""

from __future__ import annotations

import gc
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles.sealed import mapped
from achilles.serialization import deserialize, load_failure, serialize
from achilles.workers import channel
from achilles.workers.loop import SelectorLoop
from achilles.workers.module_source import ModuleSource
from achilles.workers.worker import Worker

DEADLINE_S = 20.0


class Parent:
    """Owns workers on a SelectorLoop and keeps what they say."""

    def __init__(self) -> None:
        self.loop = SelectorLoop()
        self.loop.start()
        self.workers: list[Worker] = []
        self.said: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self.fetched: list[str] = []
        self.find: Callable[[int, str], ModuleSource] = lambda job, name: ModuleSource.missing(name)
        self._sessions: dict[int, int] = {}

    # -- what workers tell

    def worker_ready(self, worker: Worker) -> None:
        self.said.put(("ready", worker))

    def worker_message(self, worker, kind, status, job, a, b, c, payload) -> None:
        if kind == channel.FETCH:
            name = payload.decode()
            self.fetched.append(name)
            worker.send_module(job, a, self.find(job, name))
        elif kind == channel.UNBEGUN:
            self.said.put(("unbegun", a, b))
        else:
            names = {channel.LAST_RESULT: "last result", channel.EARLY_RESULT: "early result"}
            name = names.get(kind, "result")
            self.said.put((name, worker, status, job, a, b, c, mapped(payload)))

    def worker_died(self, worker: Worker, exit_code: int) -> None:
        self.said.put(("died", worker, exit_code))

    # -- what tests say

    def worker(self, **options: Any) -> Worker:
        options.setdefault("own_modules", "local")
        options.setdefault("sys_path", sys.path)
        worker = Worker(self.loop, len(self.workers), self, **options)
        self.workers.append(worker)
        worker.start()
        assert self.next()[0] == "ready"
        return worker

    def next(self) -> tuple[Any, ...]:
        return self.said.get(timeout=DEADLINE_S)

    def function(self, worker, function, *, job=1, session=1, callback=None, reducer=None, on_error="raise"):
        segments = serialize((function, callback, reducer, on_error), "function").segments
        worker.send(channel.FUNCTION, 0, job, session, 0, 0, segments)

    def unit(self, worker, items, *, job=1, first=0, skip=0, limit=None, packet_tasks=0) -> None:
        limit = len(items) - skip if limit is None else limit
        segments = serialize(items, "arguments").segments
        worker.send(channel.UNIT, 0, job, first, skip << 32 | limit, packet_tasks, segments)

    def result(self) -> tuple[int, Any]:
        """(status, values) or (status, values, {index: exception}) or (status, exception)."""
        said = self.next()
        assert said[0] == "result", said
        status, payload = said[2], said[7]
        if status == channel.OK:
            return status, deserialize(payload, "results")
        if status == channel.ALL_FAILED:
            return status, load_failure(payload)
        values, failures = deserialize(payload, "results")
        errors = {index: load_failure(blob) for index, blob in failures}
        return status, deserialize(values, "results"), errors

    def run(self, worker, function, items, **options: Any) -> tuple[int, Any]:
        self.function(worker, function)
        self.unit(worker, items, **options)
        return self.result()

    def close(self) -> None:
        alive = [worker for worker in self.workers if worker.exit_code is None]
        for worker in alive:
            self.loop.callFromThread(worker.close, 3.0)
        wait_until(lambda: all(worker.exit_code is not None for worker in self.workers))
        self.loop.stop()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than an entry nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def own_fds() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            pass  # the one that listed the directory
    return found


def own_children() -> set[int]:
    pids = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            pids.update(map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()))
        except FileNotFoundError:
            pass  # a thread that has just ended; its children are another's now
    return pids


@pytest.fixture
def parent() -> Iterator[Parent]:
    gc.collect()  # what other tests have left, and would be gone in the end
    fds, children = own_fds(), own_children()
    parent = Parent()
    yield parent
    parent.close()
    assert own_fds() == fds
    assert own_children() == children


@pytest.fixture
def wait() -> Callable[[Callable[[], Any]], None]:
    return wait_until


@pytest.fixture
def running() -> Callable[[int], bool]:
    return is_running
