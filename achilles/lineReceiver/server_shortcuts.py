"""Sockets from controllers to nodes of this machine, for single calls that then do not pass the server.

A call through the server wakes a process more, twice. Where controller and node are processes of the
server's own user, by the kernel's word, and take descriptors, the server makes a pair of connected sockets
and gives each of them one end. It says which jobs' calls may go there, and nothing that goes there passes it.

Rules:

1. A job is named only to a node that has answered a call of it, so the node surely knows it.
2. A shortcut ends with either party's connection: the server keeps the controller's end as well, and shuts
   it down, which both sides read as the end of the stream. The same end tells it that one of them has
   closed theirs.
3. There are few of them, since each costs all three a descriptor.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
from typing import TYPE_CHECKING

from ..sealed import Descriptor
from . import messages as wire
from .server_jobs import RoutedJob

if TYPE_CHECKING:
    from .server_connection import ServerConnection

__all__ = ["MAX_SHORTCUTS", "MAX_SHORTCUTS_OF_ONE", "ServerShortcut", "Shortcuts"]

MAX_SHORTCUTS = 128
MAX_SHORTCUTS_OF_ONE = 4

# What a poll tells of an end whose stream is over in either direction.
_ENDED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class ServerShortcut:
    """The server's hold on a pair of sockets.

    Args:
        number: Its number, the same for both parties.
        controller: Who has the one end.
        node: Who has the other.
        end: The controller's end.
    """

    __slots__ = ("_end", "_poller", "controller", "node", "number")

    def __init__(
        self, number: int, controller: ServerConnection, node: ServerConnection, end: socket.socket
    ) -> None:
        self.number = number
        self.controller = controller
        self.node = node
        self._end: socket.socket | None = end
        self._poller = select.poll()
        self._poller.register(end, _ENDED)

    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self._end is not None and not self._poller.poll(0)

    def close(self) -> None:
        """Have both sides read its end; harmless when repeated."""
        end, self._end = self._end, None
        if end is not None:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the node was faster
            end.close()


class Shortcuts:
    """All shortcuts that the server has made and not closed."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._made: dict[tuple[ServerConnection, ServerConnection], ServerShortcut] = {}

    def __len__(self) -> int:
        return len(self._made)

    def offer(self, job: RoutedJob, controller: ServerConnection, node: ServerConnection) -> None:
        """Have a job's next calls go to the node directly, if that can be; it has just answered one."""
        known = job.shortcut
        if known is not None and known.node is node and known.is_open():
            return  # whose controller has a reason not to use it now
        if not (controller.takes_shortcuts and node.takes_shortcuts):
            return
        pair = controller, node
        shortcut = self._made.get(pair)
        if shortcut is not None and not shortcut.is_open():
            self._made.pop(pair).close()
            shortcut = None
        to_node = wire.Shortcut(shortcut=0, job=job.number)
        to_controller = wire.Shortcut(shortcut=0, job=job.local_number, there=job.number)
        if shortcut is not None:
            to_node.shortcut = to_controller.shortcut = shortcut.number
            node.send(to_node)
            controller.send(to_controller)
        else:
            shortcut = self._opened(pair, to_node, to_controller)
        job.shortcut = shortcut

    def _opened(
        self,
        pair: tuple[ServerConnection, ServerConnection],
        to_node: wire.Shortcut,
        to_controller: wire.Shortcut,
    ) -> ServerShortcut | None:
        """A new one, of which both are told; None if there are enough, or one does not get its end."""
        controller, node = pair
        of_one = sum(made.controller is controller for made in self._made.values())
        if len(self._made) >= MAX_SHORTCUTS or of_one >= MAX_SHORTCUTS_OF_ONE:
            return None
        try:
            end, other = socket.socketpair()
        except OSError:
            return None  # this process may open no more
        shortcut = ServerShortcut(next(self._numbers), controller, node, end)
        for_node = Descriptor(other.detach())
        try:
            for_controller = Descriptor(os.dup(end.fileno()))
        except OSError:
            shortcut.close()
            return None
        for message in (to_node, to_controller):
            message.shortcut, message.opens = shortcut.number, True
        if not (
            node.send_beside(to_node, for_node) and controller.send_beside(to_controller, for_controller)
        ):
            shortcut.close()
            return None
        self._made[pair] = shortcut
        return shortcut

    def party_left(self, party: ServerConnection) -> None:
        """A controller or a node is gone."""
        for pair in [pair for pair in self._made if party in pair]:
            self._made.pop(pair).close()
