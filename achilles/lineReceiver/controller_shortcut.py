"""A controller's end of a socket to a node of this machine, for single calls past the server.

The thread that makes a call writes it, and reads the socket itself for a while (`ControllerShortcut.pump`);
the loop hears it only while calls are out that nobody reads for. So a call that is soon answered costs
no more than two system calls to read.

Rules:

1. One thread pumps at a time. Whoever stops doing so leaves the socket to the loop if calls are out.
2. Whatever is wrong with it ends a shortcut, and no more than that: its calls are made another way.
3. It is closed in the loop, and with the locks of reading and writing, so that nothing else can be given its
   descriptor while it is used. The end is told to the other side at once.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..errors import ClusterError, ProtocolError
from ..limits import MAX_PAYLOAD_BYTES
from ..workers.cores import SPINS
from ..workers.loop import SelectorLoop
from ..workers.passing import Arrived, receive
from ..workers.spinning import Spinning
from . import messages as wire
from .handshake import printable
from .shared_payloads import accept
from .wire import SHORT_READ_BYTES, Buffer, FrameParser, Limits, frame_segments, next_read_bytes

__all__ = ["ControllerShortcut", "ShortcutListener"]

_log = logging.getLogger("achilles.controller")

_ALLOWED: frozenset[type] = frozenset({wire.Answer, wire.Output, wire.Error})
# How long a node may take to read what the socket does not hold: it never waits for anything itself.
WRITE_S = 0.02
# So many buffers are written as they are.
FEW_PARTS = 16
# How long a caller looks out for the answer before it sleeps: most short calls are answered in this time.
SPIN_NS = 500_000


class ShortcutListener(Protocol):
    """Who makes the calls."""

    def frame_received(self, message: wire.Answer | wire.Output, chunks: list[Buffer]) -> None:
        """One frame from the node (in the loop's thread, or in one that pumps)."""

    def shortcut_ended(self) -> None:
        """Nothing more will come (in any thread)."""

    def calls_out(self) -> int:
        """How many calls have no answer."""


class ControllerShortcut:
    """One of them.

    Args:
        end: The socket, which does not block; taken over.
        loop: Where it is read while nobody pumps.
        listener: Hears of frames and of the end.
    """

    def __init__(self, end: socket.socket, loop: SelectorLoop, listener: ShortcutListener) -> None:
        self._socket = end
        self._loop = loop
        self._listener = listener
        self._parser = FrameParser(Limits(payload_bytes=MAX_PAYLOAD_BYTES))
        self._arrived = Arrived()
        self._read_bytes = SHORT_READ_BYTES
        # Reentrant: the garbage collector may close a dropped iterator's engine at any moment.
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._pumping = threading.Lock()
        self._paused = False  # whether the loop reads nothing for now
        self._heard = False  # whether the loop would be told of what comes
        self._poller = select.poll()
        self._poller.register(end, select.POLLIN)
        self._spinning = Spinning(SPIN_NS)
        self.ended = False
        loop.callFromThread(self._begin)

    def _begin(self) -> None:
        with self._lock:
            if not self.ended:
                self._loop.addReader(self)
                self._heard = True

    def send(self, message: wire.Message, segments: Iterable[Buffer] = ()) -> None:
        """Send a frame; silently nothing once it has ended."""
        frame = frame_segments(message, segments)
        if len(frame) > FEW_PARTS:
            frame = [b"".join(frame)]
        size_bytes = len(frame[0]) + message.size if len(frame) > 1 else len(frame[0])
        with self._lock:
            if self.ended:
                return
            try:
                sent_bytes = self._send_some(frame, size_bytes)
                if sent_bytes < size_bytes and not self._send_rest(memoryview(b"".join(frame))[sent_bytes:]):
                    self.end(ProtocolError("the node reads nothing"))
            except BaseException:
                self.end("a call was interrupted while it was sent")
                raise

    def _send_some(self, frame: list[Buffer], size_bytes: int) -> int:
        try:
            return self._socket.sendmsg(frame)
        except BlockingIOError:
            return 0
        except OSError:
            return size_bytes  # reading will meet the same end

    def _send_rest(self, rest: memoryview) -> bool:
        room = select.poll()
        room.register(self._socket, select.POLLOUT)
        while rest:
            if not room.poll(WRITE_S * 1000):
                return False
            rest = rest[self._send_some([rest], len(rest)) :]
        return True

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Hand frames to the listener in this thread, if some come within so long; see `Controller.pump`."""
        if self.ended or not self._pumping.acquire(blocking=False):
            return False
        try:
            if self._pause():
                with self._reading:  # what the loop is about to hand over comes first
                    if not wanted():
                        return True
            # Where several threads make calls, who spins keeps the others from it.
            is_there = SPINS and self._listener.calls_out() == 1 and self._spinning.spin(self._poller)
            if not is_there and not self._poller.poll(patience_s * 1000):
                return False
            with self._reading:
                reason = self._read()
        except BaseException:
            # In the middle of a frame, perhaps: nobody knows any more where the next one begins.
            self.end("a call was interrupted while it read")
            raise
        finally:
            self._paused = False
            self._pumping.release()
            if self._listener.calls_out():
                self._leave_to_loop()
        if reason:
            self.end(reason)
        return True

    def _pause(self) -> bool:
        """Let the loop read nothing for now; returns whether it might have been about to."""
        with self._lock:
            self._paused = True
            was_heard = self._heard
            if was_heard:
                self._heard = not self._loop.listen(self._socket.fileno())
            return was_heard

    def _leave_to_loop(self) -> None:
        with self._lock:
            if not (self._paused or self._heard or self.ended):
                self._heard = self._loop.listen(self._socket.fileno(), reading=True)

    def end(self, reason: object = None) -> None:
        """Close it; harmless when repeated.

        Args:
            reason: Why, if it is not for ourselves.
        """
        with self._lock:
            if self.ended:
                return
            self.ended = True
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        if isinstance(reason, ClusterError):
            _log.warning("the socket to a node cannot be used any more: %s", reason)
        self._loop.callFromThread(self._close)
        self._listener.shortcut_ended()

    def abandon(self) -> None:
        """In a forked child: close its copy of the descriptor and nothing else."""
        self.ended = True
        self._socket.close()

    def _read(self) -> Any:
        """Take in what is there; why nothing more will come, if that is so."""
        if self.ended:
            return None
        try:
            data = receive(self._socket, self._read_bytes, self._arrived)
        except BlockingIOError:
            return None
        except (OSError, ProtocolError) as error:
            return error
        if not data:
            return "the other side has closed it"
        self._read_bytes = next_read_bytes(len(data))
        try:
            if (frame := self._parser.only(data)) is not None:
                self._received(*frame)
            else:
                for message, chunks in self._parser.frames(data):
                    self._received(message, chunks)
        except ClusterError as error:
            return error
        return None

    def _received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        if type(message) is not wire.Answer:
            wire.check_allowed(message, _ALLOWED)
            if isinstance(message, wire.Error):
                raise ProtocolError(f"the node says: {printable(message.message)}")
            assert isinstance(message, wire.Output)
        elif message.by_descriptor:
            accept(message, self._arrived.claim())
        self._listener.frame_received(message, chunks)

    # What the loop calls.

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name in the loop's log."""
        return "achilles shortcut"

    def doRead(self) -> Any:
        """Receive what is there, unless somebody pumps."""
        with self._reading:
            return None if self._paused else self._read()

    def connectionLost(self, reason: Any) -> None:
        """The loop has let go of the socket."""
        self.end(reason)

    def _close(self) -> None:
        self._loop.removeReader(self)
        with self._reading, self._lock:
            self._socket.close()
            self._arrived.close()
