"""Bytes through a bare Twisted relay inside TLS 1.3: what a server between two machines could reach.

    python -m benchmarks.tls_relay [MiB]

Three processes: a sender on the standard library's TLS (as a controller), a relay, and a sink on Twisted (as
a node). Nothing is parsed, kept or answered but the end. Prints MB/s.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from achilles.lineReceiver.tls import client_context, server_certificate

PART_BYTES = 8 << 20


def _run(end: Any, port: int, directory: str) -> None:
    from twisted.internet import reactor
    from twisted.internet.endpoints import HostnameEndpoint
    from twisted.internet.protocol import Factory, Protocol
    from twisted.protocols.tls import TLSMemoryBIOFactory

    from achilles.lineReceiver.tls_twisted import _Connections, client_tls_factory
    from achilles.lineReceiver.wire import READ_BYTES

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
            factory = client_tls_factory(Factory.forProtocol(Far))
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

        def dataReceived(self, data: bytes) -> None:
            if not self.missing:
                self.missing = int.from_bytes(data[:8], "big")
                data = data[8:]
            self.missing -= len(data)
            if not self.missing:
                self.transport.write(b"1")  # type: ignore[union-attr]

    certificate = server_certificate(Path(directory), "bench")
    kind = Relay if port else Sink
    factory = TLSMemoryBIOFactory(_Connections(certificate.pem_path), False, Factory.forProtocol(kind))
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    end.send(listening.getHost().port)
    reactor.run()  # type: ignore[attr-defined]


def mb_per_s(total_bytes: int) -> float:
    """One measurement."""
    context = multiprocessing.get_context("spawn")
    processes: list[Any] = []
    port = 0
    with tempfile.TemporaryDirectory() as directory:
        server_certificate(Path(directory), "bench")
        try:
            for _ in range(2):
                ours, theirs = context.Pipe()
                processes.append(context.Process(target=_run, args=(theirs, port, directory), daemon=True))
                processes[-1].start()
                port = ours.recv()
            with client_context().wrap_socket(socket.create_connection(("127.0.0.1", port))) as sender:
                payload = bytes(PART_BYTES)
                for size in (8, total_bytes):  # the first makes the connections
                    began_s = time.perf_counter()
                    sender.sendall(size.to_bytes(8, "big"))
                    for _ in range(size // PART_BYTES):
                        sender.sendall(payload)
                    sender.sendall(bytes(size % PART_BYTES))
                    sender.recv(1)
                return total_bytes / 1e6 / (time.perf_counter() - began_s)
        finally:
            for process in processes:
                process.terminate()
                process.join()


if __name__ == "__main__":
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    print(f"{mb_per_s(mebibytes << 20):.0f} MB/s")
