"""How far one user call is: what was drawn, what the engine reported, what can be read.

The half of a `Job` that the engine talks to, from its own thread. Nothing of the user's runs here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ..core import submission_events as ev
from ..core.submission import Submission
from ..core.tally import Tally
from ..errors import ProtocolError
from . import task_times
from .cancelled_items import CancelledItems
from .changes import Changes
from .drawing import Draw, Drawer, Source
from .engine import Engine
from .errands import Errands
from .interrupts import opened
from .iterables import iterate
from .outcomes import ParcelResults, Segment
from .printing import Printing
from .spec import JobSpec
from .startup import WaitForNodes

if TYPE_CHECKING:
    pass

__all__ = ["Progress"]


class Progress:
    """One call's state, under one lock.

    Args:
        spec: What the caller asked for, already checked.
        engine: Where it runs.
        source: Where arguments come from, if not from ``spec.args``.

    Raises:
        SerializationError: The function cannot travel.
        TypeError: The arguments are not iterable.
    """

    def __init__(self, spec: JobSpec, engine: Engine, source: Source | None = None) -> None:
        self.spec = spec
        self.number = 0  # the engine's name for it
        with opened():
            self.function = spec.function()
            if source is None:
                whole_packets = spec.flat and spec.chunksize is not None
                arguments = iterate(spec.args)
                source = Drawer(
                    arguments, keep_views=spec.keep_views, flat=spec.flat, whole_packets=whole_packets
                )
        self._engine = engine
        self._changed = Changes()
        self._brain = Submission(
            spec.chunksize,
            ordered=spec.ordered,
            budget_bytes=spec.budget_bytes,
            flat=spec.flat,
            most_ahead=spec.most_ahead,
            prompt=spec.prompt,
            patient=spec.patient,
            expected_ns=task_times.of_program.expected_ns(spec.func),
            alone=engine.alone,
        )
        self._drawer = source
        self._draws: dict[int, Draw] = {}
        self._segments: dict[tuple[int, int], list[Segment]] = {}  # by parcel and attempt
        self._lost: dict[int, BaseException] = {}
        self._refused: dict[int, Exception] = {}  # by index: why arguments were not sent
        self._ready: deque[tuple[int, ParcelResults]] = deque()
        self._errands = Errands(self._changed)
        self._drawing = False
        self._drawn_again = False  # what is left is drawn by a thread that is there for that
        self._input_error: BaseException | None = None
        self._failure: BaseException | None = None
        self._cancelled = False
        self._cancelled_items = CancelledItems(self._brain)
        self._printing = Printing()
        self._showing = threading.Lock()  # held while lines are printed, so that they stay in order
        self._nodes = WaitForNodes(spec.startup_timeout_s, engine.no_nodes_reason)
        self._pumps = True  # whether the caller's thread looks for what comes itself
        self._in_vain = False  # whether it just did, and nothing came
        self._began_ns = self._ended_ns = 0
        self._feed_ns = self._draw_ns = 0

    @property
    def name(self) -> str:
        """What the function is called."""
        return str(getattr(self.spec.func, "__qualname__", type(self.spec.func).__name__))

    @property
    def reduces(self) -> bool:
        """Whether each packet becomes one value."""
        return self.spec.reducer is not None

    @property
    def tasks_left(self) -> int:
        """How many tasks are left to draw, if they can be drawn at once; else 0."""
        return (self._drawer.left() or 0) if self._drawer.tasks else 0

    @property
    def expected_ns(self) -> float | None:
        """How long a task is expected to take, where the arguments can be drawn at once."""
        return self._brain.expected_ns

    @property
    def is_one_slice(self) -> bool:
        """Whether all arguments are one worker's share of one packet, on whatever node."""
        return not self._drawer.lists and 0 < (self._drawer.left() or 0) <= self.spec.slice_tasks

    @property
    def tally(self) -> Tally:
        """What it has cost so far."""
        return self._brain.tally

    @property
    def times_s(self) -> tuple[float, float, float]:
        """Seconds since it began, or until it was done; of these drawing arguments, and serializing them."""
        now_ns = self._ended_ns or time.monotonic_ns()
        serializing_ns = max(self._feed_ns - self._draw_ns, 0)
        return (now_ns - self._began_ns) / 1e9, self._draw_ns / 1e9, serializing_ns / 1e9

    @property
    def tasks_drawn(self) -> int:
        """How many arguments were drawn."""
        return self._brain.tasks_drawn

    # What the engine reports.

    def granted(self, node: int, cpu_count: int, packets: int) -> None:
        """A parcel is wanted."""
        self._tell(ev.Granted(node, cpu_count, packets))

    def resend(self, parcel: int, attempt: int, node: int, beside: int = 0, redraw: bool = False) -> None:
        """A parcel is wanted again, perhaps beside an attempt that goes on; or what it holds, in others."""
        self._tell(ev.ResendAsked(parcel, attempt, node, beside, redraw))

    def results(self, parcel: int, attempt: int, segments: list[Segment]) -> None:
        """Some ranges of a parcel are done."""
        with self._changed.lock:
            state = self._brain.parcels.get(parcel)
            if state is None or state.complete or attempt not in state.attempts:
                return
            size_bytes = sum(len(segment[4]) for segment in segments)
            facts = [segment[:4] for segment in segments]
            commands = self._brain.handle(ev.ResultsArrived(parcel, attempt, facts, size_bytes))
            self._segments.setdefault((parcel, attempt), []).extend(segments)
            self._do(commands)
        self._errands.run()

    def parcel_failed(self, parcel: int, reason: str) -> None:
        """A parcel was given up."""
        from ..worker_died_error import WorkerDiedError

        with self._changed.lock:
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
        self._errands.run()

    def failed(self, error: BaseException) -> None:
        """The job cannot go on."""
        with self._changed.lock:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()

    def finished(self) -> None:
        """The scheduler says that nothing more will come."""
        with self._changed.lock:
            if self._brain.completed or self._over():
                return
        self.failed(ProtocolError("the server says that the job is done, but results are missing"))

    def connection_lost(self) -> None:
        """The engine has lost its scheduler; what was sent there is lost with it."""
        with self._changed.lock:
            self._errands.clear()
            self._do(self._brain.handle(ev.SchedulerLost()))
            self._changed.notify_all()

    def connected(self) -> None:
        """The engine has submitted the job again."""
        self._tell(ev.SchedulerFound())

    @property
    def over(self) -> bool:
        """Whether nothing more is wanted from the engine."""
        return self._over() or self._brain.completed

    def counts(self) -> dict[str, int]:
        """How far it is, as far as it is known here; waits for no lock."""
        brain = self._brain
        return {"drawn": brain.tasks_drawn, "done": brain.tasks_done, "read": brain.tasks_read}

    def nodes_changed(self, nodes: int) -> None:
        """So many nodes are there now."""
        with self._changed.lock:
            self._nodes.changed(nodes)
            self._changed.notify_all()

    def output(self, stream: int, lines: bytes) -> None:
        """Tasks printed whole lines."""
        with self._changed.lock:
            if self.spec.output and not self._cancelled:
                self._printing.add(stream, lines)
                self._changed.notify_all()

    def _over(self) -> bool:
        return self._cancelled or self._failure is not None

    def _tell(self, event: ev.Event) -> None:
        with self._changed.lock:
            self._do(self._brain.handle(event))
            self._changed.notify_all()
        self._errands.run()

    def _draw_again(self, first: int) -> None:
        """See to it that the arguments from this one on are drawn anew."""
        raise NotImplementedError

    def _do(self, commands: list[ev.Command]) -> None:
        """Obey the brain; what concerns the engine waits until the lock is free."""
        engine = self._engine
        for command in commands:
            match command:
                case ev.SendParcel():
                    draw = self._draws.get(command.parcel)
                    if draw is not None:
                        cancelled = self._cancelled_items.of_parcel(command.parcel)
                        to = (command.parcel, command.attempt, command.node, draw, cancelled)
                        self._errands.add(engine.send_parcel, self, *to)
                case ev.Deliver():
                    self._ready.append((command.parcel, self._take(command)))
                    self._changed.notify_all()
                case ev.DropUnits():
                    self._draws.pop(command.parcel, None)
                    self._cancelled_items.done(command.parcel)
                case ev.Redraw():
                    self._drawn_again = True
                    del self._draws[command.parcel]
                    self._input_error = None  # it will come again
                    self._errands.add(self._draw_again, command.first)
                case ev.DropResults():
                    self._segments.pop((command.parcel, command.attempt), None)
                case ev.EndInput():
                    self._errands.add(engine.end_input, self)
                case ev.Complete():
                    self._ended_ns = time.monotonic_ns()
                    task_times.of_program.note(self.spec.func, self.tally)
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
        refused = None
        if self._refused:
            there = range(first, end)
            refused = {index: self._refused.pop(index) for index in list(self._refused) if index in there}
        return ParcelResults(
            first,
            delivered.tasks,
            state.packet_tasks,
            state.packet_number,
            bool(self._drawer.lists),
            segments,
            self._lost.pop(number, None) if state.complete else None,
            number,
            refused,
        )
