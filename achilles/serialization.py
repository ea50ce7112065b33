"""Objects to bytes and back.

A payload is::

    16 bytes   header: magic, flags (bit 0: holds bytecode by value), Python major and minor version,
               number of buffers (u32), length of the pickle (u64)
    8 bytes    per buffer: its length (u64); with the highest bit, the buffer is a blob of that length
    pickle     protocol 5
    buffers    each padded to start on a multiple of 64 from the payload's start; of a blob its SHA-256

all little-endian. Bytecode of functions and classes sent by value (see `achilles.by_value`) only
runs on the Python minor version that made it, so the header names the version: whoever routes a
payload can read it without unpickling, and `deserialize` refuses what would crash.

Large buffers (arrays) are neither copied here nor when a payload is read: a deserialized array lives
inside the payload's memory, and is writable if that memory is.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from achilles.by_value import Pickler, find_unpicklable, new_job
from achilles.errors import KeptLost, RemoteError, SerializationError, VersionMismatch
from achilles.limits import MAX_PAYLOAD_BYTES
from achilles.repeats import Repeats

if TYPE_CHECKING:
    from achilles.blobs import Blob

__all__ = [
    "Buffer",
    "Serialized",
    "check_size",
    "content_hash",
    "deserialize",
    "detach",
    "join",
    "load_failure",
    "numbered",
    "python_required",
    "serialize",
    "serialize_failure",
]

Buffer = bytes | bytearray | memoryview

OUT_OF_BAND_BYTES = 4096
"""Buffers smaller than this go inside the pickle: apart they cost more than the copy."""

_HEADER = struct.Struct("<BBBBIQ")
_MAGIC = 0xAC
_BY_VALUE = 1
_ALIGNMENT = 64
# In a buffer's length: it is a blob, of which the payload holds the name.
_ELSEWHERE = 1 << 63
_NAME_BYTES = 32
# More than any machine has.
_MOST_ELSEWHERE_BYTES = 1 << 46
_PYTHON = sys.version_info[:2]
# What no pickler asks anybody about.
_ATOMS = frozenset({type(None), bool, int, float})


class Serialized(NamedTuple):
    """An object as bytes.

    Attributes:
        segments: The payload in pieces, to be written one after the other. Pieces may be the
            memory of the object itself: use `detach` to keep them while the object may change.
        size_bytes: Length of the payload.
        by_value: Whether it holds bytecode, which only this Python minor version can run.
        carried: What the payload refers to and does not hold; to be kept while anybody may load it.
        plain: Whether it is known to hold nothing but numbers, texts, bytes and Python's own tuples, lists,
            sets and dictionaries.
    """

    segments: list[Buffer]
    size_bytes: int
    by_value: bool
    carried: Sequence[object] = ()
    plain: bool = False


class _Sink:
    __slots__ = ("write",)

    def __init__(self, chunks: list[Buffer]) -> None:
        self.write = chunks.append


def serialize(
    obj: Any, subject: str, most_bytes: int | None = None, repeats: Repeats | None = None
) -> Serialized:
    """Turn an object into a payload.

    A callable, or a tuple that starts with one, is taken for a job's function: from then on
    classes replace what receivers know of them (see `achilles.by_value.classes`).

    Args:
        obj: Any object; functions and classes that cannot be imported elsewhere go by value.
        subject: What it is, for error messages, such as ``argument 7``.
        most_bytes: How large the payload may be, `MAX_PAYLOAD_BYTES` by default.
        repeats: Knows which large buffers were sent before, as blobs.

    Raises:
        SerializationError: Some part cannot be pickled; ``path`` says where in ``obj`` it is. Or it
            would be larger than ``most_bytes``.
    """
    if type(obj) is list and len(obj) == 1 and type(obj[0]) in _ATOMS:
        return _assemble([pickle.dumps(obj, 5)], [], False, [], {})  # as below, for less
    chunks: list[Buffer] = []
    buffers: list[memoryview] = []
    elsewhere: dict[int, Blob] = {}  # by the number of the buffer that stands for it
    has_buffers = False

    def keep(buffer: pickle.PickleBuffer) -> bool:
        nonlocal has_buffers
        has_buffers = True
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_BYTES:
            return True
        if repeats is not None and raw.nbytes >= repeats.least_bytes:
            blob = repeats.blob_of(raw)
            if blob is not None:
                elsewhere[len(buffers)] = blob
                raw = memoryview(bytes.fromhex(blob.sha256))
        buffers.append(raw)
        return False

    if callable(obj) or (type(obj) is tuple and obj and callable(obj[0])):
        new_job()
    try:
        pickler = Pickler(_Sink(chunks), keep)
        pickler.dump(obj)
    except Exception as refused:  # noqa: BLE001 - __reduce__ of anything may raise anything
        chunks.clear()
        buffers.clear()
        elsewhere.clear()
        try:
            if isinstance(refused, (RecursionError, MemoryError)):
                raise
            pickler = Pickler(_Sink(chunks), keep, with_dill=True)
            pickler.dump(obj)
        except Exception as error:
            raise _refusal(obj, subject, error) from error
    check_size(sum(map(len, chunks)) + sum([buffer.nbytes for buffer in buffers]), subject, most_bytes)
    plain = pickler.plain and not has_buffers
    return _assemble(chunks, buffers, pickler.by_value, pickler.carried, elsewhere, plain)


def check_size(size_bytes: int, subject: str, most_bytes: int | None = None) -> None:
    """Raise `SerializationError` if so much is too large to be sent."""
    if most_bytes is None:
        most_bytes = MAX_PAYLOAD_BYTES
    if size_bytes > most_bytes:
        raise SerializationError(
            f"{subject} would take {size_bytes:,} bytes, and at most {most_bytes:,} travel together: "
            f"use a smaller chunksize, or pass the name of a file that both sides can read",
            subject=subject,
            path="",
        )


def _assemble(
    chunks: list[Buffer],
    buffers: list[memoryview],
    by_value: bool,
    carried: list[object],
    elsewhere: dict[int, Blob],
    plain: bool = False,
) -> Serialized:
    pickle_bytes = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
    head = _HEADER.pack(_MAGIC, _BY_VALUE if by_value else 0, *_PYTHON, len(buffers), pickle_bytes)
    if buffers:
        lengths = [b.nbytes for b in buffers]
        for number, blob in elsewhere.items():
            lengths[number] = _ELSEWHERE | blob.size_bytes
            carried.append(blob)
        head += struct.pack(f"<{len(buffers)}Q", *lengths)
    size_bytes = len(head) + pickle_bytes
    # One piece fewer to write; not worth the copy once the pickle is large.
    segments: list[Buffer] = [head + chunks[0], *chunks[1:]] if len(chunks[0]) <= 65536 else [head, *chunks]
    for buffer in buffers:
        padding = -size_bytes % _ALIGNMENT
        if padding:
            segments.append(bytes(padding))
        segments.append(buffer)
        size_bytes += padding + buffer.nbytes
    return Serialized(segments, size_bytes, by_value, carried, plain)


def _refusal(obj: Any, subject: str, error: Exception) -> SerializationError:
    if isinstance(error, RecursionError):
        path, reason = "", "it is nested too deeply"
    else:
        path, culprit, error = find_unpicklable(obj, error)
        where = f"{path} " if path else ""
        reason = f"{where}({type(culprit).__name__}): {_text(error) or type(error).__name__}"
    remedy = " Leave it out, or create it inside the function." if isinstance(error, TypeError) else ""
    return SerializationError(
        f"{subject} cannot be sent to another process: {reason}.{remedy}",
        subject=subject,
        path=path,
    )


def numbered(kind: str, first: int, count: int) -> str:
    """A subject for error messages: ``argument 7``, or ``the list of arguments 7 to 9``."""
    return f"{kind} {first}" if count == 1 else f"the list of {kind}s {first} to {first + count - 1}"


def join(serialized: Serialized) -> bytearray:
    """The payload as one writable buffer (a copy)."""
    return bytearray().join(serialized.segments)


def detach(serialized: Serialized) -> Serialized:
    """The same payload, with pieces that alias changeable memory copied.

    Needed where a payload is kept (for a retry, in a queue) while its owner goes on: a generator
    that yields one array again and again, refilled, would otherwise change what was sent.
    """
    return Serialized(
        [
            segment if isinstance(segment, bytes) or _is_frozen(segment) else bytes(segment)
            for segment in serialized.segments
        ],
        serialized.size_bytes,
        serialized.by_value,
        serialized.carried,
    )


def _is_frozen(segment: bytearray | memoryview) -> bool:
    return isinstance(segment, memoryview) and isinstance(segment.obj, bytes)


def content_hash(segments: Iterable[Buffer]) -> str:
    """SHA-256 of the segments taken as one, in hexadecimal."""
    import hashlib  # here and below: what an undisturbed call on this machine's cores can do without

    digest = hashlib.sha256()
    for segment in segments:
        digest.update(segment)
    return digest.hexdigest()


def python_required(payload: Buffer) -> tuple[int, int] | None:
    """The Python (major, minor) that the payload's bytecode needs, or None if it holds none.

    Reads the header alone: nothing is unpickled.

    Raises:
        SerializationError: Not a payload.
    """
    flags, major, minor, _, _ = _header(payload, "payload")
    return (major, minor) if flags & _BY_VALUE else None


def _header(payload: Buffer, subject: str) -> tuple[int, int, int, int, int]:
    if len(payload) < _HEADER.size or payload[0] != _MAGIC:
        raise SerializationError(f"{subject} is not an achilles payload.", subject=subject, path="")
    _, flags, major, minor, count, pickle_bytes = _HEADER.unpack_from(payload)
    return flags, major, minor, count, pickle_bytes


def deserialize(payload: Buffer, subject: str, loads: Callable[..., Any] = pickle.loads) -> Any:
    """Turn a payload back into its object.

    Only for payloads of peers that have proved they know the secret: unpickling runs code.

    Args:
        payload: What `serialize` made, as one buffer. Arrays in the result refer to this memory
            and are writable if it is, so hand over a bytearray and let go of it.
        subject: What it is, for error messages.
        loads: What loads the pickle, for `achilles.salvage`.

    Raises:
        VersionMismatch: It holds bytecode of another Python minor version.
        SerializationError: It is malformed, or what it refers to cannot be imported here.
        KeptLost: It refers to a kept value that is gone.
    """
    view = memoryview(payload)
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    flags, major, minor, count, pickle_bytes = _header(view, subject)
    if flags & _BY_VALUE and (major, minor) != _PYTHON:
        raise VersionMismatch(
            f"{subject} holds functions or classes sent as bytecode by Python {major}.{minor}, which "
            f"Python {_PYTHON[0]}.{_PYTHON[1]} cannot run. Run the same minor version on the node, or move "
            "them from the main script into a module (a file of its own), so that they travel as source.",
            ours="{}.{}".format(*_PYTHON),
            theirs=f"{major}.{minor}",
        )
    total = len(view)
    start = _HEADER.size + 8 * count
    end = start + pickle_bytes
    if end > total:
        raise _malformed(subject)
    buffers = None
    if count:
        buffers = []
        position = end
        for (size,) in struct.iter_unpack("<Q", view[_HEADER.size : start]):
            position += -position % _ALIGNMENT
            length = size if size < _ELSEWHERE else _NAME_BYTES
            lies = size >= _ELSEWHERE and not 0 < size - _ELSEWHERE <= _MOST_ELSEWHERE_BYTES
            if lies or position + length > total:
                raise _malformed(subject)
            buffer = view[position : position + length]
            buffers.append(buffer if size < _ELSEWHERE else _from_elsewhere(buffer, size - _ELSEWHERE))
            position += length
        end = position
    if end != total:
        raise _malformed(subject)
    try:
        return loads(view[start : start + pickle_bytes], buffers=buffers)
    except KeptLost:
        raise
    except Exception as error:
        missing = isinstance(error, (ImportError, AttributeError))
        remedy = " Is it installed here, in the same version?" if missing else ""
        raise SerializationError(
            f"{subject} cannot be loaded here: {type(error).__name__}: {_text(error)}.{remedy}",
            subject=subject,
            path="",
        ) from error


def _from_elsewhere(name: memoryview, size_bytes: int) -> Buffer:
    """The bytes of a blob, in memory that can be written to as if they had come along."""
    from achilles.blobs import fetch

    return fetch(name.hex(), size_bytes).copy()


def _malformed(subject: str) -> SerializationError:
    return SerializationError(
        f"{subject} is damaged: its length is not what its header says.", subject=subject, path=""
    )


# --- failures --------------------------------------------------------------------------------


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an exception's own __str__ may do anything
        return "<no text: its __str__ failed>"


def serialize_failure(exc: BaseException, index: int | None) -> bytes:
    """An exception with its traceback as a payload; never raises.

    The exception is a payload of its own inside, so that a receiver that cannot load it still
    reads what it was. One that cannot be pickled travels as its type's name, text and traceback.

    Args:
        exc: What the user's function raised.
        index: Number of the item it was raised for, if any.
    """
    import traceback

    try:
        trace = "".join(traceback.format_exception(exc))
    except BaseException:  # noqa: BLE001 - never raises
        trace = f"{type(exc).__name__}: {_text(exc)}\n"
    inner: bytes | None = None
    try:
        inner = bytes(join(serialize(exc, "exception")))
    except BaseException:  # noqa: BLE001 - never raises
        trace += "(The exception itself could not be pickled.)\n"
    # surrogates and the like must not stop this one
    facts = [type(exc).__name__, _text(exc), trace]
    facts = [str.encode(fact, "utf-8", "replace").decode() for fact in facts]
    return bytes(join(serialize((inner, index, *facts), "failure")))


def load_failure(payload: Buffer) -> BaseException:
    """The exception that `serialize_failure` packed; never raises.

    Returns:
        The user's own exception, or a `RemoteError` if that cannot be rebuilt here, with a
        `multiprocessing.pool.RemoteTraceback` as its cause.
    """
    from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

    try:
        inner, index, type_name, text, trace = deserialize(payload, "failure")
    except Exception as error:  # noqa: BLE001 - never raises
        return error
    failure: BaseException | None = None
    if inner is not None:
        try:
            failure = deserialize(bytearray(inner), "exception")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - never raises
            trace += f"(The exception itself could not be rebuilt: {_text(error)})\n"
    if not isinstance(failure, BaseException):
        failure = RemoteError(
            f"{type_name}: {text}", index=index, type_name=type_name, text=text, traceback=trace
        )
    failure.__cause__ = RemoteTraceback(f'\n"""\n{trace}"""')
    return failure
