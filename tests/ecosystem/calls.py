"""Functions that the tests of joblib's face send to workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import joblib
import psutil
from joblib.parallel import get_active_backend


class Refused(Exception):
    """An exception with a field, of a module of the caller's own."""

    def __init__(self, item: int) -> None:
        super().__init__(item)
        self.item = item


def square(number: int) -> int:
    return number * number


def refuse(item: int, begin: Path) -> None:
    """Fail, once that file is there."""
    while not begin.exists():
        time.sleep(0.005)
    raise Refused(item)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(directory: Path, number: int) -> None:
    """Say that it runs, and run on."""
    (directory / f"{number}-{os.getpid()}").touch()
    time.sleep(600)


def refuse_once_others_run(directory: Path, others: int) -> None:
    while len(list(directory.iterdir())) < others:
        time.sleep(0.005)
    raise Refused(0)


def pid_once_all_run(directory: Path, number: int, together: int) -> int:
    """The worker's process number, when so many run at the same time."""
    (directory / str(number)).touch()
    while len(list(directory.iterdir())) < together:
        time.sleep(0.005)
    return os.getpid()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def cores_of_joblib(n_jobs: int) -> int:
    return int(joblib.effective_n_jobs(n_jobs))


def nested(depth: int) -> list[tuple[str, int]]:
    """The backends of joblib within a task and the tasks below it, and how many processes there are below."""
    backend, _ = get_active_backend()
    here = (type(backend).__name__, len(psutil.Process().children(recursive=True)))
    if not depth:
        return [here]
    below: list[Any] = joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(depth - 1) for _ in range(2))
    return [here, *below[0]]
