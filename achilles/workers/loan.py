"""One worker for one call, of a thread that waits for the answer and hears the worker itself.

An item that travels as any other passes through queues, three brains and the loop's thread on its way there
and back. For a single call whose caller waits anyway, that is most of what it takes. So an idle worker is
lent (`achilles.core.lending`): the thread sends it the call, and reads what it says from its descriptor, in
place of the loop's thread. A call that takes longer than `HEAR_S` is left to the loop, and waited for like
others.

Rules:

1. Whatever the worker says goes to its crew, as always; the crew gives the loan its answer.
2. Who waits holds no lock meanwhile, and may be interrupted once he no longer hears the worker.
3. A call that nobody waits for any more is stopped if it takes longer than `GRACE_S`, as that of a job that
   is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..sealed import Buffer, Payload
from . import channel
from .heard_here import SPINS

if TYPE_CHECKING:
    from .loop import Loop
    from .output import Label
    from .worker import Worker

__all__ = ["GRACE_S", "Loan", "Loans", "OnOutput"]

#: Status, busy time in ns and payload of a RESULT.
Answer = tuple[int, int, Payload]
#: Gets the job, 1 or 2, and tagged lines.
OnOutput = Callable[[int, int, bytes], None]

HEAR_S = 0.01
GRACE_S = 0.5


class Loan:
    """A worker that is lent for one call of a job.

    Args:
        worker: The worker.
        job: Whose function it calls.
        number: Which of its crew's loans it is; no other has it.

    Attributes:
        answer: Status, busy time in ns and payload of its RESULT, once it came.
        is_lost: Whether the worker died before.
        index: The number of the call among those of the job, for what it prints.
        on_output: Gets what it prints, in place of the crew's listener.
    """

    __slots__ = (
        "_done",
        "_on_over",
        "_sleeps",
        "answer",
        "index",
        "is_lost",
        "job",
        "number",
        "on_output",
        "worker",
    )

    def __init__(self, worker: Worker, job: int, number: int) -> None:
        self.worker = worker
        self.job = job
        self.number = number
        self.index = 0
        self.answer: Answer | None = None
        self.is_lost = False
        self._done = threading.Lock()
        self._sleeps = False
        self._on_over: Callable[[], None] | None = None
        self.on_output: OnOutput | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.is_lost

    def begin(self, index: int, arguments: Sequence[Buffer], on_over: Callable[[], None]) -> None:
        """Send the serialized list of one argument; the loop calls when it is over. Instead of `call`."""
        self.index = index
        self._on_over = on_over
        self.worker.send(channel.UNIT, 0, self.job, index, 1, 0, arguments)

    def call(self, index: int, arguments: Sequence[Buffer]) -> None:
        """Send the serialized list of one argument, and hear the worker for a while. Must be called, once."""
        self.index = index
        with self.worker.heard_here() as hear:
            self.worker.send(channel.UNIT, channel.MORE_SOON * SPINS, self.job, index, 1, 0, arguments)
            while not self.is_over and hear(HEAR_S):
                pass
        self._done.acquire()

    def wait(self, patience_s: float) -> None:
        """Wait for so long, or until it is over, after `call`."""
        self._sleeps = True
        # It may have been over before anybody slept.
        if not self.is_over:
            self._done.acquire(timeout=patience_s)

    def over(self, answer: Answer | None) -> None:
        """The answer came, or never will. Called by the crew, once."""
        self.answer = answer
        self.is_lost = answer is None
        if self._sleeps:
            self._done.release()
        if self._on_over is not None:
            on_over, self._on_over = self._on_over, None  # which refers to this
            on_over()


class Loans:
    """The workers of a crew that are lent.

    Args:
        loop: Where delayed calls run.
        locked: Wraps them, so that they hold the crew's lock.
        stop: Stops the worker of a slot.
    """

    def __init__(
        self,
        loop: Loop,
        locked: Callable[[Callable[[], None]], Callable[[], None]],
        stop: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._locked = locked
        self._stop = stop
        self._by_slot: dict[int, Loan] = {}
        self._new: Loan | None = None
        self._made = 0
        #: Called when one was lent, or came back.
        self.on_change: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._by_slot)

    def make(self, worker: Worker, job: int) -> None:
        """Lend a worker; `take_new` follows."""
        self._made += 1
        self._new = self._by_slot[worker.slot] = Loan(worker, job, self._made)
        if self.on_change is not None:
            self.on_change()

    def lent(self) -> set[int]:
        """The numbers of those that are out."""
        return {loan.number for loan in self._by_slot.values()}

    def take_new(self) -> Loan | None:
        """The one just made, if one was."""
        loan, self._new = self._new, None
        return loan

    def over(self, slot: int, answer: Answer | None) -> bool:
        """A worker answered, or died; returns whether it was lent."""
        loan = self._by_slot.pop(slot, None)
        if loan is None:
            return False
        if self.on_change is not None:
            self.on_change()
        loan.over(answer)
        return True

    def label(self, slot: int) -> Label | None:
        """Whose is what a worker prints, if it is lent."""
        loan = self._by_slot.get(slot)
        return None if loan is None else (loan.job, loan.index)

    def listener(self, slot: int, label: Label) -> OnOutput | None:
        """Who gets what a worker prints with that label, if it is lent for just that."""
        loan = self._by_slot.get(slot)
        return None if loan is None or label != (loan.job, loan.index) else loan.on_output

    def forget(self, job: int) -> None:
        """A job is over, and nobody waits for its calls."""
        for loan in self._by_slot.values():
            if loan.job == job:
                self.give_up(loan)

    def give_up(self, loan: Loan) -> None:
        """Nobody waits for it any more: its worker is stopped if it takes much longer."""
        if not loan.is_over:
            self._loop.callLater(GRACE_S, self._locked(lambda: self._end(loan)))

    def _end(self, loan: Loan) -> None:
        if self._by_slot.get(loan.worker.slot) is loan:
            self._stop(loan.worker.slot)
