"""Many nodes in one process: real connections that prove the key, and no workers behind them.

A simulated node answers each parcel as a node whose workers run a function that gives its argument back
(the unit's bytes are those of its results), after as long as its tasks would have taken. It answers pings,
gives no parcel back, and knows nothing of time limits, modules or output.
"""

from __future__ import annotations

import heapq
import os
import selectors
import socket
import ssl
import sys
import time
from collections import deque

from achilles import __version__
from achilles.config import Settings, load_settings
from achilles.lineReceiver import local_socket
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.handshake import ClientHandshake
from achilles.lineReceiver.tls import client_context, end_point_binding
from achilles.lineReceiver.wire import Buffer, FrameParser, Limits, frame_segments, gather

READ_BYTES = 65_536
# A server that takes nothing for so long does not hold its nodes.
SEND_S = 20.0


class SimulatedNode:
    """One connection.

    Args:
        settings: Where the server is, and the key.
        cpu_count: Workers that it says it has.
        task_s: How long one of its workers takes for a task.
    """

    def __init__(self, settings: Settings, cpu_count: int, task_s: float) -> None:
        self.cpu_count = cpu_count
        self.task_s = task_s
        self.free_s = 0.0  # when all that it has will be done
        self._parser = FrameParser()
        self._early: deque[tuple[wire.Message, list[Buffer]]] = deque()
        self.socket = self._connect(settings)
        self._shake_hands(settings)

    def _connect(self, settings: Settings) -> socket.socket:
        there = local_socket.find_connection_file(settings.host, settings.port)
        near = local_socket.connect(there) if there is not None else None
        if near is not None:
            return near
        plain = socket.create_connection((settings.host, settings.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client_context().wrap_socket(plain)

    def _shake_hands(self, settings: Settings) -> None:
        self.socket.settimeout(SEND_S)
        is_tls = isinstance(self.socket, ssl.SSLSocket)
        handshake = ClientHandshake(
            wire.Hello(
                protocol=wire.PROTOCOL,
                role="node",
                version=__version__,
                python=sys.version_info[:2],
                host=socket.gethostname(),
                pid=os.getpid(),
                cpu_count=self.cpu_count,
            ),
            username=settings.username,
            secret_key=settings.secret_key,
            channel_binding=end_point_binding(self.socket.getpeercert(True) or b"") if is_tls else None,
            peer_trusted=not is_tls and local_socket.peer_is_us(self.socket),
            host=settings.host,
            port=settings.port,
        )
        for message in handshake.start():
            self.send(message)
        while not handshake.done:
            while not self._early:
                self._early.extend(self._parser.frames(self._read()))
            for message in handshake.receive(self._early.popleft()[0]):
                self.send(message)
        self._parser.limits = Limits()

    def _read(self) -> bytes:
        read = self.socket.recv(READ_BYTES)
        if not read:
            raise ConnectionError("the server closed the connection of a simulated node")
        return read

    def send(self, message: wire.Message, segments: tuple[Buffer, ...] = ()) -> None:
        self.socket.sendall(b"".join(frame_segments(message, segments)))

    def frames(self) -> list[tuple[wire.Message, list[Buffer]]]:
        """What has come; the socket is readable."""
        found = list(self._early)
        self._early.clear()
        found += self._parser.feed(self._read())
        while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            found += self._parser.feed(self._read())
        return found

    def done_s(self, parcel: wire.Parcel, now_s: float) -> float:
        """When a parcel that came now is done."""
        self.free_s = max(self.free_s, now_s) + parcel.tasks * self.task_s / self.cpu_count
        return self.free_s

    def answer(self, parcel: wire.Parcel, payload: Buffer) -> None:
        """Send a parcel's results."""
        segments = []
        first = parcel.first
        for tasks, size_bytes in parcel.units:
            segments.append((first, tasks, wire.PIECE_OK, int(tasks * self.task_s * 1e6), size_bytes))
            first += tasks
        for start in range(0, len(segments), wire.MAX_SEGMENTS):
            part = segments[start : start + wire.MAX_SEGMENTS]
            begin = sum(segment[4] for segment in segments[:start])
            end = begin + sum(segment[4] for segment in part)
            self.send(
                wire.Results(parcel.job, parcel.parcel, parcel.attempt, part),
                (memoryview(payload)[begin:end],),
            )


def run(nodes: int, cpu_count: int, task_s: float) -> None:
    """Connect so many nodes, say so, and serve until the process is ended."""
    settings = load_settings()
    waiting: list[tuple[float, int, SimulatedNode, wire.Parcel, Buffer]] = []
    serial = 0
    with selectors.DefaultSelector() as selector:

        def serve(node: SimulatedNode) -> None:
            nonlocal serial
            for message, chunks in node.frames():
                if isinstance(message, wire.Parcel):
                    serial += 1
                    due_s = node.done_s(message, time.monotonic())
                    heapq.heappush(waiting, (due_s, serial, node, message, gather(chunks)))
                elif isinstance(message, wire.Ping):
                    node.send(wire.Pong(message.sent_ns))
                elif isinstance(message, wire.TakeBack):
                    node.send(wire.Returned(message.job, message.parcel, message.attempt, False))
                elif isinstance(message, wire.Error):
                    sys.exit(message.message)

        def turn(most_s: float | None) -> None:
            for key, _ in selector.select(most_s):
                serve(key.data)
            now_s = time.monotonic()
            while waiting and waiting[0][0] <= now_s:
                _, _, node, parcel, payload = heapq.heappop(waiting)
                node.answer(parcel, payload)

        for _ in range(nodes):
            node = SimulatedNode(settings, cpu_count, task_s)
            selector.register(node.socket, selectors.EVENT_READ, node)
            turn(0)
        print("joined", flush=True)
        while True:
            turn(max(0.0, waiting[0][0] - time.monotonic()) if waiting else None)
