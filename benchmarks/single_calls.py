"""Single calls, ``python -m benchmarks.single_calls``: `achilles.Executor` beside the standard library's.

Both have two workers and are warm. A round submits `CALLS` calls of a function that does nothing to one of
them, and waits for all; then to the other. Printed are medians over the rounds, and that of the ratios.
"""

from __future__ import annotations

import concurrent.futures
import statistics
import time

import achilles

CALLS = 5_000
ROUNDS = 7


def calls_per_s(executor: concurrent.futures.Executor) -> float:
    """Submit the calls and wait for their results."""
    began_s = time.perf_counter()
    futures = [executor.submit(abs, -number) for number in range(CALLS)]
    assert sum(future.result() for future in futures) == sum(range(CALLS))
    return CALLS / (time.perf_counter() - began_s)


def main() -> None:
    """Run the rounds and print what came of them."""
    with (
        achilles.Executor(2, address="local") as ours,
        concurrent.futures.ProcessPoolExecutor(2) as theirs,
    ):
        for executor in (ours, theirs):
            calls_per_s(executor)
        rounds = [(calls_per_s(ours), calls_per_s(theirs)) for _ in range(ROUNDS)]
    print(f"achilles.Executor: {statistics.median(our for our, _ in rounds):,.0f} calls/s")
    print(f"ProcessPoolExecutor: {statistics.median(their for _, their in rounds):,.0f} calls/s")
    print(f"median of the ratios: {statistics.median(our / their for our, their in rounds):.2f}")


if __name__ == "__main__":
    main()
