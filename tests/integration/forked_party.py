"""Servers and nodes that a warm process forks, with what tests use of `subprocess.Popen`.

See `tests.integration.warm_process` for why. `start` takes the place of `subprocess.Popen`. The warm
process is there from its first use to the end of this process. Fixtures that look for what a test
leaves behind ask for it before (`warm_process`).

A child's end is told by the warm process in a pipe of its own, so no thread has to listen.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.warm_process import NUMBER

__all__ = ["ROOT", "ForkedProcess", "interpreter_variables", "start", "start_fresh", "warm_process"]

ROOT = Path(__file__).resolve().parents[2]
_SERVE = "from tests.integration.warm_process import serve; exec(serve({}), globals())"
# Read when a process begins, by Python, the loader and the C library; a child that is forked can't any more.
_EARLY = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "OPENSSL_")


def interpreter_variables() -> dict[str, str]:
    """What a party's interpreter is started with, so that it can be forked."""
    return {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_EARLY)}


class WarmProcess:
    """This process's link to its warm process."""

    def __init__(self) -> None:
        environment = {**os.environ, **interpreter_variables()}
        self.early = _early(environment)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE.format(theirs.fileno())],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        self.pid = self._process.pid
        self._owner = os.getpid()
        atexit.register(self.close)

    def ask(self, request: Mapping[str, object], descriptors: Sequence[int]) -> None:
        """Ask for a child. Any thread may."""
        with contextlib.suppress(ConnectionError):  # then nobody answers, and `gone` says why
            socket.send_fds(self._requests, [json.dumps(request).encode()], list(descriptors))

    def gone(self) -> ChildProcessError:
        """What to raise when it does not answer."""
        self._process.kill()
        code = self._process.wait()
        assert self._process.stdout is not None
        said = self._process.stdout.read().decode()
        return ChildProcessError(f"the warm process ended with {code}; it printed:\n{said}")

    def close(self) -> None:
        """End it; a process that was forked from this one leaves it alone."""
        if os.getpid() == self._owner:
            self._requests.close()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


_lock = threading.Lock()
_warm: WarmProcess | None = None


def warm_process() -> WarmProcess:
    """This process's warm process, which is started by the first call."""
    global _warm
    with _lock:
        if _warm is None:
            _warm = WarmProcess()
        return _warm


class ForkedProcess:
    """A child of the warm process; attributes and methods are those of `subprocess.Popen`."""

    stdin = None

    def __init__(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], own_group: bool = False
    ) -> None:
        self.args = [sys.executable, *arguments]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._waiting = 0
        warm = warm_process()
        request = {"arguments": [*arguments], "cwd": str(cwd), "env": {**env}, "own_group": own_group}
        printed, output = os.pipe()
        self._told, told = os.pipe()
        warm.ask(request, [output, told])
        os.close(output)
        os.close(told)
        self.stdout = os.fdopen(printed)
        answer = os.read(self._told, NUMBER.size)
        if not answer:
            os.close(self._told)
            self.stdout.close()
            raise warm.gone()
        (self.pid,) = NUMBER.unpack(answer)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._hear(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        code = self._hear(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _hear(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is not None:
                return self.returncode
            self._waiting += 1
        # Without the lock: meanwhile others may ask, and send signals.
        told = select.poll()  # unlike select() it takes any descriptor
        told.register(self._told, select.POLLIN)
        ready = told.poll(None if timeout is None else 1000 * max(timeout, 0.0))
        with self._lock:
            self._waiting -= 1
            if ready and self.returncode is None:
                answer = os.read(self._told, NUMBER.size)
                assert answer, "the warm process has ended before its child"
                (self.returncode,) = NUMBER.unpack(answer)
            if self.returncode is not None and not self._waiting:
                os.close(self._told)
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], own_group: bool = False
) -> ForkedProcess | subprocess.Popen[str]:
    """Start this interpreter: forked from the warm process if that has begun with the same variables."""
    if _early(env) == warm_process().early:
        return ForkedProcess(arguments, cwd=cwd, env=env, own_group=own_group)
    return start_fresh(arguments, cwd=cwd, env=env, own_group=own_group)


def start_fresh(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    own_group: bool = False,
    python: str = sys.executable,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[str]:
    """Start an interpreter of its own."""
    return subprocess.Popen(
        [python, *arguments],
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=own_group,
    )
