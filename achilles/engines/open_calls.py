"""Single calls that are out over one line: the connection to a server, or a socket to a node.

The calling thread writes its call to the line and reads that itself until the answer is there
(`achilles.engines.remote_calls` says why). A call that takes longer is left to the loop.

Thread-safe: what is done with a call begins with taking it out of the table, which only one can.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ..lineReceiver import messages as wire
from ..lineReceiver.wire import gather
from ..sealed import Buffer, Sealed

__all__ = ["MOST_SKIPPED", "Line", "OpenCalls", "RemoteCall", "Trials"]

# How long a caller reads the line itself.
HEAR_S = 0.01
# So many calls in a row go another way at most before one is tried again.
MOST_SKIPPED = 255

# Whether a call that takes longer begins a moment sooner does not matter. It does that the scheduler knows of
# it: it can then give each job its turn.
LONG_US = 50_000

# Status, busy time in ns and payload, as of `achilles.workers.loan.Loan`.
Answer = tuple[int, int, Buffer | Sealed]


class Line(Protocol):
    """What calls are written to, and their answers read from."""

    def send(self, message: wire.Message, segments: Iterable[Buffer] = ()) -> None:
        """Send a frame; silently nothing once the line has ended."""

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Read what comes within so long, in this thread; see `Controller.pump`."""


class Trials:
    """Whether it is worth trying a way that costs a round trip for nothing when it is refused."""

    def __init__(self) -> None:
        self._skip = 0
        self._skipped = 0

    def is_due(self) -> bool:
        """Whether the next call should try it; to be asked once for each call."""
        if self._skipped < self._skip:
            self._skipped += 1
            return False
        return True

    def in_vain(self) -> None:
        """One was refused, or would better have gone another way: 1, 3, 7, ... calls are not to try it."""
        self._skipped, self._skip = 0, min(2 * self._skip + 1, MOST_SKIPPED)

    def run(self) -> None:
        """One was run."""
        self._skip = 0


class RemoteCall:
    """A call of a job that is about to be sent.

    Args:
        calls: Those over the same line.
        line: Where it goes.
        job: Its job.
        there: The number of that at the other end.
        number: The call's.
        trials: What is told whether it was refused.

    Attributes:
        answer: Status, busy time in ns and payload, once it came.
        is_over: Whether nothing more will come.
    """

    __slots__ = (
        "_calls",
        "_done",
        "_line",
        "_sleeps",
        "_there",
        "answer",
        "is_over",
        "job",
        "number",
        "trials",
    )

    def __init__(
        self, calls: OpenCalls, line: Line, job: int, there: int, number: int, trials: Trials
    ) -> None:
        self._calls = calls
        self._line = line
        self.job = job
        self._there = there
        self.number = number
        self.trials = trials
        self.answer: Answer | None = None
        self.is_over = False
        self._done = threading.Lock()
        self._sleeps = False

    def call(self, index: int, arguments: Sequence[Buffer]) -> None:
        """Send the serialized list of one argument, and hear the line for a while. Must be called, once."""
        line = self._line
        line.send(wire.Call(self._there, self.number, index), arguments)
        end_s = time.monotonic() + HEAR_S
        try:
            while line.pump(HEAR_S, self._is_wanted) and not self.is_over and time.monotonic() < end_s:
                pass
        except BaseException:
            # It has closed the line, which others use as well.
            self._calls.on_broken("a call was interrupted while it read")
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

    def give_up(self) -> None:
        """Nobody waits for it any more; who runs it is told, if it is out."""
        if self._calls.give_up(self):
            self._line.send(wire.GiveUp(call=self.number))

    def over(self, answer: Answer | None) -> None:
        """The answer came, or never will. Once."""
        self.answer = answer
        self.is_over = True
        if self._sleeps:
            self._done.release()


class OpenCalls:
    """The calls over one line that have no answer.

    Args:
        on_broken: Told why the line cannot be used any more, if one of the calls finds that out.
    """

    def __init__(self, on_broken: Callable[[str], None]) -> None:
        self.on_broken = on_broken
        self._open: dict[int, RemoteCall] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._open)

    def make(self, line: Line, job: int, there: int, trials: Trials) -> RemoteCall:
        """A new call, to be sent at once."""
        number = next(self._numbers)
        call = self._open[number] = RemoteCall(self, line, job, there, number, trials)
        return call

    def came(self, answer: wire.Answer, chunks: list[Buffer]) -> None:
        """An answer; of a call that was given up it is dropped."""
        call = self._open.pop(answer.call, None)
        if call is None:
            return
        status = answer.status
        if status == wire.CALL_REFUSED:
            call.trials.in_vain()
        if status >= wire.CALL_REFUSED:
            call.over(None)
            return
        if answer.busy_us > LONG_US:
            call.trials.in_vain()
        else:
            call.trials.run()
        call.over((status, answer.busy_us * 1000, gather(chunks) if answer.shared is None else answer.shared))

    def give_up(self, call: RemoteCall) -> bool:
        """Nobody waits for a call any more; returns whether it was out."""
        return self._open.pop(call.number, None) is not None

    def end(self, job: int | None = None) -> None:
        """None of the calls, or none of a job's, will be answered."""
        for call in list(self._open.values()):
            if (job is None or call.job == job) and self.give_up(call):
                call.over(None)
