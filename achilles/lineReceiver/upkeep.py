"""Messages about the parties themselves: whether they live, how they are, that they are to leave."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from achilles.lineReceiver.control import Control
from achilles.lineReceiver.fields import Count, Offers

__all__ = ["Capacity", "Drain", "Exit", "Kill", "Killed", "Ping", "Pong", "Status", "StatusReply"]


class Ping(Control):
    """Are you there? ``sent_ns`` is the sender's clock and comes back untouched."""

    sent_ns: Count


class Pong(Control):
    """I am. A node adds its machine's load average of the last minute."""

    sent_ns: Count
    load: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Capacity(Control):
    """Server -> controllers: how many nodes and slots there are now."""

    nodes: Count
    slots: Count
    offers: Offers = ()


class Status(Control):
    """Controller -> server: how is the cluster?"""


class StatusReply(Control):
    """The payload is a JSON object."""

    has_payload: ClassVar[bool] = True


class Kill(Control):
    """Controller -> server: end all nodes, and the server itself if asked."""

    shutdown_server: bool = False


class Killed(Control):
    """Server -> controller: this many nodes were told to exit."""

    nodes: Count


class Exit(Control):
    """Server -> node: end this process and its workers."""


class Drain(Control):
    """Node -> server: send me nothing more, I leave when what I have is done."""
