"""Which objects go by reference, and one identity per process for the types that don't."""

from __future__ import annotations

import collections
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

__all__ = ["is_main", "registry", "travels_by_reference"]

# --- what needs no value ---------------------------------------------------------------------

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
    __slots__ = ("epoch", "token")

    def __init__(self, token: bytes, epoch: int) -> None:
        self.token = token
        self.epoch = epoch


class _Registry:
    """Tokens of the types that this process sent or received.

    Weak on both sides; the most recent arrivals are held a while, so that a class that only
    appears inside packets is not rebuilt for each of them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._records: WeakKeyDictionary[Any, _Record] = WeakKeyDictionary()
        self._types: WeakValueDictionary[bytes, Any] = WeakValueDictionary()
        self._recent: collections.deque[Any] = collections.deque(maxlen=256)
        self._epoch = 1

    def advance(self) -> None:
        with self._lock:
            self._epoch += 1

    def sent(self, cls: Any) -> tuple[bytes, int]:
        """The token of a type about to be sent, and the epoch of the definition sent with it."""
        with self._lock:
            try:
                record = self._records.get(cls)
            except TypeError:  # a metaclass without a hash: this type cannot be told from others
                return uuid.uuid4().bytes, self._epoch
            if record is None:
                record = _Record(uuid.uuid4().bytes, _OWN)
                self._records[cls] = record
                self._types[record.token] = cls
            return record.token, self._epoch if record.epoch == _OWN else record.epoch

    def known(self, token: bytes) -> Any:
        return self._types.get(token)

    def adopt(self, token: bytes, make: Callable[[], Any]) -> Any:
        """The type with this token; ``make`` builds its skeleton the first time."""
        with self._lock:
            cls = self._types.get(token)
            if cls is None:
                cls = make()
                self._types[token] = cls
                try:
                    self._records[cls] = _Record(token, _HALF_BUILT)
                except TypeError:
                    del self._types[token]
                self._recent.append(cls)
            return cls

    def is_by_value(self, cls: Any) -> bool:
        try:
            return cls in self._records
        except TypeError:
            return False

    def wants(self, cls: Any, epoch: int) -> bool:
        record = self._records.get(cls)
        return record is None or record.epoch < epoch

    def applied(self, cls: Any, epoch: int) -> None:
        record = self._records.get(cls)
        if record is not None:
            record.epoch = epoch


registry = _Registry()
