"""The programs that call: threads, asyncio, Twisted, forks, and scripts of every sort."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from achilles import imap, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import Place, run_program

Where = dict[str, Any]


@pytest.fixture
def run(place: Place, where: Where, request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """Run a program in which WHERE is how to call; the lines it printed, without the greeting."""

    def run_with(code: str, **options: Any) -> list[str]:
        arguments = ", ".join(f"{key}={value!r}" for key, value in where.items())
        lines = run_program(place, "program.py", code.replace("WHERE", arguments), **options)
        return [line for line in lines if line and not line.startswith("ALERT:")]

    return run_with


def test_eight_threads_at_once(where: Where) -> None:
    found: dict[int, int] = {}

    def call(number: int) -> None:
        for _ in range(3):
            values = map(tasks.square, range(number * 100, number * 100 + 100), reducer=sum, **where)
            found[number] = sum(values)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {i: sum(n * n for n in range(i * 100, i * 100 + 100)) for i in range(8)}


def test_two_threads_read_one_iterator(where: Where) -> None:
    packets = imap(tasks.square, range(400), **where)
    found: list[int] = []

    def read() -> None:
        for packet in packets:
            found.extend(packet["RESULT"])

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == sorted(number * number for number in range(400))


def test_inside_asyncio(where: Where) -> None:
    async def main() -> list[Any]:
        calls = [asyncio.to_thread(map, tasks.square, [[i, i + 1]], **where) for i in range(5)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [[[i * i, (i + 1) ** 2]] for i in range(5)]


def test_a_script_without_a_guard(run: Callable[..., list[str]]) -> None:
    code = """
from achilles import imap, map
print("top level", flush=True)

class Point:
    def __init__(self, x):
        self.x = x

def move(point):
    return Point(point.x + 1)

moved = map(move, [Point(1), Point(2), Point(3)], WHERE)
print([point.x for packet in moved for point in packet], all(type(p) is Point for q in moved for p in q))
print(sum(len(p["RESULT"]) for p in imap(lambda x: x, (i for i in range(10)), WHERE)))
"""
    assert run(code) == ["top level", "[2, 3, 4] True", "10"]


def test_a_script_from_standard_input_and_minus_c(place: Place, where: Where) -> None:
    from tests.integration.cluster.parties import Party

    code = f"from achilles import map\ndef f(x): return x + 1\nprint(map(f, [[1, 2]], **{json.dumps(where)}))"
    for arguments, stdin in ((["-"], code), (["-c", code], None)):
        party = Party(arguments, place=place, stdin=stdin)
        assert party.wait() == 0, party.text
        assert party.lines[-1] == "[[2, 3]]"


def test_inside_a_program_with_its_own_reactor(run: Callable[..., list[str]]) -> None:
    code = """
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from achilles import map

ticks = []

def tick():
    ticks.append(1)
    reactor.callLater(0.005, tick)

def slow(x):
    import time
    time.sleep(0.02)
    return x * 2

def done(results):
    print(results, len(ticks) > 5)
    reactor.stop()

def begin():
    tick()
    calls = [deferToThread(map, slow, [[i] * 10], WHERE) for i in range(3)]
    gatherResults(calls).addBoth(done)

reactor.callWhenRunning(begin)
reactor.run()
"""
    assert run(code) == [str([[[0] * 10], [[2] * 10], [[4] * 10]]) + " True"]


def test_in_a_forked_child(run: Callable[..., list[str]]) -> None:
    code = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from achilles import imap, map
print(map(abs, [[-1]], WHERE), flush=True)
open_one = imap(abs, iter(range(100)), WHERE)
next(open_one)
child = os.fork()
if child == 0:
    print(map(abs, [[-2]], WHERE), flush=True)
    sys.exit(5)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
print(map(abs, [[-3]], WHERE), 1 + sum(1 for _ in open_one) > 10)
"""
    assert run(code) == ["[[1]]", "[[2]]", "5", "[[3]] True"]


def test_in_a_child_of_multiprocessing(run: Callable[..., list[str]]) -> None:
    code = """
import multiprocessing
from achilles import map

def child(x):
    return map(abs, [[-x]], WHERE)

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(pool.map(child, [1, 2]), flush=True)
            pool.close()
            pool.join()
"""
    assert run(code) == ["[[[1]], [[2]]]"] * 2


def test_an_iterator_that_is_still_open_at_the_end(run: Callable[..., list[str]]) -> None:
    code = """
import itertools
from achilles import imap
packets = imap(abs, itertools.count, WHERE)
print(next(packets)["ARGS_COUNTER"])
"""
    assert run(code) == ["0"]


def test_an_error_that_nobody_catches(place: Place, where: Where) -> None:
    from tests.integration.cluster.parties import Party

    code = f"from achilles import map\ndef f(x): return 1 / x\nmap(f, [2, 1, 0], **{json.dumps(where)})"
    party = Party([place.write("fails.py", code)], place=place)
    assert party.wait() == 1
    assert party.lines[-1] == "ZeroDivisionError: division by zero"
    assert sum("def f(x): return 1 / x" in line for line in party.lines) >= 1
    assert "RemoteTraceback" in party.text


def test_what_tasks_print_does_not_break_anything(run: Callable[..., list[str]]) -> None:
    code = """
import os, sys
from achilles import map

def noisy(x):
    print("from a worker", x)
    os.write(1, b"raw\\r\\n")
    sys.stderr.write("to the other")
    sys.stdin.read()
    return x

print(map(noisy, [[1, 2]], WHERE))
"""
    assert run(code)[-1] == "[[1, 2]]"


def test_a_working_directory_that_is_gone(run: Callable[..., list[str]]) -> None:
    code = """
import os, tempfile
gone = tempfile.mkdtemp()
os.chdir(gone)
os.rmdir(gone)
from achilles import map
print(map(lambda x: x + 1, [[1]], WHERE))
"""
    assert run(code) == ["[[2]]"]
