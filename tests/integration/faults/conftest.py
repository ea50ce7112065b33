"""The two places where a user's function runs: this machine's workers, and a server's node."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.examples.programs import Program, clean_environment, free_port
from tests.integration.forked_party import interpreter_variables
from tests.integration.living import is_running

DEADLINE_S = 30.0
KEY = "a key for these tests"
SERVER = """
from achilles.lineReceiver.achilles_server import runAchillesServer
runAchillesServer(host="127.0.0.1", port={port}, username="u", secret_key={key!r})
"""
NODE = """
from achilles.lineReceiver.achilles_node import runAchillesNode
runAchillesNode(host="127.0.0.1", port={port}, username="u", secret_key={key!r}, cpu_count={cpu_count})
"""


class Place:
    """Where functions run.

    Attributes:
        call: Keywords for `achilles.map` and its like.
        agent: The process whose children the workers are.
        others: Children of it that are workers of somebody else.
    """

    def __init__(
        self, name: str, call: dict[str, Any], agent: psutil.Process, others: Collection[int] = ()
    ) -> None:
        self.others = others
        self.name = name
        self.call = call
        self.agent = agent

    def workers(self) -> set[int]:
        """Process numbers of the workers."""
        return {
            child.pid for child in self.agent.children() if child.pid not in self.others and _is_worker(child)
        }

    def settled(self) -> set[int]:
        """The workers, once both are there."""
        wait_until(lambda: len(self.workers()) == 2)
        return self.workers()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return is_running(process) and "worker_main" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False  # it has ended meanwhile


def wait_until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def cluster_of(home: Path, cpu_count: int) -> Iterator[Place]:
    """A server and one node of so many workers."""
    environment = {**clean_environment(home), **interpreter_variables()}
    port = free_port()
    programs = []
    try:
        for name, text, line in (("server", SERVER, "Listening"), ("node", NODE, "CLIENT_ID:")):
            path = home / f"{name}.py"
            path.write_text(text.format(port=port, key=KEY, cpu_count=cpu_count))
            programs.append(Program(path, cwd=home, environment=environment, forked=True))
            programs[-1].wait_for(line)
        call = {"address": f"127.0.0.1:{port}", "username": "u", "secret_key": KEY}
        yield Place("cluster", call, psutil.Process(programs[1]._process.pid))
    finally:
        for program in reversed(programs):
            program.stop()


@contextlib.contextmanager
def engine_of(cpu_count: int) -> Iterator[Place]:
    """An embedded engine of so many workers, whatever this machine has."""
    from achilles.engines import local

    engine = local.LocalEngine(cpu_count)
    before, local._engine = local._engine, engine
    others = set(before.pids) if before is not None else set()
    yield Place("local", {"address": "local"}, psutil.Process(os.getpid()), others)
    local._engine = before
    engine.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with cluster_of(tmp_path_factory.mktemp("cluster"), 2) as place:
        yield place


@pytest.fixture(scope="module")
def embedded() -> Iterator[Place]:
    with engine_of(2) as place:
        yield place


@pytest.fixture(params=["embedded", "cluster"])
def place(request: pytest.FixtureRequest) -> Place:
    place: Place = request.getfixturevalue(request.param)
    sys.stdout.flush()
    return place


@pytest.fixture
def wait() -> Callable[[Callable[[], Any]], None]:
    return wait_until
