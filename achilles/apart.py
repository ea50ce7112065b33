"""Slices that travel together although they share objects, and must not see what is done to each other's.

Neighbouring slices of short tasks are serialized as one unit, in one pickle. An object that several
of them hold would be one object at the other end as well: what the function does to it in one slice would be
seen in the next, or not, depending on which slices happened to travel together. So where slices are seen
to share something that can change, each is pickled by itself within the unit.

Seen is what items are, and what they hold in two more steps through tuples, lists, sets, dictionaries and
attributes. That is a promise no deeper than it is cheap: who needs more copies the argument in the function.

Most arguments are numbers, or tuples of them and of short texts. To look at the type of each takes longer
than to pickle it, so of these another proof is taken: what has a hash, and holds nothing but what the pickler
itself knows how to write (`Serialized.plain`), cannot be changed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from itertools import chain
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from achilles.by_value import Pickler, reduce_with

if TYPE_CHECKING:
    from achilles.serialization import Serialized

__all__ = ["apart", "never_changes", "serialized_apart"]

# What nobody can change, or what does not travel as a copy of itself.
_UNCHANGING: set[type] = {
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    range,
    slice,
    type(None),
    type(Ellipsis),
    type(NotImplemented),
    type,
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
}
_STEPS = 2
_NUMBERS = frozenset({int, float, bool, type(None)})
# To hash longer ones takes longer than to look at their type.
_SHORT_TEXT = 1024
# Smaller buffers go inside the pickle, as everywhere (`achilles.serialization.OUT_OF_BAND_BYTES`).
_OUT_OF_BAND_BYTES = 4096


def never_changes(kind: type) -> None:
    """Instances of this type may be shared."""
    _UNCHANGING.add(kind)


def serialized_apart(
    items: list[Any], slice_tasks: int, serialize: Callable[[Any], Serialized]
) -> Serialized:
    """Serialize a unit's arguments, so that slices come to share nothing.

    Args:
        items: The arguments; left as they are.
        slice_tasks: How many of them are a slice, whose arguments may share objects; 0: all of them.
        serialize: Turns what is to be loaded as that list into a payload. Called once or twice.

    Raises: as ``serialize``.
    """
    if not len(items) > slice_tasks > 0 or not _is_light(items[0]) or not _have_hashes(items):
        return serialize(apart(items, slice_tasks))
    unit = serialize(items)
    if unit.plain or (sent := apart(items, slice_tasks)) is items:
        return unit
    return serialize(sent)


def _is_light(item: Any) -> bool:
    """Whether an item is something that is hashed soon, as others like it will be."""
    kind = type(item)
    if kind is tuple:
        return all(map(_is_light, item))
    return kind in _NUMBERS or ((kind is str or kind is bytes) and len(item) < _SHORT_TEXT)


def _have_hashes(items: list[Any]) -> bool:
    try:
        hash(tuple(items))
    except Exception:  # noqa: BLE001 - what has one of its own may raise anything
        return False
    return True


def apart(items: list[Any], slice_tasks: int, seen: list[Any] | None = None) -> Any:
    """What to serialize in place of a unit's arguments, so that slices come to share nothing.

    Args:
        items: The arguments; left as they are.
        slice_tasks: How many of them are a slice, whose arguments may share objects; 0: all of them.
        seen: What to look at in place of each of the items.

    Returns:
        The items themselves where nothing is shared; else something that is loaded as that list.
    """
    if not slice_tasks or len(items) <= slice_tasks or not _share(seen or items, slice_tasks):
        return items
    return _Apart([items[start : start + slice_tasks] for start in range(0, len(items), slice_tasks)])


def _share(items: list[Any], slice_tasks: int) -> bool:
    """Whether slices are seen to hold the same object, which can change."""
    if _UNCHANGING.issuperset(map(type, items)):
        return False
    before: set[int] = set()
    here: set[int] = set()
    for place, item in enumerate(items):
        if place % slice_tasks == 0:
            before |= here
            here = set()
        _note(item, _STEPS, here)
        if not before.isdisjoint(here):
            return True
    return False


def _note(thing: Any, steps: int, found: set[int]) -> None:
    kind = type(thing)
    if kind in _UNCHANGING or issubclass(kind, type):
        return
    if kind is tuple:
        parts: Sequence[Any] = thing
    else:
        found.add(id(thing))
        if kind is list:
            parts = thing
        elif kind is dict:
            parts = list(thing.values())
        elif kind is set or kind is frozenset:
            parts = list(thing)
        else:
            parts = list(getattr(thing, "__dict__", {}).values())
    if steps and not _UNCHANGING.issuperset(map(type, parts)):
        for part in parts:
            _note(part, steps - 1, found)


class _Apart:
    """A list of items, to be pickled slice by slice."""

    __slots__ = ("slices",)

    def __init__(self, slices: list[list[Any]]) -> None:
        self.slices = slices


class _Slice:
    """Some of its items, to be pickled by themselves."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


def _reduce_apart(pickler: Pickler, whole: _Apart) -> Any:
    return _chained, ([len(items) for items in whole.slices], [_Slice(items) for items in whole.slices])


def _reduce_slice(pickler: Pickler, part: _Slice) -> Any:
    chunks: list[bytes] = []
    buffers: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < _OUT_OF_BAND_BYTES:
            return True
        buffers.append(buffer)
        return False

    inner = Pickler(_Sink(chunks), keep, with_dill=pickler.reducers.with_dill)
    inner.dump(part.items)
    pickler.by_value = pickler.by_value or inner.by_value
    pickler.carried += inner.carried
    return _loaded, (b"".join(chunks), *buffers)


class _Sink:
    __slots__ = ("write",)

    def __init__(self, chunks: list[bytes]) -> None:
        self.write = chunks.append


def _loaded(pickled: bytes, *buffers: Any) -> Any:
    return pickle.loads(pickled, buffers=buffers)


def _chained(lengths: list[int], slices: list[Any]) -> list[Any]:
    """All items; where a slice could not be loaded (`achilles.salvage`), what stands for it, as often."""
    return list(
        chain.from_iterable(
            items if type(items) is list else [items] * length
            for items, length in zip(slices, lengths, strict=True)
        )
    )


reduce_with(_Apart, _reduce_apart)
reduce_with(_Slice, _reduce_slice)
