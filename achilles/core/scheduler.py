"""The server's brain: which node is given which job's work, and when.

What it knows: nodes (slots, Python version, what lies there), jobs (what is out, how long a task
takes) and parcels (where, which attempt, how much is still missing). What it must never know:
sockets, clocks, payloads.

Rules:

1. Work is asked for, never pushed. A node with room makes the scheduler send a `Demand` to the job
   that is due; the controller answers with one parcel cut for that node. So arguments are drawn
   only as fast as they are computed, and late joiners are served at once. Only what a new job would be
   asked for first may be promised with it, and is then not asked for (`Promised`).
2. A node has room while less work lies there than its window, and always for two parcels, so that
   no slot waits for the network between packets.
3. Jobs are due in the order of `Levels`: those of a higher priority first; of equal ones, each gets the
   same share of the nodes' time, which for a task of several slots counts as often. A job that
   has nothing on a node may add one parcel even to a full one; so a newcomer does not wait until an
   old job's window has drained. What has a lower priority than a job takes none of its room.
4. A demand that stays unanswered for `STALE_NS` (a slow generator, a reader that stands still) no
   longer keeps room reserved, and its job is passed over until it answers.
5. A parcel belongs to one attempt on one node. When the node is lost, the parcel is asked for
   again, ahead of new work; what belongs to older attempts is ignored. When `max_attempts` nodes
   were lost that had it, it is given up and the controller is told.
6. A draining node keeps what has reached it. What is still on its way to it goes to another. One all of whose
   slots have had single calls for a while is sent nothing, and asked for what it has not begun.
7. An idle node for which no job has new work takes parcels back from a node where they wait (a
   straggler, or one that was filled before the idle one came), unless they were begun there. A job's last
   one, which may hold all that was left as tasks were expected to be short, is then drawn again. When the
   job allows it, an idle node also gets a copy of a parcel that is late (`Stragglers`): two attempts then
   run, the first that is complete wins and the other is abandoned. If the node of one is lost, the other
   goes on.
8. A job's parcels go only to nodes that have what it needs: its Python, a name that it asks for, as many
   slots as a task takes. One that no node can run although there are nodes is refused, after
   `VERSION_PATIENCE_NS` in which one may come (back); at once if it asks for one by its number.
9. What peers claim is checked before it is counted: results lie within their parcel and do not
   overlap, parcels answer demands. What does not raises `ProtocolError`; the body drops the peer.
10. After every event, no job wants room that it could have. Decisions cost O(log jobs) for each priority;
   no event about a packet walks nodes or jobs. Only the arrival of a job looks at nodes, until it has asked
   for enough; or at all, when no other is of its kind (`Groups`).
"""

from __future__ import annotations

from ..errors import ProtocolError
from . import scheduler_events as ev
from .call_places import CallPlaces
from .groups import Groups
from .levels import Levels
from .open_demands import STALE_NS, OpenDemands
from .pythons import VERSION_PATIENCE_NS, PythonVersions
from .roomy_nodes import RoomyNodes
from .scheduler_parcels import ParcelState
from .scheduler_state import JobState, NodeState
from .stragglers import Stragglers
from .unrunnable import Unrunnable

__all__ = ["STALE_NS", "VERSION_PATIENCE_NS", "Scheduler"]


class Scheduler:
    """Decides for all jobs and nodes of one server.

    Args:
        max_attempts: On how many nodes a parcel is tried before it is given up.
    """

    def __init__(self, max_attempts: int = 3) -> None:
        self.max_attempts = max_attempts
        self.nodes: dict[int, NodeState] = {}
        self.jobs: dict[int, JobState] = {}
        self._due: Levels[int] = Levels()
        self._groups = Groups(self.nodes, self.jobs)
        self._roomy = RoomyNodes(self.nodes, self.jobs, self._due, self._groups)
        self._stragglers = Stragglers(self.nodes, self.jobs, self._due)
        self._look_at_ns = 0  # when a parcel may be late
        self._pythons = PythonVersions()
        self._unrunnable = Unrunnable(self.nodes, self.jobs, self._pythons)
        self._demands = OpenDemands(self.jobs)
        self._call_places = CallPlaces(self.nodes, self.jobs)
        self._spread = False  # whether a job or a node may have become free for the other
        self._now_ns = 0
        self._out: list[ev.Command] = []

    def handle(self, event: ev.Event) -> list[ev.Command]:
        """Take one fact in and return what is to be done about it, in order."""
        self._now_ns = event.now_ns
        self._out = []
        match event:
            case ev.ResultsArrived():
                self._results_arrived(event)
            case ev.ParcelArrived():
                self._parcel_arrived(event)
                if event.last:
                    self._input_ended(event.job)
            case ev.TimePassed():
                for job in self._unrunnable.overdue(event.now_ns):
                    self._refuse(job)
            case ev.ParcelReturned():
                self._parcel_returned(event)
            case ev.InputEnded():
                self._input_ended(event.job)
            case ev.JobSubmitted():
                self._job_submitted(event)
            case ev.JobCancelled() if event.job in self.jobs:
                self._drop(self.jobs[event.job])
            case ev.ItemCancelled() if event.job in self.jobs:
                self._out += self.jobs[event.job].cancelled_at(event)
            case ev.PlaceWanted():
                self._out += self._call_places.place(event)
            case ev.NodeJoined():
                self._node_joined(event)
            case ev.NodeDraining():
                self._node_draining(event.node)
            case ev.NodeLost():
                self._node_lost(event.node)
            case ev.SlotsLent() if event.node in self.nodes:
                self._slots_lent(self.nodes[event.node], event.slots)
        if self._demands.look_at_ns <= event.now_ns:
            self._release_stale()
        if self._spread:
            self._spread = False
            self._feed_roomy()
        self._copy_late()
        return self._out

    def _node_joined(self, event: ev.NodeJoined) -> None:
        node = self.nodes[event.node] = NodeState(event.node, event.cpu_count, event.python, event.alone)
        node.names, node.shares_slots, node.takes_calls = event.names, event.shares_slots, event.takes_calls
        first = self._pythons.joined(event.python, event.cpu_count, event.now_ns)
        if self._groups.node_joined(node) or first:
            self._watch_unrunnable()
        self._feed(node)

    def _node_draining(self, number: int) -> None:
        if (node := self.nodes.get(number)) is not None:
            node.draining = True
            self._note_room(node)

    def _slots_lent(self, node: NodeState, slots: int) -> None:
        node.lend(slots)
        self._feed(node)
        self._out += self._stragglers.slots_lent(node)

    def _node_lost(self, number: int) -> None:
        node = self.nodes.pop(number, None)
        if node is None:
            return
        self._roomy.lost(node)
        last = self._groups.node_lost(node)
        self._stragglers.node_lost(number)
        for job_number in node.jobs:
            self.jobs[job_number].nodes.discard(number)
        for job in self.jobs.values():
            if job.open_demands.pop(number, None) is not None:
                # Its answer will find no node; ask again rather than wait for it.
                self._due.charge(job.job, -node.unreserve(job))
                job.stalled = job.stalled and bool(job.open_demands)
                self._reconsider(job)
        for (job_number, _), parcel in list(node.parcels.items()):
            job = self.jobs[job_number]
            node.take_off(job, parcel)
            self._retry(job, parcel)
        if self._pythons.left(node.python, node.cpu_count, self._now_ns) or last:
            self._watch_unrunnable()

    def _job_submitted(self, event: ev.JobSubmitted) -> None:
        job = self.jobs[event.job] = JobState.submitted(event)
        for group in self._groups.job_came(job):
            self._roomy.group_came(group)
        self._stragglers.job_came(job)
        narrow = job.group if job.group is not None and job.group.is_narrow else None
        self._due.add(event.job, event.weight, job.priority, narrow)
        if not self._unrunnable.may_run(job):
            if not self._unrunnable.may_wait(job, event.now_ns):
                self._refuse(job)
                return
            self._watch_unrunnable()
        self._reconsider(job)
        self._feed_roomy()
        for node in self.nodes.values():
            if not job.wants_node():
                break
            if self._roomy.has_room_for(node, job):
                self._feed(node)

    def _watch_unrunnable(self) -> None:
        """Rule 8: see which jobs no node can run, now that this has changed."""
        for job in self._unrunnable.hopeless():
            self._refuse(job)
        wake_ns = self._unrunnable.watch(self._now_ns)
        if wake_ns is not None:
            self._out.append(ev.WakeAt(wake_ns))

    def _refuse(self, job: JobState) -> None:
        """Fail a job that no node can run."""
        self._out.append(ev.FailJob(job.controller, job.job, *self._unrunnable.reason(job)))
        self._drop(job)

    def _input_ended(self, number: int) -> None:
        job = self.jobs.get(number)
        if job is None:
            return
        job.input_ended = True
        self._spread = True
        for node_number in list(job.open_demands):
            self._close_demand(job, node_number)
        self._reconsider(job)
        self._finish_if_done(job)

    def _finish_if_done(self, job: JobState) -> None:
        if job.input_ended and not job.parcels:
            self._out.append(ev.FinishJob(job.controller, job.job))
            self._drop(job)

    def _drop(self, job: JobState) -> None:
        """Remove every trace of a job."""
        self._due.remove(job.job)
        self._unrunnable.forget(job.job)
        self._stragglers.job_gone(job.job)
        self._spread = True
        for node_number in list(job.open_demands):
            self._close_demand(job, node_number)
        for parcel in job.attempts():
            node = self.nodes.get(parcel.node)
            if node is not None and (job.job, parcel.parcel) in node.parcels:
                node.take_off(job, parcel)
                self._note_room(node)
        for node_number in job.nodes:
            self.nodes[node_number].jobs.discard(job.job)
            self._out.append(ev.ForgetJob(node_number, job.job))
        self._groups.job_gone(job)
        del self.jobs[job.job]

    def _parcel_arrived(self, event: ev.ParcelArrived) -> None:
        job = self.jobs.get(event.job)
        if job is None:
            return
        job.input_ended = job.input_ended or event.last
        node = self.nodes.get(event.node)
        parcel = job.find(event.parcel, event.attempt)
        if parcel is None:
            if event.attempt > 1:
                return  # given up in the meantime
            # What was promised for a node that was not to have it yet waits for its turn like what was lost.
            early = event.node not in job.open_demands and job.promised.take(event.node)
            answers = not early and job.answered(event.parcel)
            parcel = ParcelState(event.parcel, event.node, 1, event.tasks, event.size_bytes, event.first)
            job.parcels[event.parcel] = parcel
            job.weigh(event.parcel, event.tasks, event.size_bytes)
            job.stalled = False
            narrow = job.group is not None and node is not None and not node.may_run(job)
            if not answers or node is None or node.takes_nothing or narrow:
                if answers:
                    self._close_demand(job, event.node)
                self._retry(job, parcel)
                return
            job.open_demands.pop(event.node, None)
            reserved_ns = node.unreserve(job)  # the place that was kept for it
            node.put(job, parcel)
            self._due.charge(job.job, parcel.work_ns - reserved_ns)
        elif node is None or (job.job, event.parcel) not in node.parcels or parcel.sent:
            # It went elsewhere, or came twice; either way this answers what the node was waiting for.
            self._close_demand(job, event.node)
            job.stalled = False
            self._spread = True
            self._reconsider(job)
            return
        elif node.takes_nothing:
            node.take_off(job, parcel)
            self._retry(job, parcel)
            return
        parcel.send(event.first, event.tasks, self._now_ns)
        if job.job not in node.jobs:
            node.jobs.add(job.job)
            job.nodes.add(node.node)
            self._out.append(ev.IntroduceJob(node.node, job.job))
        self._out += job.cancelled_before(parcel)
        self._out.append(ev.SendParcel(node.node, job.job, parcel.parcel, parcel.attempt))
        self._reconsider(job)
        self._feed(node)

    def _results_arrived(self, event: ev.ResultsArrived) -> None:
        job, node = self.jobs.get(event.job), self.nodes.get(event.node)
        if job is None or node is None:
            return
        parcel = job.find(event.parcel, event.attempt)
        if parcel is None or parcel.node != event.node or parcel.attempt != event.attempt:
            return
        tasks, busy_us, failed = parcel.done(event.segments)
        busy_ns = min(busy_us * 1000.0, node.most_busy_ns(parcel, self._now_ns) / job.slots)
        if tasks and job.measure(tasks, busy_ns, len(event.segments)):
            self._due.charge(job.job, job.reweigh(self.nodes))
            for number in {parcel.node for parcel in job.attempts()} & self.nodes.keys():
                self._note_room(self.nodes[number])
            self._spread = True
        job.count(parcel, tasks, failed)
        # The job was charged what it was expected to take.
        self._due.charge(job.job, busy_ns * job.slots - node.progressed(parcel, tasks))
        self._out.append(ev.ForwardResults(job.controller, job.job, event.parcel, event.attempt))
        if parcel.missing_tasks <= 0:
            node.take_off(job, parcel)
            node.next_begins(self._now_ns)
            if parcel.twin is not None:
                self._abandon(job, parcel)
            del job.parcels[event.parcel]
            self._reconsider(job)
            self._finish_if_done(job)
        self._feed(node)

    def _abandon(self, job: JobState, winner: ParcelState) -> None:
        """Let go of the other attempt of a parcel that is complete."""
        loser = winner.part()
        assert loser is not None
        job.won(winner, loser)
        node = self.nodes[loser.node]
        node.take_off(job, loser)
        self._due.charge(job.job, -loser.work_ns)
        if loser.sent:
            self._out.append(ev.Abandon(node.node, job.job, loser.parcel, loser.attempt))
        self._feed(node)

    def _retry(self, job: JobState, parcel: ParcelState) -> None:
        """Put a parcel whose node is gone at the head of its job's work, or give it up."""
        self._due.charge(job.job, -parcel.work_ns)
        parcel.work_ns = 0.0
        parcel.losses += parcel.sent
        twin = parcel.part()
        if twin is not None:
            job.won(twin, parcel)
            twin.losses = parcel.losses
            job.parcels[parcel.parcel] = twin
            self._reconsider(job)
            return
        job.begin_again(parcel)
        if parcel.losses >= self.max_attempts:
            reason = f"the node that ran it was lost, {parcel.losses} times in a row"
            self._out.append(ev.FailParcel(job.controller, job.job, parcel.parcel, reason))
            del job.parcels[parcel.parcel]
            self._reconsider(job)
            self._finish_if_done(job)
            return
        if job.can_redraw(parcel):
            job.redraw(parcel)
            self._out.append(ev.Resend(job.controller, job.job, parcel.parcel, 1, parcel.node, redraw=True))
        else:
            parcel.attempt = parcel.next_attempt()
            job.lost.append(parcel.parcel)
        self._reconsider(job)
        self._spread = True  # even a node that owes the job an answer may take it

    def _reconsider(self, job: JobState) -> None:
        if job.wants_node():
            if job.job not in self._due:
                self._due.activate(job.job)
                self._spread = True
        else:
            self._due.deactivate(job.job)

    def _feed(self, node: NodeState) -> None:
        """Ask for work until the node has no room, or no job wants it."""
        while not node.draining and (job := self._roomy.due_on(node)) is not None:
            self._ask(node, job)
        self._note_room(node)
        if node.is_idle:
            self._out += self._stragglers.take_back_for(node)

    def _copy_late(self) -> None:
        """Rule 7: have idle nodes run what is late elsewhere as well."""
        while True:
            found = self._stragglers.late(self._now_ns)
            if not isinstance(found, tuple):
                break
            node, job, parcel = found
            copy = parcel.copy_for(node.node)
            node.put(job, copy)
            self._due.charge(job.job, copy.work_ns)
            attempt = (copy.parcel, copy.attempt, node.node, parcel.attempt)
            self._out.append(ev.Resend(job.controller, job.job, *attempt))
            self._note_room(node)
            self._reconsider(job)
        if found is not None and not self._now_ns < self._look_at_ns <= found:
            self._look_at_ns = found
            self._out.append(ev.WakeAt(found))

    def _parcel_returned(self, event: ev.ParcelReturned) -> None:
        job, node = self.jobs.get(event.job), self.nodes.get(event.node)
        parcel = None if job is None else job.find(event.parcel, event.attempt)
        if job is None or node is None or parcel is None:
            return
        if parcel.node != event.node or parcel.attempt != event.attempt or not parcel.sent:
            return
        if event.given:
            if parcel.asked_back_for is None and not node.draining:
                raise ProtocolError(f"parcel {event.parcel} was given back, and nobody asked for it")
            node.take_off(job, parcel)
            parcel.sent = False  # it comes back whole, so no node was lost with it
            self._retry(job, parcel)
            self._note_room(node)
        elif parcel.asked_back_for is not None:
            parcel.begun = True
            idle = self.nodes.get(parcel.asked_back_for)
            if idle is not None and idle.is_idle:
                self._out += self._stragglers.take_back_for(idle)

    def _feed_roomy(self) -> None:
        """Serve nodes that had room while no job wanted it."""
        while (node := self._roomy.first_wanted()) is not None:
            self._feed(node)

    def _note_room(self, node: NodeState) -> None:
        self._roomy.note(node)
        self._stragglers.note(node)

    def _ask(self, node: NodeState, job: JobState) -> None:
        """Ask the job for a lost parcel, or else for a new one."""
        if job.lost:
            parcel = job.parcels[job.lost.popleft()]
            node.put(job, parcel)
            self._due.serve(job.job, parcel.work_ns)
            self._out.append(ev.Resend(job.controller, job.job, parcel.parcel, parcel.attempt, node.node))
        else:
            cpu_count = node.cpu_count if job.slots == 1 else node.task_slots(job.slots)
            packets = node.packets_for(job, cpu_count, len(self._due), self._pythons.task_slots(job))
            work_ns = job.work_of(packets * cpu_count * job.chunksize)
            self._demands.made(job, node.node, self._now_ns)
            node.reserve(job, work_ns)
            self._due.serve(job.job, work_ns)
            if not job.promised.take(node.node):
                self._out.append(ev.Demand(job.controller, job.job, node.node, cpu_count, packets))
        self._reconsider(job)

    def _close_demand(self, job: JobState, node_number: int) -> None:
        """End a demand, and give back the room that it may still keep."""
        job.open_demands.pop(node_number, None)
        if (node := self.nodes.get(node_number)) is not None:
            self._unreserve(node, job)

    def _unreserve(self, node: NodeState, job: JobState) -> None:
        self._due.charge(job.job, -node.unreserve(job))
        self._note_room(node)

    def _release_stale(self) -> None:
        """Rule 4: give back the room of demands that were not answered in time."""
        for job, node_number in self._demands.stale(self._now_ns):
            self._unreserve(self.nodes[node_number], job)
            job.stalled = True
            self._reconsider(job)
            self._spread = True
        if self._demands:
            self._out.append(ev.WakeAt(self._demands.look_at_ns))
