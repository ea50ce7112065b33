"""The tests, while processes of theirs are stopped for moments: ``python -m tests.soak.unsteady``.

On a machine that has much else to do, any process may have no core for a while, at any moment. Races that
this brings about once in many runs of the tests show up in one or two when it is done on purpose: to callers,
servers, nodes, workers and pytest's own processes, some thousand times in a run (`make unsteady`).

A test that stops processes itself (of silent peers) may find one of them going on too early. Time limits that
a process was stopped for longer than are no news either: look at what is left.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time

import psutil

PYTEST = ["-m", "pytest", "--numprocesses", "3", "--dist", "loadscope"]


class Stopping:
    """Stops processes.

    Args:
        tests: The one below which they are.
        chance: Says which, and for how long.
        longest_s: For how long at most.
    """

    def __init__(self, tests: psutil.Process, chance: random.Random, longest_s: float) -> None:
        self.stops = 0
        self._tests = tests
        self._chance = chance
        self._longest_s = longest_s

    def once(self) -> None:
        """Stop one of them for a moment, if there is any."""
        try:
            process = self._chance.choice([self._tests, *self._tests.children(recursive=True)])
            if process.status() == psutil.STATUS_STOPPED:
                return  # by a test, which will have it go on
            process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(self._chance.uniform(0.0, self._longest_s))
            finally:
                process.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            return
        self.stops += 1


def main() -> int:
    """Run pytest and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.unsteady")
    parser.add_argument("--longest-ms", type=float, default=100.0, help="for how long at most")
    parser.add_argument("--pause-ms", type=float, default=10.0, help="between two stops, at most")
    parser.add_argument("--seed", type=int, default=None, help="which are stopped; when is never the same")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest (default: all tests)")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    chance = random.Random(seed)
    with subprocess.Popen([sys.executable, *PYTEST, *options.pytest]) as tests:
        stopping = Stopping(psutil.Process(tests.pid), chance, options.longest_ms / 1000)
        while tests.poll() is None:
            stopping.once()
            time.sleep(chance.uniform(0.0, options.pause_ms / 1000))
    print(f"stopped {stopping.stops} times, seed {seed}", flush=True)
    return tests.returncode


if __name__ == "__main__":
    sys.exit(main())
