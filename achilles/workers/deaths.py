"""The error that stands for an item whose worker died of it."""

from __future__ import annotations

import signal

from ..errors import WorkerDiedError

__all__ = ["death_error"]


def death_error(
    index: int, attempts: int, node: str, exit_code: int, peak_rss_bytes: int | None, stderr: str
) -> WorkerDiedError:
    """Say what became of the process, how much memory it took and what it wrote last.

    Args:
        index: The item that ran.
        attempts: How many workers it has ended.
        node: Where, in words.
        exit_code: Of the last of them; negative for a signal.
        peak_rss_bytes: Its peak memory, None when unknown.
        stderr: The end of what it wrote to standard error.
    """
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
