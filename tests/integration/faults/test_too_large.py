"""Arguments and results above what one frame may carry: an error that names them, and nothing else lost."""

from __future__ import annotations

import os

import numpy as np
import pytest

import achilles
from achilles import serialization
from achilles.engines import drawing
from achilles.errors import SerializationError

LIMIT_BYTES = 1 << 20


@pytest.fixture
def low_limit(monkeypatch):
    """A limit that a test can afford to exceed, in this process."""
    monkeypatch.setattr(serialization, "MAX_PAYLOAD_BYTES", LIMIT_BYTES)
    # As in life, several packets travel together only while they are far below that.
    monkeypatch.setattr(drawing, "PARCEL_BYTES", LIMIT_BYTES // 64)


def size_of(array):
    return len(array)


def grown(item):
    """A result above the limit, which is low in this worker from now on."""
    from achilles import serialization

    serialization.MAX_PAYLOAD_BYTES = 1 << 20
    return bytes(2 << 20) if item == 7 else item


def test_an_argument_that_is_too_large(place, low_limit) -> None:
    arguments = [np.zeros(1000, "u1") for _ in range(12)]
    arguments[9] = np.zeros(2 * LIMIT_BYTES, "u1")
    came: list[int] = []

    def read():
        for packet in achilles.imap(size_of, arguments, **place.call):
            came.extend(packet["RESULT"])

    with pytest.raises(SerializationError, match=r"argument 9 would take 2,09\d,\d+ bytes") as caught:
        read()
    assert caught.value.subject == "argument 9"
    assert came == [1000] * len(came) and len(came) >= 8, "what came before it is delivered"
    assert achilles.map(size_of, [np.zeros(5, "u1")], **place.call) == [[5]]


def test_a_packet_that_is_too_large(place, low_limit) -> None:
    arguments = [np.zeros(LIMIT_BYTES // 3, "u1") for _ in range(8)]
    with pytest.raises(SerializationError, match=r"would take .* smaller chunksize"):
        achilles.map(size_of, arguments, chunksize=4, **place.call)
    assert achilles.map(size_of, iter(arguments), chunksize=1, **place.call) == [[LIMIT_BYTES // 3] * 2] * 4


def test_a_list_and_a_function_that_are_too_large(place, low_limit) -> None:
    with pytest.raises(SerializationError, match="list argument would take"):
        achilles.map(size_of, [[os.urandom(LIMIT_BYTES * 2 // 3) for _ in range(2)], [b"x"]], **place.call)
    ballast = bytes(2 * LIMIT_BYTES)
    with pytest.raises(SerializationError, match=r"the function .* would take"):
        achilles.map(lambda item: len(ballast) + item, [1], **place.call)


def test_a_result_that_is_too_large(place) -> None:
    packets = achilles.map(grown, range(12), on_error="return", **place.call)
    results = [result for packet in packets for result in packet]
    error = results.pop(7)
    assert results == [*range(7), *range(8, 12)]
    assert isinstance(error, SerializationError)
    assert "result of item 7 would take" in str(error)
