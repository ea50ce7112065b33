"""Cost of a frame in the parser and the encoder, without any socket.

Run: ``python benchmarks/frame_parser.py``. Prints the best of five rounds, in µs per frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from achilles.lineReceiver.messages import Demand, Message, Parcel, Ping, Results
from achilles.lineReceiver.wire import FrameParser, Limits, frame_segments

READ_BYTES = 65_536


def best_us(work: Callable[[], object], times: int) -> float:
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - start)
    return min(rounds) / times * 1e6


def parse(message: Message, payload_bytes: int, frames: int) -> float:
    stream = b"".join(frame_segments(message, [bytes(payload_bytes)])) * frames
    reads = [stream[at : at + READ_BYTES] for at in range(0, len(stream), READ_BYTES)]

    def work() -> None:
        parser = FrameParser(Limits())
        count = 0
        for read in reads:
            for _ in parser.frames(read):
                count += 1
        assert count == frames

    return best_us(work, frames)


def main() -> None:
    for name, message, payload_bytes, frames in (
        ("parcel, 1 unit, 100 B", Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 100)]), 100, 50_000),
        ("results, 1 segment, 100 B", Results(1, 2, 1, [(0, 8, 0, 12, 100)]), 100, 50_000),
        ("parcel, 1 unit, 1 KiB", Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 1024)]), 1024, 20_000),
        ("parcel, 8 units, 800 B", Parcel(1, 2, 1, 0, 0, 64, 8, [(8, 100)] * 8), 800, 20_000),
        ("parcel, 512 units, 50 KiB", Parcel(1, 2, 1, 0, 0, 4096, 8, [(8, 100)] * 512), 51_200, 500),
        ("parcel, 1 unit, 8 MiB", Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 8 << 20)]), 8 << 20, 4),
        ("ping", Ping(12_345_678_901), 0, 50_000),
        ("demand", Demand(1, 2, 8, 3, 1), 0, 50_000),
    ):
        print(f"parse  {name:28s} {parse(message, payload_bytes, frames):8.2f} µs")
    parcel, payload = Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 100)]), [bytes(100)]

    def encode() -> None:
        for _ in range(50_000):
            frame_segments(parcel, payload)

    print(f"encode {'parcel, 1 unit, 100 B':28s} {best_us(encode, 50_000):8.2f} µs")


if __name__ == "__main__":
    main()
