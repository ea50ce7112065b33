"""A controller of the soak: runs one job after the other and checks every index of each.

Prints one JSON line for each job: its kind, items, errors by type, and what was wrong, if anything.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import time
from typing import Any

from achilles import ClusterError, WorkerDiedError, imap, imap_unordered, map


def work(item: int) -> int:
    """A task of 0 to 20 ms; now and then one that lasts longer."""
    time.sleep((item * 7919 % 21) / 1000 if item % 50 else 0.2)
    return item * 3 + 1


def check(results: list[tuple[int, Any]], items: int, ordered: bool) -> tuple[dict[str, int], str]:
    """Errors by type, and what is wrong with the results of one job."""
    indices = [index for index, _ in results]
    if sorted(indices) != list(range(items)):
        return {}, f"{len(indices)} results for {items} items, {len(set(indices))} of them different"
    if ordered and indices != sorted(indices):
        return {}, "out of order"
    errors: dict[str, int] = {}
    for index, value in results:
        if isinstance(value, WorkerDiedError):
            errors["WorkerDiedError"] = errors.get("WorkerDiedError", 0) + 1
        elif value != index * 3 + 1:
            return errors, f"item {index} gave {value!r:.80}"
    return errors, ""


def run_job(seed: int, where: dict[str, Any]) -> dict[str, Any]:
    """One job of random kind and size."""
    chance = random.Random(seed)
    items = chance.choice([1, 10, 200, 1000])
    kind = chance.choice(["map", "imap", "imap_unordered"])
    chunksize = chance.choice([1, 1, 3, 10])
    options = {"chunksize": chunksize, "on_error": "return", "startup_timeout": None, **where}
    options["speculate"] = chance.random() < 0.3
    results: list[tuple[int, Any]] = []
    if kind == "map":
        flat = [value for packet in map(work, range(items), **options) for value in packet]
        results = list(enumerate(flat))
    else:
        call = imap if kind == "imap" else imap_unordered
        for packet in call(work, (item for item in range(items)), **options):
            results += enumerate(packet["RESULT"], packet["ARGS_COUNTER"])
    errors, wrong = check(results, items, kind != "imap_unordered")
    return {"seed": seed, "kind": kind, "items": items, "errors": errors, "wrong": wrong}


def main() -> None:
    """Run jobs until standard input ends."""
    host, port, first_seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    where = {"host": host, "port": port}
    os.set_blocking(0, False)
    seed = first_seed
    while not _ended():
        started_s = time.monotonic()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                outcome = run_job(seed, where)
        except ClusterError as error:
            # Only the dialling of a new call may meet a server that is being restarted.
            outcome = {"seed": seed, "refused": f"{type(error).__name__}: {error}"[:200]}
            time.sleep(0.2)
        outcome["wall_s"] = round(time.monotonic() - started_s, 2)
        print(json.dumps(outcome), flush=True)
        seed += 1


def _ended() -> bool:
    """Whether the other end of standard input is closed."""
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False


if __name__ == "__main__":
    main()
