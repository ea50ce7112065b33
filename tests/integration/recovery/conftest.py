"""A real cluster for the tests: server and nodes as processes of their own, in clean places."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles import getClusterStatus
from tests.examples.programs import Program, clean_environment, free_port
from tests.integration.forked_party import interpreter_variables

USERNAME, SECRET_KEY = "foo", "the key that nobody may see"

SERVER = """
from achilles import runAchillesServer
runAchillesServer(host='127.0.0.1', port={port}, username={username!r}, secret_key={key!r},
    heartbeat_s=0.5)
"""
NODE = """
from achilles import runAchillesNode
runAchillesNode(host='127.0.0.1', port={port}, cpu_count={cpus}{more})
"""


class Cluster:
    """Starts the parties, perhaps as ``fresh`` interpreters, and ends whatever is left at the end."""

    def __init__(self, home: Path, *, fresh: bool = False) -> None:
        self.fresh = fresh
        self.home = home
        self.port = free_port()
        self.environment = {**clean_environment(home), **interpreter_variables()}
        self.programs: list[Program] = []
        self.server = self.start_server()

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of a call that runs here."""
        return {"host": "127.0.0.1", "port": self.port, "username": USERNAME, "secret_key": SECRET_KEY}

    def run(self, name: str, text: str, *, forked: bool = False, **variables: str) -> Program:
        """Start a program of this text."""
        path = self.home / f"{name}_{len(self.programs)}.py"
        path.write_text(text)
        program = Program(path, cwd=self.home, environment={**self.environment, **variables}, forked=forked)
        self.programs.append(program)
        return program

    def start_server(self) -> Program:
        """Start the server and wait until it listens."""
        text = SERVER.format(port=self.port, username=USERNAME, key=SECRET_KEY)
        server = self.run("server", text, forked=not self.fresh)
        server.wait_for("Listening for connections...")
        return server

    def start_node(
        self, cpus: int, *, port: int | None = None, with_key: bool = False, **variables: str
    ) -> Program:
        """Start a node; returns at once."""
        more = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}" if with_key else ""
        text = NODE.format(port=port or self.port, cpus=cpus, more=more)
        return self.run("node", text, forked=not self.fresh, **variables)

    def add_node(self, cpus: int) -> Program:
        """Start a node and wait until it has joined."""
        node = self.start_node(cpus)
        node.wait_for("CLIENT_ID:")
        return node

    def wait_for(self, condition: Callable[[Any], bool], timeout_s: float = 20.0) -> float:
        """Wait until the status of the cluster is so; returns the seconds that it took."""
        started_s = time.monotonic()
        while not condition(getClusterStatus(**self.where)):
            assert time.monotonic() - started_s < timeout_s, getClusterStatus(**self.where)
        return time.monotonic() - started_s

    def stop(self) -> None:
        """End everything."""
        for program in reversed(self.programs):
            program.stop()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A server without nodes, found by this process as well."""
    started = Cluster(tmp_path)
    for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, started.environment[variable])
    monkeypatch.chdir(tmp_path)
    try:
        yield started
    finally:
        started.stop()
