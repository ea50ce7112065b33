"""The streams of calls of one pool: one for each way in which calls are to be run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..engines.spec import JobSpec
from ..kept import kept_in
from ..serialization import Serialized
from .call_sources import Call, SerializedCalls
from .explaining import Figures
from .options import Options
from .place import Place
from .stream import CallStream, Promise, Sent
from .waiting import Reader

__all__ = ["Streams"]

# Beyond so many, one that is idle ends when another is wanted.
MOST_STREAMS = 16
# First in the keys of streams whose results stay where they are made.
_KEEPS = object()


class Streams:
    """Finds the stream for a call, and starts it if there is none.

    Args:
        place: Where they run.
        spec_of: ``spec_of(options, keeps)``: the job for calls with such options, whose results stay where
            they are made if it ``keeps``.
    """

    def __init__(self, place: Place, spec_of: Callable[[Options, bool], JobSpec]) -> None:
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
                stream = self._streams[key] = CallStream(self._spec_of(options, False), self._place)
            stream.expect()  # from here on it is not idle
        # Pickling the call runs the caller's code, which may make calls itself.
        return stream.add(call, promise)

    def keep(self, call: Serialized, promise: Promise) -> Sent:
        """Make a call whose result is to stay where it is made, where its largest kept argument lies.

        Args:
            call: The serialized list of one call.
            promise: Gets the result, or a handle to it.

        Raises:
            ValueError: The pool has ended.
            Exception: The server cannot be used.
        """
        lies_at = None
        kept = [each for each in kept_in(call) if each.origin == self._place.origin]
        if kept:
            largest = max(kept, key=lambda each: each.size_bytes)
            lies_at = largest.reference if largest.holder is not None else None
        key = _KEEPS, None if lies_at is None else lies_at.holder
        with self._lock:
            stream = self._streams.get(key)
            if stream is None or stream.failed:
                if self._closed:
                    raise ValueError("Pool not running: it was closed or terminated")
                self._make_room()
                options = Options() if lies_at is None else Options(nodes=f"#{lies_at.holder}")
                specs = self._spec_of(options, False), self._spec_of(options, True)
                stream = self._streams[key] = CallStream(
                    specs[0], self._place, SerializedCalls(), keeping=specs[1]
                )
            stream.expect()
        return stream.add(call, promise, lies_at)

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
            # What stayed where it was made is there as long as the job that made it.
            idle = not stream.open_calls and key[0] is not _KEEPS
            if stream.failed or (len(self._streams) >= MOST_STREAMS and idle):
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
