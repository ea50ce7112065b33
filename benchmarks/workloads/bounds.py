"""B: what the machine itself can do; nothing that is measured beside it can be faster.

Round trips of one byte with another process over a pipe and over TCP on loopback, also through a third
process that passes bytes on, in µs (medians); bytes over TCP on loopback and ``memcpy`` of 8 MiB, in
MB/s; C pickle of a list of 1,000 ints, out and in, and of an 8 MiB array out of band, in µs. And the
efficiency, as W6 takes it, of two processes that run tasks of 10 ms and talk to nobody: what neighbours
and the kernel leave of two cores.
"""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers import Peer
from benchmarks.tasks import stamped
from benchmarks.workloads.workload import Effort, Figure, Workload

ARRAY_BYTES = 8 << 20


def median_us(call: Callable[[], Any], effort: Effort) -> float:
    calls = []
    end_s = time.perf_counter() + effort.seconds / 2
    while len(calls) < 20 or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        call()
        calls.append(time.perf_counter() - began_s)
    return 1e6 * statistics.median(calls)


def _echo_pipe(end: Any) -> None:
    while byte := end.recv_bytes():
        end.send_bytes(byte)


def _echo_tcp(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while received := connection.recv(1 << 20):
        connection.sendall(received[:1])


def _relay(listener: socket.socket, port: int) -> None:
    near, _ = listener.accept()
    with socket.create_connection(("127.0.0.1", port)) as far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while received := near.recv(1 << 20):
            far.sendall(received)
            near.sendall(far.recv(1 << 20))


def pipe_us(effort: Effort) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_echo_pipe, args=(theirs,), daemon=True)
    process.start()

    def round_trip() -> None:
        ours.send_bytes(b"1")
        ours.recv_bytes()

    try:
        return median_us(round_trip, effort)
    finally:
        process.terminate()
        process.join()


def tcp_us(effort: Effort, relayed: bool) -> float:
    listener = socket.create_server(("127.0.0.1", 0))
    processes = [multiprocessing.Process(target=_echo_tcp, args=(listener,), daemon=True)]
    if relayed:
        far_port = listener.getsockname()[1]
        listener = socket.create_server(("127.0.0.1", 0))
        processes.append(multiprocessing.Process(target=_relay, args=(listener, far_port), daemon=True))
    for process in processes:
        process.start()
    try:
        with socket.create_connection(listener.getsockname()) as ours:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def round_trip() -> None:
                ours.sendall(b"1")
                ours.recv(1)

            return median_us(round_trip, effort)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _sink(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    room = bytearray(1 << 20)
    while connection.recv_into(room):
        pass
    connection.sendall(b"1")


def tcp_mb_per_s(effort: Effort) -> float:
    listener = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.Process(target=_sink, args=(listener,), daemon=True)
    process.start()
    count = effort.of(64, 4)
    payload = bytes(ARRAY_BYTES)
    try:
        with socket.create_connection(listener.getsockname()) as ours:
            began_s = time.perf_counter()
            for _ in range(count):
                ours.sendall(payload)
            ours.shutdown(socket.SHUT_WR)
            ours.recv(1)
            return count * ARRAY_BYTES / 1e6 / (time.perf_counter() - began_s)
    finally:
        process.terminate()
        process.join()


def _spin_alone(tasks: int, start: Any, report: Any) -> None:
    start.wait()
    report.send([stamped(10_000) for _ in range(tasks)])


def alone_efficiency(effort: Effort) -> float:
    start = multiprocessing.Barrier(2)
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(2)]
    processes = [
        multiprocessing.Process(target=_spin_alone, args=(effort.of(150, 2), start, theirs), daemon=True)
        for _, theirs in pipes
    ]
    for process in processes:
        process.start()
    runs = [run for ours, _ in pipes for run in ours.recv()]
    for process in processes:
        process.join()
    wall_s = max(ended_s for _, _, ended_s, _ in runs) - min(began_s for _, began_s, _, _ in runs)
    return sum(float(cpu_s) for *_, cpu_s in runs) / (2 * wall_s)


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    import numpy as np

    ints = list(range(1_000))
    pickled = pickle.dumps(ints, 5)
    source, target = bytes(ARRAY_BYTES), bytearray(ARRAY_BYTES)
    array = np.zeros(ARRAY_BYTES // 8)

    def copy() -> None:
        target[:] = source

    return {
        "pipe_us": pipe_us(effort),
        "tcp_us": tcp_us(effort, relayed=False),
        "tcp_relayed_us": tcp_us(effort, relayed=True),
        "tcp_mb_per_s": tcp_mb_per_s(effort),
        "memcpy_mb_per_s": ARRAY_BYTES / median_us(copy, effort),
        "dumps_1000_ints_us": median_us(lambda: pickle.dumps(ints, 5), effort),
        "loads_1000_ints_us": median_us(lambda: pickle.loads(pickled), effort),
        "dumps_array_out_of_band_us": median_us(
            lambda: pickle.dumps(array, 5, buffer_callback=[].append), effort
        ),
        "alone_efficiency": alone_efficiency(effort),
    }


WORKLOADS = [
    Workload(
        "B",
        "what the machine can do",
        (
            Figure("pipe_us", "pipe round trip, µs", more_is_better=False),
            Figure("tcp_us", "TCP round trip, µs", more_is_better=False),
            Figure("tcp_relayed_us", "TCP round trip through a relay, µs", more_is_better=False),
            Figure("tcp_mb_per_s", "TCP, MB/s"),
            Figure("memcpy_mb_per_s", "memcpy, MB/s"),
            Figure("dumps_1000_ints_us", "pickle of 1,000 ints out, µs", more_is_better=False),
            Figure("loads_1000_ints_us", "in, µs", more_is_better=False),
            Figure("dumps_array_out_of_band_us", "8 MiB array out of band, µs", more_is_better=False),
            Figure("alone_efficiency", "efficiency of two processes that talk to nobody"),
        ),
        measure,
        peers=("bounds",),
    )
]
