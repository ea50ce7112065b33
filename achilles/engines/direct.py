"""A single call whose caller waits for it: on a worker that is lent, past the job's queues.

See `achilles.workers.loan`. The job is there for its function, and for all that it stands for besides: what
the call prints is printed as that of any item.
"""

from __future__ import annotations

from ..sealed import mapped
from ..serialization import Serialized
from .interrupts import WAIT_S, opened
from .job import Job
from .outcomes import ParcelResults

__all__ = ["MOST_BYTES", "run_directly"]

# So much a worker's socket takes at once, so that nobody has to wait to write the rest.
MOST_BYTES = 64 * 1024


def run_directly(job: Job, index: int, argument: Serialized) -> ParcelResults | None:
    """Have an item run, and wait for it; to be called within `shielded`.

    Args:
        job: Whose function is called.
        index: The item's number, for what it prints.
        argument: The serialized list of its one argument.

    Returns:
        The result, as if it had come in a parcel. None when no worker could be had, or it died: the item
        may then be run in the ordinary way.
    """
    engine = job.engine
    loan = engine.lend(job) if argument.size_bytes <= MOST_BYTES else None
    if loan is None:
        return None
    loan.call(index, argument.segments)
    try:
        with opened():
            while not loan.is_over:
                loan.wait(WAIT_S)
    except BaseException:
        engine.give_up_loan(loan)
        raise
    if loan.answer is None:
        return None
    job.show_output()
    status, busy_ns, payload = loan.answer
    segment = (index, 1, status, busy_ns // 1000, mapped(payload))
    return ParcelResults(index, 1, 1, 0, False, [segment])
