"""The errors that stand for items whose worker died of them, or was ended because of them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core import slots_events as ev
from ..errors import TaskError, TaskTimeout
from .worker import Worker

if TYPE_CHECKING:
    from ..worker_died_error import WorkerDiedError

__all__ = ["cancelled_error", "death_error", "failure_of", "timeout_error"]


def failure_of(report: ev.Report, node: str, dead: Mapping[int, Worker]) -> TaskError:
    """The error that an item is to have.

    Args:
        report: What became of it.
        node: Where, in words.
        dead: The worker that died last in each slot.
    """
    match report:
        case ev.ReportDeath():
            worker = dead.get(report.worker)
            return death_error(report.index, report.attempts, node, worker, report.job)
        case ev.ReportTimeout():
            return timeout_error(report.index, report.limit_ns, node)
        case ev.ReportCancelled():
            return cancelled_error(report.index, node)


def death_error(index: int, attempts: int, node: str, worker: Worker | None, job: int) -> WorkerDiedError:
    """Say what became of the process, how much memory it took and what it wrote last.

    Args:
        index: The item that ran.
        attempts: How many workers it has ended.
        node: Where, in words.
        worker: The last of them.
        job: The item's job; what others wrote is none of its business.
    """
    from ..worker_died_error import WorkerDiedError

    exit_code = worker.exit_code or 0 if worker is not None else 0
    peak_rss_bytes = worker.peak_rss_bytes if worker is not None else None
    stderr = worker.last_stderr(job) if worker is not None else ""
    if exit_code < 0:
        try:
            how = f"was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            how = f"was killed by signal {-exit_code}"
    else:
        how = f"ended with exit code {exit_code}"
    text = (
        f"the worker process that ran item {index} on {node} {how}, on each of {attempts} attempts; "
        f"look there for a crash in native code, os._exit or too little memory"
    )
    if peak_rss_bytes is not None:
        text += f" (it had taken {peak_rss_bytes / 2**20:.0f} MiB)"
    if stderr:
        text += f". It wrote last:\n{stderr}"
    return WorkerDiedError(
        text,
        index=index,
        attempts=attempts,
        exit_code=exit_code,
        node=node,
        peak_rss_bytes=peak_rss_bytes,
        stderr=stderr,
    )


def timeout_error(index: int, limit_ns: int, node: str) -> TaskTimeout:
    """Say that an item ran too long."""
    limit_s = limit_ns / 1e9
    return TaskTimeout(
        f"item {index} ran longer than its limit of {limit_s:g} s on {node}, and its worker process was "
        f"ended; give a longer timeout, or look why this item takes so long",
        index=index,
        limit_s=limit_s,
        node=node,
    )


def cancelled_error(index: int, node: str) -> TaskError:
    """Say that somebody wanted no result of an item."""
    from ..task_cancelled import TaskCancelled

    return TaskCancelled(f"item {index} was cancelled on {node}", index=index, node=node)
