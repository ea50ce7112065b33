"""W4: 64 different arrays of 8 MiB through ``map`` with chunk size 1, in warm workers.

*Echo*: the array comes back. *In*: a number comes back. MB/s are the bytes of the arrays on their way
in, ÷ wall-clock seconds, in millions.
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.tasks import no_op, size_of
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped

ARRAY_BYTES = 8 << 20


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    import numpy as np

    count = effort.of(64, 4)
    arrays = [np.full(ARRAY_BYTES // 8, float(number)) for number in range(count)]
    megabytes = count * ARRAY_BYTES / 1e6
    mapped(peer, size_of, arrays[: peer.workers], 1)
    into = megabytes / mapped(peer, size_of, arrays, 1)
    echo = megabytes / mapped(peer, no_op, arrays, 1)
    return {"echo_mb_per_s": echo, "in_mb_per_s": into}


WORKLOADS = [
    Workload(
        "W4",
        "64 arrays of 8 MiB",
        (Figure("echo_mb_per_s", "echo, MB/s"), Figure("in_mb_per_s", "in, MB/s")),
        measure,
    )
]
