"""What a worker writes to its standard output or error, as its parent reads it.

Cuts the pipe's bytes into lines and finds whose they are: by the marks that `MarkedStream` puts
between them, or else (C code, child processes) by what the worker runs when they are read.

Never blocks, and holds no more than an unfinished line and the last `TAIL_BYTES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .loop import Loop
from .streams import MARK, TOKEN_BYTES

__all__ = ["Label", "OutputPipe"]

#: (job, item)
Label = tuple[int, int]
#: (stream, whose, whole lines, bytes dropped before them)
Heard = Callable[[int, Label, bytes, int], None]

READ_BYTES = 64 * 1024
#: At most this much is read before the loop's other descriptors get their turn.
READ_TURN_BYTES = 1024 * 1024
#: A longer line is passed on in parts.
LINE_BYTES = 8 * 1024
#: How much of the end of standard error is remembered.
TAIL_BYTES = 2 * 1024


class OutputPipe:
    """A loop's reader on one of a worker's output pipes.

    Args:
        loop: Where it is registered.
        fd: The reading end; owned from here on.
        stream: 1 or 2.
        token: What the worker's marks begin with.
        heard: Gets whole lines.
        whose: Guesses who writes without a mark; None when nobody is known.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        stream: int,
        token: bytes,
        heard: Heard,
        whose: Callable[[], Label | None],
    ) -> None:
        assert len(token) == TOKEN_BYTES
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._stream = stream
        self._token = token
        self._heard = heard
        self._whose = whose
        self._held = b""  # what may be the beginning of a mark
        self._marked: Label | None = None
        self._label: Label | None = None  # of the unfinished line and the tail
        self._line = bytearray()
        self._tail = bytearray()
        self.ended = False

    def start(self) -> None:
        self._loop.addReader(self)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "worker output"

    def doRead(self) -> None:
        """Called by the loop when the pipe holds bytes."""
        self.drain(READ_TURN_BYTES)

    def connectionLost(self, reason: Any = None) -> None:
        """Called by Twisted's reactors when all writers are gone."""
        self.drain()

    def drain(self, turn_bytes: int = READ_TURN_BYTES) -> None:
        """Read what is there, up to about ``turn_bytes``."""
        while turn_bytes > 0 and not self.ended:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.ended = True
                self._loop.removeReader(self)
                return
            self.feed(data)
            turn_bytes -= len(data)

    def feed(self, data: bytes) -> None:
        """Take bytes of the pipe."""
        data = self._held + data
        self._held = b""
        start = 0
        while (at := data.find(self._token, start)) >= 0:
            self._text(data[start:at])
            if len(data) - at < MARK.size:
                self._held = data[at:]
                return
            _, job, index, dropped_bytes = MARK.unpack_from(data, at)
            self._mark((job, index), dropped_bytes)
            start = at + MARK.size
        end = len(data)
        for length in range(min(TOKEN_BYTES - 1, end - start), 0, -1):
            if data.endswith(self._token[:length]):
                end -= length
                self._held = data[end:]
                break
        self._text(data[start:end])

    def unit_over(self, job: int, first: int, tasks: int) -> None:
        """The unit of these items is done: what comes now is another's, unless a mark says otherwise.

        The worker may be at the next unit already, and have marked that.
        """
        marked, label = self._marked, self._label
        if label is not None and label[0] == job and first <= label[1] < first + tasks:
            self._end_line()
        if marked is not None and marked[0] == job and first <= marked[1] < first + tasks:
            self._marked = None

    def tail_of(self, job: int | None) -> str:
        """What an item of the job (None: anybody) wrote last, at most `TAIL_BYTES`."""
        if job is not None and (self._label is None or self._label[0] != job):
            return ""
        return self._tail.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Leave the loop and close the pipe."""
        self._end_line()
        self._loop.removeReader(self)
        self.ended = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _mark(self, label: Label, dropped_bytes: int) -> None:
        self._marked = label if label[1] >= 0 else None
        if dropped_bytes:
            whose = self._marked or self._whose()
            if whose is not None:
                self._heard(self._stream, whose, b"", dropped_bytes)

    def _text(self, text: bytes) -> None:
        if not text:
            return
        label = self._marked or self._whose() or self._label
        if label != self._label:
            self._end_line()
            self._tail.clear()
            self._label = label
        self._tail += text[-TAIL_BYTES:]
        del self._tail[:-TAIL_BYTES]
        if label is None:
            return
        end = text.rfind(b"\n") + 1
        if end:
            lines = bytes(self._line) + text[:end]
            self._line.clear()
            self._heard(self._stream, label, lines, 0)
        self._line += text[end:]
        if len(self._line) > LINE_BYTES:
            self._end_line()

    def _end_line(self) -> None:
        if self._line and self._label is not None:
            line = bytes(self._line) + b"\n"
            self._line.clear()
            self._heard(self._stream, self._label, line, 0)
