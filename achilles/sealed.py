"""Bytes in memory that processes of one machine share, and that nobody can change any more.

A large payload is written once, into a memory file of its own, and only the file's descriptor is passed
on; whoever needs the bytes reads or maps them. Before it is passed on the file is sealed: from then
on the kernel lets nobody write, shorten or lengthen it, its maker included. So a receiver that has
checked the seals (`Sealed.accept`) may map it without fear that the memory is cut away below it.

Linux alone has such files. Where there are none (`available`), or the kernel refuses one more (`seal`
returns None), payloads travel as bytes.

A descriptor is closed with the last object that refers to it.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from achilles.errors import ProtocolError

try:
    import fcntl
except ImportError:  # no Unix
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "HELD_DESCRIPTORS",
    "SHARE_BYTES",
    "Descriptor",
    "Filling",
    "Payload",
    "Sealed",
    "available",
    "mapped",
    "open_descriptors",
    "places",
    "plain",
    "seal",
]

Buffer = bytes | bytearray | memoryview

SHARE_BYTES = 128 * 1024
"""From this size on a file of its own costs less than the copies on the way."""

HELD_DESCRIPTORS = 256
"""With more of them open, a process copies what it is to keep for long."""

ALIGNMENT = 64
"""Every part of a file starts on a multiple, as arrays like it."""

# Buffers per writev; Linux refuses more than 1024.
BUFFERS_PER_CALL = 512
# What a receiver insists on; senders add that no seal can be added.
_NEEDED = 0
_ADDED = 0
if hasattr(fcntl, "F_ADD_SEALS") and hasattr(os, "memfd_create"):
    _NEEDED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    _ADDED = _NEEDED | fcntl.F_SEAL_SEAL

# A mapping of Python's holds a descriptor until 3.13, so they are few; then the kernel's own limit is far.
_CAN_MAP_ALONE = sys.version_info >= (3, 13)
MAX_MAPPINGS = 16_384 if _CAN_MAP_ALONE else 512
_mappings: weakref.WeakSet[Any] = weakref.WeakSet()

_open: set[int] = set()


def available() -> bool:
    """Whether this system has memory that can be sealed."""
    return bool(_NEEDED)


def open_descriptors() -> int:
    """How many descriptors of sealed memory this process holds, mappings apart."""
    return len(_open)


class Descriptor:
    """Owns one descriptor, and stands for its number wherever a number is asked for."""

    __slots__ = ("__weakref__", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        _open.add(number)

    def fileno(self) -> int:
        """Its number."""
        if self._number < 0:
            raise ValueError("the descriptor is closed")
        return self._number

    __index__ = fileno

    def close(self) -> None:
        """Close it; harmless when repeated."""
        number = self.detach()
        if number >= 0:
            os.close(number)

    def detach(self) -> int:
        """Its number, which somebody else closes from here on; below zero if it is closed."""
        number, self._number = self._number, -1
        if number >= 0:
            _open.discard(number)
        return number

    def __del__(self) -> None:
        self.close()


class Sealed:
    """A range of a sealed file.

    Attributes:
        descriptor: The file's.
        start: Where the range begins.
        size_bytes: Its length; also ``len()``.
    """

    __slots__ = ("descriptor", "size_bytes", "start")

    def __init__(self, descriptor: Descriptor, start: int, size_bytes: int) -> None:
        self.descriptor = descriptor
        self.start = start
        self.size_bytes = size_bytes

    @classmethod
    def accept(cls, descriptor: Descriptor, size_bytes: int) -> Sealed:
        """What somebody else sent, once it is known to be what he said.

        Raises:
            ProtocolError: It is no sealed memory, or its size is another. The descriptor is closed.
        """
        actual_bytes = os.fstat(descriptor.fileno()).st_size
        if not _is_sealed(descriptor):
            said = "a payload came by a descriptor that is not of sealed memory"
        elif actual_bytes != size_bytes:
            said = f"a payload of {size_bytes} bytes came by a descriptor of {actual_bytes} bytes"
        else:
            return cls(descriptor, 0, size_bytes)
        descriptor.close()  # the error's traceback may live for long
        raise ProtocolError(said)

    def __len__(self) -> int:
        return self.size_bytes

    def part(self, start: int, size_bytes: int) -> Sealed:
        """A range of this one; the file stays open as long as any of them lives.

        Raises:
            ProtocolError: It does not lie within this one.
        """
        if start < 0 or size_bytes < 0 or start + size_bytes > self.size_bytes:
            raise ProtocolError("a payload was said to lie outside the memory that it came in")
        return Sealed(self.descriptor, self.start + start, size_bytes)

    def read(self) -> bytearray:
        """The bytes, copied."""
        content = bytearray(self.size_bytes)
        room = memoryview(content)
        position = self.start
        while room:
            count = os.preadv(self.descriptor.fileno(), [room], position)
            if not count:
                raise ProtocolError("sealed memory is shorter than was said")
            room = room[count:]
            position += count
        return content

    def view(self, *, writable: bool = True) -> memoryview:
        """The bytes as memory of this process alone; they are copied page by page when written.

        The memory lives as long as the view, and no longer needs this object. Beyond `MAX_MAPPINGS`
        of them it is a copy.
        """
        if len(_mappings) >= MAX_MAPPINGS:
            return _as_wanted(memoryview(self.read()), writable)
        before = self.start % mmap.ALLOCATIONGRANULARITY
        options: dict[str, Any] = {"trackfd": False} if _CAN_MAP_ALONE else {}
        try:
            mapping = mmap.mmap(
                self.descriptor.fileno(),
                before + self.size_bytes,
                # Private also to read: before Linux 6.7 what is sealed could not be mapped shared.
                flags=mmap.MAP_PRIVATE,
                prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0),
                offset=self.start - before,
                **options,
            )
        except OSError:
            return _as_wanted(memoryview(self.read()), writable)  # too many mappings or descriptors
        _mappings.add(mapping)
        return memoryview(mapping)[before : before + self.size_bytes]


Payload = bytearray | Sealed


def _as_wanted(view: memoryview, writable: bool) -> memoryview:
    return view if writable else view.toreadonly()


class Filling:
    """Memory that is written piece by piece, and sealed when it is complete.

    Ordinary memory if it is small, or the system gives no other.

    Args:
        size_bytes: How much is to come.
    """

    __slots__ = ("_content", "_descriptor")

    def __init__(self, size_bytes: int) -> None:
        self._content = bytearray()
        self._descriptor = _new_file() if size_bytes >= SHARE_BYTES else None

    def write(self, piece: Buffer) -> None:
        """Add a piece.

        Raises:
            OSError, MemoryError: The system has no more.
        """
        if self._descriptor is None:
            self._content += piece
        else:
            _write(self._descriptor.fileno(), [piece])

    def seal(self) -> Payload:
        """What was written; nothing can be added."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return self._content
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _ADDED)
        return Sealed(descriptor, 0, os.fstat(descriptor.fileno()).st_size)


def _new_file() -> Descriptor | None:
    if not _NEEDED:
        return None
    try:
        return Descriptor(os.memfd_create("achilles", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    except OSError:
        return None


def _is_sealed(descriptor: Descriptor) -> bool:
    try:
        return bool(_NEEDED) and fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _NEEDED == _NEEDED
    except OSError:
        return False  # no memory file


def plain(payload: Buffer | Sealed) -> Buffer:
    """The payload as bytes, copied if it is shared."""
    return payload.read() if isinstance(payload, Sealed) else payload


def mapped(payload: Buffer | Sealed) -> Buffer:
    """The payload as bytes in memory of this process, mapped if it is shared."""
    return payload.view() if isinstance(payload, Sealed) else payload


def places(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Where parts of these sizes start in a file, and the file's size."""
    starts = []
    end = 0
    for size in sizes:
        end += -end % ALIGNMENT
        starts.append(end)
        end += size
    return starts, end


def seal(parts: Iterable[Sequence[Buffer]]) -> Sealed | None:
    """Write parts, each of several buffers, as `places` says; None when the system gives no memory for it."""
    descriptor = _new_file()
    if descriptor is None:
        return None
    pieces: list[Buffer] = []
    end = 0
    for part in parts:
        if gap := -end % ALIGNMENT:
            pieces.append(bytes(gap))
            end += gap
        for piece in part:
            pieces.append(piece)
            end += piece.nbytes if isinstance(piece, memoryview) else len(piece)
    try:
        for first in range(0, len(pieces), BUFFERS_PER_CALL):
            _write(descriptor.fileno(), pieces[first : first + BUFFERS_PER_CALL])
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _ADDED)
    except OSError:
        return None
    return Sealed(descriptor, 0, end)


def _write(number: int, pieces: list[Buffer]) -> None:
    written = os.writev(number, pieces)
    for piece in pieces:
        view = memoryview(piece)
        if written >= view.nbytes:
            written -= view.nbytes
            continue
        # One call takes 2 GiB at most.
        rest = view.cast("B")[written:]
        written = 0
        while rest:
            rest = rest[os.write(number, rest) :]
