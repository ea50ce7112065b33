"""The streams of calls of one pool: one for each way in which calls are to be run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..engines.spec import JobSpec
from .explaining import Figures
from .options import Options
from .place import Place
from .stream import Call, CallStream, Promise, Sent
from .waiting import Reader

__all__ = ["Streams"]

# Beyond so many, one that is idle ends when another is wanted.
MOST_STREAMS = 16


class Streams:
    """Finds the stream for a call, and starts it if there is none.

    Args:
        place: Where they run.
        spec_of: The job for calls with such options.
    """

    def __init__(self, place: Place, spec_of: Callable[[Options], JobSpec]) -> None:
        self._place = place
        self._spec_of = spec_of
        self._streams: dict[tuple[Any, ...], CallStream] = {}
        self._lock = threading.Lock()
        self._closed = False

    def add(self, options: Options, call: Call, promise: Promise) -> Sent:
        """Make a call.

        Raises:
            ValueError: The pool has ended.
            Exception: The server cannot be used, or options are wrong.
        """
        key = options.key
        with self._lock:
            stream = self._streams.get(key)
            if stream is None or stream.failed:
                if self._closed:
                    raise ValueError("Pool not running: it was closed or terminated")
                self._make_room()
                stream = self._streams[key] = CallStream(self._spec_of(options), self._place)
            stream.expect()  # from here on it is not idle
        # Pickling the call runs the caller's code, which may make calls itself.
        return stream.add(call, promise)

    def run_now(self, options: Options, call: Call) -> tuple[Any, BaseException | None] | None:
        """Make a call and wait for it, if a worker is idle; see `CallStream.run_now`."""
        with self._lock:
            stream = self._streams.get(options.key)
            if stream is None or stream.failed:
                return None
            stream.expect()
        try:
            return stream.run_now(call)
        finally:
            stream.no_more()

    def _make_room(self) -> None:
        for key, stream in list(self._streams.items()):
            if stream.failed or (len(self._streams) >= MOST_STREAMS and not stream.open_calls):
                del self._streams[key]
                stream.close()

    @property
    def readers(self) -> list[Reader]:
        """Those whose threads run callbacks."""
        with self._lock:
            return list(self._streams.values())

    @property
    def open_calls(self) -> int:
        """How many calls are not over; asks nobody."""
        return sum(stream.open_calls for stream in list(self._streams.values()))

    def join(self) -> None:
        """Wait until all calls are over."""
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            stream.join()

    def figures(self) -> Figures | None:
        """What was measured of the stream with the most calls done."""
        with self._lock:
            streams = list(self._streams.values())
        each = [stream.figures(is_local=self._place.is_local) for stream in streams]
        return max(each, key=lambda figures: (not figures.done, figures.tasks), default=None)

    def cancel_waiting(self, cancel: Callable[[Any], Any]) -> None:
        """Call ``cancel`` with the promise of each call that was not sent."""
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            for promise in stream.waiting():
                cancel(promise)

    def close(self) -> None:
        """Cancel what is not over. Harmless when repeated."""
        with self._lock:
            self._closed = True
            streams = list(self._streams.values())
            self._streams.clear()
        for stream in streams:
            stream.close()
