"""Compare scheduled and plain execution of many programs: ``python -m tests.differential --count 1000``."""

from __future__ import annotations

import argparse
import sys
import time

from .comparing import MODES, Difference, check
from .programs import program


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.differential", description=__doc__)
    parser.add_argument(
        "--count", type=int, default=1000, help="programs, each with two inputs in every mode"
    )
    parser.add_argument("--seed", type=int, default=None, help="only the program of this seed")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--mode", choices=list(MODES), default=None)
    parser.add_argument("--size", type=int, default=20, help="about how many statements")
    parser.add_argument("--keep-going", action="store_true", help="count the differences, show the first")
    parser.add_argument("--show", action="store_true", help="print the program of --seed")
    options = parser.parse_args()
    if options.show:
        print(program(options.seed, options.size))
    seeds = (
        range(options.start, options.start + options.count)
        if options.seed is None
        else range(options.seed, options.seed + 1)
    )
    modes = list(MODES) if options.mode is None else [options.mode]
    began_s, runs, overlapped, wrong = time.monotonic(), 0, 0, []
    for seed in seeds:
        try:
            ran, together = check(seed, modes, options.size)
            runs, overlapped = runs + ran, overlapped + together
        except Difference as difference:
            wrong.append((len(program(seed, options.size)), seed, difference))
            print(f"seed {seed} differs", flush=True)
            if not options.keep_going:
                print(difference)
                return 1
        except Exception:
            print(f"seed {seed}, size {options.size}\n{program(seed, options.size)}")
            raise
        if (seed + 1) % 1000 == 0:
            print(f"{seed + 1} ({time.monotonic() - began_s:.0f} s), {len(wrong)} differ", flush=True)
    if wrong:
        print(min(wrong, key=lambda each: each[:2])[2])
        print("seeds:", sorted({each[1] for each in wrong})[:50])
    elapsed_s = time.monotonic() - began_s
    print(f"{len(seeds)} programs, {runs} runs, {overlapped} with overlapping calls, {elapsed_s:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
