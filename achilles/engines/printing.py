"""What a job's functions printed, on its way to the caller's standard output and error.

Lines are printed in the caller's own thread while it reads or waits for results, so that they go where
its own prints go: a redirected ``sys.stdout``, a notebook cell, a test's capture. A caller that reads
nothing for long loses the oldest but never more than `WAITING_BYTES` of memory.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TextIO

__all__ = ["Printing"]

WAITING_BYTES = 1024 * 1024


class Printing:
    """The lines of one job that were not printed yet. Callers hold the job's lock for `add` and `take`."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._dropped_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, stream: int, lines: bytes) -> None:
        """Keep lines for `take`; drop the oldest when there are too many."""
        self._waiting.append((stream, lines))
        self._waiting_bytes += len(lines)
        while self._waiting_bytes > WAITING_BYTES and len(self._waiting) > 1:
            _, dropped = self._waiting.popleft()
            self._waiting_bytes -= len(dropped)
            self._dropped_bytes += len(dropped)

    def take(self) -> list[tuple[int, bytes]]:
        """All that waits, in order; for `show`."""
        taken = list(self._waiting)
        if self._dropped_bytes:
            text = f"... {self._dropped_bytes} bytes of output were dropped: nobody read results meanwhile\n"
            taken.insert(0, (2, text.encode()))
        self._waiting.clear()
        self._waiting_bytes = self._dropped_bytes = 0
        return taken


def show(taken: list[tuple[int, bytes]]) -> None:
    """Print; an output that is closed or broken shows nothing."""
    for number, lines in taken:
        stream: TextIO | None = sys.stdout if number == 1 else sys.stderr
        if stream is None:
            continue
        try:
            stream.write(_printable(lines.decode("utf-8", "replace"), stream))
            stream.flush()
        except (OSError, ValueError):
            pass


def _printable(text: str, stream: TextIO) -> str:
    """The text without what the stream's encoding does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
