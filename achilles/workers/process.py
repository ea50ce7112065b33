"""Starting a worker process: a fresh interpreter that runs our own first line and nothing else.

``WorkerProcess`` is a ``multiprocess`` spawn process as seen from the parent (pid, exitcode,
sentinel, terminate). What differs is how it is launched:

- The child's first line imports ``achilles.workers.worker_main``; the caller's ``__main__`` is never
  imported or run again, so a script needs no ``if __name__ == "__main__"`` guard.
- No resource tracker process is started, and the child imports neither ``multiprocess`` nor dill
  until something needs them.
- It leads a process group of its own from before its first instruction, so a Ctrl-C at the terminal
  does not reach it and killing the group ends its children too.
- It inherits the channel, the pipe of notes and the progress file; standard output and error are what
  it is given, or the parent's; standard input is empty.
- It is no entry of ``multiprocess.active_children()``: it ends when its parent does, and nobody's
  interpreter exit waits for it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multiprocess import popen_spawn_posix, spawn
from multiprocess.context import SpawnProcess

import achilles
from achilles.workers.cores import WITHIN_CORES, available_cores

#: What common numeric libraries read once, when they are first imported.
THREAD_LIMIT_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

#: How many processes joblib's own backend, and what uses it, takes for all there are.
PROCESS_LIMIT_VARIABLES = ("LOKY_MAX_CPU_COUNT",)

#: Set for workers, and so for all that user code starts: whose node they are of (host and process).
WITHIN_NODE = "ACHILLES_WITHIN_NODE"

#: Exit code of a process whose real one was taken by somebody else's wait().
UNKNOWN_EXIT_CODE = 255

_FIRST_LINE = (
    "import sys; sys.path.insert(0, {root!r}); import achilles; del sys.path[0]; "
    "from achilles.workers.worker_main import main; "
    "main({channel_fd}, {progress_fd}, {parent_pid}, {notes_fd})"
)


def thread_limits(slots: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that let ``slots`` workers share the cores; those the user set stay as they are."""
    limit = str(max(1, available_cores() // max(1, slots)))
    names = (*THREAD_LIMIT_VARIABLES, *PROCESS_LIMIT_VARIABLES)
    limits = {name: limit for name in names if name not in environment}
    return {**limits, WITHIN_CORES: limit}


class _Popen(popen_spawn_posix.Popen):  # type: ignore[misc]
    """Launches the worker and knows how to reap it."""

    returncode: int | None

    def _launch(self, process: WorkerProcess) -> None:
        first_line = _FIRST_LINE.format(
            root=str(Path(next(iter(achilles.__path__))).resolve().parent),
            channel_fd=process.channel_fd,
            progress_fd=process.progress_fd,
            parent_pid=os.getpid(),
            notes_fd=process.notes_fd,
        )
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        child = subprocess.Popen(
            # -P: an empty first entry of sys.path would let files of the working directory
            # stand in for standard library modules.
            [os.fsdecode(spawn.get_executable() or sys.executable), *flags, "-P", "-c", first_line],
            stdin=subprocess.DEVNULL,
            stdout=process.output_fds[0],
            stderr=process.output_fds[1],
            pass_fds=(process.channel_fd, process.progress_fd, process.notes_fd),
            process_group=0,
            env={**os.environ, **process.environment},
        )
        self.pid = child.pid
        child.returncode = 0  # it is reaped in poll(): the object must neither wait nor warn
        self.peak_rss_bytes: int | None = None
        try:
            self.sentinel = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self.sentinel = -1  # the owner watches the channel's end instead

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is not None:
            return self.returncode
        try:
            pid, status, usage = os.wait4(self.pid, flag)
        except ChildProcessError:
            self.returncode = UNKNOWN_EXIT_CODE
            return UNKNOWN_EXIT_CODE
        if pid != self.pid:
            return None
        self.peak_rss_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def close(self) -> None:
        sentinel, self.sentinel = self.sentinel, -1
        if sentinel >= 0:
            os.close(sentinel)


class WorkerProcess(SpawnProcess):  # type: ignore[misc]
    """One worker process; ``start`` may be called in any thread and in daemonic processes.

    Args:
        channel_fd: The worker's end of the channel.
        progress_fd: A file of four int64 that both sides map.
        notes_fd: A pipe's reading end, for what it is told while it runs something.
        environment: Variables to set on top of the parent's.
        name: Shown in ``repr``.
        output_fds: Its standard output and error; None: the parent's.
    """

    def __init__(
        self,
        channel_fd: int,
        progress_fd: int,
        notes_fd: int,
        environment: Mapping[str, str],
        name: str,
        output_fds: tuple[int | None, int | None] = (None, None),
    ) -> None:
        super().__init__(name=name)
        self.channel_fd = channel_fd
        self.progress_fd = progress_fd
        self.notes_fd = notes_fd
        self.output_fds = output_fds
        self.environment = dict(environment)
        self._reaping = threading.Lock()  # no signal may follow the reaping: the number is free then

    def start(self) -> None:
        # Not the base class's: it refuses daemonic parents, registers the process for a join at
        # the parent's exit, and reaps the parent's other children.
        if self._popen is not None:
            raise RuntimeError("a worker process starts once")
        self._popen: Any = _Popen(self)
        self._sentinel = self._popen.sentinel

    @property
    def peak_rss_bytes(self) -> int | None:
        """Peak memory of the ended process; None while it lives or when nobody knows."""
        return None if self._popen is None else self._popen.peak_rss_bytes

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the worker and to all that it started, unless it is reaped already."""
        with self._reaping:
            pid = self.pid
            if pid is None or pid <= 1 or self._popen.returncode is not None or pid == os.getpgrp():
                return
            try:
                os.killpg(pid, number)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                if os.getpgid(pid) != pid:  # user code moved it to another group
                    os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def has_ended(self) -> bool:
        """Whether it has ended, without reaping it."""
        if not hasattr(os, "waitid"):
            return self.reap() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # and somebody else has reaped it

    def reap(self) -> int | None:
        """The exit code if the process has ended (negative: a signal's number), else None."""
        with self._reaping:
            return None if self._popen is None else self._popen.poll()

    def release(self) -> None:
        """Give back what the parent held for an ended process."""
        if self._popen is not None:
            self._popen.close()


def own_peak_rss_bytes() -> int:
    """The most memory that this process had in use."""
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def shared_file(size_bytes: int) -> int:
    """An unnamed file that both processes map."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("achilles-progress")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size_bytes)
    return fd
