"""Memory that is written once, checked by whoever gets it, and gone with its last user."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from achilles import sealed
from achilles.errors import ProtocolError
from achilles.sealed import Descriptor, Sealed, open_descriptors, places, seal

pytestmark = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors(), open_descriptors()
    yield
    assert (descriptors(), open_descriptors()) == before


def made(content: bytes, seals: int) -> Descriptor:
    descriptor = Descriptor(os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    os.write(descriptor.fileno(), content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


ALL = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def test_parts_lie_where_places_says() -> None:
    sizes = [5, 0, 64, 100_000, 1]
    shared = seal([[bytes([number]) * size] for number, size in enumerate(sizes)])
    assert shared is not None
    starts, total = places(sizes)
    assert len(shared) == total and all(start % 64 == 0 for start in starts)
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        assert bytes(shared.part(start, size).read()) == bytes([number]) * size


def test_thousands_of_pieces_are_written_in_order() -> None:
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5_000)]
    shared = seal([pieces])
    assert shared is not None and bytes(shared.read()) == b"".join(pieces)


def test_a_view_is_writable_and_changes_nobody_elses() -> None:
    array = np.arange(100_000, dtype=np.float64)
    shared = seal([[b"x" * 100], [memoryview(array).cast("B")]])
    assert shared is not None
    part = shared.part(128, array.nbytes)
    mine, yours = (np.frombuffer(part.view(), dtype=np.float64) for _ in range(2))
    del shared, part
    mine[:] = 7.0
    assert np.array_equal(yours, array)
    assert mine.flags.aligned


def test_what_is_sealed_stays_as_it_is() -> None:
    shared = seal([[b"content"]])
    assert shared is not None
    number = shared.descriptor.fileno()
    for change in (
        lambda: os.pwrite(number, b"C", 0),
        lambda: os.ftruncate(number, 1),
        lambda: os.ftruncate(number, 100),
        lambda: mmap.mmap(number, 7),
        lambda: fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ):
        with pytest.raises(PermissionError):
            change()


def test_memory_that_is_sealed_and_as_long_as_said_is_accepted() -> None:
    assert bytes(Sealed.accept(made(b"content", ALL), 7).view()) == b"content"


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE, ALL])
def test_a_missing_seal_is_refused(missing: int) -> None:
    with pytest.raises(ProtocolError, match="not of sealed memory"):
        Sealed.accept(made(b"content", ALL & ~missing), 7)


@pytest.mark.parametrize("said", [0, 6, 8, 2**60])
def test_another_size_is_refused(said: int) -> None:
    with pytest.raises(ProtocolError, match=f"of {said} bytes came by a descriptor of 7 bytes"):
        Sealed.accept(made(b"content", ALL), said)


def test_what_is_no_memory_at_all_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    for number in (reading, os.open("/dev/zero", os.O_RDONLY), os.open("/", os.O_RDONLY)):
        with pytest.raises(ProtocolError, match="not of sealed memory"):
            Sealed.accept(Descriptor(number), 0)


@pytest.mark.parametrize(("start", "size"), [(0, 8), (7, 1), (-1, 2), (2**63, 1), (1, -1)])
def test_a_part_lies_within_its_whole(start: int, size: int) -> None:
    shared = seal([[b"content"]])
    assert shared is not None
    with pytest.raises(ProtocolError, match="outside"):
        shared.part(start, size)


def test_beyond_so_many_mappings_a_view_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = seal([[b"content"]])
    assert shared is not None
    monkeypatch.setattr(sealed, "MAX_MAPPINGS", len(sealed._mappings) + 1)
    views = [shared.view() for _ in range(3)]
    assert [type(view.obj) for view in views] == [mmap.mmap, bytearray, bytearray]
    assert all(bytes(view) == b"content" for view in views)
    del views
    assert type(shared.view().obj) is mmap.mmap


def test_without_a_descriptor_to_spare_nothing_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    assert seal([[b"content"]]) is None


def test_a_view_that_is_not_writable() -> None:
    content = b"x" * 10_000
    sealed_ = seal([[content]])
    assert sealed_ is not None
    view = sealed_.view(writable=False)
    assert view.readonly and view == content
    sealed_.descriptor.close()
    assert view == content


def test_beyond_so_many_mappings_it_is_not_writable_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "MAX_MAPPINGS", 0)
    sealed_ = seal([[b"x" * 10_000]])
    assert sealed_ is not None
    assert sealed_.view(writable=False).readonly and not sealed_.view().readonly


@pytest.mark.parametrize("size", [10, sealed.SHARE_BYTES])
def test_memory_is_filled_piece_by_piece(size: int) -> None:
    content = os.urandom(size)
    filling = sealed.Filling(size)
    for start in range(0, size, 4):
        filling.write(memoryview(content)[start : start + 4])
    filled = filling.seal()
    assert isinstance(filled, Sealed) == (size >= sealed.SHARE_BYTES)
    if isinstance(filled, Sealed):
        assert Sealed.accept(filled.descriptor, size).read() == content
        filled.descriptor.close()
    else:
        assert filled == content


def test_where_no_memory_can_be_sealed_ordinary_memory_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_NEEDED", 0)
    filling = sealed.Filling(sealed.SHARE_BYTES)
    filling.write(b"abc")
    filling.write(b"def")
    assert filling.seal() == b"abcdef"
