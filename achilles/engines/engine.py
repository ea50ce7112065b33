"""What a job asks of the place where its packets run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..kept import Keeper
    from ..workers.loan import Loan
    from .drawing import Draw
    from .job import Job

__all__ = ["Engine"]


class Engine(Protocol):
    """Where packets run. Thread-safe; results come back through the job's methods."""

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

    #: Whether threads can hear its workers themselves.
    lends: bool

    def lend(self, job: Job) -> Loan | None:
        """An idle worker for one call of the job, if one can be spared. The call must be made at once."""

    def give_up_loan(self, loan: Loan) -> None:
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
