"""W5: results as they come, of a generator of 2 M ints that is drawn lazily.

``imap_unordered`` (or the nearest that the peer has) with chunk size 5,000 in warm workers: items per
second; by how many MB the caller's resident memory rose above what it was before, at its highest; the
same of a cluster's server and node. Then another generator is given, one piece is read and the
reader stands still: how many items are drawn from the generator until half a second passes
without another, or four seconds in all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

from benchmarks.peers import Peer
from benchmarks.processes import forget_peak, memory_kib
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload

CHUNKSIZE = 5_000
QUIET_S = 0.5
LONGEST_S = 4.0


def read_all(peer: Peer, args: Iterator[int]) -> int:
    results_in = peer.results_in
    return sum(results_in(piece) for piece in peer.stream(no_op, args, CHUNKSIZE))


def drawn_while_still(peer: Peer, items: int) -> int:
    drawn = 0

    def counted() -> Iterator[int]:
        nonlocal drawn
        for item in range(items):
            drawn += 1
            yield item

    pieces = peer.stream(no_op, counted(), CHUNKSIZE)
    next(pieces)
    end_s = time.monotonic() + LONGEST_S
    seen, quiet_since_s = drawn, time.monotonic()
    while (now_s := time.monotonic()) < end_s and now_s - quiet_since_s < QUIET_S and drawn < items:
        time.sleep(0.02)
        if drawn != seen:
            seen, quiet_since_s = drawn, now_s
    still = drawn
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
    else:
        for _ in pieces:  # a pool that cannot cancel has to be read out
            pass
    return still


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    items = effort.of(2_000_000, 20_000)
    read_all(peer, iter(range(8 * CHUNKSIZE)))
    watched = {"caller": "self", **peer.other_pids()}
    before_kib = {name: memory_kib(pid, "VmRSS") for name, pid in watched.items()}
    for pid in watched.values():
        forget_peak(pid)
    began_s = time.perf_counter()
    # A chain has no length, so nobody can prepare for it.
    found = read_all(peer, chain(range(items)))
    seconds = time.perf_counter() - began_s
    if found != items:
        raise RuntimeError(f"{found} results of {items} tasks")
    growth = {name: (memory_kib(pid, "VmHWM") - before_kib[name]) / 1024 for name, pid in watched.items()}
    figures = {"items_per_s": items / seconds, "caller_growth_mib": growth.pop("caller")}
    if growth:
        figures["others_growth_mib"] = max(growth.values())
    return {**figures, "drawn_while_still": drawn_while_still(peer, items)}


WORKLOADS = [
    Workload(
        "W5",
        "lazy generator of 2 M ints",
        (
            Figure("items_per_s", "items/s"),
            Figure("caller_growth_mib", "the caller's growth, MiB", more_is_better=False, compared=False),
            Figure(
                "others_growth_mib", "server's or node's growth, MiB", more_is_better=False, compared=False
            ),
            Figure(
                "drawn_while_still", "items drawn for a still reader", more_is_better=False, compared=False
            ),
        ),
        measure,
    )
]
