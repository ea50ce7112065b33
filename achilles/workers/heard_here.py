"""A worker that a thread hears itself, in the loop's place, while it has nothing else to do.

To be woken takes longer than a short call does. So the thread looks again and again for a while before it
sleeps, as adaptive mutexes do, and has the worker do so after its answer (`SPIN_NS`).
"""

from __future__ import annotations

import select
from collections.abc import Callable
from types import TracebackType

from .channel import LoopChannel
from .cores import SPINS
from .loop import SelectorLoop
from .spinning import Spinning

__all__ = ["SPINS", "HeardHere"]

# What one call has found out serves the next.
_spinning = Spinning()


class HeardHere:
    """As a context: its value hears the worker for so many seconds at most.

    That returns False when nothing came, or nothing more will.

    Args:
        link: The worker's channel.
        loop: What hears it otherwise.
    """

    __slots__ = ("_link", "_loop", "_poller")

    def __init__(self, link: LoopChannel, loop: SelectorLoop) -> None:
        self._link = link
        self._loop = loop
        self._poller = select.poll()

    def __enter__(self) -> Callable[[float], bool]:
        fd = self._link.fileno()
        if fd >= 0:
            self._poller.register(fd, select.POLLIN)
            self._loop.listen(fd)
        return self._hear

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.listen_again(self._link)

    def _hear(self, patience_s: float) -> bool:
        if self._link.ended:
            return False
        if not (SPINS and _spinning.spin(self._poller)) and not self._poller.poll(1e3 * patience_s):
            return False
        self._loop.serve(self._link.doRead)
        return not self._link.ended
