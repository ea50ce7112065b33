"""The pickler: C speed for data, and a way for what plain pickle cannot send.

Everything another process can import goes by reference. What it cannot (functions and classes of
``__main__``, of notebooks and of function bodies, lambdas, closures) is reduced here to code,
globals and cells, inside the same pickle: so sharing and cycles between functions, classes and data
survive, and arrays held by closures leave out of band. A function takes along just the globals that
its bytecode names. Two functions of one module share one namespace within a payload, so that a
``global`` statement in one is seen by the other.

What is left (views of dictionaries, contexts, ``super`` objects, ...) is dill's: it is imported only
after C pickle has refused an object. Functions are not left to dill: its ``recurse`` mode does not
end on mutually recursive functions, and swaps ``sys.stdout`` while it looks for globals.

No reference to ``__main__`` is ever written.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import types
import typing
from collections.abc import Callable
from typing import Any

from achilles.by_value.classes import reduce_class, reduce_type_variable
from achilles.by_value.functions import reduce_cell, reduce_code, reduce_function, reduce_method
from achilles.by_value.others import REDUCERS, reduce_checked, reduce_exception, reduce_of_dataclasses

__all__ = ["Pickler", "reduce_with"]

Reducer = Callable[[Any, Any], Any]


class Pickler(pickle.Pickler):
    """C pickler, protocol 5, with reductions by value.

    Args:
        sink: Object whose ``write`` receives bytes.
        buffer_callback: As in `pickle.Pickler`.
        with_dill: Let dill take what would otherwise fail.

    ``by_value`` is true afterwards if bytecode was written; ``carried`` is what was referred to; ``plain`` is
    true if nothing was written but numbers, texts, bytes and Python's own tuples, lists, sets and
    dictionaries.
    """

    __slots__ = ("by_value", "carried", "namespaces", "plain", "reducers")

    def __init__(
        self,
        sink: Any,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        with_dill: bool = False,
    ) -> None:
        super().__init__(sink, 5, buffer_callback=buffer_callback)
        self.by_value = False
        self.plain = True
        self.carried: list[object] = []
        self.namespaces: dict[int, Any] = {}
        self.reducers = _Reducers(_REDUCERS)
        self.reducers.with_dill = with_dill

    def reducer_override(self, obj: Any) -> Any:
        # Called for each object that is not a plain built-in, so for each instance: keep it short.
        self.plain = False
        reducer = self.reducers[type(obj)]
        if reducer is None:
            return NotImplemented
        return reducer(self, obj)


def reduce_with(kind: type, reducer: Reducer) -> None:
    """Have instances of a type reduced by a function of the pickler and the instance, from now on."""
    _REDUCERS[kind] = reducer


class _Reducers(dict[type, "Reducer | None"]):
    """The reducer for each type, found once per payload (so that it keeps no class alive)."""

    with_dill = False

    def __missing__(self, kind: type) -> Reducer | None:
        reducer = self[kind] = self._find(kind)
        return reducer

    def _find(self, kind: type) -> Reducer | None:
        if issubclass(kind, type):
            return reduce_class
        if kind in copyreg.dispatch_table:
            return None
        if issubclass(kind, BaseException):
            plain = kind.__reduce__ is BaseException.__reduce__
            if plain and kind.__reduce_ex__ is object.__reduce_ex__ and kind.__module__ != "builtins":
                return reduce_exception
        if kind.__module__ == "dataclasses":
            return reduce_of_dataclasses
        if self.with_dill and _is_for_dill(kind):
            return _reduce_with_dill
        for name in ("__reduce_ex__", "__reduce__"):
            if isinstance(getattr(kind, name, None), types.FunctionType):
                return reduce_checked
        return None


# --- dill's part -----------------------------------------------------------------------------

# dill would copy these, and the copy guards or reads nothing.
_NEVER = frozenset(
    "lock RLock FileIO TextIOWrapper BufferedReader BufferedWriter BufferedRandom PyCapsule"
    " _ThreadHandle".split()
)


def _is_for_dill(kind: type) -> bool:
    from dill import Pickler as DillPickler
    from dill._dill import pickle_dispatch_copy

    # dill adds the arrays of NumPy to its types with the first that it meets, and copies their bytes.
    own: Any = kind.__reduce_ex__
    if kind.__name__ in _NEVER or own is not object.__reduce_ex__:
        return False
    return kind in DillPickler.dispatch and kind not in pickle_dispatch_copy


def _reduce_with_dill(pickler: Pickler, obj: Any) -> Any:
    from dill import Pickler as DillPickler

    class NestedPickler(DillPickler):  # type: ignore[misc]
        """dill for the object itself; functions and classes below it as everywhere else."""

        def reducer_override(self, inner: Any) -> Any:
            reducer = plain[type(inner)]
            return NotImplemented if reducer is None else reducer(pickler, inner)

    plain = _Reducers(_REDUCERS)
    out = io.BytesIO()
    NestedPickler(out, protocol=5, recurse=True).dump(obj)
    return _load_with_dill, (out.getvalue(),)


def _load_with_dill(payload: bytes) -> Any:
    import dill

    return dill.loads(payload, ignore=True)


_REDUCERS: dict[type, Reducer | None] = {
    **REDUCERS,
    types.FunctionType: reduce_function,
    types.CodeType: reduce_code,
    types.CellType: reduce_cell,
    types.MethodType: reduce_method,
    type: reduce_class,
    typing.TypeVar: reduce_type_variable,
    typing.ParamSpec: reduce_type_variable,
    typing.TypeVarTuple: reduce_type_variable,
}
