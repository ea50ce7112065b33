"""Single calls whose callers wait, on idle workers of a cluster.

As on this machine (`achilles.workers.loan`) a call goes past the job's queues: the calling thread writes it
to the connection, server and node pass it on to a worker that has nothing to do, and the thread reads the
connection itself until the answer is there. A call that takes longer is left to the connection's loop.

Rules:

1. Every call is over once: when its answer comes, or with the connection, or with the job.
2. What is refused, or lost on the way, is made in the ordinary way, which retries and says why it cannot.
3. A refused call has cost a round trip for nothing: so after it some calls are not tried, each time more.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

from ..lineReceiver import messages as wire
from ..lineReceiver.achilles_controller import Controller
from ..lineReceiver.wire import gather
from ..sealed import Buffer, Sealed

__all__ = ["RemoteCall", "RemoteCalls"]

# How long a caller reads the connection itself.
HEAR_S = 0.01
# So many calls in a row are made in the ordinary way at most before one is tried again.
MOST_SKIPPED = 255

# Status, busy time in ns and payload, as of `achilles.workers.loan.Loan`.
Answer = tuple[int, int, Buffer | Sealed]


class RemoteCall:
    """A call of a job that is about to be sent.

    Args:
        controller: The connection.
        job: Its number there.
        number: The call's.
        on_broken: Told why the connection cannot be used any more, if this call finds that out.

    Attributes:
        answer: Status, busy time in ns and payload, once it came.
        is_over: Whether nothing more will come.
    """

    __slots__ = ("_controller", "_done", "_on_broken", "_sleeps", "answer", "is_over", "job", "number")

    def __init__(
        self, controller: Controller, job: int, number: int, on_broken: Callable[[str], None]
    ) -> None:
        self._controller = controller
        self._on_broken = on_broken
        self.job = job
        self.number = number
        self.answer: Answer | None = None
        self.is_over = False
        self._done = threading.Lock()
        self._sleeps = False

    def call(self, index: int, arguments: Sequence[Buffer]) -> None:
        """Send the serialized list of one argument, and hear the server for a while. Must be called, once."""
        controller = self._controller
        controller.send(wire.Call(self.job, self.number, index), arguments)
        end_s = time.monotonic() + HEAR_S
        try:
            while controller.pump(HEAR_S, self._is_wanted) and not self.is_over and time.monotonic() < end_s:
                pass
        except BaseException:
            # It has closed the connection, which others use as well.
            self._on_broken("a call was interrupted while it read")
            raise
        self._done.acquire()

    def _is_wanted(self) -> bool:
        return not self.is_over

    def wait(self, patience_s: float) -> None:
        """Wait for so long, or until it is over, after `call`."""
        self._sleeps = True
        # It may have been over before anybody slept.
        if not self.is_over:
            self._done.acquire(timeout=patience_s)

    def over(self, answer: Answer | None) -> None:
        """The answer came, or never will. Once."""
        self.answer = answer
        self.is_over = True
        if self._sleeps:
            self._done.release()


class RemoteCalls:
    """The calls of one engine that are out.

    Args:
        on_broken: As of `RemoteCall`.

    Thread-safe: what is done with a call begins with taking it out of the table, which only one can.
    """

    def __init__(self, on_broken: Callable[[str], None]) -> None:
        self._on_broken = on_broken
        self._open: dict[int, RemoteCall] = {}
        self._numbers = itertools.count(1)
        self._skip = 0
        self._skipped = 0

    def make(self, controller: Controller, job: int) -> RemoteCall | None:
        """A new call, to be sent at once; None while it is not worth trying.

        The connection must not be found lost until this has returned.
        """
        if self._skipped < self._skip:
            self._skipped += 1
            return None
        number = next(self._numbers)
        call = self._open[number] = RemoteCall(controller, job, number, self._on_broken)
        return call

    def came(self, answer: wire.Answer, chunks: list[Buffer]) -> None:
        """An answer from the server; of a call that was given up it is dropped."""
        call = self._open.pop(answer.call, None)
        if call is None:
            return
        status = answer.status
        if status == wire.CALL_REFUSED:
            self._skipped, self._skip = 0, min(2 * self._skip + 1, MOST_SKIPPED)
        if status >= wire.CALL_REFUSED:
            call.over(None)
            return
        self._skip = 0
        call.over((status, answer.busy_us * 1000, gather(chunks) if answer.shared is None else answer.shared))

    def give_up(self, call: RemoteCall) -> bool:
        """Nobody waits for a call any more; returns whether it was out."""
        return self._open.pop(call.number, None) is not None

    def end(self, job: int | None = None) -> None:
        """None of the calls, or none of a job's, will be answered."""
        for call in list(self._open.values()):
            if (job is None or call.job == job) and self.give_up(call):
                call.over(None)
