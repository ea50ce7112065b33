"""A server with two nodes, values that are made there, and what the tests of kept values ask of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set
from typing import Any

import numpy as np
import psutil

from achilles import Kept, Pool, getClusterStatus
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster, Party, Place, wait_until

MEBIBYTE = 1 << 20
SIZE = 9 * MEBIBYTE
WITH_KEY = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}"
Array = np.ndarray[Any, Any]


class Two:
    """A server with two nodes, and how its controllers find it."""

    def __init__(self, place: Place, *, near: bool, workers: int = 2, **variables: str) -> None:
        self.cluster = Cluster(place)
        self.where = self.cluster.address if near else self.cluster.with_key
        if not near:
            variables["ACHILLES_LOCAL_SOCKET"] = "off"
        for _ in range(2):
            self.cluster.start_node(workers, more="" if near else WITH_KEY, **variables)
        self.nodes = list(self.cluster.nodes)

    def pool(self) -> Pool:
        return Pool(**self.where)

    def party(self, kept: Kept) -> Party:
        assert kept.holder is not None
        return next(node for node in self.nodes if f"CLIENT_ID: {kept.holder}" in node.lines)

    def on(self, node: int, pool: Pool, size_bytes: int = SIZE, first: float = 0.0) -> Kept:
        """A value that was made at a node of this number."""
        while True:
            kept = pool.keep_async(numbers, (size_bytes, first)).get(30)
            assert isinstance(kept, Kept)
            if kept.holder == node:
                return kept

    def moved(self) -> tuple[int, int, int]:
        """Bytes of kept values that went to the nodes, and to controllers that are connected."""
        status = getClusterStatus(**self.cluster.with_key)
        at = {node["id"]: node["kept_fetched_bytes"] for node in status.nodes}
        return at.get(0, 0), at.get(1, 0), status.server["kept_fetched_bytes"]


def numbers(size_bytes: int, first: float = 0.0) -> Array:
    return np.arange(size_bytes // 8, dtype=np.float64) + first


def place_and_sum(*arrays: Array) -> tuple[int, float]:
    return os.getppid(), sum(float(array[1]) for array in arrays)


def kept_from(pool: Pool, size_bytes: int = SIZE, first: float = 0.0) -> Kept:
    kept = pool.keep_async(numbers, (size_bytes, first)).get(30)
    assert isinstance(kept, Kept)
    return kept


def write(array: Array) -> float:
    array[3] += 1.0
    return float(array[3])


def memory_files(party: Party) -> int:
    """How many pieces of shared memory a node and its workers hold."""
    return sum(map(_memory_files_of, [party.pid, *(below.pid for below in party.descendants())]))


def _memory_files_of(pid: int) -> int:
    count = 0
    with contextlib.suppress(OSError):  # it has just ended
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{pid}/fd/{number}").startswith("/memfd:achilles ")
    return count


def processes_below() -> set[int]:
    """The processes that this one or those below it have started."""
    return {below.pid for below in psutil.Process().children(recursive=True)}


def own_memory_files(others: Set[int] = frozenset()) -> int:
    """How many this process holds and those below it, but for others: clusters of other tests, say."""
    return sum(map(_memory_files_of, {os.getpid(), *processes_below()} - others))


def no_more_than(party: Party, most: int) -> None:
    wait_until(lambda: memory_files(party) <= most, what=f"for {party.pid} to hold {most} pieces of memory")


def memory_of(array: Array) -> tuple[int, int]:
    """The process, and the file in whose memory the array lies there."""
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            place, _, _, _, inode, *_ = line.split()
            begin, end = (int(part, 16) for part in place.split("-"))
            if begin <= address < end:
                return os.getpid(), int(inode)
    raise AssertionError("it lies nowhere")
