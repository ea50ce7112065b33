"""Single calls straight to a node of this machine, over a socket that the server has made for them."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from ..lineReceiver import messages as wire
from ..lineReceiver.controller_shortcut import ControllerShortcut
from ..lineReceiver.wire import Buffer
from ..workers.loop import SelectorLoop
from .open_calls import OpenCalls, RemoteCall, Trials

__all__ = ["ShortcutCalls"]


class ShortcutCalls:
    """One such socket, and the calls that are out there.

    Args:
        end: The socket.
        loop: Hears it while no caller does.
        on_output: Gets what calls have printed, by the job's own number.
    """

    def __init__(
        self,
        end: socket.socket,
        loop: SelectorLoop,
        on_output: Callable[[wire.Output, list[Buffer]], None],
    ) -> None:
        self._on_output = on_output
        self._jobs: dict[int, int] = {}  # by their numbers at the node
        # Whoever is interrupted while he reads has ended the shortcut by that.
        self._calls = OpenCalls(lambda reason: None)
        self._line = ControllerShortcut(end, loop, self)

    @property
    def ended(self) -> bool:
        """Whether it cannot be used any more."""
        return self._line.ended

    def take(self, job: int, there: int) -> None:
        """Calls of that job may be made."""
        self._jobs[there] = job

    def make(self, job: int, there: int, trials: Trials) -> RemoteCall | None:
        """A new call, to be sent at once; None if the shortcut has ended."""
        call = self._calls.make(self._line, job, there, trials)
        # Whoever ends it does so first, and then ends the calls that he finds.
        return None if self._line.ended and self._calls.give_up(call) else call

    def forget(self, job: int | None) -> None:
        """That job is over, or all are: none of their calls will be answered."""
        for there, mine in list(self._jobs.items()):
            if job in (None, mine):
                self._jobs.pop(there, None)
        self._calls.end(job)

    def close(self) -> None:
        """End the shortcut itself."""
        self._line.end()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        self._line.abandon()

    # What the line calls.

    def frame_received(self, message: wire.Answer | wire.Output, chunks: list[Buffer]) -> None:
        """An answer, or what a call has printed."""
        if isinstance(message, wire.Answer):
            self._calls.came(message, chunks)
        elif (job := self._jobs.get(message.job)) is not None:
            self._on_output(msgspec.structs.replace(message, job=job), chunks)

    def shortcut_ended(self) -> None:
        """None of the calls will be answered."""
        self._calls.end()

    def calls_out(self) -> int:
        """How many calls have no answer."""
        return len(self._calls)
