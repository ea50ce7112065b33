"""What a worker asks its parent for, and keeps."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from achilles.errors import BroadcastLost
from achilles.serialization import join, serialize
from achilles.workers import channel
from achilles.workers.shared_blobs import MOST_KEPT, SharedBlobs

PAYLOAD = join(serialize([1, 2], "it"))
NAME = "ab" * 32


class Parent:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.kept: list[tuple[int, bytes]] = []
        self.refuses = ""
        self.is_gone = False
        self.whose = (7, 1)
        self.blobs = SharedBlobs(self.ask, lambda: self.whose, self.ask_to_keep)

    def ask_to_keep(self, job: int, segments: Any) -> Any:
        self.kept.append((job, b"".join(segments)))
        if self.is_gone:
            return None
        if self.refuses:
            return (channel.KEPT, 1, job, 1, 0, 0, bytearray())
        return (channel.KEPT, 0, job, 1, 4, 0, bytearray(bytes.fromhex(NAME) + b"lab7#3"))

    def ask(self, job: int, sha256: bytes, size_bytes: int, *where: int) -> Any:
        self.asked.append((job, sha256, size_bytes, *where))
        if self.is_gone:
            return None
        if self.refuses:
            return (channel.BLOB, 1, job, 1, 0, 0, bytearray(self.refuses.encode()))
        return (channel.BLOB, 0, job, 1, 0, 0, PAYLOAD)


def test_it_asks_once_for_each_session() -> None:
    parent = Parent()
    blob = parent.blobs.fetch(NAME, 100)
    assert blob.value(b"h", copy_on_write=False) == [1, 2]
    parent.whose = (7, 2)
    assert parent.blobs.fetch(NAME, 100) is blob
    assert parent.blobs.find(NAME) is blob
    parent.whose = (8, 3)
    assert parent.blobs.find(NAME) is None
    assert parent.blobs.fetch(NAME, 100) is not blob
    assert parent.asked == [(1, bytes.fromhex(NAME), 100), (3, bytes.fromhex(NAME), 100)]


def test_what_was_dropped_is_asked_for_again() -> None:
    parent = Parent()
    parent.blobs.fetch(NAME, 100)
    parent.blobs.drop(8, bytes.fromhex(NAME))
    assert parent.blobs.find(NAME)
    parent.blobs.drop(7, bytes.fromhex(NAME))
    parent.blobs.drop(7, bytes.fromhex(NAME))
    assert parent.blobs.find(NAME) is None
    parent.blobs.fetch(NAME, 100)
    assert len(parent.asked) == 2


def test_a_refusal_is_an_error_and_not_remembered() -> None:
    parent = Parent()
    parent.refuses = "it is gone"
    with pytest.raises(BroadcastLost, match="it is gone"):
        parent.blobs.fetch(NAME, 100)
    parent.refuses, parent.is_gone = "", True
    with pytest.raises(BroadcastLost, match="before the fork"):
        parent.blobs.fetch(NAME, 100)
    parent.is_gone = False
    assert parent.blobs.fetch(NAME, 100)


def test_threads_ask_once() -> None:
    parent = Parent()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(parent.blobs.fetch(NAME, 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1 and len(parent.asked) == 1


def test_a_kept_value_is_asked_for_where_it_is() -> None:
    parent = Parent()
    found = parent.blobs.fetch_kept(NAME, 100, 3)
    assert not isinstance(found, str)
    assert bytes(found.copy()) == PAYLOAD
    assert parent.blobs.fetch_kept(NAME, 100, 3) is found
    parent.whose = (8, 2)
    assert parent.blobs.fetch_kept(NAME, 100, None) is not found
    assert [where for *_, where in parent.asked] == [5, 1]
    parent.blobs.drop(8, bytes.fromhex(NAME))
    parent.refuses = "it is gone"
    assert parent.blobs.fetch_kept(NAME, 100, None) == "it is gone"
    parent.is_gone = True
    assert "forked" in str(parent.blobs.fetch_kept(NAME, 100, None))


def test_few_kept_values_are_held_at_a_time() -> None:
    parent = Parent()
    for number in range(MOST_KEPT + 1):
        parent.blobs.fetch_kept(f"{number:064x}", 100, None)
    asked = len(parent.asked)
    parent.blobs.fetch_kept(f"{MOST_KEPT:064x}", 100, None)
    assert len(parent.asked) == asked
    parent.blobs.fetch_kept(f"{0:064x}", 100, None)
    assert len(parent.asked) == asked + 1


def test_the_parent_is_asked_to_keep() -> None:
    parent = Parent()
    assert parent.blobs.keep([b"ab", b"c"]) == (NAME, 3, "lab7#3")
    assert parent.kept == [(1, b"abc")]
    parent.refuses = "no room"
    assert parent.blobs.keep([b"ab"]) is None
    parent.is_gone = True
    assert parent.blobs.keep([b"ab"]) is None
