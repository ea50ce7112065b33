"""One measurement in a process of its own: ``python -m benchmarks.cell W1 stdlib``; prints one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack

from benchmarks.peers import open_peer
from benchmarks.processes import pin_to
from benchmarks.workloads import WORKLOADS, Effort


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("peer")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    # Some peers talk on standard output; the figures get it for themselves.
    figures_to = os.dup(1)
    os.set_inheritable(figures_to, False)
    os.dup2(2, 1)
    pin_to(options.workers)
    workload = WORKLOADS[options.workload]
    peer = open_peer(options.peer, options.workers)
    with ExitStack() as stack:
        if not workload.starts_peer:
            stack.callback(peer.stop)
            peer.start()
        figures = workload.measure(peer, Effort(options.seconds, options.scale))
        # Before the peer is stopped: a peer that cannot stop has still been measured.
        os.write(figures_to, json.dumps(figures).encode() + b"\n")
        os.close(figures_to)


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stdout.flush()
