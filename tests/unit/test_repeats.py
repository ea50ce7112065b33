"""Large buffers that come again: sent once, and never as what they were before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import dill
import numpy as np
import pytest

from achilles import blobs
from achilles.errors import SerializationError
from achilles.repeats import (
    COMPARED_BYTES,
    FORGET_AT,
    FUNCTION_REPEAT_BYTES,
    REPEAT_BYTES,
    LastingRepeats,
    Repeats,
)
from achilles.serialization import Serialized, deserialize, detach, join, serialize

SIZE = REPEAT_BYTES // 8


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Tracebacks and closures hold blobs in cycles, and these hold descriptors."""
    yield
    gc.collect()


def sent(obj: Any, repeats: Repeats) -> Serialized:
    return detach(serialize(obj, "it", repeats=repeats))


def came(serialized: Serialized) -> Any:
    return deserialize(join(serialized), "it")


@pytest.fixture(params=[0, 4 * REPEAT_BYTES], ids=["compared in parts", "compared in one go"])
def copied_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("achilles.repeats.COPIED_BYTES", request.param)
    return int(request.param)


def test_from_the_second_time_on_it_is_a_name(copied_bytes: int) -> None:
    repeats = Repeats()
    array = np.arange(SIZE, dtype=np.float64)
    units = [sent([array, number], repeats) for number in range(4)]
    assert units[0].size_bytes > REPEAT_BYTES and not units[0].carried
    for number, unit in enumerate(units):
        assert number == 0 or unit.size_bytes < 1000
        found, its = came(unit)
        assert its == number and np.array_equal(found, array)
        assert found.flags.writeable and found.flags.aligned
        found[:] = 0  # its own
    assert len({blob.sha256 for unit in units[1:] for blob in unit.carried}) == 1


@pytest.mark.parametrize("place", [0, COMPARED_BYTES // 8, SIZE - 1])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_what_was_written_to_is_sent_as_it_is(copied_bytes: int, place: int, before: int) -> None:
    repeats = Repeats()
    array = np.zeros(SIZE)
    units, copies = [], []
    for number in range(6):
        if number >= before:
            array[place] = number
        units.append(sent([array], repeats))
        copies.append(array.copy())
    for unit, copy in zip(units, copies, strict=True):
        assert np.array_equal(came(unit)[0], copy)
    # Who does so once is not trusted again.
    assert units[-1].size_bytes > REPEAT_BYTES


def test_a_generator_that_makes_new_arrays_has_no_repeats() -> None:
    repeats = Repeats()
    for number in range(3 * FORGET_AT):
        unit = sent([np.full(SIZE, float(number))], repeats)
        assert unit.size_bytes > REPEAT_BYTES
        assert came(unit)[0][5] == number
    assert len(repeats._seen) <= FORGET_AT


def test_small_ones_are_not_looked_at() -> None:
    repeats = Repeats()
    array = np.zeros(SIZE - 1)
    for _ in range(3):
        assert sent([array], repeats).size_bytes > array.nbytes
    assert not repeats._seen


def test_others_beside_it_keep_their_places() -> None:
    repeats = Repeats()
    first, second, third = (np.full(SIZE + number, float(number)) for number in range(3))
    sent([second], repeats)
    for _ in range(2):
        found = came(sent([first.copy(), second, third.copy(), second], repeats))
        assert [array[7] for array in found] == [0.0, 1.0, 2.0, 1.0]
        assert found[1] is found[3]


def test_all_blobs_of_a_job_have_a_bound() -> None:
    repeats = Repeats(most_bytes=2 * REPEAT_BYTES)
    arrays = [np.full(SIZE, float(number)) for number in range(4)]
    sizes = [[sent([array], repeats).size_bytes < 1000 for array in arrays] for _ in range(3)]
    assert sizes == [[False] * 4, [True, True, False, False], [True, True, False, False]]


def test_who_writes_while_it_becomes_a_blob_is_found_out(
    copied_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeats = Repeats()
    array = np.zeros(SIZE)
    sent([array], repeats)
    keep = blobs.keep

    def keep_while_another_thread_writes(segments: Any, origin: Any) -> blobs.Blob:
        made = keep(segments, origin)
        array[-1] = 7.0
        return made

    monkeypatch.setattr(blobs, "keep", keep_while_another_thread_writes)
    assert came(sent([array], repeats))[0][-1] == 0.0
    assert came(sent([array], repeats))[0][-1] == 7.0


def test_no_more_is_copied_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("achilles.repeats.MOST_COPIED_BYTES", 2 * REPEAT_BYTES)
    repeats = Repeats()
    arrays = [np.full(SIZE, float(number)) for number in range(4)]
    for sizes in ([False] * 4, [True] * 4, [True] * 4):
        assert [sent([array], repeats).size_bytes < 1000 for array in arrays] == sizes
    copies = [seen.copy is not None for seen in repeats._seen.values()]
    assert copies == [True, True, False, False]
    # Who changes makes room for another.
    arrays[0][-1] = 7.0
    arrays.append(np.full(SIZE, 5.0))
    assert [sent([array], repeats).size_bytes < 1000 for array in arrays] == [False, *[True] * 3, False]
    assert [sent([array], repeats).size_bytes < 1000 for array in arrays] == [False, *[True] * 4]
    copies = [seen.copy is not None for seen in repeats._seen.values()]
    assert copies == [False, True, False, False, True]


def test_the_job_keeps_the_blob_and_nobody_else() -> None:
    repeats = Repeats()
    array = np.zeros(SIZE)
    unit = [sent([array], repeats) for _ in range(2)][1]
    name = unit.carried[0].sha256
    del repeats
    assert blobs.own(name) is not None
    del unit
    assert blobs.own(name) is None
    assert array.flags.owndata


@pytest.fixture
def damaged() -> bytearray:
    repeats = Repeats()
    array = np.zeros(SIZE)
    return [join(sent([array], repeats)) for _ in range(2)][1]


def test_a_name_that_is_cut_off(damaged: bytearray) -> None:
    with pytest.raises(SerializationError, match="damaged"):
        deserialize(damaged[:-1], "it")


def test_a_pickle_that_needs_dill_is_named_as_well() -> None:
    repeats = Repeats()
    array = np.zeros(SIZE)
    dill.dumps(array)  # from then on dill would take arrays
    units = [sent([array, {1: 2}.keys()], repeats) for _ in range(3)]
    assert units[-1].size_bytes < 2000
    found, keys = came(units[-1])
    assert np.array_equal(found, array) and list(keys) == [1]


def test_those_of_functions_outlive_a_job_and_not_their_array() -> None:
    repeats = LastingRepeats(most_bytes=3 * FUNCTION_REPEAT_BYTES)
    array = np.zeros(FUNCTION_REPEAT_BYTES)[: FUNCTION_REPEAT_BYTES // 8]
    sent(partial(max, array), repeats)
    again = sent(partial(max, array), repeats)
    assert again.size_bytes < 1000
    (blob,) = again.carried
    assert isinstance(blob, blobs.Blob)
    sha256 = blob.sha256
    del blob, again
    gc.collect()
    assert blobs.own(sha256) is not None  # for the next job
    del array
    gc.collect()
    assert blobs.own(sha256) is None
    # And their bytes are free for others, also where a new object lies at the old one's place.
    for _ in range(20):
        array = np.ones(2 * FUNCTION_REPEAT_BYTES // 8)
        assert [sent(array, repeats).size_bytes < 1000 for _ in range(3)] == [False, True, True]
        del array


def test_functions_that_are_sent_by_many_threads() -> None:
    repeats = LastingRepeats()
    arrays = [np.full(FUNCTION_REPEAT_BYTES // 8, number, dtype=np.float64) for number in range(4)]

    def send(number: int) -> float:
        (found,) = came(sent([arrays[number % 4]], repeats))
        return float(found[-1])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(send, range(200))) == [number % 4 for number in range(200)]
