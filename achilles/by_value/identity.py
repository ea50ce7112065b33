"""Which objects go by reference, and one identity per process for the types that don't."""

from __future__ import annotations

import collections
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["HEAP_TYPE", "is_main", "registry", "travels_by_reference"]

# --- what needs no value ---------------------------------------------------------------------

HEAP_TYPE = 1 << 9  # bit of a class's __flags__: made by a class statement, not by the interpreter
_MAIN_NAMES = ("__main__", "__mp_main__")


def is_main(module: object) -> bool:
    """Whether a module name means this process's main program, which no other process has."""
    return module in _MAIN_NAMES


def travels_by_reference(obj: Any) -> bool:
    """Whether another process can import ``obj`` under its own name."""
    module_name = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if not isinstance(module_name, str) or not isinstance(name, str) or is_main(module_name):
        return False
    found: Any = sys.modules.get(module_name)
    if found is None:
        return False
    for part in name.split("."):  # "<locals>" and "<lambda>" are never found
        found = getattr(found, part, None)
        if found is None:
            return False
    return found is obj


# --- one identity per process ----------------------------------------------------------------

_OWN = sys.maxsize  # the epoch of a class whose origin is this process: nothing is ever newer
_HALF_BUILT = -1


class _Record:
    __slots__ = ("epoch", "ref", "token")

    def __init__(self, token: bytes, epoch: int, ref: weakref.ref[Any]) -> None:
        self.token = token
        self.epoch = epoch
        self.ref = ref


class _Registry:
    """Tokens of the types that this process sent or received.

    Holds types weakly, by identity (a metaclass may make them unhashable); only the most recent
    arrivals are kept alive, so that a class that just appears inside packets is not rebuilt for each.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._records: dict[int, _Record] = {}
        self._types: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()
        self._recent: collections.deque[Any] = collections.deque(maxlen=64)
        self._epoch = 1

    def advance(self) -> None:
        """A new job: from now on own classes are sent with a newer epoch."""
        with self._lock:
            self._epoch += 1

    def sent(self, cls: Any) -> tuple[bytes, int]:
        """The token of a type about to be sent, and the epoch of the definition sent with it."""
        with self._lock:
            record = self._records.get(id(cls)) or self._enter(os.urandom(16), cls, _OWN)
            return record.token, self._epoch if record.epoch == _OWN else record.epoch

    def adopt(self, token: bytes, make: Callable[[], Any]) -> Any:
        """The type with this token; ``make`` builds its skeleton the first time."""
        with self._lock:
            cls = self._types.get(token)
            if cls is None:
                cls = make()
                self._enter(token, cls, _HALF_BUILT)
                self._recent.append(cls)
            return cls

    def _enter(self, token: bytes, cls: Any, epoch: int) -> _Record:
        key = id(cls)
        # The callback runs before the memory, and with it the id, is used again.
        ref = weakref.ref(cls, lambda _: self._records.pop(key, None))
        record = self._records[key] = _Record(token, epoch, ref)
        self._types[token] = cls
        return record

    def is_by_value(self, cls: Any) -> bool:
        """Whether this type came or went by value."""
        return id(cls) in self._records

    def wants(self, cls: Any, epoch: int) -> bool:
        """Whether a definition of this epoch is news."""
        record = self._records.get(id(cls))
        return record is None or record.epoch < epoch

    def applied(self, cls: Any, epoch: int) -> None:
        """Note that the type has the definition of this epoch."""
        record = self._records.get(id(cls))
        if record is not None:
            record.epoch = epoch

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()


registry = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.renew_lock)
