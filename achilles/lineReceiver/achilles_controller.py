"""The client end of the line protocol: a controller's connection once it is authenticated.

Frames may be sent from any thread: what the socket takes at once is written there and then, the rest
by the loop. Frames that arrive are handed to the listener in the loop's thread, or in that of a caller
who has nothing better to do than to wait for them (`Controller.pump`), which saves waking two threads.
One lock guards the socket in both directions, since a TLS connection must not be read and written at
the same time; another one the frames' order, whoever reads.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..errors import AuthenticationError, ClusterError, ProtocolError
from ..sealed import Descriptor, Sealed
from ..workers.loop import DelayedCall, SelectorLoop
from ..workers.passing import MAX_UNCLAIMED, Arrived, SendQueue, receive
from . import messages as wire
from .dialling import Link
from .handshake import error_frame
from .shared_payloads import TELL_BYTES, accept, as_bytes
from .wire import SHORT_READ_BYTES, Buffer, frame_segments, next_read_bytes

__all__ = ["Controller", "ControllerListener", "controller_loop"]

_log = logging.getLogger("achilles.controller")

# TLS writes one record at a time; joining up to this much first saves system calls.
JOIN_BYTES = 256 * 1024
# So many buffers are written as they are, without a queue.
FEW_PARTS = 16
# A server that stays silent for so many of its heartbeats is gone.
QUIET_HEARTBEATS = 4
# What a poll tells of a connection that the peer has closed, also behind bytes not read yet.
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class ControllerListener(Protocol):
    """Whoever owns the connection."""

    def frame_received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        """One frame from the server (in the loop's thread, or in one that pumps)."""

    def connection_lost(self, reason: BaseException | str) -> None:
        """The connection is gone, not by our own `Controller.close` (in the loop's thread).

        The reason is a `ClusterError` when the server said what it may not.
        """


class Controller:
    """A connection on a loop.

    Args:
        link: The authenticated connection; taken over.
        loop: Where it is read.
        listener: Hears of frames and of the end.
    """

    def __init__(self, link: Link, loop: SelectorLoop, listener: ControllerListener) -> None:
        self._socket = link.socket
        self._is_tls = isinstance(link.socket, ssl.SSLSocket)
        self._parser = link.parser
        self._early = link.early
        self._loop = loop
        self._listener = listener
        # Reentrant: the garbage collector may cancel a dropped iterator's job at any moment.
        self._lock = threading.RLock()
        self._queue = SendQueue()
        self._arrived = Arrived() if link.descriptors else None
        self._untold_bytes = 0
        self._closed = False
        self._read_bytes = SHORT_READ_BYTES
        self._writing = False
        self._held = False  # whether what is queued waits for the next frame
        self._begun = False
        self._paused = False
        self._reading = threading.Lock()
        self._pumping = threading.Lock()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)
        self._allowed = wire.ALLOWED["controller", "server"]
        self._heard = True
        heartbeat_s = link.welcome.heartbeat_s if link.welcome is not None else 5.0
        self._silence_s = QUIET_HEARTBEATS * heartbeat_s
        self._watch: DelayedCall | None = None
        self._socket.setblocking(False)

    def start(self) -> None:
        """Begin to receive."""
        self._loop.callFromThread(self._begin)

    def send(
        self,
        message: wire.Message,
        segments: Iterable[Buffer] = (),
        *,
        more: bool = False,
        beside: Descriptor | None = None,
    ) -> None:
        """Send a frame; silently nothing once the connection is closed.

        Args:
            message: The frame.
            segments: Its payload, which must not change until it is sent.
            more: The next frame follows at once, and this one may travel with it.
            beside: A descriptor that goes with it, of which the message tells; only if `takes_descriptors`.
        """
        descriptor = beside
        if isinstance(message, wire.Parcel) and message.shared is not None:
            if self.takes_descriptors:
                message.by_descriptor = True
                descriptor = message.shared.descriptor
            else:
                segments = as_bytes(message)
        frame = frame_segments(message, segments)
        with self._lock:
            if self._closed:
                return
            if (
                not (more or self._queue or self._writing or self._is_tls or descriptor)
                and len(frame) <= FEW_PARTS
            ):
                self._send_now(frame, len(frame[0]) + message.size)
                return
            idle = self._held or not self._queue
            self._queue.put(frame, descriptor)
            self._held = idle and more
            if idle and not more:
                self._write()
                if self._queue:
                    self._loop.addWriter(self)

    def _send_now(self, frame: list[Buffer], size_bytes: int) -> None:
        """Send the first frame in an empty queue, of so many bytes; what `_write` does, for less."""
        self._writing = True
        try:
            sent_bytes = self._socket.sendmsg(frame)
        except BlockingIOError:
            sent_bytes = 0
        except OSError:
            sent_bytes = size_bytes  # reading will meet the same end and report it
        except BaseException:
            self._queue.put(frame)  # nobody knows how much of it has gone: so nothing more will
            raise
        if sent_bytes < size_bytes:
            self._queue.put(frame)
            self._queue.sent(sent_bytes)
            self._loop.addWriter(self)
        self._writing = False

    @property
    def takes_descriptors(self) -> bool:
        """Whether a payload could go by descriptor now."""
        return self._arrived is not None and self._queue.descriptors < MAX_UNCLAIMED

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.clear()
        # Closed in the loop, so that nothing else can be given its descriptor while it is watched.
        self._loop.callFromThread(self._close)

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Hand frames to the listener in this thread, if some come within so long.

        Args:
            patience_s: How long to wait for the first.
            wanted: Whether there is still something to wait for; what another thread hands over meanwhile
                may have made it False.

        Returns:
            False when nothing came, or this thread cannot do it now: from here on the loop does it again.
        """
        if not self._begun or not self._pumping.acquire(blocking=False):
            return False
        try:
            with self._reading:  # what the loop is about to hand over comes first
                if not wanted():
                    return True
            try:
                if not self._pause():
                    return False
                if not self._poller.poll(patience_s * 1000):
                    return False
                with self._reading:
                    reason = self._read()
            except BaseException:
                # Ctrl-C, say, in the middle of a frame: nobody knows any more where the next one begins.
                self.close()
                raise
            finally:
                self._go_on()
            if reason:
                self._loop.callFromThread(self._lost, reason)
            return True
        finally:
            self._pumping.release()

    def _pause(self) -> bool:
        """Let the loop read nothing for now."""
        with self._lock:
            self._paused = True
            return not self._closed and self._loop.listen(self._socket.fileno(), writing=bool(self._queue))

    def _go_on(self) -> None:
        with self._lock:
            self._paused = False
            if not self._closed:
                self._loop.listen(self._socket.fileno(), reading=True, writing=bool(self._queue))

    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing is under way on it; never blocks.

        False as well when an exception, such as Ctrl-C makes, left it in the middle of writing.
        """
        with self._lock:
            if self._closed or self._writing or self._queue or self._parser.mid_frame:
                return False
            poller = select.poll()
            poller.register(self._socket, _HUNG_UP)
            return not poller.poll(0)

    def abandon(self) -> None:
        """In a forked child: close its copy of the descriptor and nothing else."""
        self._lock = threading.RLock()
        self._closed = True
        # A TLS session is not ended by this either: that takes a message, and this sends none. Nor is
        # the loop told: what it watches with is shared with the parent's.
        self._socket.close()

    # What the loop calls.

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name in the loop's log."""
        return "achilles controller"

    def doRead(self) -> Any:
        """Receive what is there."""
        with self._reading:
            with self._lock:
                # Asked of the pause, not of who pumps: he lets go of that only after the loop may read again,
                # and a loop that stopped in between would never be woken.
                if self._paused:
                    self._pause()
                    return None
            return self._read()

    def _read(self) -> Any:
        while True:
            with self._lock:
                if self._closed:
                    return None
                try:
                    if self._arrived is None:
                        data = self._socket.recv(self._read_bytes)
                    else:
                        data = receive(self._socket, self._read_bytes, self._arrived)
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    return None
                except ProtocolError as error:
                    return self._refuse(error)
                except OSError as error:
                    return error
            self._heard = True
            self._read_bytes = next_read_bytes(len(data))
            if not data:
                return ConnectionError("the server closed the connection")
            try:
                if (frame := self._parser.only(data)) is not None:
                    self._received(*frame)
                else:
                    for message, chunks in self._parser.frames(data):
                        self._received(message, chunks)
            except ClusterError as error:
                return self._refuse(error)
            # TLS may hold more than the socket shows.
            if not self._is_tls:
                return None

    def doWrite(self) -> Any:
        """Send what is queued."""
        with self._lock:
            if self._closed:
                return None
            try:
                self._write()
            except OSError as error:
                return error
            if not self._queue:
                self._loop.removeWriter(self)
        return None

    def connectionLost(self, reason: Any) -> None:
        """The loop has let go of the socket after an error."""
        with self._lock:
            already, self._closed = self._closed, True
            self._queue.clear()
        self._close()
        if not already:
            self._listener.connection_lost(reason if isinstance(reason, ClusterError) else str(reason))

    def _watch_silence(self) -> None:
        """The server asks every few seconds; one that says nothing for long is gone."""
        if self._closed:
            return
        if not self._heard:
            self.connectionLost(f"nothing was heard of it for {self._silence_s:g} s")
            return
        self._heard = False
        self._watch = self._loop.callLater(self._silence_s, self._watch_silence)

    def _begin(self) -> None:
        self._watch_silence()
        try:
            while self._early:
                message, chunks = self._early.popleft()
                self._received(message, chunks)
        except ClusterError as error:
            self.connectionLost(self._refuse(error))
        if not self._closed:
            self._loop.addReader(self)
            # What TLS has read ahead shows in no descriptor.
            reason = self.doRead() if self._is_tls else None
            if reason:
                self._lost(reason)
            self._begun = True

    def _lost(self, reason: Any) -> None:
        self._loop.removeReader(self)
        self.connectionLost(reason)

    def _refuse(self, error: ClusterError) -> ClusterError:
        """Tell the server why we leave, if it listens."""
        if not isinstance(error, AuthenticationError):  # its own words
            self.send(error_frame(error))
        return error

    def _received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        if type(message) not in self._allowed:
            wire.check_allowed(message, self._allowed)
        if message.by_descriptor:
            assert isinstance(message, wire.Results | wire.Answer)
            accept(message, self.claim())
            self._came(message.size)
        if isinstance(message, wire.Ping):
            self.send(wire.Pong(message.sent_ns))
        else:
            self._listener.frame_received(message, chunks)

    def claim_beside(self, size_bytes: int) -> Sealed:
        """The shared memory that came with the frame at hand, which said how much it is.

        Raises:
            ProtocolError: It did not come, or is not what it should be.
        """
        shared = Sealed.accept(self.claim(), size_bytes)
        self._came(size_bytes)
        return shared

    def claim(self) -> Descriptor:
        """The descriptor that came with the frame at hand; ProtocolError if none did."""
        if self._arrived is None:
            raise ProtocolError("a descriptor was said to come, and nobody agreed to that")
        return self._arrived.claim()

    def _came(self, shared_bytes: int) -> None:
        self._untold_bytes += shared_bytes
        if self._untold_bytes >= TELL_BYTES:
            self._untold_bytes = 0
            self.send(wire.Ping(time.monotonic_ns()))

    def _write(self) -> None:
        """Write until the socket is full; the lock is held."""
        queue = self._queue
        self._writing = True
        while queue:
            try:
                self._send_some()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError:
                # Reading will meet the same end and report it.
                queue.clear()
                break
        self._writing = False

    def _send_some(self) -> None:
        if not self._is_tls:
            self._queue.send(self._socket, socket.MSG_DONTWAIT)
            return
        queue = self._queue.views
        if len(queue) > 1 and len(queue[0]) < JOIN_BYTES:
            joined: list[memoryview] = []
            size = 0
            while queue and size + len(queue[0]) <= JOIN_BYTES:
                joined.append(queue.popleft())
                size += len(joined[-1])
            if joined:
                queue.appendleft(memoryview(b"".join(joined)))
        self._queue.sent(self._socket.send(queue[0]))

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._loop.removeReader(self)
        self._loop.removeWriter(self)
        with self._lock:
            self._closed = True
            self._socket.close()
            if self._arrived is not None:
                self._arrived.close()


_loop: SelectorLoop | None = None
_loop_lock = threading.Lock()


def controller_loop() -> SelectorLoop:
    """The loop that all controllers of this process share; a daemon thread."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = SelectorLoop("achilles-controller")
            _loop.start()
        return _loop


def _after_fork() -> None:
    global _loop, _loop_lock
    _loop, _loop_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
