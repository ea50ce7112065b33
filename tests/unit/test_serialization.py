"""Payloads in one process: what goes in comes out, and what cannot is said clearly."""

from __future__ import annotations

import functools
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import typing
from collections import OrderedDict, defaultdict, deque
from multiprocessing.pool import RemoteTraceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.errors import RemoteError, SerializationError, TaskTimeout, VersionMismatch
from achilles.serialization import (
    OUT_OF_BAND_BYTES,
    content_hash,
    deserialize,
    detach,
    join,
    load_failure,
    python_required,
    serialize,
    serialize_failure,
)

np = pytest.importorskip("numpy")


def there_and_back(obj: Any) -> Any:
    serialized = serialize(obj, "object")
    payload = join(serialized)
    assert len(payload) == serialized.size_bytes
    return deserialize(payload, "object")


@pytest.mark.parametrize(
    "obj",
    [
        2573,  # its pickle holds CR LF
        b"\r\n" * 100_000,
        "é\r\n\x00" * 10,
        None,
        [],
        {"a": (1, 2.5, {3}), "b": [b"", ""]},
        OrderedDict(a=1),
        defaultdict(list, {1: [2]}),
        deque([1, 2]),
        range(10),
        slice(1, 2),
        2**200,
        bytearray(b"x" * 10_000),
        len,
        int,
        os.path.join,
        int | None,
        typing.Annotated[int, "x"],
        list[int],
        NotImplemented,
        Exception,
    ],
    ids=lambda obj: obj.__name__ if callable(obj) and hasattr(obj, "__name__") else f"{obj!r:.20}",
)
def test_plain_objects(obj: Any) -> None:
    assert there_and_back(obj) == obj


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(_json)
@settings(max_examples=60, deadline=None)
def test_any_nesting(obj: Any) -> None:
    assert there_and_back(obj) == obj


def test_fifty_megabytes() -> None:
    obj = os.urandom(1 << 20) * 50
    serialized = serialize(obj, "object")
    assert any(segment is obj for segment in serialized.segments)  # not copied
    assert there_and_back(obj) == obj


def test_shared_and_recursive_objects() -> None:
    inner = [1]
    outer: list[Any] = [inner, inner]
    outer.append(outer)
    back = there_and_back(outer)
    assert back[0] is back[1] and back[2] is back


def test_objects_are_shared_between_data_and_functions() -> None:
    data = [1]
    back, function = there_and_back((data, lambda: data))
    assert function() is back


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_writable_aligned_and_not_copied(order: Any) -> None:
    array = np.asarray(np.arange(60_000.0).reshape(200, 300), order=order)
    serialized = serialize([array, array[::2], "x"], "arrays")
    assert any(
        isinstance(s, memoryview) and np.shares_memory(np.frombuffer(s), array) for s in serialized.segments
    )
    payload = join(serialized)
    back, half, _ = deserialize(payload, "arrays")
    assert (back == array).all() and (half == array[::2]).all()
    base = np.frombuffer(payload, dtype=np.uint8)
    assert np.shares_memory(back, base)
    assert (back.ctypes.data - base.ctypes.data) % 64 == 0
    back[0, 0] = -1
    half[0, 0] = -1
    assert array[0, 0] == 0


def test_many_buffers_and_odd_lengths() -> None:
    arrays = [np.arange(OUT_OF_BAND_BYTES + n, dtype=np.uint8) for n in range(20)]
    arrays += [np.zeros(3), np.zeros(0), np.array(5), np.array(["a", None], dtype=object)]
    arrays.append(np.zeros(3000, dtype=[("a", "i4"), ("b", "f8")]))
    for back, array in zip(there_and_back(arrays), arrays, strict=True):
        assert (back == array).all() and back.dtype == array.dtype and back.flags.writeable


def test_small_buffers_stay_inside() -> None:
    serialized = serialize(np.zeros(8), "array")
    assert len(serialized.segments) == 1
    back = deserialize(join(serialized), "array")
    back[0] = 1


def test_read_only_payloads_give_read_only_arrays() -> None:
    back = deserialize(bytes(join(serialize(np.zeros(1000), "array"))), "array")
    assert not back.flags.writeable


def test_detach_keeps_what_was_sent() -> None:
    array = np.zeros(10_000)
    aliasing = serialize([array, bytearray(100_000)], "array")
    detached = detach(aliasing)
    array[:] = 1
    assert deserialize(join(detached), "array")[0].sum() == 0
    assert deserialize(join(aliasing), "array")[0].sum() == 10_000
    assert detached.size_bytes == aliasing.size_bytes


def test_deserialize_takes_any_buffer() -> None:
    payload = join(serialize([1, np.zeros(1000)], "x"))
    for buffer in (bytes(payload), payload, memoryview(payload), memoryview(payload).cast("b")):
        assert deserialize(buffer, "x")[0] == 1


def test_content_hash_does_not_depend_on_the_cuts() -> None:
    assert content_hash([b"ab", bytearray(b"c")]) == content_hash([b"a", memoryview(b"bc")])
    assert len(content_hash([])) == 64


def _nothing() -> None: ...


class _Module:
    def method(self) -> int:
        return 4


def test_what_can_be_imported_goes_by_reference() -> None:
    assert __name__ in sys.modules
    for obj in (_nothing, _Module, _Module().method, _Module.method, functools.partial(_nothing), os, np.add):
        serialized = serialize(obj, "x")
        assert not serialized.by_value and python_required(join(serialized)) is None
    assert there_and_back(_nothing) is _nothing
    assert there_and_back(_Module) is _Module
    assert there_and_back(os.path) is os.path
    assert there_and_back(_Module().method)() == 4


def test_by_value_says_which_python() -> None:
    serialized = serialize([lambda: 1], "x")
    assert serialized.by_value
    assert python_required(join(serialized)) == sys.version_info[:2]


def test_bytecode_of_another_python_is_refused() -> None:
    payload = join(serialize(lambda: 1, "function"))
    payload[2:4] = bytes([3, 99])
    assert python_required(payload) == (3, 99)
    with pytest.raises(VersionMismatch, match=r"Python 3\.99.*same minor version.*module") as caught:
        deserialize(payload, "the function")
    assert caught.value.theirs == "3.99"
    plain = join(serialize([1], "x"))
    plain[2:4] = bytes([3, 99])
    assert deserialize(plain, "x") == [1]


def test_classes_without_code_need_no_version() -> None:
    class Empty:
        pass

    serialized = serialize(Empty(), "x")
    assert not serialized.by_value
    assert type(deserialize(join(serialized), "x")) is Empty


# --- what cannot travel ----------------------------------------------------------------------


class _Holder:
    def __init__(self, thing: Any) -> None:
        self.thing = thing


class _Slotted:
    __slots__ = ("thing",)


def _generator() -> Any:
    yield 1


def _slotted(thing: Any) -> _Slotted:
    made = _Slotted()
    made.thing = thing
    return made


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda thing: thing, ""),
        (lambda thing: [0, {"deep": (1, thing)}], "[1]['deep'][1]"),
        (lambda thing: _Holder([thing]), ".thing[0]"),
        (_slotted, ".thing"),
        (lambda thing: functools.partial(print, thing), ".args[0]"),
        (lambda thing: lambda: thing, " variable 'thing' of <lambda>"),
        (lambda thing: _Holder(_Holder(lambda: thing)).thing, ".thing variable 'thing' of <lambda>"),
        (lambda thing: ValueError("x", thing), ".args[1]"),
    ],
)
def test_the_path_to_what_cannot_travel(wrap: Any, path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        serialize(wrap(threading.Lock()), "argument 7")
    assert caught.value.subject == "argument 7" and caught.value.path == path
    assert str(caught.value).startswith("argument 7 cannot be sent") and "lock" in str(caught.value)


def test_generators_locks_sockets_and_files() -> None:
    with socket.socket() as connection, open(os.devnull) as file, open(os.devnull, "rb") as raw:
        for thing in (_generator(), threading.RLock(), connection, file, raw, threading.local()):
            with pytest.raises(SerializationError) as caught:
                serialize({"thing": thing}, "result of item 3")
            assert caught.value.path == "['thing']"
            assert type(thing).__name__ in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).path == "['thing']"


def test_deep_nesting_and_failing_reductions() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply"):
        serialize(deep, "argument 0")
    while deep:  # freeing it recursively is not this test's business
        deep = deep.pop()

    class Angry:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("no")

    with pytest.raises(SerializationError, match="no") as caught:
        serialize([Angry()], "argument 0")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_cannot_be_loaded_here() -> None:
    payload = join(serialize([1], "x"))
    start = 16

    def with_pickle(body: bytes) -> bytes:
        return bytes(payload[:8]) + struct.pack("<Q", len(body)) + body

    assert len(payload) > start
    with pytest.raises(SerializationError, match=r"no_such_module.*installed"):
        deserialize(with_pickle(b"cno_such_module\nname\n."), "argument 1")
    with pytest.raises(SerializationError, match="argument 1"):
        deserialize(with_pickle(b"c__main__\nno_such_function\n."), "argument 1")


@pytest.mark.parametrize("obj", [[1, "a" * 300], [np.zeros(1000), np.zeros(600)], lambda: 1])
def test_damaged_payloads(obj: Any) -> None:
    payload = join(serialize(obj, "x"))
    for size in {*range(120), *range(120, len(payload), 97), len(payload) - 1}:
        with pytest.raises(SerializationError):
            deserialize(payload[:size], "x")
    with pytest.raises(SerializationError):
        deserialize(payload + b"x", "x")
    for offset, format_, value in (
        (4, "<I", 2**32 - 1),
        (8, "<Q", 2**64 - 1),
        (8, "<Q", 2**40),
        (8, "<Q", 0),
    ):
        lying = bytearray(payload)
        struct.pack_into(format_, lying, offset, value)
        with pytest.raises(SerializationError):
            deserialize(lying, "x")
    with pytest.raises(SerializationError):
        deserialize(b"\x80\x05" + bytes(30), "x")
    for bad in (b"", b"\xac", b"no payload at all, just text"):
        with pytest.raises(SerializationError):
            python_required(bad)


def test_a_lying_buffer_length() -> None:
    payload = join(serialize([np.zeros(1000)], "x"))
    for value in (2**64 - 1, 2**63, 2**40, 0, 7999):
        lying = bytearray(payload)
        struct.pack_into("<Q", lying, 16, value)
        with pytest.raises(SerializationError):
            deserialize(lying, "x")


# --- failures --------------------------------------------------------------------------------


def _raised(function: Any, *arguments: Any) -> BaseException:
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - it is what the test is about
        return error
    raise AssertionError("nothing was raised")


def test_a_failure_arrives_as_itself_with_its_traceback() -> None:
    error = load_failure(serialize_failure(_raised(int, "x"), 3))
    assert type(error) is ValueError and "invalid literal" in str(error)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    assert python_required(serialize_failure(_raised(int, "x"), 3)) is None


def test_our_own_errors_keep_their_fields() -> None:
    error = load_failure(serialize_failure(TaskTimeout("late", index=4, limit_s=1.5), 4))
    assert type(error) is TaskTimeout and error.index == 4 and error.limit_s == 1.5


def test_a_failure_that_cannot_travel() -> None:
    error = load_failure(serialize_failure(ValueError(threading.Lock()), 9))
    assert type(error) is RemoteError
    assert (error.index, error.type_name) == (9, "ValueError")
    assert "lock" in error.text and "could not be pickled" in error.traceback


def test_a_failure_of_another_python() -> None:
    class Local(Exception):
        def code(self) -> int:
            return 1

    payload = bytearray(serialize_failure(Local("why"), None))
    inner = payload.index(b"\xac", 1)
    payload[inner + 3] = 99
    error = load_failure(payload)
    assert type(error) is RemoteError and error.text == "why" and "99" in error.traceback


def test_texts_that_are_no_unicode() -> None:
    error = load_failure(serialize_failure(ValueError(threading.Lock(), "\ud800"), None))
    assert type(error) is RemoteError


def test_a_damaged_failure_is_still_an_exception() -> None:
    assert isinstance(load_failure(b"rubbish"), SerializationError)


def test_importing_is_light() -> None:
    heavy = "('dill', 'numpy', 'twisted')"
    code = f"import sys, achilles.serialization; print([m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
