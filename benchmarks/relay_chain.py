"""A round trip through bare Twisted relays: what one call on a cluster could reach if nobody thought.

    python -m benchmarks.relay_chain [seconds]

A caller and a worker that read and write a Unix socket with blocking calls, and 0, 1 or 2 Twisted processes
between them, as server and node are, that pass on what they read. Nothing is serialized, parsed, decided or
remembered. Prints medians and 99th percentiles in µs of 200 bytes there and back, beside a one-item ``map``
of the standard library's pool, and of achilles on a cluster of as many processes, in turns.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.achilles_cluster import Cluster
from benchmarks.peers.pools import StdlibPool
from benchmarks.tasks import no_op

MESSAGE = bytes(200)
TURNS = 5


def _relay(path: str, towards: str, ready: Any) -> None:
    from twisted.internet import reactor
    from twisted.internet.endpoints import UNIXClientEndpoint
    from twisted.internet.protocol import Factory, Protocol

    class Far(Protocol):
        near: Any

        def dataReceived(self, data: bytes) -> None:
            self.near.transport.write(data)

    class Near(Protocol):
        far: Any = None

        def connectionMade(self) -> None:
            UNIXClientEndpoint(reactor, towards).connect(Factory.forProtocol(Far)).addCallback(self.reached)

        def reached(self, far: Any) -> None:
            self.far, far.near = far, self
            self.transport.write(b"!")  # type: ignore[union-attr]

        def dataReceived(self, data: bytes) -> None:
            self.far.transport.write(data)

    reactor.listenUNIX(path, Factory.forProtocol(Near))  # type: ignore[attr-defined]
    reactor.callWhenRunning(ready.send, True)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


def _work(path: str, ready: Any) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        ready.send(True)
        while True:
            connection, _ = listener.accept()
            while received := connection.recv(1 << 16):
                connection.sendall(received)


class Chain:
    """A connection to a worker through so many relays.

    Args:
        relays: How many.
        directory: Where their sockets lie.
    """

    def __init__(self, relays: int, directory: Path) -> None:
        self._processes: list[Any] = []
        context = multiprocessing.get_context("spawn")
        path = str(directory / f"{relays}-worker")
        self._start(context, _work, path)
        for number in range(relays):
            towards, path = path, str(directory / f"{relays}-{number}")
            self._start(context, _relay, path, towards)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        if relays:
            self._socket.recv(relays)

    def _start(self, context: Any, run: Callable[..., None], *arguments: str) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(*arguments, theirs))
        process.start()
        self._processes.append(process)
        ours.recv()

    def call(self) -> None:
        """There and back."""
        self._socket.sendall(MESSAGE)
        missing = len(MESSAGE)
        while missing:
            missing -= len(self._socket.recv(missing))

    def stop(self) -> None:
        """End its processes."""
        self._socket.close()
        for process in self._processes:
            process.kill()
            process.join()


def measure(call: Callable[[], Any], seconds: float) -> list[float]:
    """The µs of calls one after another."""
    for _ in range(5):
        call()
    calls_us = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        began_s = time.perf_counter()
        call()
        calls_us.append(1e6 * (time.perf_counter() - began_s))
    return calls_us


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    directory = Path(tempfile.mkdtemp(prefix="achilles-chain-"))
    chains = [Chain(relays, directory) for relays in range(3)]
    pool, cluster = StdlibPool(2), Cluster(2)
    pool.start()
    cluster.start()
    calls: dict[str, Callable[[], Any]] = {
        f"{relays} relays": chain.call for relays, chain in enumerate(chains)
    }
    calls["stdlib map"] = lambda: pool.one(no_op, 0)
    calls["cluster map"] = lambda: cluster.one(no_op, 0)
    found: dict[str, list[float]] = {name: [] for name in calls}
    try:
        for _ in range(TURNS):
            for name, call in calls.items():
                found[name] += measure(call, seconds)
    finally:
        for part in (*chains, pool, cluster):
            part.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"µs on {len(os.sched_getaffinity(0))} cores      median    p99")
    for name, calls_us in found.items():
        cuts = statistics.quantiles(calls_us, n=100)
        print(f"{name:18}{statistics.median(calls_us):8.0f}{cuts[98]:8.0f}")


if __name__ == "__main__":
    main()
