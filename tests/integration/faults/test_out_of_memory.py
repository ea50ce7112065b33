"""Items that take more memory than there is: a limit of the process, and the kernel's own killing."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import achilles
from achilles.errors import WorkerDiedError

MIB = 1024 * 1024
HIERARCHIES = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]


def walled_group(most_bytes: int) -> Path:
    """A control group whose processes share so many bytes of memory; those who want more are killed."""
    why = "there is no memory controller"
    for parent, limit in HIERARCHIES:
        try:
            group = Path(tempfile.mkdtemp(prefix="achilles-test-", dir=parent))
        except OSError as error:
            why = f"{parent}: {error.strerror}"
            continue
        try:
            # What no controller made must not be made here: the hierarchies' root may be a tmpfs.
            with (group / limit).open("r+") as file:
                file.write(str(most_bytes))
        except OSError as error:
            why = f"{group / limit}: {error.strerror}"
            group.rmdir()
            continue
        return group
    pytest.skip(f"no control group with a limit of memory can be made here: {why}")


@pytest.fixture
def walled(wait: Callable[[Callable[[], object]], None]) -> Iterator[tuple[str, int]]:
    """The file by which a process enters a walled group, and how much memory there is inside."""
    # More than this process ever took: a worker's peak is known only beyond that of who started it.
    most_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 128 * MIB
    group = walled_group(most_bytes)
    members = group / "cgroup.procs"
    yield str(members), most_bytes
    wait(lambda: not members.read_text())
    group.rmdir()


def test_an_item_that_the_kernel_kills_for_memory_fails_alone(place, walled, capsys) -> None:
    members, most_bytes = walled

    def work(x):
        if x != 8:
            return x
        print("taking all", file=sys.stderr)
        with open(members, "w") as file:
            file.write(str(os.getpid()))
        taken = []
        while len(taken) * MIB < most_bytes + 256 * MIB:
            taken.append(b"x" * MIB)
        raise AssertionError("nobody stopped it")

    packets = achilles.map(work, range(20), chunksize=5, on_error="return", **place.call)
    results = [result for packet in packets for result in packet]
    error = results.pop(8)
    assert results == [*range(8), *range(9, 20)]
    assert isinstance(error, WorkerDiedError)
    assert (error.index, error.attempts, error.exit_code) == (8, 3, -signal.SIGKILL)
    assert error.node == ("this machine" if place.name == "local" else f"node {socket.gethostname()}")
    # What it had before it went behind the wall comes on top.
    assert error.peak_rss_bytes is not None
    assert 0.7 * most_bytes < error.peak_rss_bytes < most_bytes + 128 * MIB
    assert error.stderr == "taking all"
    assert capsys.readouterr().err.count("item 8] taking all\n") == 3
    assert "SIGKILL" in str(error) and f"{error.peak_rss_bytes / MIB:.0f} MiB" in str(error)


def test_a_limit_of_the_process_is_an_error_like_others(place) -> None:
    def work(x):
        if x != 2:
            return x
        limits = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as file:
            taken_bytes = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + 64 * MIB, limits[1]))
        try:
            return bytes(256 * MIB)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    pids = place.settled()
    packets = achilles.map(work, range(8), chunksize=2, on_error="return", **place.call)
    results = [result for packet in packets for result in packet]
    assert isinstance(results.pop(2), MemoryError)
    assert results == [0, 1, 3, 4, 5, 6, 7]
    assert place.workers() == pids
