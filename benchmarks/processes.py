"""Child processes that are ended on every path, and what they use of memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
READY_S = 30.0
STOP_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


def free_port() -> int:
    """A TCP port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A Python program that runs until it is stopped.

    Args:
        program: Its text.
        cwd: Where it runs.
    """

    def __init__(self, program: str, cwd: Path) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, start: str) -> None:
        """Wait for a line that starts so."""
        seen: list[str] = []
        deadline_s = time.monotonic() + READY_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.001, deadline_s - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise RuntimeError(f"no line {start!r}; it said {''.join(seen)!r}")
            if line.startswith(start):
                return
            seen.append(line)

    def stop(self) -> None:
        """End it and its workers, politely first."""
        end_all(self._process.pid)
        self._process.wait()
        self._reader.join(STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


def adopt_orphans() -> None:
    """Make grandchildren whose parent ended children of this process, so that none gets lost (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all(pid: int | None = None) -> None:
    """End a process with all its descendants; without a pid only the descendants of this one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # Once more for those that were started while the others ended.
        for _ in range(3):
            doomed = process.children(recursive=True) if process.is_running() else []
            if pid is not None and process.is_running():
                doomed.insert(0, process)
            if not _end_each(doomed):
                return


def _end_each(doomed: list[psutil.Process]) -> bool:
    for one in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(doomed, timeout=STOP_S)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=STOP_S)
    return bool(doomed)


def memory_kib(pid: int | str, field: str) -> int:
    """A process's ``VmRSS`` (now) or ``VmHWM`` (most so far)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(f"no {field} of process {pid}")


def scheduled_ns(pid: int | str) -> tuple[int, int]:
    """How long the threads of a process have run so far, and how long they were ready and had no core."""
    ran_ns = waited_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        ran, waited, _ = (thread / "schedstat").read_text(encoding="ascii").split()
        ran_ns += int(ran)
        waited_ns += int(waited)
    return ran_ns, waited_ns


def forget_peak(pid: int | str) -> None:
    """Let ``VmHWM`` start again from now."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def pin_to(workers: int) -> None:
    """Let this process and its children use only so many cores, for peers that take all they find."""
    cores = sorted(os.sched_getaffinity(0))
    if workers < len(cores):
        os.sched_setaffinity(0, cores[:workers])
