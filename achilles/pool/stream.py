"""Calls one by one: a job that never ends, whose items are calls of any function.

``apply``, ``apply_async`` and `Executor.submit` would cost a job each otherwise: a function to send, a
demand to wait for. Here a call is one item of a job that is there already, so it leaves at once, with
others that wait, and its result comes back as any item's.

Rules:

1. Whoever makes a call draws it in its own thread, if work is wanted and the workers have little; else the
   reading thread does, with what was made meanwhile.
2. A call that cannot be pickled fails alone.
3. A call that is given up is not sent, or is cancelled alone.
4. Of calls whose results are to stay where they are made, large ones come as handles.
5. No call keeps the pool's streams alive: they end when the pool does, or with the failure of the job, after
   which the next call begins a new one.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from ..engines.direct import run_directly
from ..engines.job import Job
from ..engines.outcomes import ParcelResults, items_of
from ..engines.spec import JobSpec
from ..errors import NoNodesError
from ..kept import Kept, Reference, lost
from ..task_cancelled import TaskCancelled
from .call_sources import Call, Calls, MadeCalls, serialized
from .explaining import Figures
from .place import Place
from .running import as_local, figures_of
from .waiting import begin, reads_for

__all__ = ["CallStream", "Promise"]

# While each slot has so many calls, new ones are gathered by the reading thread.
BUSY_CALLS = 2


class Promise(Protocol):
    """What a caller holds of a call."""

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Give it its result or what was raised."""


class _Direct:
    """What was made of calls that were run at once."""

    def __init__(self) -> None:
        self.calls = 0
        self.busy_us = 0
        self.longest_us = 0

    def add(self, busy_us: int) -> None:
        """One more."""
        self.calls += 1
        self.busy_us += busy_us
        self.longest_us = max(self.longest_us, busy_us)


class CallStream:
    """Calls under way, of a kind that may share a job.

    Args:
        spec: How they run; its function takes a call.
        place: Where.
        source: What gathers them.
        keeping: How they run where workers can keep what they made; None: their results are to come.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be used.
    """

    def __init__(
        self,
        spec: JobSpec,
        place: Place,
        source: Calls[Any] | None = None,
        keeping: JobSpec | None = None,
    ) -> None:
        self._calls = MadeCalls() if source is None else source
        self._direct = _Direct()
        self._engine = place.engine()
        if keeping is not None and self._engine.keeps:
            spec = keeping
        spec.budget_bytes = place.budget_bytes
        self._drawing = threading.Lock()
        self._changed = threading.Condition()
        self._closing = threading.Lock()  # held once it is closed
        self._open_calls = 0
        self._busy_since_s = self._busy_s = self._reading_s = 0.0
        self.failed = False
        self._failure: BaseException | None = None
        try:
            self._job = Job(spec, self._engine, self._calls)
            self._keeper = self._engine.keeper(self._job) if spec is keeping else None
            self._calls.cancel = self._job.cancel_item
            self._job.start()
        except BaseException:
            self._engine.release()
            raise
        self._job.leave_pumping()
        self._reader = threading.Thread(target=self._read, name="achilles-pool-calls", daemon=True)
        self._reader.start()

    @property
    def open_calls(self) -> int:
        """How many calls are not over."""
        return self._open_calls

    def waiting(self) -> list[Promise]:
        """Whose calls were not sent."""
        return [counted.promise for _, counted in list(self._calls.waiting)]

    def expect(self) -> None:
        """A call will be made."""
        with self._changed:
            if not self._open_calls:
                self._busy_since_s = time.monotonic()
            self._open_calls += 1

    def add(self, call: Any, promise: Promise, lies_at: Reference | None = None) -> Sent:
        """Make the call that is expected; it is sent now if work is wanted. Does not wait for anything.

        Args:
            call: As the source wants it.
            promise: Gets the result.
            lies_at: For which kept value it is to run on this stream's one node.
        """
        sent = Sent(promise, self, lies_at)
        self._calls.waiting.append((call, sent))
        if len(self._calls.sent) < BUSY_CALLS * sum(self._job.tally.slots.values()):
            self._send_waiting()
        else:
            # The workers have enough: by when the reader comes to it, more may have been made.
            self._job.look_again()
        if self.failed:
            # The reader may have looked before this was there.
            self._fail_all(self._failure or TaskCancelled("the pool ended before this call was over"))
        return sent

    def run_now(self, call: Call) -> tuple[Any, BaseException | None] | None:
        """Make the call that is expected and wait for it, if a worker is idle.

        Returns:
            Its result and what it raised; None when it is to be made in the ordinary way.
        """
        calls = self._calls
        if not self._engine.lends or self.failed or calls.sent or calls.waiting or reads_for(self):
            return None
        try:
            argument = serialized([call])
        except Exception as error:  # noqa: BLE001 - pickling runs the caller's code
            return None, as_local(error)
        parcel = run_directly(self._job, self._job.tasks_drawn + self._direct.calls, argument)
        if parcel is None:
            return None
        (value,), failures = items_of(parcel)
        self._direct.add(parcel.segments[0][3])
        return value, None if not failures else as_local(failures[0])

    def no_more(self) -> None:
        """The call that was expected was made, and is over."""
        with self._changed:
            self._open_calls -= 1
            if not self._open_calls:
                self._busy_s += time.monotonic() - self._busy_since_s
                self._changed.notify_all()

    def _send_waiting(self) -> None:
        """Draw what is wanted, unless another thread is at it, which then sees this as well."""
        while self._calls.waiting and self._drawing.acquire(blocking=False):
            try:
                while self._calls.waiting and self._job.feed_once(block=False):
                    pass
            finally:
                self._drawing.release()
            if not self._job.wants_input:
                return

    def _may_send(self) -> bool:
        # A thread that draws goes on while anything waits.
        return bool(self._calls.waiting) and not self._drawing.locked() and self._job.wants_input

    def settles(self, promise: object) -> bool:
        """Whether a promise is one of those that its thread has yet to settle."""
        waiting = [counted for _, counted in list(self._calls.waiting)]
        return any(counted.promise is promise for counted in [*self._calls.sent.values(), *waiting])

    def _read(self) -> None:
        begin(self)
        job = self._job
        try:
            while True:
                parcel = job.next_parcel(unless=self._may_send)
                if parcel is not None:
                    self._settle(parcel)
                    parcel = None
                elif job.over:
                    break
                else:
                    self._send_waiting()
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._failure = error
            self._fail_all(error)
        finally:
            self._fail_all(TaskCancelled("the pool was terminated before this call was over"))

    def _settle(self, parcel: ParcelResults) -> None:
        began_s = time.monotonic()
        values, failures = items_of(parcel)
        self._reading_s += time.monotonic() - began_s
        for place in range(len(values)):
            failure = None if place not in failures else as_local(failures[place])
            value = values[place]
            if self._keeper is not None and type(value) is Reference:
                value = Kept(value, self._keeper)
            # Not taken away before it can be settled: whatever goes wrong, who waits is told.
            self._calls.sent.pop(parcel.first + place).settle(value, failure)
            values[place] = value = None

    def _fail_all(self, error: BaseException) -> None:
        self.failed = True
        sent = self._calls.sent
        while sent:
            sent.popitem()[1].settle(None, error)
        while self._calls.waiting:
            try:
                promise = self._calls.waiting.popleft()[1]
            except IndexError:
                break
            if promise.begin():
                promise.settle(None, error)

    def over(self, call: Sent) -> None:
        """Nobody waits for this call any more."""
        with self._changed:
            if not call.is_open:
                return
            call.is_open = False
        self.no_more()

    def give_up(self, call: Sent) -> None:
        """Stop a call if it runs."""
        if call.index is not None:
            self._job.cancel_item(call.index)
        else:
            self.over(call)  # when it is its turn, it is not sent

    def figures(self, *, is_local: bool) -> Figures:
        """What was measured while calls were open."""
        with self._changed:
            open_calls = self._open_calls
            elapsed_s = self._busy_s + (time.monotonic() - self._busy_since_s if open_calls else 0.0)
        figures = figures_of(self._job, self._reading_s, is_local=is_local, elapsed_s=elapsed_s)
        figures.name, figures.done = "single calls", not open_calls
        direct = self._direct
        figures.tasks += direct.calls
        figures.busy_s += direct.busy_us / 1e6
        figures.longest_s = max(figures.longest_s, direct.longest_us / 1e6)
        return figures

    def join(self) -> None:
        """Wait until all calls are over."""
        with self._changed:
            while self._open_calls:
                self._changed.wait(0.25)

    def close(self) -> None:
        """Cancel what is not over; whoever waits is told. Harmless when repeated."""
        first = self._closing.acquire(blocking=False)
        if first:
            self._job.cancel()
        if threading.current_thread() is not self._reader:
            self._reader.join()
        if first:
            self._engine.release()


class Sent:
    """A promise that tells its stream, once, when it is settled, found unwanted or given up."""

    __slots__ = ("_lies_at", "_stream", "carried", "index", "is_given_up", "is_open", "promise")

    def __init__(self, promise: Promise, stream: CallStream, lies_at: Reference | None = None) -> None:
        self.promise = promise
        self._stream = stream
        self._lies_at = lies_at
        self.carried: object = None  # what its arguments refer to, until it is over
        self.index: int | None = None  # once it was drawn
        self.is_open = True
        self.is_given_up = False

    def begin(self) -> bool:
        if self.promise.begin():
            return True
        self._stream.over(self)
        return False

    def settle(self, value: Any, error: BaseException | None) -> None:
        if self._lies_at is not None and isinstance(error, NoNodesError):
            error = lost(self._lies_at, "its node is gone")
        self.carried = None
        try:
            self.promise.settle(value, error)
        finally:
            self._stream.over(self)

    def give_up(self) -> None:
        """Nobody waits for it, and its promise does not begin any more. If it runs, its worker is stopped."""
        self.is_given_up = True
        if self.is_open:
            self._stream.give_up(self)
