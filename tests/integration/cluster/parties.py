"""Servers, nodes and controllers as child processes, each watched by the lines that it prints."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.integration.forked_party import (
    ForkedProcess,
    interpreter_variables,
    start,
    start_fresh,
    warm_process,
)
from tests.integration.living import is_running

DEADLINE_S = 30.0
# What happens at once may take so long on a machine that has much else to do.
PROMPT_S = 10.0
USERNAME, SECRET_KEY = "foo", "bar-of-the-tests"

SERVER = (
    "from achilles.lineReceiver.achilles_server import runAchillesServer\n"
    "runAchillesServer(host='127.0.0.1', port={port}, username={username!r}, secret_key={secret_key!r})"
)
NODE = (
    # What nobody uses is forgotten sooner, as all wait for that before they look for what is left.
    "from achilles.workers import blob_store\n"
    "blob_store.KEEP_IDLE_S = 3.0\n"
    "from achilles.lineReceiver.achilles_node import runAchillesNode\n"
    "runAchillesNode(host='127.0.0.1', port={port}, cpu_count={cpu_count}{more})"
)

# What a party prints when something was not foreseen.
_UNFORESEEN = re.compile(r"Traceback \(most recent|Unhandled [Ee]rror|Exception ignored|Fatal Python error")


def wait_until(condition: Callable[[], Any], timeout_s: float = DEADLINE_S, what: str = "") -> Any:
    """Wait for a condition to be true, and return its value."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s in vain {what}"
        time.sleep(0.005)
    return value


class Place:
    """A directory of its own for one cluster: everything that achilles keeps on disk lies below it.

    Short, because the path of a Unix socket must be.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ach-", dir="/tmp"))
        for name in ("run", "config", "state", "work"):
            (self.path / name).mkdir(mode=0o700)
        self.work = self.path / "work"

    def variables(self) -> dict[str, str]:
        return {
            "HOME": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "XDG_CONFIG_HOME": str(self.path / "config"),
            "XDG_STATE_HOME": str(self.path / "state"),
        }

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment without its settings of achilles, and with these directories."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ACHILLES_")}
        return {**kept, **interpreter_variables(), **self.variables(), **more}

    def write(self, name: str, text: str) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Party:
    """A child process and the lines it printed on both outputs.

    Code that this interpreter runs with ``-c``, as servers and nodes are, is forked from the warm process;
    unless what is tested depends on a ``fresh`` interpreter.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        place: Place,
        python: str = sys.executable,
        stdin: str | None = None,
        own_group: bool = False,
        fresh: bool = False,
        **variables: str,
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process: subprocess.Popen[str] | ForkedProcess
        environment = place.environment(**variables)
        program = [*map(str, arguments)]
        if program[0] == "-c" and python == sys.executable and stdin is None and not fresh:
            self.process = start(program, cwd=place.work, env=environment, own_group=own_group)
        else:
            self.process = start_fresh(
                program,
                cwd=place.work,
                env=environment,
                own_group=own_group,
                python=python,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, name="party", daemon=True)
        self._reader.start()
        if stdin is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, start: str, *, after: int = 0, timeout_s: float = DEADLINE_S) -> str:
        """The first line, from number ``after`` on, that starts so."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for line in self.lines[after:]:
                    if line.startswith(start):
                        return line
                assert not self._ended, f"it ended without a line {start!r}; it printed:\n{self.text}"
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, f"no line {start!r} in time; it printed:\n{self.text}"
                self._changed.wait(left_s)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """The exit code, once it ended by itself."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; it printed:\n{self.text}") from None
        self._reader.join(timeout_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def send(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it, by its process id; its exit code."""
        self.send(number)
        return self.wait_or_kill()

    def wait_or_kill(self) -> int:
        """The exit code, once it ended as it was told to."""
        try:
            return self.wait()
        except AssertionError:
            self.process.kill()
            self.wait()
            raise

    def descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def descriptors(self) -> int:
        return psutil.Process(self.pid).num_fds()

    def check_output(self) -> None:
        """Nothing unforeseen was printed."""
        assert not _UNFORESEEN.search(self.text), self.text


class Cluster:
    """A server and its nodes, perhaps each in a ``fresh`` interpreter."""

    def __init__(
        self, place: Place, *, server_code: str = SERVER, fresh: bool = False, **variables: str
    ) -> None:
        self.place = place
        self.fresh = fresh
        self.variables = variables
        self.server_code = server_code
        self.nodes: list[Party] = []
        self._cpu_counts: dict[Party, int] = {}
        self.ended: list[Party] = []
        self.server = self._server(0)
        self.port = int(self.server.lines[0].rpartition(":")[2])

    @property
    def address(self) -> dict[str, Any]:
        """What a call needs to find it from the same user's processes."""
        return {"host": "127.0.0.1", "port": self.port}

    @property
    def with_key(self) -> dict[str, Any]:
        return {**self.address, "username": USERNAME, "secret_key": SECRET_KEY}

    def _server(self, port: int) -> Party:
        code = self.server_code.format(port=port, username=USERNAME, secret_key=SECRET_KEY)
        server = Party(["-c", code], place=self.place, fresh=self.fresh, **self.variables)
        try:
            server.wait_for("Listening for connections...")
        except BaseException:
            server.stop(signal.SIGKILL)
            raise
        return server

    def start_node(
        self,
        cpu_count: int,
        *,
        wait: bool = True,
        more: str = "",
        port: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> Party:
        """A node, once it has joined; perhaps one that believes that its machine has another name."""
        code = "" if name is None else f"import socket\nsocket.gethostname = lambda: {name!r}\n"
        code += NODE.format(port=self.port if port is None else port, cpu_count=cpu_count, more=more)
        node = Party(["-c", code], place=self.place, **{"fresh": self.fresh, **self.variables, **options})
        self.nodes.append(node)
        self._cpu_counts[node] = cpu_count
        if wait:
            node.wait_for("CLIENT_ID:")
        return node

    def has_all_workers(self) -> bool:
        """Whether none is missing, as one that was stopped is until another takes its place."""
        counts = self._cpu_counts.items()
        return all(sum(map(is_running, node.descendants())) >= cpu_count for node, cpu_count in counts)

    def end_node(self, node: Party, number: int = signal.SIGINT) -> int:
        self.nodes.remove(node)
        self._cpu_counts.pop(node, None)
        self.ended.append(node)
        workers = node.descendants()
        code = node.stop(number)
        wait_until(lambda: not any(map(is_running, workers)), what="for workers of an ended node")
        return code

    def restart_server(self, number: int) -> None:
        self.ended.append(self.server)
        self.server.stop(number)
        self.server = self._server(self.port)

    def run(self, name: str, code: str, *arguments: object, timeout_s: float = DEADLINE_S) -> list[str]:
        """Run a controller's program to its end; the lines it printed. It must succeed."""
        return run_program(
            self.place, name, code.replace("PORT", str(self.port)), *arguments, timeout_s=timeout_s
        )

    def close(self) -> None:
        """End everything; fails when a process stayed, or complained."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._end, [self.server])
            stack.callback(self._end, self.nodes)
        for party in [*self.ended, *self.nodes, self.server]:
            party.check_output()

    @staticmethod
    def _end(parties: Sequence[Party]) -> None:
        """End them together."""
        below = [process for party in parties for process in party.descendants()]
        for party in parties:
            party.send(signal.SIGINT)
        with contextlib.ExitStack() as stack:
            for party in parties:
                stack.callback(party.wait_or_kill)
        wait_until(lambda: not any(map(is_running, below)), what=f"for the end of {below}")


def run_program(
    place: Place, name: str, code: str, *arguments: object, timeout_s: float = DEADLINE_S, **options: Any
) -> list[str]:
    """Run a program to its end; the lines it printed. It must succeed, leaving no process behind."""
    party = Party([place.write(name, code), *arguments], place=place, own_group=True, **options)
    try:
        code_ = party.wait(timeout_s)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(party.pid, signal.SIGKILL)
        party.wait()
        raise
    assert code_ == 0, f"{name} ended with {code_}; it printed:\n{party.text}"
    wait_until(lambda: not in_session(party.pid), what="for processes that a program left behind")
    return party.lines


def in_session(session: int) -> list[psutil.Process]:
    """The live processes of a session, such as a controller's and its embedded workers."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and is_running(process):
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def own_threads() -> set[str]:
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


def own_descriptors() -> Counter[str]:
    """How many of each kind this process has open; which they are changes when a worker is replaced."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            found[re.sub(r"\d+", "", os.readlink(f"/proc/self/fd/{number}"))] += 1
        except FileNotFoundError:
            pass  # the one that listed the directory
    return found


def own_children() -> tuple[set[int], int]:
    """Its children and the warm process's, and how many processes there are below this process in all."""
    below = [process for process in psutil.Process().children(recursive=True) if is_running(process)]
    mine = {os.getpid(), warm_process().pid}
    children = set()
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() in mine:
                children.add(process.pid)
    return children, len(below)
