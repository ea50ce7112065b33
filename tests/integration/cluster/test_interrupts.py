"""Ctrl-C, whenever it comes: prompt, and nothing is left of the call, nor broken for the next one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from achilles import getClusterStatus, imap, map
from achilles.engines.local import local_engine
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import (
    DEADLINE_S,
    PROMPT_S,
    Party,
    Place,
    in_session,
    run_program,
    wait_until,
)

INTERRUPTED = """
import json, os, sys, time
from achilles import imap, map

if __name__ == "__main__":
    where, how = json.loads(sys.argv[1]), sys.argv[2]
    mark = sys.argv[3]

    def work(item):
        with open(mark, "a") as file:
            file.write(".")
        time.sleep(0.001 if item < 5 else 60)
        return item

    try:
        if how == "map":
            map(work, range(100), **where)
        else:
            for packet in imap(work, iter(range(100)), **where):
                pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        if how == "map":
            sys.exit(7)
        raise
"""


@pytest.mark.parametrize("how", ["map", "imap"])
def test_ctrl_c(where: dict[str, Any], how: str, place: Place, request: pytest.FixtureRequest) -> None:
    mark = place.work / f"begun-{request.node.callspec.id}"
    script = place.write("interrupted.py", INTERRUPTED)
    party = Party([script, json.dumps(where), how, mark], place=place, own_group=True)
    try:
        wait_until(lambda: mark.exists() and mark.stat().st_size >= 6, what="for the sleeping item")
        sent_s = time.monotonic()
        os.killpg(party.pid, signal.SIGINT)  # as a terminal does
        party.wait_for("interrupted", timeout_s=PROMPT_S)
        code = party.wait(PROMPT_S)
        assert time.monotonic() - sent_s < PROMPT_S
    finally:
        party.stop(signal.SIGKILL)
    assert code in ((7,) if how == "map" else (130, -signal.SIGINT)), party.text
    wait_until(lambda: not in_session(party.pid), PROMPT_S, "for the processes of an interrupted program")
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs, PROMPT_S)
    # The workers that slept are free again.
    started_s = time.monotonic()
    assert sum(map(tasks.square, [[1, 2, 3]] * 4, reducer=sum, **where)) == 4 * 14
    assert time.monotonic() - started_s < PROMPT_S


# Offsets that cover connecting, drawing, sending, waiting and reading, some of them many times.
INTERRUPTED_OFTEN = """
import json, random, signal, sys, time
from achilles import imap, map

if __name__ == "__main__":
    where, how, times = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def work(item):
        time.sleep(0.0005 if item < 5 else 60)
        return item

    def call(function, arguments):
        if how == "map":
            return [item for packet in map(function, arguments, **where) for item in packet]
        return [item for packet in imap(function, iter(arguments), **where) for item in packet["RESULT"]]

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    call(abs, [1])
    choose = random.Random(how)
    slowest_s = 0.0
    for _ in range(times):
        began_s = time.monotonic()
        at_s = choose.uniform(0.0001, 0.005)
        try:
            signal.setitimer(signal.ITIMER_REAL, at_s)
            call(work, range(100))
        except KeyboardInterrupt:
            slowest_s = max(slowest_s, time.monotonic() - began_s)
        else:
            sys.exit("it was not interrupted")
    assert slowest_s < 5, f"one took {slowest_s:.1f} s"
    assert call(abs, range(-50, 0)) == list(range(50, 0, -1))
    print("right")
"""


@pytest.mark.parametrize("how", ["map", "imap"])
def test_interrupts_at_any_moment(where: dict[str, Any], how: str, place: Place) -> None:
    lines = run_program(place, "interrupted_often.py", INTERRUPTED_OFTEN, json.dumps(where), how, 150)
    assert lines[-1] == "right"
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs, PROMPT_S)


def test_map_does_not_wait_when_its_arguments_fail(where: dict[str, Any]) -> None:
    def failing() -> Iterator[int]:
        yield 0
        yield 1
        raise LookupError("no more")

    def sleep(item: int) -> None:
        time.sleep(60)

    began_s = time.monotonic()
    with pytest.raises(LookupError, match="no more"):
        map(sleep, failing, **where)
    assert time.monotonic() - began_s < 10


def test_a_job_is_dropped_while_another_thread_has_the_engine(embedded: dict[str, Any]) -> None:
    """As the garbage collector does it, in any thread and in the middle of anything."""
    packets = imap(abs, count(), chunksize=1, **embedded)
    next(packets)
    engine = local_engine()
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with engine._lock:
            is_held.set()
            may_end.wait(DEADLINE_S)

    holding = threading.Thread(target=hold)
    holding.start()
    assert is_held.wait(DEADLINE_S)
    dropping = threading.Thread(target=packets.close)
    dropping.start()
    dropping.join(PROMPT_S)
    waits = dropping.is_alive()
    may_end.set()
    dropping.join(DEADLINE_S)
    holding.join(DEADLINE_S)
    assert not waits
    wait_until(lambda: not engine._scheduler.jobs, what="for the end of the job")
