"""Draws very many integers lazily, and checks that memory stays flat: ``python -m tests.soak.many_ints``."""

from __future__ import annotations

import argparse
import time

import psutil

from achilles import imap_unordered

MOST_GROWTH_BYTES = 32 * 1024 * 1024


def same(number: int) -> int:
    return number


def main() -> None:
    """Run, and print the memory as it goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000_000)
    parser.add_argument("--minutes", type=float, default=20.0, help="give up after so long")
    options = parser.parse_args()
    me, total, done, first_bytes, most_bytes = psutil.Process(), 0, 0, 0, 0
    began_s = time.monotonic()
    for packet in imap_unordered(same, iter(range(options.items)), chunksize=10_000):
        total += sum(packet["RESULT"])
        before, done = done, done + len(packet["RESULT"])
        if done * 20 // options.items > before * 20 // options.items:
            now_bytes = me.memory_info().rss
            first_bytes, most_bytes = first_bytes or now_bytes, max(most_bytes, now_bytes)
            print(f"{done:>12,} {now_bytes >> 20} MiB {time.monotonic() - began_s:.0f} s", flush=True)
        if time.monotonic() - began_s > options.minutes * 60:
            raise SystemExit("it takes too long")
    assert total == options.items * (options.items - 1) // 2
    assert most_bytes - first_bytes < MOST_GROWTH_BYTES, "memory is not flat"


if __name__ == "__main__":
    main()
