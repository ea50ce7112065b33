"""Single calls at a node: each goes to an idle worker at once, or back.

Knows the calls of one connection that have no answer yet. Which worker can be spared is the crew's to say;
how one is lent, and what becomes of it when nobody waits for it, is in `achilles.workers.loan`.
"""

from __future__ import annotations

from functools import partial

from ..errors import ProtocolError
from ..sealed import Sealed
from ..workers.crew import Crew
from ..workers.loan import Loan, OnOutput
from . import messages as wire
from .protocol import AchillesProtocol
from .wire import Buffer, gather

__all__ = ["NodeCalls"]


class NodeCalls:
    """The calls that came over one connection.

    Args:
        crew: Has the workers.
        connection: Where answers go.
        on_output: Gets what the calls print; without, that goes where all output of their jobs goes.
    """

    def __init__(self, crew: Crew, connection: AchillesProtocol, on_output: OnOutput | None = None) -> None:
        self._crew = crew
        self._connection = connection
        self._on_output = on_output
        self._open: dict[int, Loan] = {}

    def __len__(self) -> int:
        return len(self._open)

    def came(self, call: wire.Call, chunks: list[Buffer]) -> None:
        """Have a call run, if a worker can be spared."""
        if call.call in self._open:
            raise ProtocolError(f"call {call.call} came twice")
        loan = self._crew.lend(call.job)
        if loan is None:
            self.refuse(call)
            return
        self._open[call.call] = loan
        loan.on_output = self._on_output
        loan.begin(call.index, [gather(chunks)], partial(self._over, call.call, loan))

    def refuse(self, call: wire.Call) -> None:
        """Say that a call is not run."""
        self._connection.send(wire.Answer(call.call, wire.CALL_REFUSED, 0))

    def given_up(self, number: int) -> None:
        """Nobody waits for that call any more."""
        loan = self._open.get(number)
        if loan is not None:
            self._crew.loans.give_up(loan)

    def job_gone(self, job: int) -> None:
        """A job is over, and nobody waits for its calls."""
        for number in [number for number, loan in self._open.items() if loan.job == job]:
            del self._open[number]
            self._connection.send(wire.Answer(number, wire.CALL_LOST, 0))

    def end(self) -> None:
        """Nobody waits for any of them."""
        for number in self._open:
            self.given_up(number)

    def _over(self, number: int, loan: Loan) -> None:
        if self._open.get(number) is not loan:
            return  # its job has ended
        del self._open[number]
        if loan.answer is None:
            self._connection.send(wire.Answer(number, wire.CALL_LOST, 0))
            return
        status, busy_ns, payload = loan.answer
        answer = wire.Answer(number, status, busy_ns // 1000)
        if isinstance(payload, Sealed):
            answer.size, answer.shared = len(payload), payload
            self._connection.send(answer)
        else:
            self._connection.send(answer, [payload])
