"""Ctrl-C of a party that runs a reactor: heard from before it runs.

Twisted listens to signals once its reactor runs. What comes just before is raised wherever the reactor is,
which may then go on with no ear for a second one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["stopped_by_interrupts"]


@contextmanager
def stopped_by_interrupts(reactor: Any) -> Iterator[None]:
    """Within this block SIGINT stops the reactor, as soon as it runs.

    Nothing is changed in threads other than the main one, nor where somebody has a handler of their own.
    """
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def stop(signal_number: int, frame: Any) -> None:
        reactor.callFromThread(lambda: reactor.stop() if reactor.running else None)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
