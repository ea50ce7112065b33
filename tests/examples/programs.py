"""Runs examples and documents' snippets as their reader would: programs of their own, in a clean place."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.forked_party import ForkedProcess, start

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
DEADLINE_S = 60.0


def free_port() -> int:
    """A TCP port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(home: Path) -> dict[str, str]:
    """This environment without settings of achilles, and with directories that nobody else uses."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ACHILLES_")}
    runtime = home / "run"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        **variables,
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_STATE_HOME": str(home / "state"),
    }


def run_python(
    path: Path, *arguments: object, cwd: Path, environment: Mapping[str, str], timeout_s: float = DEADLINE_S
) -> str:
    """Run a program to its end and return what it printed; it must succeed and complain of nothing."""
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)],
        cwd=cwd,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{path} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout


class Program:
    """A program that goes on until it is stopped, and the lines it printed so far.

    A server or a node may be ``forked`` from the warm process, where real starts are not what is tested.
    """

    def __init__(
        self,
        path: Path,
        *arguments: object,
        cwd: Path,
        environment: Mapping[str, str],
        python: str | Path = sys.executable,
        forked: bool = False,
    ) -> None:
        self.lines: list[str] = []
        self._arriving: queue.Queue[str | None] = queue.Queue()
        self._process: subprocess.Popen[str] | ForkedProcess
        program = [str(path), *map(str, arguments)]
        if forked:
            self._process = start(program, cwd=cwd, env=environment)
        else:
            self._process = subprocess.Popen(
                [str(python), *program],
                cwd=cwd,
                env=dict(environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arriving.put(line.rstrip("\n"))
        self._arriving.put(None)

    def wait_for(self, start: str) -> str:
        """The first line, from now on, that starts so."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                line = self._arriving.get(timeout=max(deadline_s - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(f"no line {start!r} in time; it printed {self.lines}") from None
            if line is None:
                raise AssertionError(f"it ended without a line {start!r}; it printed {self.lines}")
            self.lines.append(line)
            if line.startswith(start):
                return line

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait_for_end(self) -> int:
        """Wait until it ends by itself; returns its exit code."""
        return self._process.wait(DEADLINE_S)

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def quick_start(
    directory: Path, environment: Mapping[str, str], port: int, cpu_counts: tuple[int, ...] = (8,)
) -> Iterator[tuple[Program, list[Program]]]:
    """The quick start's server and nodes of so many workers, on another port than the documents'."""
    copies = copy_with_port(EXAMPLES / "README_examples", directory, port)
    server = Program(copies["run_server.py"], cwd=directory, environment=environment)
    nodes: list[Program] = []
    try:
        server.wait_for("Listening for connections...")
        for number, cpu_count in enumerate(cpu_counts):
            path = directory / f"run_node_{number}.py"
            text = copies["run_node.py"].read_text(encoding="utf-8")
            path.write_text(text.replace(f"port={port})", f"port={port}, cpu_count={cpu_count})"))
            nodes.append(Program(path, cwd=directory, environment=environment))
            nodes[-1].wait_for("CLIENT_ID:")
        yield server, nodes
    finally:
        for program in [*nodes, server]:
            program.stop()


def copy_with_port(source: Path, directory: Path, port: int) -> dict[str, Path]:
    """Copies of a directory's programs in which 9999 is another port."""
    copies = {}
    for path in sorted(source.glob("*.py")):
        copy = directory / path.name
        copy.write_text(path.read_text(encoding="utf-8").replace("9999", str(port)), encoding="utf-8")
        copies[path.name] = copy
    return copies
