"""What user code may change of its process, and how the next job finds it again.

Items of one job see what earlier ones did, as in any pool of processes. The worker's next job, which may be
somebody else's, finds working directory, signals, umask and descriptors 0 to 2 as the worker began.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Surroundings"]

# What `signal` wraps: its conversions take twenty times longer than the question, before each job.
_native: Any = sys.modules.get("_signal", signal)
_getsignal: Callable[[int], Any] = _native.getsignal

_SIGNALS = sorted(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Surroundings:
    """A worker process as it began.

    Args:
        outputs: (number, descriptor) of standard output and error: copies that nobody else closes.
    """

    def __init__(self, outputs: Sequence[tuple[int, int]]) -> None:
        self._outputs = outputs
        try:
            self._directory: str | None = os.getcwd()
        except OSError:
            self._directory = None
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._signals = [(number, _getsignal(number)) for number in _SIGNALS]

    def put_right(self) -> None:
        """Undo what was changed, as far as it can be. In the main thread."""
        os.umask(self._umask)
        if self._directory is not None:
            try:
                os.chdir(self._directory)
            except OSError:
                pass  # it is gone
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signalled, before in self._signals:
            if before is not None and _getsignal(signalled) is not before:
                signal.signal(signalled, before)
        for number, copy in [(0, -1), *self._outputs]:
            try:
                os.fstat(number)
            except OSError:
                _reopen(number, copy)


def _reopen(number: int, copy: int) -> None:
    source = copy if copy >= 0 else os.open(os.devnull, os.O_RDONLY)
    if source != number:
        os.dup2(source, number)
        if copy < 0:
            os.close(source)
