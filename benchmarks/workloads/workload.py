"""What a workload is, and the two ways in which most of them measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import Peer


@dataclass(frozen=True)
class Effort:
    """How much is done for one figure.

    Attributes:
        seconds: A rate is taken over at least so long.
        scale: Factor on the sizes of workloads of fixed size.
    """

    seconds: float
    scale: float

    def of(self, size: int, least: int = 2) -> int:
        """A size at this scale."""
        return max(least, round(size * self.scale))


@dataclass(frozen=True)
class Figure:
    """One number that a workload gives.

    Attributes:
        key: Its name in records, with the unit at its end.
        title: Its name in tables.
        more_is_better: For ratios: whether a larger figure is the better one.
        compared: Whether a ratio between two of them means anything.
        at: Of a figure that shows growth: how much there was of what grows.
    """

    key: str
    title: str
    more_is_better: bool = True
    compared: bool = True
    at: float | None = None


@dataclass(frozen=True)
class Workload:
    """A workload and how to run it.

    Attributes:
        name: W1 and so on.
        title: What it is, for tables.
        figures: What it gives.
        measure: Takes a started peer; returns figures by key.
        peers: The only peers that it makes sense for; all if empty.
        starts_peer: The peer is given unstarted: to start it is part of what is measured.
        grows: What grows from figure to figure, and what is measured; drawn as lines.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    measure: Callable[[Peer, Effort], dict[str, float]]
    peers: tuple[str, ...] = ()
    starts_peer: bool = False
    grows: tuple[str, str] | None = None


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def rate(run: Callable[[int], float], effort: Effort, first: int = 200, most: int = 2_000_000) -> float:
    """Tasks per second of the first run that takes long enough.

    Args:
        run: Runs a job of so many tasks and returns its seconds.
        effort: How long is long enough.
        first: Number of tasks to begin with; the number grows until the run is long enough.
        most: Largest number of tasks.
    """
    tasks = first
    while True:
        seconds = run(tasks)
        if seconds >= effort.seconds or tasks >= most:
            return tasks / seconds
        growth = min(8.0, max(2.0, 1.3 * effort.seconds / seconds))
        tasks = min(most, int(tasks * growth))


def mapped(peer: Peer, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> float:
    """Seconds of one ``map``, whose results must be complete."""
    began_s = time.perf_counter()
    pieces = peer.map(function, args, chunksize)
    seconds = time.perf_counter() - began_s
    found = sum(peer.results_in(piece) for piece in pieces) if peer.in_lists else len(pieces)
    if found != len(args):
        raise RuntimeError(f"{found} results of {len(args)} tasks")
    return seconds


def efficiency(peer: Peer, function: Callable[[Any], float], args: list[Any], chunksize: int | None) -> float:
    """CPU seconds that the tasks say they used ÷ (workers × wall-clock seconds)."""
    began_s = time.perf_counter()
    pieces = peer.map(function, args, chunksize)
    seconds = time.perf_counter() - began_s
    return sum(peer.results(pieces)) / (peer.workers * seconds)
