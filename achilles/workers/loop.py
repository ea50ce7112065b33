"""What the parent's end runs on: Twisted's reactor, or this loop when there is no reactor.

``Loop`` names the few reactor methods that workers need. ``SelectorLoop`` offers them in a daemon
thread of its own, so that an embedded engine imports no Twisted and leaves a caller's reactor alone.

Rules of ``SelectorLoop``:

- Every method may be called from any thread. Only the loop's thread touches the selector; others
  leave their wish in a queue and wake it. A delayed call wakes it only if it would sleep for longer.
- Descriptors' methods and delayed calls run in the loop's thread. One that raises is logged and, if
  it is a descriptor's, disconnected; the loop goes on.
- A thread that waits for what they bring may serve the descriptors itself (`pump`), which spares two
  changes of thread. The loop's thread then hears only of its queue and its delayed calls: it listens to
  an epoll object that watches the selector's, and is told not to for that long (epoll(7): an epoll
  descriptor can itself be watched). Whoever runs anything of the loop's holds ``_serving``.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import os
import select
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

_log = logging.getLogger("achilles.workers")


class Call(Protocol):
    """A delayed call."""

    def cancel(self) -> None: ...
    def active(self) -> Any: ...


class Loop(Protocol):
    """The part of Twisted's reactor interfaces that workers use."""

    def addReader(self, reader: Any) -> Any: ...
    def removeReader(self, reader: Any) -> Any: ...
    def addWriter(self, writer: Any) -> Any: ...
    def removeWriter(self, writer: Any) -> Any: ...
    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any) -> Call: ...
    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> Any: ...


class DelayedCall:
    """A call that waits for its time; ``cancel`` is harmless when it is too late."""

    __slots__ = ("_function", "due_s")

    def __init__(self, due_s: float, function: Callable[[], Any]) -> None:
        self.due_s = due_s
        self._function: Callable[[], Any] | None = function

    def cancel(self) -> None:
        self._function = None

    def active(self) -> bool:
        return self._function is not None

    def run(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


class SelectorLoop:
    """A reactor's reader, writer and timer methods on ``selectors``, in a daemon thread."""

    def __init__(self, name: str = "achilles-loop") -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], Any]] = deque()
        self._timers: list[tuple[float, int, DelayedCall]] = []
        self._timer_numbers = itertools.count()
        #: descriptor -> (fd, events); kept by identity so that a closed one can still be removed
        self._watched: dict[Any, tuple[int, int]] = {}
        self._by_fd: dict[int, Any] = {}
        # Its own object for the same interest list, so that other threads can change what is heard.
        self._interest = _interest_of(self._selector)
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        # What the loop's thread waits for: the selector and the pipe that wakes it.
        self._outer = None if self._interest is None else select.epoll()
        if self._outer is None:
            self._selector.register(self._wake_r, selectors.EVENT_READ)
        else:
            self._outer.register(self._wake_r, select.EPOLLIN)
            self._outer.register(self._interest.fileno(), select.EPOLLIN)
        # Reentrant: a finalizer may close a descriptor, say, in the thread that serves.
        self._serving = threading.RLock()
        self._pumping = threading.Lock()
        self._led_by = 0  # the thread that the loop's has left its descriptors to
        self._leader = 0  # the same while it serves them
        self._wakes_at_s = 0.0
        self._wake_pending = False
        # Of the delayed calls as well. Reentrant: the garbage collector may run a finalizer that wakes the
        # loop while it is held.
        self._wake_lock = threading.RLock()
        self._running = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._running = True
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and close the loop's own descriptors. Watched descriptors stay open.

        Called in the loop's thread itself, it ends the loop once the current call returns.
        """
        self._running = False
        self._wake()
        if self._thread.ident is None:
            self._close()
        elif threading.get_ident() != self._thread.ident:
            self._thread.join(timeout_s)

    def in_loop(self) -> bool:
        """Whether the caller runs in the loop's thread, or serves in its place."""
        return threading.get_ident() in (self._thread.ident, self._leader)

    # -- what Twisted's reactor has too

    def addReader(self, reader: Any) -> None:
        self._change(reader, selectors.EVENT_READ, 0)

    def removeReader(self, reader: Any) -> None:
        self._change(reader, 0, selectors.EVENT_READ)

    def addWriter(self, writer: Any) -> None:
        self._change(writer, selectors.EVENT_WRITE, 0)

    def removeWriter(self, writer: Any) -> None:
        self._change(writer, 0, selectors.EVENT_WRITE)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any) -> DelayedCall:
        """Run the call after ``delay`` seconds."""
        call = DelayedCall(time.monotonic() + delay, lambda: callable(*args))
        with self._wake_lock:
            heapq.heappush(self._timers, (call.due_s, next(self._timer_numbers), call))
            if call.due_s < self._wakes_at_s and threading.get_ident() != self._thread.ident:
                self._wake()  # the loop's thread sleeps, or is about to, and knows nothing of it
        return call

    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> None:
        """Run the call in the loop's thread, as soon as it can."""
        self._calls.append((lambda: callable(*args)) if args else callable)
        self._wake()

    def listen(self, fd: int, *, reading: bool = False, writing: bool = False) -> bool:
        """For now hear only this of a watched descriptor, until its reader or writer changes.

        Returns:
            False where this cannot be done, or the descriptor is not watched.
        """
        if self._interest is None:
            return False
        try:
            self._interest.modify(fd, select.EPOLLIN * reading | select.EPOLLOUT * writing)
        except (OSError, ValueError):
            return False
        return True

    def listen_again(self, descriptor: Any) -> None:
        """Hear all of a watched descriptor that its reader and writer are for."""
        with self._serving:
            fd, events = self._watched.get(descriptor, (-1, 0))
            if events:
                reading, writing = events & selectors.EVENT_READ, events & selectors.EVENT_WRITE
                self.listen(fd, reading=bool(reading), writing=bool(writing))

    def serve(self, call: Callable[[], Any]) -> None:
        """Run a descriptor's method in this thread, as the loop's would."""
        with self._serving:
            self._leader = threading.get_ident()
            try:
                call()
            finally:
                self._leader = 0

    def lead(self) -> None:
        """Serve descriptors in this thread from now on; `pump` or `let_go` must follow soon.

        Before something is sent whose answer this thread will pump for: the loop's thread is then not
        woken by it. Nothing is served meanwhile, so no foreign code may run. It waits until the loop's thread
        has done what it is at: call it with no lock that this may want.
        """
        if self._outer is not None and not self.in_loop() and self._pumping.acquire(blocking=False):
            with self._serving:
                if not self._closed and self._running:
                    self._led_by = threading.get_ident()
                    self._outer.modify(self._interest.fileno(), 0)
                    return
            self._pumping.release()

    def let_go(self) -> None:
        """Leave the descriptors to the loop's thread again, if this one leads. Waits for nobody."""
        if self._led_by == threading.get_ident() and self._outer is not None:
            self._led_by = 0
            self._outer.modify(self._interest.fileno(), select.EPOLLIN)
            self._pumping.release()

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Serve in this thread what can be read or written within so long, once.

        Args:
            patience_s: How long to wait for the first descriptor.
            wanted: Whether there is still something to wait for; what another thread served meanwhile
                may have made it False.

        Returns:
            False when nothing came, or this thread cannot do it now: another one does, or there is no epoll.
        """
        thread = threading.get_ident()
        if self._led_by != thread:
            self.lead()
            if self._led_by != thread:
                return False
        try:
            with self._serving:  # what the loop's thread is about to serve comes first
                if not wanted():
                    return True
            ready = self._interest.poll(patience_s)
            if not ready:
                return False
            with self._serving:
                self._leader = thread
                try:
                    self._serve_all(ready)
                finally:
                    self._leader = 0
            return True
        finally:
            self.let_go()

    # -- inside

    def _change(self, descriptor: Any, add: int, remove: int) -> None:
        if self.in_loop() or self._thread.ident is None:
            self._apply(descriptor, add, remove)
        else:
            # A removal must not wait for the loop: the caller may close the descriptor next.
            # Forgetting it here is safe, since the loop looks descriptors up again at each event.
            self.callFromThread(self._apply, descriptor, add, remove)

    def _apply(self, descriptor: Any, add: int, remove: int) -> None:
        fd, events = self._watched.get(descriptor, (-1, 0))
        wanted = (events | add) & ~remove
        if wanted == events:
            return
        if not events:
            fd = descriptor.fileno()
            if fd < 0:
                return  # closed before the loop got to it
            stale = self._by_fd.get(fd)
            if stale is not None:
                self._forget(stale)
            self._selector.register(fd, wanted)
            self._by_fd[fd] = descriptor
            self._watched[descriptor] = (fd, wanted)
        elif not wanted:
            self._forget(descriptor)
        else:
            self._selector.modify(fd, wanted)
            self._watched[descriptor] = (fd, wanted)

    def _forget(self, descriptor: Any) -> None:
        fd, _ = self._watched.pop(descriptor)
        self._by_fd.pop(fd, None)
        try:
            self._selector.unregister(fd)
        except (KeyError, OSError, ValueError):
            pass  # closed in the meantime, which the kernel took as removal

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_pending or self._closed:
                return
            self._wake_pending = True
            try:
                os.write(self._wake_w, b"\0")
            except BlockingIOError:
                pass

    def _run(self) -> None:
        try:
            while self._running:
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        timeout_s: float | None = None
        with self._wake_lock:
            while self._timers and not self._timers[0][2].active():
                heapq.heappop(self._timers)
            self._wakes_at_s = self._timers[0][0] if self._timers else math.inf
        if self._wakes_at_s < math.inf:
            timeout_s = max(0.0, self._wakes_at_s - time.monotonic())
        if self._outer is not None:
            fds = [fd for fd, _ in self._outer.poll(timeout_s)]
        else:
            ready = self._selector.select(timeout_s)
            fds = [key.fd for key, _ in ready]
        with self._serving:
            if self._wake_r in fds:
                with self._wake_lock:
                    os.read(self._wake_r, 4096)
                    self._wake_pending = False
            if self._outer is None:
                for key, events in ready:
                    self._serve(key.fd, events & selectors.EVENT_READ, events & selectors.EVENT_WRITE)
            elif not self._led_by:
                # Asked anew: another thread may have served since what this one was woken for.
                self._serve_all(self._interest.poll(0))
            for _ in range(len(self._calls)):
                self._guard(self._calls.popleft())
            now_s = time.monotonic()
            while (call := self._next_due(now_s)) is not None:
                self._guard(call.run)

    def _next_due(self, now_s: float) -> DelayedCall | None:
        with self._wake_lock:
            return heapq.heappop(self._timers)[2] if self._timers and self._timers[0][0] <= now_s else None

    def _serve_all(self, ready: list[tuple[int, int]]) -> None:
        for fd, events in ready:
            # An error or a hang-up is found by trying either.
            self._serve(fd, events & ~select.EPOLLOUT, events & ~select.EPOLLIN)

    def _serve(self, fd: int, reads: int, writes: int) -> None:
        descriptor = self._by_fd.get(fd)
        if descriptor is None:
            return
        reason: Any = None
        try:
            if reads:
                reason = descriptor.doRead()
            if writes and not reason:
                watched = self._watched.get(descriptor)
                if watched is not None and watched[1] & selectors.EVENT_WRITE:
                    reason = descriptor.doWrite()
        except Exception as error:  # noqa: BLE001 - the loop must go on
            _log.exception("%s failed", descriptor.logPrefix())
            reason = error
        if reason:
            if descriptor in self._watched:
                self._forget(descriptor)
            self._guard(lambda: descriptor.connectionLost(reason))

    def _guard(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - the loop must go on
            _log.exception("a call in the workers' loop failed")

    def _close(self) -> None:
        with self._pumping:  # not while another thread waits at what is closed here
            with self._wake_lock:
                if self._closed:
                    return
                self._closed = True
                os.close(self._wake_r)
                os.close(self._wake_w)
            if self._outer is not None:
                self._outer.close()
                self._interest.close()
            self._selector.close()


def _interest_of(selector: selectors.BaseSelector) -> Any:
    """An epoll object of its own on a selector's epoll instance; None where there is none."""
    if not hasattr(selectors, "EpollSelector") or not isinstance(selector, selectors.EpollSelector):
        return None
    return select.epoll.fromfd(os.dup(selector.fileno()))
