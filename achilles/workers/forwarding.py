"""From what workers print to what their jobs' callers are sent: tagged lines, within bounds.

Knows budgets, jobs that want their output, and lines that wait to be sent. Knows nothing of pipes
or of where the lines go.

Rules:

1. A stream of a worker passes about `WORKER_BYTES_PER_S`, all of them together `NODE_BYTES_PER_S`.
   What is more is dropped and counted. The caller gets a line that says so, after a second or when
   the unit ends, but not twice within `NOTICE_PAUSE_S`.
2. Lines wait for `GATHER_S` at most, and are sent before the results of the unit that wrote them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .loop import Loop
from .output import Label
from .streams import WORKER_BYTES_PER_S, Budget

__all__ = ["Forwarding"]

NODE_BYTES_PER_S = 1024 * 1024
GATHER_S = 0.05
NOTICE_S = 1.0
NOTICE_PAUSE_S = 0.1

Send = Callable[[int, int, bytes], None]


class Forwarding:
    """The output of one crew.

    Args:
        loop: Where its delayed calls run.
        node: How lines name this machine.
        send: Gets ``(job, stream, tagged lines)``.
        locked: Wraps delayed calls, so that they hold the crew's lock.
        borrower: Who else than ``send`` gets the output of a worker, if somebody does.
    """

    def __init__(
        self,
        loop: Loop,
        node: str,
        send: Send,
        locked: Callable[[Callable[[], None]], Callable[[], Any]],
        borrower: Callable[[int, Label], Send | None] = lambda slot, label: None,
    ) -> None:
        self._loop = loop
        self._node = node
        self._send = send
        self._locked = locked
        self._borrower = borrower
        self._wanted: set[int] = set()
        self._budget = Budget(NODE_BYTES_PER_S)
        self._workers: dict[tuple[int, int], Budget] = {}
        self._lines: dict[tuple[int, int, Send], list[bytes]] = {}
        self._dropped: dict[int, tuple[Label, int, Send]] = {}  # slot -> whose, how many bytes
        self._told_s: dict[int, float] = {}
        self._sending = False

    def want(self, job: int) -> None:
        """The job's caller wants to see what its functions print."""
        self._wanted.add(job)

    def forget(self, job: int) -> None:
        """Nobody wants it any more."""
        self._wanted.discard(job)
        for key in [key for key in self._lines if key[0] == job]:
            del self._lines[key]

    def heard(self, slot: int, stream: int, label: Label, lines: bytes, dropped_bytes: int) -> None:
        """A worker wrote whole lines, and dropped some bytes before them."""
        job, index = label
        if job not in self._wanted:
            return
        send = self._borrower(slot, label) or self._send
        if lines:
            tag = f"[{self._node} item {index}] ".encode()
            allowed_bytes = self._allowed((slot, stream), len(lines) + len(tag) * lines.count(b"\n"))
            kept = lines if allowed_bytes else b""
            if 0 < allowed_bytes < len(lines):
                kept = lines[: lines.rfind(b"\n", 0, allowed_bytes) + 1]
            dropped_bytes += len(lines) - len(kept)
            if kept:
                self._add((job, stream, send), tag, kept)
        if dropped_bytes:
            if slot not in self._dropped:
                self._loop.callLater(NOTICE_S, self._locked(lambda: self._tell_dropped(slot)))
            before_bytes = self._dropped[slot][1] if slot in self._dropped else 0
            self._dropped[slot] = (label, before_bytes + dropped_bytes, send)

    def _allowed(self, writer: tuple[int, int], size_bytes: int) -> int:
        worker = self._workers.get(writer)
        if worker is None:
            # Twice what the worker lets pass itself: its seconds and ours don't begin together.
            worker = self._workers[writer] = Budget(2 * WORKER_BYTES_PER_S)
        now_s = time.monotonic()
        return self._budget.take(worker.take(size_bytes, now_s), now_s)

    def _add(self, where: tuple[int, int, Send], tag: bytes, lines: bytes) -> None:
        tagged = b"".join(tag + line + b"\n" for line in lines[:-1].split(b"\n"))
        self._lines.setdefault(where, []).append(tagged)
        if not self._sending:
            self._sending = True
            self._loop.callLater(GATHER_S, self._locked(self._send_later))

    def _send_later(self) -> None:
        self._sending = False
        self.send_all()

    def unit_over(self, slot: int) -> None:
        """A worker's results are about to be sent: what it printed goes before them."""
        if slot in self._dropped:
            self._tell_dropped(slot)
        if self._lines:
            self.send_all()

    def send_all(self) -> None:
        """Send what waits."""
        lines, self._lines = self._lines, {}
        for (job, stream, send), parts in lines.items():
            send(job, stream, b"".join(parts))

    def _tell_dropped(self, slot: int) -> None:
        if slot not in self._dropped:
            return  # told already
        now_s = time.monotonic()
        (job, index), dropped_bytes, send = self._dropped[slot]
        # To drop much takes a while, so notices of that are never many.
        if now_s - self._told_s.get(slot, 0.0) < NOTICE_PAUSE_S and dropped_bytes < WORKER_BYTES_PER_S:
            return  # too soon: the delayed call comes, though the job may be over by then
        del self._dropped[slot]
        self._told_s[slot] = now_s
        if job in self._wanted:
            limit_kib = WORKER_BYTES_PER_S // 1024
            text = f"... {dropped_bytes} bytes of output were dropped: more than {limit_kib} KiB in a second"
            self._add((job, 2, send), f"[{self._node} item {index}] ".encode(), text.encode() + b"\n")
