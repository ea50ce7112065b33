"""Connections between a peer and the server: delayed, in order, and able to break one way or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.scenario import MS, Cut

if TYPE_CHECKING:
    from tests.simulation.server_body import ServerBody
    from tests.simulation.world import World

FIRST_PAUSE_NS = 10 * MS
LONGEST_PAUSE_NS = 80 * MS


class Link:
    """One direction of a connection."""

    def __init__(self, world: World, latency_ns: int) -> None:
        self._world = world
        self._latency_ns = latency_ns
        self._last_ns = 0
        self.cut = False

    def post(self, receive: Callable[..., None], *args: Any) -> None:
        """Have ``receive`` called at the other end."""
        if self.cut:
            return
        jitter_ns = int(self._latency_ns * self._world.rng.random())
        self._last_ns = max(self._last_ns, self._world.now_ns + self._latency_ns + jitter_ns)
        self._world.at(self._last_ns, self._arrive, receive, args)

    def _arrive(self, receive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.cut:
            receive(*args)


class Connection:
    """One connection of a peer with one life of the server, which knows it by a number."""

    def __init__(self, world: World, peer: Peer, latency_ns: int) -> None:
        self.server: ServerBody = world.server
        self.number = self.server.accept(self)
        self.peer = peer
        self.over = False  # as far as the server knows
        self.up = Link(world, latency_ns)
        self.down = Link(world, latency_ns)

    def close(self) -> None:
        """Nothing passes any more."""
        self.up.cut = self.down.cut = True


class Peer:
    """Dials the server, and dials again when the connection is lost."""

    def __init__(self, world: World, latency_ns: int, cuts: list[Cut]) -> None:
        self.world = world
        self.latency_ns = latency_ns
        self.connection: Connection | None = None
        self.comes_back = True
        for cut in cuts:
            world.at(cut.at_ns, self._cut, cut)

    def dial(self, pause_ns: int = FIRST_PAUSE_NS) -> None:
        """Connect as soon as there is a server."""
        if not self.comes_back or self.connection is not None:
            return
        if not self.world.server.alive:
            self.world.after(
                pause_ns * self.world.rng.uniform(0.5, 1.0), self.dial, min(2 * pause_ns, LONGEST_PAUSE_NS)
            )
            return
        self.connection = Connection(self.world, self, self.latency_ns)
        self.connected(self.connection)

    def lose(self, connection: Connection, back_ns: int | None = 0) -> None:
        """See that a connection is gone, and dial again after a while (None: never)."""
        if self.connection is not connection:
            return
        connection.close()
        self.connection = None
        self.comes_back = self.comes_back and back_ns is not None
        self.disconnected()
        if back_ns is not None:
            self.world.after(back_ns + self.world.rng.random() * FIRST_PAUSE_NS, self.dial)

    def _cut(self, cut: Cut) -> None:
        connection = self.connection
        if connection is None:
            return
        connection.up.cut = connection.up.cut or cut.up
        connection.down.cut = connection.down.cut or cut.down
        self.world.after(cut.server_notices_ns, connection.server.left, connection)
        self.world.after(cut.peer_notices_ns, self.lose, connection, cut.back_ns)

    def connected(self, connection: Connection) -> None:
        """The server is there."""
        raise NotImplementedError

    def disconnected(self) -> None:
        """All that the server knew of this peer is lost."""
        raise NotImplementedError
