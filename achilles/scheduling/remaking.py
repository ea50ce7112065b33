"""Results that stayed on a node which is lost are made again: functional calls may be made twice.

Of each call whose result stays at a node its *recipe* is noted: the function, and the arguments as they were
then. An argument that is itself such a result is noted as its origin, not as its handle, so that what nobody
needs any more is let go of; when it is needed for this, it is made again as well. Bounds:

1. Arguments are noted up to `MOST_ELEMENTS` elements and `MOST_BYTES`, results apart. A call with more has no
   recipe.
2. Recipes refer to each other over `MOST_GENERATIONS` at most.
3. A call is made `MOST_ATTEMPTS` times at most; then its `KeptLost` is raised where the call stands.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import KeptLost
from ..serialization import deserialize, join, serialize
from .calls import Handle
from .foresight.verifying import estimated_bytes, is_lasting

if TYPE_CHECKING:
    from .calls import Started

__all__ = ["MOST_ATTEMPTS", "MOST_GENERATIONS", "Made", "Recipe", "Remaker", "remake"]

MOST_ELEMENTS = 1000
MOST_BYTES = 64 * 1024
MOST_GENERATIONS = 100
MOST_ATTEMPTS = 4

_NUMBERS = frozenset([int, float, bool, complex, type(None)])
_SUBJECT = "an argument of a functional call"


class Remaker(Protocol):
    """Makes calls again."""

    def start_again(self, recipe: Recipe, finished: deque[Started]) -> Started:
        """Start a call, from its recipe. What it needs of what was lost is made first."""

    def wait(self, started: Started, finished: deque[Started]) -> None:
        """See `Calls.wait`."""


class Made:
    """Where a result came from: the `Origin` of its handle.

    Args:
        recipe: How it was made; None: that isn't known any more.
        remaker: Who makes it again.
    """

    __slots__ = ("__weakref__", "_handle", "_remaker", "recipe")

    def __init__(self, recipe: Recipe | None, remaker: Remaker) -> None:
        self.recipe = recipe
        self._remaker = remaker
        self._handle: weakref.ref[Handle] | None = None

    def kept_as(self, kept: Any) -> Handle:
        """The handle for the result, which stayed where it was made."""
        handle = Handle(kept, self)
        self._handle = weakref.ref(handle)
        return handle

    @property
    def handle(self) -> Handle | None:
        """The program's handle, if it has it and didn't force it: else it may have changed the value."""
        handle = None if self._handle is None else self._handle()
        return None if handle is None or handle.forced else handle

    def fetched(self, handle: Handle) -> Any:
        """See `Origin.fetched`.

        Raises:
            KeptLost: It was lost, and can't be made again.
        """
        for _ in range(MOST_ATTEMPTS):
            try:
                return handle.content.value()
            except KeptLost as error:
                if self.recipe is None:
                    raise
                try:
                    remake(self._remaker, [self])
                except Exception as refused:
                    raise error from refused
            if handle.forced:
                return handle.content
        return handle.content.value()


class Recipe:
    """How a result is made: the function and its arguments, as they were when it was called.

    Attributes:
        origins: Where the arguments came from that are results themselves.
        generations: How many recipes stand one behind the other, this one included.
    """

    __slots__ = ("_call", "generations", "origins")

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        noting = _Noting()
        self._call = noting.copied((function, args, kwargs))
        self.origins = tuple(noting.origins)
        before = [each.recipe.generations for each in self.origins if each.recipe is not None]
        self.generations: int = 1 + max(before, default=0)

    @classmethod
    def of(cls, function: Callable[..., Any], args: Any, kwargs: Any) -> Recipe | None:
        """Note a call; None when its arguments are too much to be noted."""
        try:
            made = cls(function, args, kwargs)
        except Exception:  # noqa: BLE001 - pickling runs the caller's code; the call does without a recipe
            return None
        return made if made.generations <= MOST_GENERATIONS else None

    def references(self) -> dict[Made, Any]:
        """What the arguments that are results are kept as now."""
        handles = {each: each.handle for each in self.origins}
        return {each: handle.content for each, handle in handles.items() if handle is not None}

    def call(self, remaker: Remaker) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and its arguments again. Blocks until results that the program let go of are made.

        Raises:
            Exception: They can't be.
        """
        handles = {each: each.handle for each in self.origins}
        handles.update(remake(remaker, [each for each, handle in handles.items() if handle is None]))
        function, args, kwargs = _Loading(handles).copied(self._call)
        return function, args, kwargs


def remake(remaker: Remaker, origins: Iterable[Made]) -> dict[Made, Any]:
    """Make results again, all at the same time. Blocks. Handles that the program has stand for them then.

    Returns:
        For each another handle, or the value itself where it didn't stay.

    Raises:
        KeptLost: It isn't known any more how one was made.
        Exception: What making it raised.
    """
    finished: deque[Started] = deque()
    started: list[tuple[Made, Started]] = []
    made: dict[Made, Any] = {}
    try:
        for origin in origins:
            if origin.recipe is None:
                raise _Unknown
            started.append((origin, remaker.start_again(origin.recipe, finished)))
        for origin, call in started:
            while not call.done:
                finished.clear()
                remaker.wait(call, finished)
            if call.failed:
                raise call.outcome
            handle = origin.handle
            if handle is not None:
                handle.replace(call.outcome)
            made[origin] = call.outcome
    finally:
        for _, call in started:
            call.cancel()  # harmless, where it is done
        finished.clear()  # they know it, and would stay with it until they are found
    return made


class _Copying:
    """Copies nested lists, tuples and dicts; an object that is there twice is copied once."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._of: list[Any] = []  # so that no id is used again
        self._left = MOST_ELEMENTS

    def copied(self, value: Any) -> Any:
        """A copy of a value."""
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        kind = type(value)
        if kind in _NUMBERS:
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        made: Any
        if kind is list:
            made = self._done[id(value)] = []
            made.extend(map(self.copied, value))
        elif kind is dict:
            made = self._done[id(value)] = {}
            made.update({self.element(key): self.copied(each) for key, each in value.items()})
        elif kind is tuple:
            made = tuple(map(self.copied, value))
        else:
            made = self.element(value)
        self._done[id(value)] = made
        self._of.append(value)
        return made

    def element(self, value: Any) -> Any:
        """What stands for anything else."""
        raise NotImplementedError


class _Noting(_Copying):
    """Arguments as a recipe has them."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[Made, None] = {}
        self._left_bytes = MOST_BYTES

    def element(self, value: Any) -> Any:
        if type(value) is Handle:
            if value.forced:
                return self.copied(value.content)
            origin = value.origin
            if not isinstance(origin, Made):
                raise _TooMuch
            self.origins[origin] = None
            return origin
        self._take(estimated_bytes(value))
        if is_lasting(value) and getattr(value, "__closure__", None) is None:
            return value
        serialized = serialize([value], _SUBJECT)
        if serialized.carried:
            raise _TooMuch
        self._take(serialized.size_bytes)
        return _Pickled(join(serialized))

    def _take(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise _TooMuch


class _Loading(_Copying):
    """Arguments from a recipe."""

    def __init__(self, made: dict[Made, Any]) -> None:
        super().__init__()
        self._made = made
        self._left = 2 * MOST_ELEMENTS

    def element(self, value: Any) -> Any:
        if type(value) is Made:
            return self._made[value]
        return deserialize(bytearray(value.payload), _SUBJECT)[0] if type(value) is _Pickled else value


class _Pickled(NamedTuple):
    payload: bytearray


class _TooMuch(Exception):
    """A call can't be noted."""


class _Unknown(Exception):
    """Nobody knows how a result was made."""

    def __str__(self) -> str:
        return "its arguments are not known any more, so the call cannot be made again"
