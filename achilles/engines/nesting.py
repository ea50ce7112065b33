"""Calls from within a task: where they run so that no task waits for a worker that waits for it.

A task keeps its worker until it returns. If a call within it went back to the cluster that it came
from, and every worker ran such a task, all would wait for ever. So such a call runs on workers of
its own, below the worker, on the worker's share of the cores. A call within a task to some other
server goes there.
"""

from __future__ import annotations

import os
from contextlib import closing

import msgspec

from ..config import Settings
from ..lineReceiver import messages as wire
from ..lineReceiver.dialling import dial
from ..lineReceiver.wire import gather
from ..workers.process import WITHIN_NODE
from .interrupts import opened

__all__ = ["works_for"]

STATUS_TIMEOUT_S = 10.0

_answers: dict[tuple[str, str, int], bool] = {}


def works_for(settings: Settings) -> bool:
    """Whether this process runs tasks of a node of that server.

    The server is asked, since it may have a different name on every machine.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: It cannot be asked.
    """
    node = os.environ.get(WITHIN_NODE)
    if not node:
        return False
    question = (node, settings.host, settings.port)
    if question not in _answers:
        with opened(), closing(dial(settings)) as link:
            status = msgspec.json.decode(gather(link.ask(wire.Status(), wire.StatusReply, STATUS_TIMEOUT_S)))
        _answers[question] = any(f"{each['host']} {each['pid']}" == node for each in status["nodes"])
    return _answers[question]
