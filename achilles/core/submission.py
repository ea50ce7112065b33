"""The controller's brain: how far to draw, what to send, what to deliver.

It holds one job. What it knows: demands that wait to be answered, parcels that are out or not yet
read, and how long and large a task is. What it must never know: arguments, results, threads,
connections.

Rules:

1. Arguments are drawn only to answer a demand, and only while what is out and what is unread
   stay within bounds: ``budget_bytes`` of payload (with the results that are still to come, once
   their size is known), and as many unread tasks as the nodes have at hand. So a slow reader stops
   the producer, and an infinite iterable is fine.
2. Every packet is delivered exactly once: as soon as it and all before it in its parcel are complete,
   and, when the job is ordered, once the parcels before it have been. Only results of attempts that the
   scheduler counts on are taken in: the newest, and beside it the one that a copy was made of. What
   comes again of packets that were delivered is ignored.
3. A parcel's arguments are kept until its results are complete, so that it can be sent again.
4. The last parcel can be drawn again while nothing is done of it, if tasks were expected to be short, and the
   scheduler finds that they are not. What is drawn then has the same numbers.
5. When the scheduler is lost, every parcel that is out starts over: the demands of the scheduler that
   comes after are answered with these first, and only then with new ones.
6. What the scheduler says is checked before it is counted; what cannot be true raises
   `ProtocolError` and changes nothing.
"""

from __future__ import annotations

from collections import deque

from ..errors import ProtocolError
from .means import Mean
from .packets import chosen_packets, packet_length, unit_length
from .submission_events import (
    Command,
    Complete,
    Deliver,
    DropResults,
    DropUnits,
    EndInput,
    Event,
    Granted,
    InputEnded,
    InputStarted,
    ParcelDrawn,
    ParcelFailed,
    ParcelRead,
    Redraw,
    ResendAsked,
    ResultsArrived,
    SchedulerFound,
    SchedulerLost,
    SendParcel,
)
from .submission_state import DrawPlan, ParcelState
from .tally import Tally

__all__ = ["DrawPlan", "ParcelState", "Submission"]

# Unread tasks that are always allowed, however small the window of the nodes is.
LEAD_TASKS = 1024
# Parcels that the scheduler keeps at a node (its window), and how many windows may lie unread.
LEAD_PARCELS = 3
# How much more may be asked for than was done, while arguments come from somewhere unknown.
SLOW_START = 4
# Demands that may wait; a scheduler has few open at a time, but nodes that are gone leave theirs.
MAX_DEMANDS = 65_536
# Slots of one node; more would only make packets that no memory holds.
MAX_SLOTS = 4096


class Submission:
    """Decides for one job of one controller.

    Args:
        chunksize: Tasks in a slice. None: packets hold what proves good.
        ordered: Whether parcels are delivered in the order of their arguments.
        budget_bytes: Payload that may be out or unread before drawing pauses.
        flat: The caller sees single results: a slice is a packet, on whatever node.
        most_ahead: Tasks that may be drawn and not be read. None: what the nodes prove able to do.
        prompt: Each result is wanted as soon as it is there: until tasks proved short, none waits for others.
        patient: No result is seen before the last is there.
        expected_ns: How long a task takes, as far as that is known before one was run.
        alone: One node runs it all, and there will never be another.
    """

    def __init__(
        self,
        chunksize: int | None,
        *,
        ordered: bool,
        budget_bytes: int,
        flat: bool = False,
        most_ahead: int | None = None,
        prompt: bool = False,
        patient: bool = False,
        expected_ns: float | None = None,
        alone: bool = False,
    ) -> None:
        self.chunksize = 1 if chunksize is None else chunksize
        self._slice_tasks = chunksize or 0
        self._chooses = chunksize is None and not flat
        self._flat = flat
        self._most_ahead = most_ahead
        self._prompt = prompt
        self._patient = patient
        self._expected_ns = None if prompt else expected_ns
        self._alone = alone
        self.ordered = ordered
        self.budget_bytes = budget_bytes
        # Whether all may be drawn, however much of it is unread.
        self.unbounded = False
        self.lists: bool | None = None
        self.input_ended = False
        self.completed = False
        self.parcels: dict[int, ParcelState] = {}
        self.tasks_drawn = 0
        self.tasks_done = 0
        self.tasks_read = 0
        self.tally = Tally()
        self.packets_drawn = 0
        self._demands: deque[Granted] = deque()
        self._unsent: deque[int] = deque()  # parcels that no scheduler knows of
        self._has_scheduler = True
        self._end_told = False
        self._tasks: int | None = None  # in all, where that is known and drawing them costs nothing
        self._next_parcel = 0
        self._next_delivery = 0
        self._undelivered = 0
        self._bytes = 0
        self._unread_tasks = 0
        self._waiting_tasks = 0  # sent, and not back yet
        self._task = Mean()  # ns
        self._task_bytes: float | None = None
        self._result_bytes: float | None = None
        self._draw_ns: float | None = None
        self._node_tasks: dict[int, int] = {}
        self._window_tasks = 0
        self._out: list[Command] = []

    def handle(self, event: Event) -> list[Command]:
        """Take one fact in and return what is to be done about it, in order."""
        self._out = []
        match event:
            case ResultsArrived():
                self._results_arrived(event)
            case ParcelDrawn():
                self._parcel_drawn(event)
            case ParcelRead():
                self._parcel_read(event)
            case Granted():
                if not (0 < event.cpu_count <= MAX_SLOTS and event.packets > 0):
                    raise ProtocolError(f"{event.cpu_count} slots cannot be served")
                if len(self._demands) >= MAX_DEMANDS:
                    raise ProtocolError(f"more than {MAX_DEMANDS} demands wait for one job")
                self.tally.slots[event.node] = event.cpu_count
                if self._unsent or not self.input_ended:
                    self._demands.append(event)
                    self._send_unsent()
            case InputStarted():
                self.lists = event.lists
                self._tasks = event.tasks
                self._task_bytes = event.task_bytes
            case InputEnded():
                self._input_ended()
            case ResendAsked():
                if event.redraw:
                    self._redraw_asked(event.parcel)
                else:
                    self._resend_asked(event)
            case ParcelFailed():
                parcel = self.parcels.get(event.parcel)
                if parcel is not None and not parcel.complete:
                    self._completed(parcel, None)
            case SchedulerLost():
                self._scheduler_lost()
            case SchedulerFound():
                self._has_scheduler = True
                self._tell_end()
        return self._out

    def plan(self) -> DrawPlan | None:
        """What to draw now, or None while there is no demand or no room. Changes nothing."""
        if not self._demands or self.input_ended:
            return None
        result_bytes = self._result_bytes or 0.0
        free_bytes = self.budget_bytes - self._bytes - self._waiting_tasks * result_bytes
        if self.unbounded:
            free_bytes = max(free_bytes, self.budget_bytes)
        elif free_bytes <= 0 and self.parcels:
            return None
        if self._unread_tasks >= self._lead_tasks() and not self.unbounded:
            return None
        demand = self._demands[0]
        task_ns = self.expected_ns if self._task.value is None else self._task.value
        if self._flat:
            packet_tasks, packets = self.chunksize, demand.packets * demand.cpu_count
        else:
            packet_tasks, packets = packet_length(demand.cpu_count, self.chunksize), demand.packets
        packet_bytes = packet_tasks * ((self._task_bytes or 0.0) + result_bytes)
        if self._tasks is None:
            # Slow start: the work at hand may be as much as the nodes have shown they can do.
            most_tasks = SLOW_START * (self.tasks_done + packet_tasks)
        else:
            most_tasks = max(self._tasks - self.tasks_drawn, packet_tasks)
        if self._most_ahead is not None:
            room_tasks = self._most_ahead - (self.tasks_drawn - self.tasks_read)
            if room_tasks < packet_tasks and self.tasks_drawn > self.tasks_read:
                return None
            most_tasks = min(most_tasks, max(room_tasks - room_tasks % packet_tasks, packet_tasks))
        packets = min(packets, -(-most_tasks // packet_tasks))
        if packets * packet_bytes > free_bytes:
            packets = max(int(free_bytes / packet_bytes), 1)
        available_tasks = min(packets * packet_tasks, most_tasks)
        if self._chooses:
            packets, packet_tasks = chosen_packets(
                cpu_count=demand.cpu_count,
                available_tasks=available_tasks,
                task_ns=task_ns,
                task_bytes=(self._task_bytes or 0.0) + result_bytes,
                sized=self._tasks is not None,
                is_rest=self._tasks is not None and available_tasks == most_tasks,
                is_measured=self._task.value is not None,
            )
        unit_tasks = unit_length(
            packet_tasks=packet_tasks,
            chunksize=self.chunksize,
            cpu_count=demand.cpu_count,
            available_tasks=available_tasks,
            task_ns=task_ns,
            task_bytes=self._task_bytes,
            draw_ns=self._draw_ns,
            sized=self._tasks is not None and not self._prompt,
            tasks_left=(self._tasks or 0) - self.tasks_drawn,
            prompt=self._prompt,
            patient=self._patient,
            each_slot=not self._alone and demand.node not in self._node_tasks,
        )
        return DrawPlan(
            demand.node,
            demand.cpu_count,
            packets,
            packet_tasks,
            unit_tasks,
            task_ns,
            self._slice_tasks,
        )

    @property
    def expected_ns(self) -> float | None:
        """How long a task is expected to take, where all arguments can be drawn at once."""
        return None if self._tasks is None else self._expected_ns

    def _lead_tasks(self) -> int:
        """How many tasks may lie unread."""
        return max(LEAD_TASKS, LEAD_PARCELS * self._window_tasks)

    def next_parcel(self) -> tuple[int, int]:
        """Number of the next parcel, and index of its first task."""
        return self._next_parcel, self.tasks_drawn

    def _parcel_drawn(self, event: ParcelDrawn) -> None:
        wanted = bool(self._demands) and self._demands[0].node == event.node
        if wanted:
            self._demands.popleft()
        parcel = ParcelState(
            self._next_parcel,
            self.tasks_drawn,
            event.tasks,
            event.packet_tasks,
            self.packets_drawn,
            event.size_bytes,
            whole=bool(self.lists),
        )
        self.parcels[parcel.parcel] = parcel
        self._next_parcel += 1
        self._undelivered += 1
        self.tasks_drawn += event.tasks
        self.packets_drawn += event.packets
        self._bytes += event.size_bytes
        self.tally.sent_bytes += event.size_bytes
        self._waiting_tasks += event.tasks
        if event.tasks:
            self._task_bytes = _smooth(self._task_bytes, event.size_bytes / event.tasks)
            self._draw_ns = _smooth(self._draw_ns, event.draw_ns / event.tasks)
        self._window_tasks += event.tasks - self._node_tasks.get(event.node, 0)
        self._node_tasks[event.node] = event.tasks
        if wanted:
            self._out.append(SendParcel(parcel.parcel, event.node, 1))
        else:
            # The scheduler was lost while this was drawn.
            self._unsent.append(parcel.parcel)
            self._send_unsent()

    def _input_ended(self) -> None:
        if not self.input_ended:
            self.input_ended = True
            self._demands.clear()
            self._tell_end()
            self._complete_if_done()

    def _tell_end(self) -> None:
        if self.input_ended and self._has_scheduler and not self._unsent and not self._end_told:
            self._end_told = True
            self._out.append(EndInput())

    def _scheduler_lost(self) -> None:
        self._has_scheduler = self._end_told = False
        self._demands.clear()
        self._unsent.clear()
        for parcel in self.parcels.values():
            if not parcel.complete:
                self._start_over(parcel, 1)
                self._unsent.append(parcel.parcel)

    def _send_unsent(self) -> None:
        while self._unsent and self._demands:
            parcel = self._unsent.popleft()
            self._out.append(SendParcel(parcel, self._demands.popleft().node, 1))
        self._tell_end()

    def _resend_asked(self, event: ResendAsked) -> None:
        if event.parcel >= self._next_parcel:
            raise ProtocolError(f"parcel {event.parcel} is asked for again and was never sent")
        parcel = self.parcels.get(event.parcel)
        if parcel is None or parcel.complete:
            return
        if event.attempt <= parcel.attempt:
            raise ProtocolError(f"parcel {event.parcel} is asked for as attempt {event.attempt} again")
        if parcel.parcel in self._unsent:
            self._unsent.remove(parcel.parcel)
        self._start_over(parcel, event.attempt, beside=event.beside)
        self._out.append(SendParcel(parcel.parcel, event.node, event.attempt))
        self._tell_end()

    def _redraw_asked(self, number: int) -> None:
        """The last parcel held what others could run as well, and nobody has begun it."""
        parcel = self.parcels.get(number)
        is_last = number == self._next_parcel - 1 and self.input_ended
        if parcel is None or parcel.done_tasks or not is_last or self.expected_ns is None:
            raise ProtocolError(f"parcel {number} cannot be drawn again")
        self._drop_attempts(parcel, keep=None)
        del self.parcels[number]
        self._next_parcel = number
        self._undelivered -= 1
        self.tasks_drawn -= parcel.tasks
        self.packets_drawn = parcel.packet_number
        self._bytes -= parcel.size_bytes
        self.input_ended = self._end_told = False
        self._expected_ns = None
        self._out.append(Redraw(number, parcel.first))

    def _start_over(self, parcel: ParcelState, attempt: int, *, beside: int = 0) -> None:
        """Begin another attempt; of the older ones, only ``beside`` still counts."""
        self._drop_attempts(parcel, keep=beside)
        parcel.begin(attempt)
        self._waiting_tasks += parcel.tasks

    def _drop_attempts(self, parcel: ParcelState, keep: int | None) -> None:
        for number in [number for number in parcel.attempts if number != keep]:
            dropped = parcel.attempts.pop(number)
            if dropped.missing_tasks < parcel.tasks:
                self._out.append(DropResults(parcel.parcel, number))
            self._bytes -= dropped.result_bytes
            self.tasks_done -= parcel.tasks - dropped.missing_tasks
            self._waiting_tasks -= dropped.missing_tasks
        self._recount(parcel)

    def _results_arrived(self, event: ResultsArrived) -> None:
        parcel = self.parcels.get(event.parcel)
        attempt = None if parcel is None or parcel.complete else parcel.attempts.get(event.attempt)
        if parcel is None or attempt is None:
            return
        wrong = attempt.ranges.add([segment[:2] for segment in event.segments])
        if wrong is not None:
            raise ProtocolError(f"the results of parcel {event.parcel} hold {wrong}")
        tasks = busy_us = 0
        longest_us = 0.0
        for _, length, _, segment_busy_us in event.segments:
            tasks += length
            busy_us += segment_busy_us
            if segment_busy_us > longest_us * length:
                longest_us = segment_busy_us / max(length, 1)
        self.tally.add(tasks, len(event.segments), busy_us, longest_us, event.size_bytes)
        if tasks:
            self._task.add(busy_us * 1000.0, tasks)
            self._result_bytes = _smooth(self._result_bytes, event.size_bytes / tasks)
        attempt.missing_tasks -= tasks
        attempt.result_bytes += event.size_bytes
        self._bytes += event.size_bytes
        self._waiting_tasks -= tasks
        self.tasks_done += tasks
        self._recount(parcel)
        if not attempt.missing_tasks:
            self._completed(parcel, event.attempt)
        elif not self.ordered or parcel.parcel == self._next_delivery:
            self._deliver_begun(parcel)

    def _completed(self, parcel: ParcelState, winner: int | None) -> None:
        parcel.complete = True
        self._drop_attempts(parcel, keep=winner)
        self._bytes -= parcel.size_bytes
        self._out.append(DropUnits(parcel.parcel))
        if not self.ordered:
            self._deliver(parcel, parcel.tasks)
        else:
            while (due := self.parcels.get(self._next_delivery)) is not None:
                if not due.complete:
                    self._deliver_begun(due)
                    break
                self._next_delivery += 1
                self._deliver(due, due.tasks)
        self._complete_if_done()

    def _deliver_begun(self, parcel: ParcelState) -> None:
        """Deliver the packets that are complete at the start of a parcel that is not."""
        if not parcel.whole:
            done = parcel.attempts[parcel.leader].ranges.begun
            done -= done % parcel.packet_tasks
            if done > parcel.delivered:
                self._deliver(parcel, done)

    def _deliver(self, parcel: ParcelState, end: int) -> None:
        self._undelivered -= parcel.complete
        start, parcel.delivered = parcel.delivered, end
        self._out.append(Deliver(parcel.parcel, parcel.first + start, end - start, parcel.leader))

    def _complete_if_done(self) -> None:
        if self.input_ended and not self._undelivered and not self.completed:
            self.completed = True
            self._out.append(Complete())

    def _parcel_read(self, event: ParcelRead) -> None:
        parcel = self.parcels[event.parcel]
        tasks = parcel.delivered - parcel.read if event.tasks is None else event.tasks
        parcel.read += tasks
        self.tasks_read += tasks
        self._recount(parcel)
        if parcel.complete and parcel.read == parcel.tasks:
            del self.parcels[event.parcel]
            self._bytes -= sum(attempt.result_bytes for attempt in parcel.attempts.values())

    def _recount(self, parcel: ParcelState) -> None:
        """Count anew what is unread of a parcel."""
        unread = max(parcel.done_tasks, parcel.delivered) - parcel.read
        self._unread_tasks += unread - parcel.unread
        parcel.unread = unread


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else 0.7 * old + 0.3 * new
