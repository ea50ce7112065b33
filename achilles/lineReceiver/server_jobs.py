"""What a server keeps of the jobs it routes, beside what its scheduler knows.

Jobs have two numbers: the one their controller gave, good on that connection alone, and the
server's own, which nodes hear. Functions are kept as the bytes they came in, one copy for each
content, and are never unpickled.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.node_names import NamePatterns
from ..errors import ProtocolError
from .hot_frames import Parcel
from .messages import MAX_EARLY_CANCELS, MAX_WHOLE_BYTES, CancelItem, Submit
from .wire import Buffer

if TYPE_CHECKING:
    from .server_shortcuts import ServerShortcut

__all__ = ["Jobs", "RoutedJob", "patterns_of"]


@dataclass(slots=True)
class WholeInput:
    """The one parcel of a job that is sent before anybody asked for it, until its node is known."""

    parcel: tuple[Parcel, list[Buffer]] | None = None
    node: int | None = None
    placed: bool = False
    cancelled: dict[int, CancelItem] = field(default_factory=dict)  # what was said of its items meanwhile

    def came(self, parcel: Parcel, chunks: list[Buffer]) -> None:
        """The parcel is here; it is kept until a node has room."""
        if parcel.size > MAX_WHOLE_BYTES or self.parcel is not None:
            raise ProtocolError(f"a whole input is one parcel of at most {MAX_WHOLE_BYTES} bytes")
        self.parcel = parcel, chunks

    def cancel(self, message: CancelItem) -> None:
        """An item of it is not wanted; its node will be told."""
        if len(self.cancelled) >= MAX_EARLY_CANCELS:
            raise ProtocolError(f"more than {MAX_EARLY_CANCELS} items of a whole input were cancelled")
        self.cancelled[message.index] = message

    def place(self) -> tuple[Parcel, list[Buffer]] | None:
        """The parcel, addressed to its node, once both are known; only once."""
        if self.parcel is None or self.node is None or self.placed:
            return None
        self.placed = True
        found, self.parcel = self.parcel, None
        found[0].node = self.node
        return found


@dataclass(slots=True)
class RoutedJob:
    """One job on its way through the server."""

    number: int
    controller: int
    local_number: int
    name: str
    function: str
    session: str
    reduces: bool
    chunksize: int
    submitted_s: float
    quiet: bool = False
    timeout_ms: int = 0
    priority: int = 0
    slots: int = 1
    patient: bool = False
    expected_ns: int = 0
    calls_at: int = -1  # the node that its single calls go to
    calls_refused_by: int = -1  # the one that refused the last
    shortcut: ServerShortcut | None = None  # the one that its controller was told of last
    whole: WholeInput | None = None


@dataclass(slots=True)
class _Function:
    payload: list[Buffer]
    jobs: int = 0
    nodes: dict[int, int] = field(default_factory=dict)  # node -> its live jobs with this function


class Jobs:
    """All live jobs and their functions."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._functions: dict[str, _Function] = {}
        self._by_controller: dict[int, dict[int, int]] = {}
        self.live: dict[int, RoutedJob] = {}
        self.finished = 0

    def add(self, controller: int, submit: Submit, payload: list[Buffer], now_s: float) -> RoutedJob:
        """Take a submission in.

        Raises:
            ProtocolError: The function is not what its hash says. Functions are shared by their hash,
                so another controller's job would run this one instead of its own.
        """
        digest = hashlib.sha256()
        for part in payload:
            digest.update(part)
        if digest.hexdigest() != submit.function:
            raise ProtocolError(f"the function of job {submit.job} does not have the hash that is given")
        job = RoutedJob(
            next(self._numbers),
            controller,
            submit.job,
            submit.name,
            submit.function,
            submit.session,
            submit.reduces,
            submit.chunksize,
            now_s,
            submit.quiet,
            submit.timeout_ms,
            submit.priority,
            submit.slots,
            submit.patient,
            submit.expected_ns,
            whole=WholeInput() if submit.whole else None,
        )
        self.live[job.number] = job
        self._by_controller.setdefault(controller, {})[submit.job] = job.number
        self._functions.setdefault(submit.function, _Function(payload)).jobs += 1
        return job

    def number_of(self, controller: int, local_number: int) -> int | None:
        """The server's number of a controller's job, if it is live."""
        return self._by_controller.get(controller, {}).get(local_number)

    def of_controller(self, controller: int) -> list[int]:
        """The live jobs of a controller."""
        return list(self._by_controller.get(controller, {}).values())

    def remove(self, number: int) -> RoutedJob | None:
        """Drop a job, and its function with the last job that uses it."""
        job = self.live.pop(number, None)
        if job is None:
            return None
        self.finished += 1
        locals_ = self._by_controller[job.controller]
        del locals_[job.local_number]
        if not locals_:
            del self._by_controller[job.controller]
        function = self._functions[job.function]
        function.jobs -= 1
        if not function.jobs:
            del self._functions[job.function]
        return job

    def teach(self, job: RoutedJob, node: int) -> list[Buffer]:
        """Note that the node learns of the job; its function, or nothing if the node has it."""
        function = self._functions[job.function]
        known = function.nodes.get(node, 0)
        function.nodes[node] = known + 1
        return [] if known else function.payload

    def unteach(self, job: RoutedJob, node: int) -> None:
        """Note that the node was told to forget the job."""
        function = self._functions.get(job.function)
        if function is not None and node in function.nodes:
            function.nodes[node] -= 1
            if function.nodes[node] <= 0:
                del function.nodes[node]

    def node_lost(self, node: int) -> None:
        """Nothing is known to that node any more."""
        for function in self._functions.values():
            function.nodes.pop(node, None)


def patterns_of(submit: Submit) -> tuple[str, ...]:
    """The names that a job's nodes may have, as its controller wants them."""
    if not submit.nodes:
        return ()
    try:
        return NamePatterns(submit.nodes).patterns
    except ValueError as error:
        raise ProtocolError(str(error)) from None
