"""A job as it travels to a server, and what comes back of it as its caller sees it."""

from __future__ import annotations

from ..core.packets import MAX_PACKET_TASKS
from ..errors import ClusterError, NoNodesError, VersionMismatch
from ..lineReceiver import messages as wire
from ..lineReceiver.handshake import printable
from ..lineReceiver.shared_payloads import segments_of
from ..lineReceiver.wire import Buffer, gather
from ..serialization import content_hash, join, python_required
from .drawing import Draw
from .job import Job
from .spec import JobSpec

__all__ = ["failure_from", "parcel_of", "report", "submission_of", "too_old_for"]


def submission_of(job: Job, session: str, *, whole: bool, promised: tuple[int, ...] = ()) -> wire.Submit:
    """What announces a job; its payload is the job's function.

    Args:
        job: What to announce.
        session: Names this process.
        whole: Whether its only parcel follows unasked.
        promised: For which nodes parcels do, each as often as there are such parcels.
    """
    function, spec = job.function, job.spec
    return wire.Submit(
        job.number,
        content_hash(function.segments),
        session,
        min(spec.slice_tasks, MAX_PACKET_TASKS),
        job.reduces,
        python_required(join(function)) if function.by_value else None,
        printable(getattr(spec.func, "__qualname__", type(spec.func).__name__))[:200],
        not spec.output,
        spec.limit_ms,
        spec.speculate,
        whole,
        job.tasks_left,
        spec.priority,
        spec.nodes,
        spec.slots,
        promised,
        spec.patient,
        round(job.expected_ns or 0) if promised else 0,
    )


def too_old_for(spec: JobSpec, welcome: wire.Welcome, endpoint: str) -> ClusterError | None:
    """Why a server cannot do what a job needs; it would ignore what it does not know."""
    if welcome.job_options >= wire.NEEDS_OPTION or not (spec.nodes or spec.slots > 1):
        return None
    return VersionMismatch(
        f"the achilles_server at {endpoint} (version {printable(welcome.version)[:50] or 'unknown'}) does "
        f"not know the options nodes and slots: update it, or leave them out"
    )


def failure_from(failed: wire.Failed) -> ClusterError:
    """What a caller is told when a server says that the job cannot run."""
    reason = f"the job cannot run on this cluster: {printable(failed.message)}"
    kinds: dict[str, type[ClusterError]] = {"version": VersionMismatch, "nodes": NoNodesError}
    return kinds.get(failed.code, ClusterError)(reason)


def parcel_of(job: Job, parcel: int, attempt: int, node: int, draw: Draw) -> wire.Parcel:
    """The header of a parcel."""
    units = [
        (tasks, sum(memoryview(segment).nbytes for segment in unit))
        for tasks, unit in zip(draw.unit_tasks, draw.units, strict=True)
    ]
    return wire.Parcel(job.number, parcel, attempt, node, draw.first, draw.tasks, draw.packet_tasks, units)


def report(job: Job, message: wire.Message, chunks: list[Buffer]) -> None:
    """Tell a job what a server says of it."""
    match message:
        case wire.Results():
            job.results(message.parcel, message.attempt, segments_of(message, chunks))
        case wire.Demand():
            job.granted(message.node, message.cpu_count, message.packets)
        case wire.Resend():
            job.resend(message.parcel, message.attempt, message.node, message.beside, message.redraw)
        case wire.Failed():
            if message.parcel is not None:
                job.parcel_failed(message.parcel, printable(message.message))
            else:
                job.failed(failure_from(message))
        case wire.Output():
            job.output(message.stream, bytes(gather(chunks)))
        case wire.Finished():
            job.finished()
