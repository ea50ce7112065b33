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
from collections import deque
from collections.abc import Callable
from typing import Any

from ..core import submission_events as ev
from ..core.submission import DrawPlan, Submission
from ..errors import NoNodesError, ProtocolError, WorkerDiedError
from .cancelled_items import CancelledItems
from .changes import Changes
from .drawing import Draw, Drawer, iterate
from .engine import Engine
from .interrupts import opened
from .outcomes import ParcelResults, Segment
from .printing import Printing, show
from .spec import JobSpec
from .startup import WaitForNodes

__all__ = ["Engine", "Job"]

# How long a reader waits for results before it sees to it that what was drawn meanwhile is sent.
SLOW_DRAW_S = 0.02
# How long a waiting caller looks itself for what comes, before it leaves that to the engine's thread.
PUMP_S = 0.01


class Job:
    """One call in progress.

    Args:
        spec: What the caller asked for, already checked.
        engine: Where it runs.

    Raises:
        SerializationError: The function cannot travel.
        TypeError: The arguments are not iterable.
    """

    def __init__(self, spec: JobSpec, engine: Engine) -> None:
        self.spec = spec
        self.number = 0  # the engine's name for it
        with opened():
            self.function = spec.function()
            arguments = iterate(spec.args)
        self._engine = engine
        self._changed = Changes()
        self._brain = Submission(spec.chunksize, ordered=spec.ordered, budget_bytes=spec.budget_bytes)
        self._drawer = Drawer(arguments, keep_views=spec.keep_views)
        self._draws: dict[int, Draw] = {}
        self._segments: dict[tuple[int, int], list[Segment]] = {}  # by parcel and attempt
        self._lost: dict[int, BaseException] = {}
        self._ready: deque[tuple[int, ParcelResults]] = deque()
        self._to_engine: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._passing_on = False
        self._drawing = False
        self._input_error: BaseException | None = None
        self._failure: BaseException | None = None
        self._cancelled = False
        self._cancelled_items = CancelledItems(self._brain)
        self._printing = Printing()
        self._nodes = WaitForNodes(spec.startup_timeout_s, engine.no_nodes_reason)
        self._pumps = True  # whether the caller's thread looks for what comes itself
        self._in_vain = False  # whether it just did, and nothing came

    @property
    def reduces(self) -> bool:
        """Whether each packet becomes one value."""
        return self.spec.reducer is not None

    @property
    def tasks_left(self) -> int:
        """How many tasks are left to draw, if they can be drawn at once; else 0."""
        return (self._drawer.left() or 0) if self._drawer.tasks else 0

    @property
    def is_one_slice(self) -> bool:
        """Whether all arguments are one worker's share of one packet, on whatever node."""
        return not self._drawer.lists and 0 < (self._drawer.left() or 0) <= self.spec.slice_tasks

    def start(self) -> None:
        """Look at the first argument and hand the job to the engine."""
        error = self._drawer.look()
        with self._changed:
            drawer = self._drawer
            started = ev.InputStarted(bool(drawer.lists), drawer.tasks, drawer.task_bytes)
            self._do(self._brain.handle(started))
            self._input_error = error
        self._engine.submit(self)
        self._pass_on()

    def start_feeder(self) -> None:
        """Draw arguments in a thread of the job's own from now on."""
        self._pumps = False
        threading.Thread(target=self._feed, name="achilles-feeder", daemon=True).start()

    # What the engine reports.

    def granted(self, node: int, cpu_count: int, packets: int) -> None:
        """A parcel is wanted."""
        self._tell(ev.Granted(node, cpu_count, packets))

    def resend(self, parcel: int, attempt: int, node: int, beside: int = 0) -> None:
        """A parcel is wanted again, perhaps beside an attempt that goes on."""
        self._tell(ev.ResendAsked(parcel, attempt, node, beside))

    def results(self, parcel: int, attempt: int, segments: list[Segment]) -> None:
        """Some ranges of a parcel are done."""
        with self._changed:
            state = self._brain.parcels.get(parcel)
            if state is None or state.complete or attempt not in state.attempts:
                return
            size_bytes = sum(len(segment[4]) for segment in segments)
            facts = [segment[:4] for segment in segments]
            commands = self._brain.handle(ev.ResultsArrived(parcel, attempt, facts, size_bytes))
            self._segments.setdefault((parcel, attempt), []).extend(segments)
            self._do(commands)
        self._pass_on()

    def parcel_failed(self, parcel: int, reason: str) -> None:
        """A parcel was given up."""
        with self._changed:
            state = self._brain.parcels.get(parcel)
            if state is None or state.complete:
                return
            last = state.first + max(state.tasks, 1) - 1
            self._lost[parcel] = WorkerDiedError(
                f"items {state.first} to {last} could not be run: {reason}; look at the nodes' logs",
                index=state.first,
                attempts=state.attempt,
                exit_code=None,
                node=None,
            )
            self._do(self._brain.handle(ev.ParcelFailed(parcel)))
        self._pass_on()

    def failed(self, error: BaseException) -> None:
        """The job cannot go on."""
        with self._changed:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()

    def finished(self) -> None:
        """The scheduler says that nothing more will come."""
        with self._changed:
            if self._brain.completed or self._over():
                return
        self.failed(ProtocolError("the server says that the job is done, but results are missing"))

    def connection_lost(self) -> None:
        """The engine has lost its scheduler; what was sent there is lost with it."""
        with self._changed:
            self._to_engine.clear()
            self._do(self._brain.handle(ev.SchedulerLost()))
            self._changed.notify_all()

    def connected(self) -> None:
        """The engine has submitted the job again."""
        self._tell(ev.SchedulerFound())

    @property
    def over(self) -> bool:
        """Whether nothing more is wanted from the engine."""
        return self._over() or self._brain.completed

    def nodes_changed(self, nodes: int) -> None:
        """So many nodes are there now."""
        with self._changed:
            self._nodes.changed(nodes)
            self._changed.notify_all()

    def output(self, stream: int, lines: bytes) -> None:
        """Tasks printed whole lines."""
        with self._changed:
            if self.spec.output and not self._cancelled:
                self._printing.add(stream, lines)
                self._changed.notify_all()

    # What feeds and reads.

    def feed_once(self, *, or_read: bool = False) -> bool:
        """Wait until something can be drawn, and draw it.

        Args:
            or_read: Return as well when a parcel can be read or the job has ended.

        Returns:
            False when there is nothing more to draw.
        """
        with self._changed:
            while (plan := self._brain.plan()) is None:
                if self._over() or self._brain.input_ended:
                    return False
                if or_read and (self._ready or self._brain.completed or self._printing):
                    return True
                self._wait()
            if self._over():
                return False
            self._drawing = True
            # Who waits for results looks now and then at what is drawn.
            self._changed.notify_all()
        try:
            return self._drawer.draw(plan, self._drawn)
        finally:
            self._drawing = False
            if self._pumps and self._brain.input_ended:
                self._engine.lead()  # there is nothing more to do but to wait for results
            self._pass_on()

    def _drawn(self, plan: DrawPlan, draw: Draw) -> None:
        """Arguments were drawn as planned, or some of them."""
        with self._changed:
            if draw.error is not None:
                self._input_error = draw.error
            if draw.units:
                self._draws[self._brain.next_parcel()[0]] = draw
                event = ev.ParcelDrawn(
                    plan.node, draw.tasks, draw.packets, draw.packet_tasks, draw.size_bytes, draw.draw_ns
                )
                self._do(self._brain.handle(event))
            if draw.ended:
                self._do(self._brain.handle(ev.InputEnded()))

    def next_parcel(self, *, block: bool = True) -> ParcelResults | None:
        """The next parcel to be read, or None at the end (or, unless ``block``, when none is ready).

        Raises:
            Whatever made the job fail, or the caller's iterable raised (after all that came before).
        """
        while True:
            with self._changed:
                ready = self._is_ready(block)
                # What was printed comes before the results of those who printed it.
                printed = self._printing.take()
                if not printed and ready is not None:
                    self._engine.let_go()  # who reads runs the caller's code next
                    return self._read() if ready else None
            if printed:
                self._engine.let_go()
                with opened():
                    show(printed)
            else:
                # The iterable may be waiting for the results of what it has given already.
                self._drawer.cut(self._drawn)
                self._pass_on()

    def _is_ready(self, block: bool) -> bool | None:
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
            if not block:
                return False
            if not self._wait(SLOW_DRAW_S if self._drawing else None):
                return None
        return True

    def _read(self) -> ParcelResults:
        """Take the next ready parcel."""
        number, parcel = self._ready.popleft()
        self._do(self._brain.handle(ev.ParcelRead(number, parcel.tasks)))
        # Reading makes room, which a feeder may be waiting for.
        self._changed.notify_all()
        return parcel

    def raise_input_error(self) -> None:
        """Raise what the caller's iterable raised, if it did, without waiting for what came before it."""
        error, self._input_error = self._input_error, None
        if error is not None:
            raise error

    def cancel(self) -> None:
        """Drop the job; harmless when it is over."""
        with self._changed:
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
        with self._changed:
            for parcel, attempt in self._cancelled_items.add(index):
                self._to_engine.append((self._engine.cancel_item, (self, parcel, attempt, index)))
        self._pass_on()

    def _feed(self) -> None:
        try:
            while self.feed_once():
                pass
        except Exception as error:  # noqa: BLE001 - a feeder that dies in silence would hang the reader
            self.failed(error)

    def _over(self) -> bool:
        return self._cancelled or self._failure is not None

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
            self._to_engine.append((self._engine.cancel, (self,)))
            self._changed.notify_all()
        else:
            self._changed.wait(again_s)
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

    def _tell(self, event: ev.Event) -> None:
        with self._changed:
            self._do(self._brain.handle(event))
            self._changed.notify_all()
        self._pass_on()

    def _do(self, commands: list[ev.Command]) -> None:
        """Obey the brain; what concerns the engine waits until the lock is free."""
        engine = self._engine
        for command in commands:
            match command:
                case ev.SendParcel():
                    draw = self._draws.get(command.parcel)
                    if draw is not None:
                        cancelled = self._cancelled_items.of_parcel(command.parcel)
                        arguments = (self, command.parcel, command.attempt, command.node, draw, cancelled)
                        self._to_engine.append((engine.send_parcel, arguments))
                case ev.Deliver():
                    self._ready.append((command.parcel, self._take(command)))
                    self._changed.notify_all()
                case ev.DropUnits():
                    self._draws.pop(command.parcel, None)
                    self._cancelled_items.done(command.parcel)
                case ev.DropResults():
                    self._segments.pop((command.parcel, command.attempt), None)
                case ev.EndInput():
                    self._to_engine.append((engine.end_input, (self,)))
                case ev.Complete():
                    self._changed.notify_all()

    def _take(self, delivered: ev.Deliver) -> ParcelResults:
        """The results that were delivered; what is left of a segment stays for the next time."""
        number, first, end = delivered.parcel, delivered.first, delivered.first + delivered.tasks
        state = self._brain.parcels[number]
        segments = self._segments.pop((number, delivered.attempt), [])
        if first > state.first or not state.complete:
            left = [segment for segment in segments if segment[0] + segment[1] > end]
            segments = [part for part in segments if part[0] < end and part[0] + part[1] > first]
            if not state.complete:
                self._segments[number, delivered.attempt] = left
        return ParcelResults(
            first,
            delivered.tasks,
            state.packet_tasks,
            state.packet_number,
            bool(self._drawer.lists),
            segments,
            self._lost.pop(number, None) if state.complete else None,
        )

    def _pass_on(self) -> None:
        """Do what concerns the engine, in order: one thread at a time, without a lock held.

        A thread that finds another one at it leaves its wishes to that one.
        """
        with self._changed:
            if self._passing_on:
                return
            self._passing_on = True
        while True:
            with self._changed:
                if not self._to_engine:
                    self._passing_on = False
                    return
                call, arguments = self._to_engine.popleft()
            try:
                call(*arguments)
            except BaseException:
                with self._changed:
                    self._passing_on = False
                raise
