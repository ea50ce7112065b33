"""Run the simulation: ``python -m tests.simulation --count 10000 --start 0``, or one ``--seed N``."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from multiprocessing import Pool

from tests.simulation.play import SHAPES, play, reproduction


def play_quietly(job: tuple[int, str]) -> tuple[int, str | None]:
    """Events of a seed, and what went wrong with it."""
    seed, shape = job
    try:
        return play(seed, shape).events, None
    except Exception as error:  # noqa: BLE001  # whatever it is, the seed comes with it
        line = traceback.format_exception_only(error)[0].strip()
        return 0, f"{reproduction(seed, shape)}  # {line}"


def main() -> int:
    """Play seeds; 0 when all promises were kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone and show the traceback")
    parser.add_argument("--start", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many play at once")
    parser.add_argument("--keep-going", action="store_true", help="report every failing seed")
    options = parser.parse_args()
    if options.seed is not None:
        world = play(options.seed, options.shape)
        print(
            f"seed {options.seed}: kept, {world.events:,} events, {world.now_ns / 1e9:.3f} s of virtual time"
        )
        return 0
    started = time.monotonic()
    events = failed = 0
    seeds = [(seed, options.shape) for seed in range(options.start, options.start + options.count)]
    with Pool(options.processes) as pool:
        for played, failure in pool.imap_unordered(
            play_quietly, seeds, chunksize=1 + min(len(seeds) // 50, 20)
        ):
            events += played
            if failure is not None:
                failed += 1
                print(failure, flush=True)
                if not options.keep_going:
                    return 1
    took_s = time.monotonic() - started
    print(f"{options.count} seeds, {failed} failed, {events:,} events, {took_s:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
