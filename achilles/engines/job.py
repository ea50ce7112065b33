"""One user call in the caller's process, between the caller's threads and an engine.

The body around `Submission`. Three parties meet here under one lock:

- the engine reports demands, results and failures (`granted`, `results`, …), from its own thread;
- whoever feeds (`feed_once`: the caller's thread in ``map``, a feeder thread in ``imap``) draws and
  serializes arguments;
- whoever reads (`next_parcel`, in the caller's thread) takes delivered parcels and unpickles them.

Rules: user code never runs in the engine's thread; nothing calls the engine while holding the job's
lock, so the engine may hold its own lock while it reports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..core import submission_events as ev
from ..core.submission import DrawPlan
from ..errors import NoNodesError
from .drawing import Draw, Drawer
from .engine import Engine
from .interrupts import opened
from .outcomes import ParcelResults
from .printing import show
from .progress import Progress

__all__ = ["Job", "NotYetError"]

# How long a reader waits for results before it sees to it that what was drawn meanwhile is sent.
SLOW_DRAW_S = 0.02
# How long a waiting caller looks itself for what comes, before it leaves that to the engine's thread.
PUMP_S = 0.01


class NotYetError(Exception):
    """A reader's patience is over; the job goes on."""


class Job(Progress):
    """One call in progress.

    Args:
        spec: What the caller asked for, already checked.
        engine: Where it runs.
        source: Where arguments come from, if not from ``spec.args``.

    Raises:
        SerializationError: The function cannot travel.
        TypeError: The arguments are not iterable.
    """

    def start(self) -> None:
        """Look at the first argument and hand the job to the engine."""
        self._began_ns = time.monotonic_ns()
        error = self._drawer.look()
        with self._changed.lock:
            drawer = self._drawer
            started = ev.InputStarted(bool(drawer.lists), drawer.tasks, drawer.task_bytes)
            self._do(self._brain.handle(started))
            self._input_error = error
        self._engine.submit(self)
        self._errands.run()

    def leave_pumping(self) -> None:
        """Never have the reading thread look itself for what the engine brings."""
        self._pumps = False

    def start_feeder(self) -> None:
        """Draw arguments in a thread of the job's own from now on."""
        self._pumps = False
        threading.Thread(target=self._feed, name="achilles-feeder", daemon=True).start()

    def _draw_again(self, first: int) -> None:
        # Who has fed it was told that there is no more, and may be about to read.
        self._pumps = False
        threading.Thread(target=self._feed, args=(first,), name="achilles-feeder", daemon=True).start()

    # What feeds and reads.

    @property
    def wants_input(self) -> bool:
        """Whether a parcel would be drawn now."""
        with self._changed.lock:
            return self._brain.plan() is not None and not self._over()

    def look_again(self) -> None:
        """Have a reader that waits ask again whether it should (``unless`` of `next_parcel`)."""
        with self._changed.lock:
            self._changed.notify_all()

    @property
    def engine(self) -> Engine:
        """Where it runs."""
        return self._engine

    def show_output(self) -> None:
        """Print what its items have printed. Afterwards no other thread is still at it either."""
        if self._showing.locked() or self._printing:
            with self._showing:
                with self._changed.lock:
                    printed = self._printing.take()
                with opened():
                    show(printed)

    def stop_input(self) -> None:
        """Draw nothing more: what was drawn is all there is."""
        with self._changed.lock:
            self._do(self._brain.handle(ev.InputEnded()))
            self._changed.notify_all()
        self._errands.run()

    def feed_once(self, *, or_read: bool = False, block: bool = True, again: bool = False) -> bool:
        """Wait until something can be drawn, and draw it.

        Args:
            or_read: Return as well when a parcel can be read or the job has ended.
            block: Wait. Else return at once.
            again: By the thread that draws what was drawn before.

        Returns:
            False when there is nothing more to draw, or not here (or, unless ``block``, nothing now).
        """
        with self._changed.lock:
            while again == self._drawn_again:
                if (plan := self._brain.plan()) is not None:
                    break
                if self._over() or self._brain.input_ended or not block:
                    return False
                if or_read and (self._ready or self._brain.completed or self._printing):
                    return True
                self._wait()
            else:
                return False  # another thread draws what is left
            if self._over():
                return False
            self._drawing = True
            # Who waits for results looks now and then at what is drawn.
            self._changed.notify_all()
        began_ns = time.monotonic_ns()
        try:
            return self._drawer.draw(plan, self._drawn)
        finally:
            self._drawing = False
            self._feed_ns += time.monotonic_ns() - began_ns
            if self._pumps and self._brain.input_ended:
                self._engine.lead()  # there is nothing more to do but to wait for results
            self._errands.run()

    def _drawn(self, plan: DrawPlan, draw: Draw) -> None:
        """Arguments were drawn as planned, or some of them."""
        with self._changed.lock:
            if self._brain.input_ended:
                return  # stopped in the meantime
            if draw.error is not None:
                self._input_error = draw.error
                self._changed.notify_all()
            self._draw_ns += draw.draw_ns
            if draw.refused:
                self._refused.update(draw.refused)
            if draw.units:
                self._draws[self._brain.next_parcel()[0]] = draw
                event = ev.ParcelDrawn(
                    plan.node, draw.tasks, draw.packets, draw.packet_tasks, draw.size_bytes, draw.draw_ns
                )
                self._do(self._brain.handle(event))
            if draw.ended:
                self._do(self._brain.handle(ev.InputEnded()))

    def next_parcel(
        self,
        *,
        block: bool = True,
        until_s: float | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> ParcelResults | None:
        """The next parcel to be read, or None at the end (or, unless ``block``, when none is ready).

        Args:
            block: Wait for one.
            until_s: When to give up waiting, on the monotonic clock.
            unless: Asked whenever something changed; None is returned once it is true.

        Raises:
            Whatever made the job fail, or the caller's iterable raised (after all that came before).
            NotYetError: It is ``until_s``.
        """
        while True:
            with self._changed.lock:
                try:
                    ready = self._is_ready(block, until_s, unless)
                except BaseException:
                    # Who released the engine may have been another thread, and only this one can let it go.
                    self._engine.let_go()
                    raise
                # What was printed comes before the results of those who printed it.
                prints = bool(self._printing)
                if not prints and ready is not None:
                    self._engine.let_go()  # who reads runs the caller's code next
                    return self._read() if ready else None
            if prints:
                self._engine.let_go()
                self.show_output()
            else:
                # The iterable may be waiting for the results of what it has given already.
                self._drawer.cut(self._drawn)
                self._errands.run()

    def _is_ready(self, block: bool, until_s: float | None, unless: Callable[[], bool] | None) -> bool | None:
        """Wait for a parcel or something to print.

        Returns:
            False at the end, or when there is none now; None when another thread is slow to draw.
        """
        while not self._ready and not self._printing:
            if self._failure is not None:
                raise self._failure
            if self._cancelled:
                from ..task_cancelled import TaskCancelled

                raise TaskCancelled("the job was cancelled before its results were read")
            if self._brain.completed:
                if self._input_error is not None:
                    error, self._input_error = self._input_error, None
                    raise error
                return False
            if not block or (unless is not None and unless()):
                return False
            if not self._wait(self._patience_s(until_s)):
                return None
        return True

    def _patience_s(self, until_s: float | None) -> float | None:
        """How long to wait before looking after a slow draw, or giving up."""
        slow_s = SLOW_DRAW_S if self._drawing else None
        if until_s is None:
            return slow_s
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise NotYetError("no result was ready in time")
        return left_s if slow_s is None else min(slow_s, left_s)

    def _read(self) -> ParcelResults:
        """Take the next ready parcel."""
        number, parcel = self._ready.popleft()
        if self.spec.most_ahead is None:
            self._do(self._brain.handle(ev.ParcelRead(number, parcel.tasks)))
            # Reading makes room, which a feeder may be waiting for.
            self._changed.notify_all()
        return parcel

    def taken(self, parcel: int, tasks: int) -> None:
        """So many tasks of a parcel were read, in a job with `JobSpec.most_ahead`."""
        self._tell(ev.ParcelRead(parcel, tasks))

    def join(self) -> None:
        """Wait until all is done, whether or not somebody reads it; bounded by no budget."""
        with self._changed.lock:
            self._brain.unbounded = True
            self._changed.notify_all()
        self.wait()

    def wait(self) -> None:
        """Wait until all is done; unless somebody reads, that is not beyond what may lie unread."""
        while True:
            with self._changed.lock:
                while not self.over:
                    if not self._wait(SLOW_DRAW_S if self._drawing else None):
                        break
                else:
                    self._engine.let_go()
                    return
            self._drawer.cut(self._drawn)
            self._errands.run()

    def has_input_error(self) -> bool:
        """Whether the caller's iterable raised something that was not raised yet."""
        return self._input_error is not None

    def raise_input_error(self) -> None:
        """Raise what the caller's iterable raised, if it did, without waiting for what came before it."""
        error, self._input_error = self._input_error, None
        if error is not None:
            raise error

    def cancel(self) -> None:
        """Drop the job; harmless when it is over."""
        with self._changed.lock:
            over = self._brain.completed or self._cancelled
            self._cancelled = True
            self._draws.clear()
            self._segments.clear()
            self._ready.clear()
            self._changed.notify_all()
        if not over:
            self._engine.cancel(self)

    def cancel_item(self, index: int) -> None:
        """Have one item fail with `TaskCancelled`, drawn or not, unless it is done. From any thread.

        Args:
            index: Counted over all items of the job, from 0.
        """
        with self._changed.lock:
            for parcel, attempt in self._cancelled_items.add(index):
                self._errands.add(self._engine.cancel_item, self, parcel, attempt, index)
        self._errands.run()

    def _feed(self, first: int | None = None) -> None:
        try:
            if first is not None:
                assert isinstance(self._drawer, Drawer)  # of which this was known
                self._drawer.rewind(first)
            while self.feed_once(again=first is not None):
                pass
        except Exception as error:  # noqa: BLE001 - a feeder that dies in silence would hang the reader
            self.failed(error)

    def _wait(self, patience_s: float | None = None) -> bool:
        """Wait for a change; without nodes, only so long.

        Returns:
            False when nothing has changed within ``patience_s``.
        """
        if self._nodes.nodes != 0:
            if self._pumps and patience_s is None and self._pumped():
                return True
            self._engine.let_go()
            return self._changed.wait(patience_s)
        try:
            again_s = self._nodes.look()
        except NoNodesError as error:
            self._failure = error
            self._errands.add(self._engine.cancel, self)
            self._changed.notify_all()
        else:
            pauses_s = [pause_s for pause_s in (again_s, patience_s) if pause_s is not None]
            return self._changed.wait(min(pauses_s, default=None)) or patience_s is None
        return True

    def _pumped(self) -> bool:
        """Look in this thread for what the engine brings; False at once when that was in vain before."""
        if self._in_vain:
            self._in_vain = False
            return False
        seen = self._changed.number
        self._changed.release()
        try:
            came = self._engine.pump(PUMP_S, lambda: self._changed.number == seen)
        finally:
            self._changed.acquire()
        self._in_vain = not came
        return True
