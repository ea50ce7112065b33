"""Handles to kept values within one process: what travels, what is loaded, what is said when it is gone."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from achilles import Kept, KeptLost, SerializationError, blobs
from achilles.kept import KEEP_BYTES, Reference, kept_in, stay
from achilles.salvage import Broken, salvage
from achilles.sealed import Buffer, Sealed, seal
from achilles.serialization import deserialize, join, serialize

ARRAY = np.arange(KEEP_BYTES, dtype=np.uint8)
PAYLOAD = bytes(join(serialize(ARRAY, "it")))
NAME = "ab" * 32


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


class Keeper:
    """Has one value."""

    origin: object = None

    def __init__(self, payload: Buffer | Sealed = PAYLOAD) -> None:
        self.given: Buffer | Sealed = payload
        self.asked = 0
        self.released: list[Reference] = []

    def payload(self, reference: Reference) -> Buffer | Sealed:
        self.asked += 1
        return self.given

    def release(self, reference: Reference) -> None:
        self.released.append(reference)

    def handle(self, holder: int | None = None, name: str = NAME) -> Kept:
        return Kept(Reference(name, len(PAYLOAD), holder, "" if holder is None else "lab7#3"), self)


class Source:
    """A worker's parent: has the value of that name, and takes others as long as there is room."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int | None]] = []
        self.kept: list[bytes] = []
        self.has_room = True

    def find(self, sha256: str) -> blobs.Blob | None:
        return None

    def fetch(self, sha256: str, size_bytes: int) -> blobs.Blob:
        raise AssertionError("it is no broadcast object")

    def keep(self, segments: Sequence[Buffer]) -> tuple[str, int | None, str] | None:
        self.kept.append(b"".join(segments))
        return (NAME, 3, "lab7#3") if self.has_room else None

    def fetch_kept(self, name: str, size_bytes: int, holder: int | None) -> blobs.Blob | str:
        self.asked.append((name, size_bytes, holder))
        return blobs.Blob(name, PAYLOAD) if name == NAME else "nobody has it"


@pytest.fixture
def worker() -> Iterator[Callable[[], Source]]:
    """Makes this process a worker for a while."""

    def become() -> Source:
        source = Source()
        blobs.set_source(source)
        return source

    yield become
    blobs._source = None


def test_it_travels_as_a_reference_and_is_met_however_deep() -> None:
    handle = Keeper().handle()
    sent = serialize([(len, ({"x": [handle]}, handle))], "it")
    assert sent.size_bytes < 400
    assert kept_in(sent) == [handle]
    assert pickle.loads(pickle.dumps([handle]))[0] is handle
    assert kept_in(serialize(lambda: handle, "it")) == [handle]


@pytest.mark.parametrize("shared", [False, True])
def test_the_caller_gets_copies_of_his_own(shared: bool) -> None:
    keeper = Keeper((seal([[PAYLOAD]]) if shared else None) or PAYLOAD)
    handle = keeper.handle()
    first = handle.value()
    first[:] = 7
    assert np.array_equal(handle.value(), ARRAY)
    assert keeper.asked == 2
    assert handle.size_bytes == len(PAYLOAD)
    assert (handle.node, handle.holder, handle.origin) == ("", None, None)


def test_what_came_from_elsewhere_comes_once() -> None:
    keeper = Keeper()
    handle = keeper.handle(holder=3)
    assert np.array_equal(handle.value(), ARRAY) and np.array_equal(handle.value(), ARRAY)
    assert keeper.asked == 1
    assert (handle.node, handle.holder) == ("lab7#3", 3)
    assert "lab7#3" in repr(handle)


def test_it_is_released_once() -> None:
    keeper = Keeper()
    dropped, handle = keeper.handle(name="cd" * 32), keeper.handle(3)
    gone: list[str] = []
    blobs.when_gone(gone.append)
    try:
        del dropped
        gc.collect()
        handle.release()
        handle.release()
    finally:
        blobs._listeners.remove(gone.append)
    assert gone == [reference.name for reference in keeper.released] == ["cd" * 32, NAME]
    assert "released" in repr(handle)
    with pytest.raises(KeptLost, match=r"at lab7#3 .*this handle was released.*Make it again") as caught:
        handle.value()
    fields = {"node": "lab7#3", "size_bytes": len(PAYLOAD), "reason": "this handle was released"}
    assert fields.items() <= caught.value.fields.items()


def test_a_forked_child_releases_nothing() -> None:
    keeper = Keeper()
    handle = keeper.handle()
    pid = os.fork()
    if not pid:
        handle.release()
        os._exit(len(keeper.released))
    assert os.waitpid(pid, 0)[1] == 0


def test_a_worker_loads_the_value(worker: Callable[[], Source]) -> None:
    handle = Keeper().handle(holder=3)
    sent = join(serialize([handle, {"again": handle}], "it"))
    apart = join(serialize([handle], "it"))
    del handle  # it is in another process
    gc.collect()
    source = worker()
    first, nested = deserialize(sent, "it")
    assert first is nested["again"] and np.array_equal(first, ARRAY)
    first[:] = 7
    assert np.array_equal(deserialize(apart, "it")[0], ARRAY)
    assert source.asked == [(NAME, len(PAYLOAD), 3)] * 2


def test_one_that_is_gone_says_so_and_harms_no_neighbour(worker: Callable[[], Source]) -> None:
    keeper = Keeper()
    handle, other = keeper.handle(name="cd" * 32), keeper.handle()
    sent = join(serialize([1, [handle], [other]], "it"))
    del handle, other
    gc.collect()
    with pytest.raises(KeptLost, match="no worker"):
        deserialize(sent, "it")
    worker()
    with pytest.raises(KeptLost, match="nobody has it"):
        deserialize(sent, "it")
    items = salvage(sent, "argument", 5)
    assert items is not None
    assert items[0] == 1 and np.array_equal(items[2][0], ARRAY)
    assert isinstance(items[1], Broken) and isinstance(items[1].error, KeptLost)


@pytest.mark.parametrize(
    "value", [None, 1.5, 10**30, "text", [1, 2], np.arange(100), b"x" * (KEEP_BYTES - 200)]
)
def test_small_results_are_sent(worker: Callable[[], Source], value: Any) -> None:
    source = worker()
    came = deserialize(join(serialize([stay(value)], "results")), "results")[0]
    assert type(came) is type(value)
    assert np.array_equal(came, value)
    assert not source.kept
    if isinstance(came, np.ndarray):
        assert came.flags.writeable


def test_large_results_stay_while_there_is_room(worker: Callable[[], Source]) -> None:
    assert stay(ARRAY) is ARRAY  # no worker, no parent
    source = worker()
    assert stay(ARRAY) == Reference(NAME, len(PAYLOAD), 3, "lab7#3")
    assert source.kept == [PAYLOAD]
    source.has_room = False
    assert stay(ARRAY) is ARRAY


def test_results_that_cannot_travel(worker: Callable[[], Source]) -> None:
    worker()
    with pytest.raises(SerializationError, match=r"^result"):
        stay([1, (number for number in range(3))])
