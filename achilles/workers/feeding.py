"""What a worker is sent so that it runs something, in the fields of its channel.

Knows the commands of the slots' brain and ``achilles.workers.worker_main``'s messages; decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..core import slots_events as ev
from ..sealed import Buffer, Sealed, plain
from . import channel
from .worker import Worker

__all__ = ["send_function", "send_parts", "send_unit"]


def send_function(worker: Worker, job: int, session: int, timed: bool, function: list[Buffer]) -> None:
    """Make a job's function known, with the message that follows."""
    worker.send(channel.FUNCTION, 0, job, session, timed, 0, function, more=True)


def send_unit(worker: Worker, run: ev.RunPiece, unit: list[Buffer] | Sealed, more: bool) -> None:
    """Have it run a piece of this unit; with ``more`` the next message may follow at once."""
    tasks = run.skip << 32 | run.tasks
    what = (run.singly, run.key[0], run.first, tasks, run.packet_tasks)
    worker.send(channel.UNIT, *what, unit, more=more)


def send_parts(worker: Worker, run: ev.RunReduce, results: Sequence[Buffer | Sealed]) -> None:
    """Have it reduce these results of a packet's parts."""
    parts = [plain(result) for result in results]
    sizes = struct.pack(f"<{len(parts)}Q", *(len(part) for part in parts))
    worker.send(channel.REDUCE, 0, run.key[0], run.first, run.tasks, len(parts), [sizes, *parts])
