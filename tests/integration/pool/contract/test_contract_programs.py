"""Whole programs: Ctrl-C, forgetting everything, pools made where workers import."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from achilles import getClusterStatus
from tests.integration.cluster.parties import Party, Place, in_session, run_program, wait_until

INTERRUPTED = """
import asyncio, json, sys, time
from achilles import Executor, Pool, aio

def work(item):
    with open(mark, "a") as file:
        file.write(".")
    time.sleep(60)

async def main():
    async with aio.Pool(2, **where) as pool:
        await pool.map(work, range(8))

if __name__ == "__main__":
    where, how, mark = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    try:
        if how == "asyncio":
            asyncio.run(main())
        elif how == "executor":
            with Executor(2, **where) as executor:
                list(executor.map(work, range(8)))
        else:
            with Pool(2, **where) as pool:
                if how == "map":
                    pool.map(work, range(8))
                elif how == "get":
                    pool.map_async(work, range(8)).get()
                elif how == "apply":
                    pool.apply(work, (1,))
                else:
                    pool.apply_async(work, (1,))
                    read = pool.imap(work, iter(range(8)))
                    pool.close()
                    pool.join()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(7)
"""


@pytest.mark.parametrize("how", ["map", "get", "apply", "join", "executor", "asyncio"])
def test_ctrl_c(where: dict[str, Any], how: str, place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    script = place.write("interrupted.py", INTERRUPTED)
    party = Party([script, json.dumps(where), how, mark], place=place, own_group=True)
    try:
        wait_until(mark.exists, what="for the sleeping item")
        os.killpg(party.pid, signal.SIGINT)  # as a terminal does
        party.wait_for("interrupted")
        assert party.wait() == 7, party.text
        party.check_output()
    finally:
        party.stop(signal.SIGKILL)
    wait_until(lambda: not in_session(party.pid), what="for the processes of an interrupted program")
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs)


INTERRUPTED_OFTEN = """
import json, random, signal, sys, time
from achilles import Pool

def quick(item):
    return item

if __name__ == "__main__":
    where, times = json.loads(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    choose = random.Random(3)
    interrupted = 0
    with Pool(2, **where) as pool:
        pool.apply(quick, (1,))
        for number in range(times):
            try:
                # Again, as one that is raised in a finalizer is lost.
                signal.setitimer(signal.ITIMER_REAL, choose.uniform(0.0001, 0.004), 0.5)
                if number % 3 == 0:
                    while True:
                        pool.apply_async(quick, (1,))
                elif number % 3 == 1:
                    while True:
                        pool.map(quick, range(10))
                else:
                    while True:
                        next(pool.imap(quick, range(10)))
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupted += 1
        assert pool.apply(quick, (2,)) == 2
        assert pool.map(quick, range(50)) == list(range(50))
        pool.close()
        pool.join()
    assert interrupted == times
    print("right")
"""


def test_interrupts_at_any_moment(where: dict[str, Any], place: Place) -> None:
    lines = run_program(place, "interrupted_often.py", INTERRUPTED_OFTEN, json.dumps(where), 75)
    assert lines[-1] == "right"


FORGETFUL = """
import json, sys, time, warnings
from achilles import Executor, Pool

def work(item):
    time.sleep(0.1 if how.startswith("executor") else 60)
    with open(mark, "a") as file:
        file.write(".")
    return item

if __name__ == "__main__":
    where, how, mark = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    if how == "pool":
        pool = Pool(2, **where)
        read = pool.imap(work, range(8))
        result, more = pool.apply_async(work, (1,)), pool.map_async(work, [1, 2])
    elif how == "dropped pool":
        Pool(2, **where).apply_async(work, (1,))
    elif how == "executor":
        executor = Executor(2, **where)
        futures = [executor.submit(work, number) for number in range(4)]
    elif how == "executor map":
        executor = Executor(2, **where)
        read = executor.map(work, range(4))
    elif how == "executor shut down":
        executor = Executor(2, **where)
        futures = [executor.submit(work, number) for number in range(4)]
        executor.shutdown(wait=False)
    else:
        futures = [Executor(2, **where).submit(work, number) for number in range(4)]
    print("end", flush=True)
"""


@pytest.mark.parametrize(
    "how", ["pool", "dropped pool", "executor", "executor map", "executor shut down", "executor dropped"]
)
def test_programs_that_forget(where: dict[str, Any], how: str, place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "done"
    lines = run_program(place, "forgetful.py", FORGETFUL, json.dumps(where), how, mark)
    text = "\n".join(lines)
    assert "end" in lines and "Traceback" not in text, text
    if how.startswith("executor"):
        assert mark.read_text() == "....", text
    else:
        assert not mark.exists()
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs)


EAGER = """
from achilles import Executor, Pool

where = {where!r}
pool = Pool(2, **where)
executor = Executor(2, **where)

def square(number):
    return number * number
"""

IMPORTING = """
import eager

print(eager.pool.map(eager.square, range(3)), eager.executor.submit(eager.square, 3).result())
eager.pool.terminate()
eager.executor.shutdown()
"""


BUSY = """
import achilles

def square(number):
    return number * number

if __name__ == "busy":
    if {how!r} == "map":
        found = achilles.map(square, range(3), address="local")
    else:
        with achilles.Pool(2, address="local") as pool:
            found = pool.map(square, range(3))
"""

STARTING_BUSY = """
try:
    import busy
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("how", ["map", "pool"])
def test_work_begun_where_workers_import(place: Place, how: str) -> None:
    place.write("busy.py", BUSY.format(how=how))
    lines = run_program(place, "starting_busy.py", STARTING_BUSY)
    # As the standard library: that can only be refused, with what to do about it.
    assert "__main__" in lines[-1] and "worker imported a module" in lines[-1], lines


def test_pools_made_where_workers_import(where: dict[str, Any], place: Place) -> None:
    place.write("eager.py", EAGER.format(where=where))
    lines = run_program(place, "importing.py", IMPORTING)
    assert "[0, 1, 4] 9" in lines, lines
