"""Looks for a server that was lost, with growing pauses."""

from __future__ import annotations

import random
import threading
import time

from ..config import Settings
from ..errors import ServerUnreachable
from ..lineReceiver.dialling import Link, dial

__all__ = ["RECONNECT_S", "dial_again"]

RECONNECT_S = 60.0
"""How long a lost server is looked for."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


def dial_again(settings: Settings, given_up: threading.Event) -> Link | None:
    """Dial until somebody answers, for `RECONNECT_S`; in the calling thread.

    Args:
        settings: Where the server is, and what proves our right.
        given_up: Set when nobody needs the connection any more.

    Returns:
        The connection; None when it was given up.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: See `dial`.
    """
    give_up_s = time.monotonic() + RECONNECT_S
    pause_s = FIRST_PAUSE_S
    # Unequal pauses, so that the clients of one server do not all come at once.
    while not given_up.wait(pause_s * random.uniform(0.5, 1.0)):
        pause_s = min(pause_s * 1.6, LONGEST_PAUSE_S)
        try:
            return dial(settings)
        except ServerUnreachable:
            if time.monotonic() >= give_up_s:
                raise
    return None
