"""Results of a unit that go to the parent while its worker is at a long item.

A unit is answered as a whole, so what is done of it would wait for its longest item. A worker that is at
one for long is asked to give back what it has not begun (``achilles.core.long_pieces``). If it is still at
the same unit `WAIT_S` later, it answers for the items that are done; the RESULT is for those after them.

Rules:

- They are serialized in a thread of their own: the user's function goes on, and the parent is heard.
- The thread that runs the items never waits for that: what is over in the meantime is answered as a whole.
- What fails here is nobody's failure yet: it is tried again with the whole answer.
- Where slices or packets stay together, whole ones go. What is reduced here waits for its reducer.
"""

from __future__ import annotations

from _thread import start_new_thread
from collections.abc import Callable, Sequence
from time import monotonic

from achilles.sealed import Buffer
from achilles.workers.running import pack_done
from achilles.workers.running_items import DoneItems, RunningItems

__all__ = ["WAIT_S", "EarlyResults"]

#: How long after it was asked to give back the rest: most are over by then.
WAIT_S = 0.02
#: (status, index of the first item, items, busy_ns, segments)
Send = Callable[[int, int, int, int, Sequence[Buffer]], None]


class EarlyResults:
    """Decides when to look for them, and sends them.

    All methods but the thread's are called by the one that hears the parent.

    Args:
        running: The unit that runs.
        send: Sends them; may fail as the parent is gone.
    """

    def __init__(self, running: RunningItems, send: Send) -> None:
        self._running = running
        self._send = send
        self._unit = 0
        self._wait_s = WAIT_S
        self._look_at_s: float | None = None
        self._serializes = False

    def asked(self, unit: int) -> None:
        """The parent has asked for the rest of a unit."""
        if unit == self._running.unit:
            self._unit = unit
            self._wait_s = WAIT_S
            self._look_at_s = monotonic() + WAIT_S

    def timeout_ms(self) -> float | None:
        """How long until `look` is to be called; None: not at all."""
        return None if self._look_at_s is None else max(self._look_at_s - monotonic(), 0.0) * 1000 + 1

    def look(self) -> None:
        """See whether there is something to send, if it is time for that."""
        if self._look_at_s is None or monotonic() < self._look_at_s:
            return
        done = self._running.done_so_far(self._unit)
        if done is None:
            self._look_at_s = None
        elif done.results and not self._serializes:
            self._look_at_s = None
            self._serializes = True
            start_new_thread(self._answer, (self._unit, done))
        else:  # the arguments are being loaded, or the first slice runs
            self._wait_s *= 2
            self._look_at_s = monotonic() + self._wait_s

    def _answer(self, unit: int, done: DoneItems) -> None:
        try:
            status, segments = pack_done(done.results, done.failures)
            facts = status, done.first, len(done.results), done.busy_ns
            self._running.answer_early(unit, done, lambda: self._send(*facts, segments))
        except BaseException:  # noqa: BLE001 - the user's code runs here, and it is tried again
            pass
        finally:
            self._serializes = False
