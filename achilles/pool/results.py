"""`AsyncResult` and `MapResult`: what the ``_async`` methods of a pool return."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from multiprocessing import TimeoutError as PoolTimeoutError
from typing import Any

from ..html_table import html_table
from .checks import check_callback, check_seconds
from .waiting import check_wait

__all__ = ["AsyncResult", "MapResult", "NotInTime", "tell"]

_log = logging.getLogger("achilles.pool")


class NotInTime(PoolTimeoutError, TimeoutError):
    """A result was not ready in time: `multiprocessing.TimeoutError`, and the built-in one."""


class AsyncResult:
    """A result that will be there later, as `multiprocessing.pool.AsyncResult`.

    Args:
        callback: Called with the value, once, in a thread of the pool's.
        error_callback: Called with the exception, once, in a thread of the pool's.
        keep: What has to live on until this is dropped: the pool.
    """

    def __init__(
        self,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        *,
        keep: object = None,
    ) -> None:
        check_callback("callback", callback)
        check_callback("error_callback", error_callback)
        self._kept = keep
        self._done = threading.Event()
        self._settling = threading.Lock()
        self._is_settled = False
        self._callback = callback
        self._error_callback = error_callback
        self._value: Any = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state()}>"

    def _repr_html_(self) -> str:
        return html_table(self, lambda: {"state": self._state()})

    def _state(self) -> str:
        return "pending" if not self.ready() else "successful" if self._error is None else "failed"

    def ready(self) -> bool:
        """Whether the call is over."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether it is over and raised nothing.

        Raises:
            ValueError: It is not over.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is over, or for so many seconds."""
        if not self._done.is_set():
            check_wait(self)
            self._done.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """The value. Blocks.

        Raises:
            TimeoutError: It is not there after so many seconds (`multiprocessing.TimeoutError`).
            BaseException: What the function raised.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        if not self._done.is_set():
            check_wait(self)
        if not self._done.wait(timeout):
            raise NotInTime(f"the result was not ready within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Give it its value or its error, once, and tell whoever wants to know."""
        with self._settling:
            if self._is_settled:
                return
            self._is_settled = True
        self._value, self._error = value, error
        callback, error_callback = self._callback, self._error_callback
        self._callback = self._error_callback = None
        try:
            if error is None:
                tell(callback, value)
            else:
                tell(error_callback, error)
        finally:
            self._done.set()

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        return not self._is_settled


class MapResult(AsyncResult):
    """The list of results of a ``map_async`` or ``starmap_async``."""


def tell(callback: Callable[[Any], Any] | None, value: Any) -> None:
    """Call a callback; what it raises is logged, as nobody is there to catch it."""
    if callback is None:
        return
    try:
        callback(value)
    except BaseException:  # noqa: BLE001 - the caller's code, in a thread of ours that others need
        _log.exception("a callback of a pool raised")
