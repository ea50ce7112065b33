"""What a job asks of the place where its packets run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..sealed import Buffer, Sealed

if TYPE_CHECKING:
    from ..kept import Keeper
    from .drawing import Draw
    from .job import Job

__all__ = ["DirectCall", "Engine"]


class DirectCall(Protocol):
    """A call that has a worker to itself, if one can be had: a `Loan`, or what a cluster has for one."""

    @property
    def answer(self) -> tuple[int, int, Buffer | Sealed] | None:
        """Status, busy time in ns and payload, once they came; None when it was not run to its end."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""

    def call(self, index: int, arguments: Sequence[Buffer]) -> None:
        """Send the serialized list of one argument, and hear for a while whether the answer comes."""

    def wait(self, patience_s: float) -> None:
        """Wait for so long, or until it is over, after `call`."""


class Engine(Protocol):
    """Where packets run. Thread-safe; results come back through the job's methods."""

    @property
    def alone(self) -> bool:
        """Whether nobody else will ever be there to run what it has begun."""

    def submit(self, job: Job) -> None:
        """Take the job on; demands follow."""

    def send_parcel(
        self, job: Job, parcel: int, attempt: int, node: int, draw: Draw, cancelled: Sequence[int] = ()
    ) -> None:
        """Send a parcel of the job, of which these items are not to be run."""

    def end_input(self, job: Job) -> None:
        """No more parcels will come."""

    def cancel(self, job: Job) -> None:
        """Stop the job; nothing more is heard of it."""

    def cancel_item(self, job: Job, parcel: int, attempt: int, index: int) -> None:
        """Have an item of a parcel that was sent fail as cancelled, unless it is done."""

    @property
    def lends(self) -> bool:
        """Whether a thread may have an idle worker to itself for a call."""

    def lend(self, job: Job) -> DirectCall | None:
        """An idle worker for one call of the job, if one can be spared. The call must be made at once."""

    def give_up_loan(self, loan: Any) -> None:
        """Nobody waits for a call that was made so."""

    @property
    def keeps(self) -> bool:
        """Whether its workers can keep what they made."""

    def keeper(self, job: Job) -> Keeper | None:
        """Who gets at what workers keep in the name of the job; None where they cannot keep anything."""

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Take in this thread what comes within so long, while it is wanted; False when nothing came."""

    def lead(self) -> None:
        """This thread will pump next. It holds no lock."""

    def let_go(self) -> None:
        """It will not, and may hold the job's lock; the engine hears all itself."""

    def no_nodes_reason(self) -> str:
        """What to tell a caller who waits for nodes: the address and what to do."""
