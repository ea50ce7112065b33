"""Large arrays through a server inside TLS 1.3, beside the same bytes through a bare Twisted relay.

    python -m benchmarks.tls_relay [rounds]

The bare one is three processes: a sender on the standard library's TLS (as a controller), a relay, and a
sink on Twisted (as a node). Nothing is parsed, kept or answered but the end, and TLS is Twisted's own. The
other one is W4 on a cluster over TLS: 64 arrays of 8 MiB into warm workers, and there and back. Both are
measured in turns; printed are MB/s of what went in, medians and their ratios' medians (the bar is 0.8),
and the processor's milliseconds for 8 MiB, of the relay or server alone and of all processes.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from achilles.lineReceiver.tls import client_context, server_certificate
from benchmarks.peers.achilles_cluster import ClusterOverTls
from benchmarks.tasks import no_op, size_of
from benchmarks.workloads.arrays import ARRAY_BYTES
from benchmarks.workloads.workload import mapped

ARRAYS = 64
HEADER_BYTES = 9  # how much will come, and whether it is to come back
READ_BYTES = 1 << 20
ROUNDS = 5


def _run(end: Any, port: int, directory: str) -> None:
    from twisted.internet import reactor
    from twisted.internet.endpoints import HostnameEndpoint
    from twisted.internet.protocol import Factory, Protocol
    from twisted.protocols.tls import TLSMemoryBIOFactory

    from achilles.lineReceiver.tls_twisted import _Connections

    class Enlarged(Protocol):
        def connectionMade(self) -> None:
            below = self.transport.transport  # type: ignore[union-attr]
            below.bufferSize = below.SEND_LIMIT = READ_BYTES

    class Far(Enlarged):
        near: Any

        def dataReceived(self, data: bytes) -> None:
            self.near.transport.write(data)

    class Relay(Enlarged):
        far: Any = None

        def connectionMade(self) -> None:
            super().connectionMade()
            self.waiting: list[bytes] = []
            factory = TLSMemoryBIOFactory(_Connections(None), True, Factory.forProtocol(Far))  # type: ignore[arg-type]
            HostnameEndpoint(reactor, "127.0.0.1", port).connect(factory).addCallback(self.reached)

        def reached(self, far: Any) -> None:
            self.far = far = far.wrappedProtocol  # the outer one is TLS
            far.near = self
            far.transport.writeSequence(self.waiting)

        def dataReceived(self, data: bytes) -> None:
            if self.far is None:
                self.waiting.append(data)
            else:
                self.far.transport.write(data)

    class Sink(Enlarged):
        missing = 0
        echoes = False

        def dataReceived(self, data: bytes) -> None:
            if not self.missing:
                self.missing, self.echoes = int.from_bytes(data[:8], "big"), data[8:9] == b"1"
                data = data[HEADER_BYTES:]
            self.missing -= len(data)
            if self.echoes:
                self.transport.write(data)  # type: ignore[union-attr]
            elif not self.missing:
                self.transport.write(b"1")  # type: ignore[union-attr]

    certificate = server_certificate(Path(directory), "bench")
    kind = Relay if port else Sink
    factory = TLSMemoryBIOFactory(_Connections(certificate.pem_path), False, Factory.forProtocol(kind))  # type: ignore[arg-type]
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    end.send(listening.getHost().port)
    reactor.run()  # type: ignore[attr-defined]


class BareRelay:
    """A sender's connection to a sink through a relay."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._directory = tempfile.TemporaryDirectory()
        server_certificate(Path(self._directory.name), "bench")
        port = 0
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_run, args=(theirs, port, self._directory.name), daemon=True)
            process.start()
            self._processes.append(process)
            port = ours.recv()
        self._socket = client_context().wrap_socket(socket.create_connection(("127.0.0.1", port)))
        self.send([bytes(1)], echo=False)

    def pids(self) -> tuple[int, list[int]]:
        """The process in the middle, and the sink."""
        return self._processes[1].pid, [self._processes[0].pid]

    def send(self, parts: Sequence[Any], *, echo: bool) -> float:
        """Seconds until all has arrived, or has come back."""
        payload = [memoryview(part).cast("B") for part in parts]
        size_bytes = sum(map(len, payload))
        waiting = [memoryview(size_bytes.to_bytes(8, "big") + b"%d" % echo), *payload][::-1]
        missing_bytes = size_bytes if echo else 1
        room = bytearray(READ_BYTES)
        began_s = time.perf_counter()
        self._socket.setblocking(False)
        while missing_bytes:
            blocked = not waiting
            if waiting:
                part = waiting.pop()
                try:
                    sent = self._socket.send(part)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    sent, blocked = 0, True
                if sent < len(part):
                    waiting.append(part[sent:])
            if echo or not waiting:
                try:
                    while missing_bytes:
                        missing_bytes -= self._socket.recv_into(room)
                        blocked = False
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            if blocked:
                select.select([self._socket], [self._socket] if waiting else [], [])
        return time.perf_counter() - began_s

    def stop(self) -> None:
        """End its processes."""
        self._socket.close()
        for process in self._processes:
            process.terminate()
            process.join()
        self._directory.cleanup()


def _cpu_s(pids: list[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(each.user + each.system for each in times))


class Side:
    """The figures of one side, turn after turn.

    Args:
        middle: The process that passes bytes on.
        others: The other processes, our own apart.
    """

    def __init__(self, middle: int, others: list[int]) -> None:
        self._middle = middle
        self._all = [os.getpid(), middle, *others]
        self.mb_per_s: list[float] = []
        self.middle_ms: list[float] = []
        self.all_ms: list[float] = []

    def measure(self, seconds_of: Callable[[], float]) -> None:
        """One turn."""
        middle_s, all_s = _cpu_s([self._middle]), _cpu_s(self._all)
        self.mb_per_s.append(ARRAYS * ARRAY_BYTES / 1e6 / seconds_of())
        self.middle_ms.append(1e3 * (_cpu_s([self._middle]) - middle_s) / ARRAYS)
        self.all_ms.append(1e3 * (_cpu_s(self._all) - all_s) / ARRAYS)

    def __str__(self) -> str:
        medians = [statistics.median(each) for each in (self.mb_per_s, self.middle_ms, self.all_ms)]
        return "{:8.0f}{:10.1f}{:8.1f}".format(*medians)


def main() -> None:
    """Measure and print."""
    import numpy as np

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    arrays = [np.full(ARRAY_BYTES // 8, float(number)) for number in range(ARRAYS)]
    bare = BareRelay()
    try:
        with ClusterOverTls(2) as cluster:
            for function in (size_of, no_op):
                mapped(cluster, function, arrays[:2], 1)
            pids = cluster.other_pids()
            server = pids.pop("server")
            print("                MB/s    middle     all  ms/8 MiB")
            for name, function in (("in", size_of), ("echo", no_op)):
                sides = Side(*bare.pids()), Side(server, [*pids.values(), *cluster.worker_pids()])
                turns: list[Callable[[], float]] = [
                    partial(bare.send, arrays, echo=function is no_op),
                    partial(mapped, cluster, function, arrays, 1),
                ]
                for number in range(rounds):
                    for which in (0, 1) if number % 2 else (1, 0):
                        sides[which].measure(turns[which])
                rates = zip(*[side.mb_per_s for side in sides], strict=True)
                ratios = sorted(ours / theirs for theirs, ours in rates)
                print(f"{name:5}bare    {sides[0]}")
                ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                print(f"{name:5}achilles{sides[1]}   ratio {ratio}", flush=True)
    finally:
        bare.stop()


if __name__ == "__main__":
    main()
