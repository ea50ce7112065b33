"""Lists of which some items cannot be loaded, and what is left of them.

Items travel many to a payload, and one that cannot be loaded would take its neighbours with it. So where
loading a list fails, it is loaded once more by the pickle machine of the standard library that is written in
Python, which goes on after a failure. That is slow, and for failures only.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar, NoReturn

from .errors import KeptLost, SerializationError
from .serialization import Buffer, deserialize

__all__ = ["Broken", "Refused", "refusing", "salvage"]


class Refused:
    """Stands in a list for an item that could not be sent: it cannot be loaded, and says why.

    Args:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, (self.reason,)


def _refuse(reason: str) -> NoReturn:
    raise SerializationError(reason)


class Broken:
    """Takes the place of what could not be loaded.

    Args:
        error: Why.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _FoundError(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Broken:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Nothing can be put into what is broken."""

    extend = add = update = append


class _FoundError(Exception):
    pass


class _Salvager(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except Exception as error:  # noqa: BLE001 - importing runs anything
            return Broken(error)


def _careful(load: Any, takes: int) -> Any:
    """A step that leaves something broken in place of ``takes`` things when it fails."""

    def step(self: Any) -> None:
        rest, broken = len(self.stack) - takes, self.stack[-takes:]
        try:
            load(self)
        except Exception as error:  # noqa: BLE001 - constructors run anything
            whose = next((each for each in broken if isinstance(each, Broken)), None)
            self.stack[rest:] = [whose or Broken(error)]

    return step


for _opcode, _takes in (
    (pickle.REDUCE, 2),
    (pickle.NEWOBJ, 2),
    (pickle.NEWOBJ_EX, 3),
    (pickle.BUILD, 2),
):
    _Salvager.dispatch[_opcode[0]] = _careful(_Salvager.dispatch[_opcode[0]], _takes)


def salvage(payload: Buffer, subject: str, first: int) -> list[Any] | None:
    """The list in a payload, with a `Broken` for each item that cannot be loaded, or holds such a thing.

    Args:
        payload: What `serialize` made of a list; loading it has failed.
        subject: What an item is, for error messages.
        first: The number of its first item.

    Returns:
        None when nothing can be saved.
    """
    try:
        items = deserialize(payload, subject, _loads)
    except Exception:  # noqa: BLE001 - the first attempt has told
        return None
    if not isinstance(items, list):
        return None
    for place, item in enumerate(items):
        broken = _broken_in(item)
        if broken is not None:
            items[place] = Broken(_error_of(broken.error, f"{subject} {first + place}"))
    return items


def _loads(pickled: Buffer, buffers: Any) -> Any:
    return _Salvager(io.BytesIO(pickled), buffers=buffers).load()


def _broken_in(item: Any) -> Broken | None:
    from .by_value.pickler import Pickler

    if isinstance(item, Broken):
        return item
    try:
        Pickler(io.BytesIO()).dump(item)
    except _FoundError as error:
        broken: Broken = error.args[0]
        return broken
    except Exception:  # noqa: BLE001 - it was loaded, which is enough
        return None
    return None


def _error_of(error: Exception, subject: str) -> Exception:
    if isinstance(error, SerializationError | KeptLost):
        return error
    made = SerializationError(
        f"{subject} cannot be loaded here: {type(error).__name__}: {error}", subject=subject, path=""
    )
    made.__cause__ = error
    return made


def refusing(function: Any) -> Any:
    """The function, which raises what is wrong with a broken item."""

    def run(item: Any) -> Any:
        if type(item) is Broken:
            raise item.error
        return function(item)

    return run
