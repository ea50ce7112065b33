"""A notebook's kernel: functions of its cells, an interrupt in the middle of a call, and the next call."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster.parties import Place, wait_until

jupyter = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

Where = dict[str, Any]
TIMEOUT_S = 30.0


class Kernel:
    """A kernel as a notebook talks to it."""

    def __init__(self, place: Place) -> None:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = jupyter.kernelspec.KernelSpec(argv=command, display_name="test", language="python")
        self.manager = jupyter.KernelManager(connection_file=str(place.work / "kernel.json"))
        self.manager._kernel_spec = spec
        self.manager.start_kernel(env=place.environment(IPYTHONDIR=str(place.path)), cwd=str(place.work))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def begin(self, code: str) -> str:
        return str(self.client.execute(code))

    def end(self, request: str) -> tuple[str, str]:
        """What a cell printed, and the name of its error."""
        said, error = [], ""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                said.append(content["text"])
            elif kind == "error":
                error = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(said), error

    def run(self, code: str) -> str:
        """What a cell printed, without the greeting; it must not fail."""
        said, error = self.end(self.begin(code))
        assert not error, error
        lines = [line for line in said.splitlines() if line and not line.startswith("ALERT:")]
        return "\n".join(lines)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)
        self.manager.cleanup_resources()
        self.manager.context.destroy()


@pytest.fixture(scope="module", autouse=True)
def what_jupyter_keeps(place: Place) -> None:
    """Its client makes an event loop for the process at the first use; no test leaves that."""
    Kernel(place).close()


@pytest.fixture
def kernel(place: Place) -> Iterator[Kernel]:
    with contextlib.closing(Kernel(place)) as started:
        yield started


DEFINITIONS = """
import os, time
from achilles import imap, map

class Point:
    def __init__(self, x):
        self.x = x

def scale(point):
    return Point(point.x * factor)

def wait_at(gate):
    open(gate + ".begun", "a").close()
    while not os.path.exists(gate):
        time.sleep(0.01)

factor = 3
where = WHERE
"""


def test_cells(kernel: Kernel, where: Where, tmp_path: Path) -> None:
    kernel.run(DEFINITIONS.replace("WHERE", repr(where)))
    move = "print([p.x for packet in map(scale, [Point(n) for n in range(3)], **where) for p in packet])"
    assert kernel.run(move) == "[0, 3, 6]"
    # What a cell defines anew counts from the next call on.
    kernel.run("factor = 5\ndef scale(point):\n    return Point(point.x * factor + 1)")
    assert kernel.run(move) == "[1, 6, 11]"
    gate = tmp_path / "gate"
    begun = kernel.begin(f"map(wait_at, [{str(gate)!r}] * 4, **where)")
    wait_until(lambda: Path(f"{gate}.begun").exists())
    kernel.manager.interrupt_kernel()
    assert kernel.end(begun)[1] == "KeyboardInterrupt"
    assert kernel.run(move) == "[1, 6, 11]"
    total = (
        "print(sum(p['ARGS_COUNTER'] >= 0 for p in imap(abs, iter(range(40)), chunksize=10, **where)) > 0)"
    )
    assert kernel.run(total) == "True"


POOLS = """
import achilles
from achilles import Executor, Pool, aio

class Point:
    def __init__(self, x):
        self.x = x

def scale(point):
    return Point(point.x * factor)

factor = 3
where = WHERE
pool = Pool(2, **where)
apool = aio.Pool(2, **where)
"""

MOVE = (
    "found = pool.map(scale, [Point(n) for n in range(3)])\n"
    "print([p.x for p in found], {type(p) is Point for p in found})"
)
AWAIT = (
    "found = [p async for p in apool.imap(scale, [Point(n) for n in range(3)])]\n"
    "print([p.x for p in found], {type(p) is Point for p in found})"
)


def test_pools(kernel: Kernel, where: Where) -> None:
    kernel.run(POOLS.replace("WHERE", repr(where)))
    for cell in (MOVE, AWAIT):
        assert kernel.run(cell) == "[0, 3, 6] {True}"
    # What a cell defines anew counts from the next call on, of the same pool.
    kernel.run("factor = 5\ndef scale(point):\n    return Point(point.x * factor + 1)")
    for cell in (MOVE, AWAIT):
        assert kernel.run(cell) == "[1, 6, 11] {True}"
    start = "class Point:\n    def __init__(self, x):\n        self.x = x\n"
    kernel.run(start + "    def double(self):\n        return 2 * self.x")
    for cell in (MOVE, AWAIT):
        assert kernel.run(cell) == "[1, 6, 11] {True}"
    one = "print(pool.apply(scale, (Point(2),)).double(), (await apool.apply(scale, (Point(3),))).double())"
    assert kernel.run(one) == "22 32"
    shown = """
results = pool.imap(abs, range(10))
given = pool.apply_async(abs, (-1,))
given.wait()
executor = Executor(2, **where)
ours = [pool, apool, executor, given, results, achilles.imap(abs, [1], **where), aio.imap(abs, [1], **where)]
print({each._repr_html_().startswith("<table>") for each in ours})
results.close()
executor.shutdown()
"""
    assert kernel.run(shown) == "{True}"
    assert (
        kernel.run(
            "await apool.terminate()\npool.terminate()\npool.join()\nprint('TERMINATE' in pool._repr_html_())"
        )
        == "True"
    )
