"""Throw bytes at everything that reads them before a peer is known: frames, headers, the handshake.

    python tests/fuzz/frames.py [seconds]

Guided by coverage when atheris is installed (``pip install '.[fuzz]'``), random otherwise. It ends with
an error as soon as anything but a cluster error is raised, a frame is cut wrongly, or a peer that cannot
know the key is let in; the bytes that did it are printed.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

from achilles.errors import ClusterError
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.handshake import ClientHandshake, ServerHandshake, Verifiers
from achilles.lineReceiver.wire import FrameParser, frame_segments

VERIFIERS = Verifiers("ada", "a key that is never sent")
HELLO = wire.Hello(protocol=wire.PROTOCOL, role="controller")
PARTS = [
    b'{"type":"hello","protocol":1,"role":"node","mechanism":"SCRAM-SHA-256-PLUS","client_first":"',
    b'{"type":"proof","client_final":"c=biws,r=abc,p=eA=="}\r\n',
    b'{"type":"challenge","server_first":"r=abc,s=c2FsdA==,i=4096"}\r\n',
    b'{"type":"welcome","server_final":"v=eA=="}\r\n',
    b"p=tls-server-end-point,,n=ada,r=abc",
    b'"}\r\n',
    b"P 1 0 1 0 0 2 2 1:2,1:2 4\r\nargs",
    b"R 1 0 1 0:1:0:1:4 4\r\nabcd",
    b"p 1 0 1 0 0 2 2 1:2,1:2 4\r\n",
    b"r 1 0 1 0:1:0:1:4 4\r\n",
    b'"size":4',
]


def try_one(data: bytes) -> None:
    """One stream, in two ways of cutting it, to both ends of a handshake."""
    whole = _frames([data])
    cut = len(data) // 3
    assert _frames([data[:cut], data[cut:]]) == whole
    for message, payload in whole:
        again = b"".join(bytes(part) for part in frame_segments(message, [payload]))
        ((read, chunks),) = FrameParser().feed(again)
        assert read == message and b"".join(chunks) == payload
    server = ServerHandshake(VERIFIERS, b"binding")
    _shake(server, whole)
    assert not server.done
    client = ClientHandshake(HELLO, username="ada", secret_key="another key", channel_binding=b"binding")
    client.start()
    _shake(client, whole)
    assert not client.done


def _frames(pieces: list[bytes]) -> list[tuple[Any, bytes]]:
    parser, frames = FrameParser(), []
    try:
        for piece in pieces:
            frames += [(message, b"".join(chunks)) for message, chunks in parser.frames(piece)]
    except ClusterError:
        # What was complete before is lost with the connection; both ways must agree that it is refused.
        return []
    return frames


def _shake(handshake: Any, frames: list[tuple[Any, bytes]]) -> None:
    try:
        for message, _ in frames[:8]:
            handshake.receive(message)
    except ClusterError:
        pass


def at_random(seconds: float, seed: int = 0) -> int:
    """Without coverage: random bytes among parts of real frames; how many streams were tried."""
    rng = random.Random(seed)
    end_s = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < end_s:
        parts = [
            rng.choice(PARTS) if rng.random() < 0.7 else rng.randbytes(rng.randrange(12)) for _ in range(6)
        ]
        data = bytearray(b"".join(parts))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            try_one(bytes(data))
        except BaseException:
            print(f"failed on {bytes(data)!r}", file=sys.stderr)
            raise
        tried += 1
    return tried


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if atheris is None:
        print(f"without atheris: {at_random(seconds)} streams at random, no failure")
        return
    atheris.instrument_all()
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(options, try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
