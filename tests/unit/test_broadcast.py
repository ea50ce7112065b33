"""Handles and blobs within one process: who keeps them, and what is said when they are gone."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from achilles import Broadcast, BroadcastLost, SerializationError, blobs
from achilles.engines.drawing import Drawer
from achilles.sealed import Sealed
from achilles.serialization import deserialize, detach, join, serialize

BIG = 1 << 20


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Tracebacks and closures hold blobs in cycles, and these hold descriptors."""
    yield
    gc.collect()


@pytest.fixture
def gone() -> Iterator[list[str]]:
    """Names of blobs that this process let go of."""
    heard: list[str] = []
    blobs.when_gone(heard.append)
    yield heard
    blobs._listeners.remove(heard.append)


@pytest.fixture
def worker() -> Iterator[Callable[[blobs.Source], None]]:
    """Makes this process a worker for a while."""
    yield blobs.set_source
    blobs._source = None


def there_and_back(obj: Any) -> Any:
    return deserialize(join(serialize(obj, "it")), "it")


def test_the_caller_has_the_object_itself() -> None:
    array = np.arange(BIG, dtype=np.uint8)
    handle = Broadcast(array)
    assert handle.value is array
    assert there_and_back([handle])[0].value is array
    assert pickle.loads(pickle.dumps(handle)).value is array


def test_it_travels_as_its_name() -> None:
    handle = Broadcast(bytes(BIG))
    assert serialize([handle], "it").size_bytes < 300
    assert handle.size_bytes > BIG
    assert f"{handle.size_bytes:,}" in repr(handle) and handle.sha256[:12] in repr(handle)


@pytest.mark.parametrize("size", [10, BIG])
def test_tasks_see_it_as_it_was(size: int) -> None:
    array = np.zeros(size, np.uint8)
    handle = Broadcast(array)
    array[:] = 1
    blob = blobs.own(handle.sha256)
    assert blob is not None
    assert not blob.value(b"h", copy_on_write=False).any()
    assert isinstance(blob.payload, Sealed) == (size == BIG)


def test_arrays_are_read_only_or_of_ones_own() -> None:
    handle = Broadcast({"a": np.zeros(BIG), "b": np.ones(BIG)})
    blob = blobs.own(handle.sha256)
    assert blob is not None
    shared = blob.value(b"h", copy_on_write=False)
    with pytest.raises(ValueError, match="read-only"):
        shared["a"][0] = 1
    assert blob.value(b"h", copy_on_write=False) is shared
    private = blob.value(b"own", copy_on_write=True)
    private["a"][0] = 1
    assert blob.value(b"own", copy_on_write=True)["a"][0] == 1
    assert shared["a"][0] == handle.value["a"][0] == 0
    # Another handle, and another process that maps the same, see none of it.
    assert blob.value(b"other", copy_on_write=True)["a"][0] == 0
    assert blobs.Blob(blob.sha256, blob.payload or b"").value(b"own", copy_on_write=True)["a"][0] == 0


def test_few_equal_objects_are_kept_loaded() -> None:
    blob = blobs.Blob("", join(serialize([1], "it")))
    first = blob.value(b"0", copy_on_write=False)
    assert blob.value(b"0", copy_on_write=False) is first
    for number in range(1, blobs.MOST_VALUES + 1):
        assert blob.value(b"%d" % number, copy_on_write=False) is not first
    assert blob.value(b"0", copy_on_write=False) is not first


@pytest.mark.parametrize("size", [10, BIG])
def test_release(size: int, gone: list[str]) -> None:
    handle = Broadcast(bytes(size))
    there = pickle.dumps(handle)
    for _ in range(2):
        handle.release()
    assert gone[0] == handle.sha256
    assert "released" in repr(handle)
    with pytest.raises(BroadcastLost, match="this handle was released") as caught:
        _ = handle.value
    assert caught.value.sha256 == handle.sha256
    with pytest.raises(SerializationError, match="was released"):
        serialize(handle, "it")
    with pytest.raises(BroadcastLost, match="Keep the Broadcast in the program that made it"):
        _ = pickle.loads(there).value


def test_release_at_the_end_of_a_block() -> None:
    with Broadcast([1]) as handle:
        assert handle.value == [1]
    assert blobs.own(handle.sha256) is None


def test_equal_ones_share_their_bytes_until_the_last_is_released() -> None:
    first, second = Broadcast(bytes(BIG)), Broadcast(bytes(BIG))
    came_home = pickle.loads(pickle.dumps(first))
    assert first.sha256 == second.sha256
    for handle in (first, second):
        handle.release()
        assert blobs.own(handle.sha256) is not None
    assert came_home.value == bytes(BIG)
    came_home.release()
    assert blobs.own(first.sha256) is None


def test_collected_with_the_last_handle(gone: list[str]) -> None:
    handle = Broadcast(bytes(BIG))
    name = handle.sha256
    del handle
    gc.collect()
    assert gone == [name]
    assert blobs.own(name) is None


def test_a_job_keeps_what_its_function_and_arguments_hold() -> None:
    handle = Broadcast(bytes(BIG))
    name = handle.sha256
    function = detach(serialize((partial(max, handle), None), "it"))
    drawer = Drawer(iter([]))
    drawer._put(serialize([1], "it"), 1, drawer._draw)
    assert not drawer._carried
    drawer._put(serialize([handle], "it"), 1, drawer._draw)
    del handle
    gc.collect()
    assert blobs.own(name) is not None
    del function
    gc.collect()
    assert blobs.own(name) is not None
    del drawer
    gc.collect()
    assert blobs.own(name) is None


def test_what_cannot_be_sent_says_where() -> None:
    with pytest.raises(SerializationError, match=r"the broadcast object .*\['bad'\]"):
        Broadcast({"bad": threading.Lock()})


class Source:
    """Has one blob."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has: blobs.Blob | None = None

    def find(self, sha256: str) -> blobs.Blob | None:
        return self.has

    def fetch(self, sha256: str, size_bytes: int) -> blobs.Blob:
        self.asked.append(sha256)
        if self.has is None:
            raise blobs.lost(sha256, size_bytes, "I have none")
        return self.has


def test_a_worker_asks_its_source(worker: Callable[[blobs.Source], None]) -> None:
    handle = Broadcast(list(range(1000)))
    there = pickle.dumps(handle)
    payload = bytes(blobs.fetch(handle.sha256, handle.size_bytes).view())
    handle.release()
    source = Source()
    worker(source)
    found = pickle.loads(there)
    with pytest.raises(BroadcastLost, match="I have none"):
        _ = found.value
    source.has = blobs.Blob(found.sha256, payload)
    assert found.value == list(range(1000))
    assert found.value is found.value
    assert source.asked == [found.sha256]
    assert pickle.dumps(found) == there


def test_handing_out(worker: Callable[[blobs.Source], None]) -> None:
    handle = Broadcast(bytes(BIG))
    found: list[blobs.Blob | None] = []
    blobs.hand_out(handle.sha256, handle.size_bytes, found.append)
    blobs.hand_out("0" * 64, 1, found.append)
    assert found == [blobs.own(handle.sha256), None]


def test_a_forked_child_has_what_was_there() -> None:
    array = np.arange(BIG, dtype=np.uint8)
    handle = Broadcast(array)
    pid = os.fork()
    if not pid:
        blob = blobs.own(handle.sha256)
        same = blob is not None and np.array_equal(blob.value(b"h", copy_on_write=False), array)
        handle.release()
        os._exit(0 if same and blobs.own(handle.sha256) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    blob = blobs.own(handle.sha256)
    assert blob is not None and blob.value(b"h", copy_on_write=False)[7] == 7
