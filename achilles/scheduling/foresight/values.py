"""What foresight knows of a value: the object itself, or that it is *pending*, *unknown* or not bound.

Everything that isn't of a type below is the value itself. A pending value is the result of a functional call
that is under way, or of something that waits for one. Lists and tuples that hold pending elements have models
here, so that what is known of them (length, other elements) is known at once.

Models are never changed: appending gives another model, which shares what they have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from ..calls import Handle

__all__ = [
    "MODELS",
    "UNBOUND",
    "UNKNOWN",
    "Closure",
    "ListModel",
    "Pending",
    "Stream",
    "TupleModel",
    "Unsafe",
    "Variables",
    "Waiter",
    "abandon",
    "concrete",
    "is_concrete",
    "pending_in",
    "settled",
    "unwrapped",
]


class Unsafe(Exception):
    """Foresight can't tell what an operation does, so it must not walk past it. Holds the reason."""


class _Mark:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


# A value that the real run has and foresight can't see.
UNKNOWN: Final = _Mark("UNKNOWN")
# What a variable that a branch may have deleted, or not have bound, can turn out to be.
UNBOUND: Final = _Mark("UNBOUND")


class Waiter(Protocol):
    """Waits for pending values."""

    def ready(self) -> None:
        """Called once for each pending value that it waits for, when that is known."""

    def promised_values(self) -> list[Pending]:
        """The pending values that depend on it."""


class Pending:
    """A value that will be known.

    Attributes:
        known: Whether it is.
        value: The value, when it is known. Never a `Pending` that is known itself.
        waiters: Who is told when it is known.
    """

    __slots__ = ("known", "value", "waiters")

    def __init__(self) -> None:
        self.known = False
        self.value: Any = None
        self.waiters: list[Waiter] = []

    def __repr__(self) -> str:
        return f"Pending({self.value!r})" if self.known else "Pending()"


class ListModel:
    """A list of which some elements aren't known yet: a real list's first elements, then others.

    The elements behind the base are kept in a buffer that models made from one another share, each with its
    own size; so appending costs the same however long the list is.
    """

    __slots__ = ("_base", "_base_size", "_buffer", "_seen", "size")

    def __init__(
        self, elements: list[Any], base: list[Any] | None = None, base_size: int = 0, size: int | None = None
    ) -> None:
        """
        Args:
            elements: The buffer, which the model owns from here on.
            base: A real list whose first ``base_size`` elements come before; it may only grow.
            base_size: How many of its elements.
            size: How many elements of the buffer are this model's; all of them by default.
        """
        self._base = base
        self._base_size = base_size
        self._buffer = elements
        self._seen = 0
        self.size = base_size + (len(elements) if size is None else size)

    def __repr__(self) -> str:
        return f"ListModel({list(self)!r})"

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Any]:
        base, base_size, buffer = self._base, self._base_size, self._buffer
        for place in range(base_size):
            yield base[place]  # type: ignore[index]
        for place in range(self.size - base_size):
            yield settled(buffer[place])

    def __getitem__(self, place: int) -> Any:
        """The element at a place that isn't negative.

        Raises:
            IndexError: There is none.
        """
        if not 0 <= place < self.size:
            raise IndexError("list index out of range")
        if place < self._base_size:
            return self._base[place]  # type: ignore[index]
        return settled(self._buffer[place - self._base_size])

    def extended(self, elements: Iterable[Any]) -> ListModel:
        """The list with more elements behind it."""
        own = self.size - self._base_size
        buffer = self._buffer
        if len(buffer) != own:
            buffer = buffer[:own]  # another list grew from this one
        buffer.extend(elements)
        longer = ListModel(buffer, self._base, self._base_size)
        longer._seen = self._shortened(buffer, own)
        return longer

    def _shortened(self, buffer: list[Any], own: int) -> int:
        """Put known elements in place of pendings, as far as the front is known; how far that is."""
        seen = self._seen
        while seen < own:
            element = buffer[seen]
            if type(element) is Pending:
                if not element.known:
                    break
                buffer[seen] = element.value
            seen += 1
        return seen


class TupleModel:
    """A tuple of which some elements aren't known yet."""

    __slots__ = ("elements",)

    def __init__(self, elements: tuple[Any, ...]) -> None:
        self.elements = elements

    def __repr__(self) -> str:
        return f"TupleModel({self.elements!r})"

    def __len__(self) -> int:
        return len(self.elements)

    def __iter__(self) -> Iterator[Any]:
        return map(settled, self.elements)

    def __getitem__(self, place: int) -> Any:
        if not 0 <= place < len(self.elements):
            raise IndexError("tuple index out of range")
        return settled(self.elements[place])


class Stream:
    """An iterator of foresight's own, whose items may be pending; what enumerate() and zip() give."""

    __slots__ = ("items",)

    def __init__(self, items: Iterator[Any]) -> None:
        self.items = items


class Variables:
    """The variables of one activation of a function, as foresight sees them ahead of it.

    Attributes:
        values: By name.
        outer: Those of the activation that the function was defined in.
    """

    __slots__ = ("outer", "values")

    def __init__(self, values: dict[str, Any], outer: Variables | None) -> None:
        self.values = values
        self.outer = outer


class Closure:
    """A function that was defined within the scheduled one, ahead of the real run.

    Attributes:
        program: Its instructions, a `Program`.
        outer: The variables around it.
        defaults: Values of its parameters' defaults.
    """

    __slots__ = ("defaults", "outer", "program")

    def __init__(self, program: Any, outer: Variables | None, defaults: list[Any]) -> None:
        self.program = program
        self.outer = outer
        self.defaults = defaults


MODELS = (ListModel, TupleModel)
_ABSTRACT = frozenset({Pending, ListModel, TupleModel, Stream, Closure, _Mark})


def abandon(pendings: Iterable[Pending]) -> None:
    """Nobody will say what these are: let go of all that waits for them, which would wait in a circle."""
    stack = list(pendings)
    while stack:
        pending = stack.pop()
        waiters, pending.waiters = pending.waiters, []
        for waiter in waiters:
            stack.extend(waiter.promised_values())


def settled(value: Any) -> Any:
    """A value without the `Pending` around it, if it is known."""
    while type(value) is Pending and value.known:
        value = value.value
    return value


def unwrapped(value: Any) -> Any:
    """A value, settled; what a handle stands for if the real run has fetched that."""
    value = settled(value)
    return value.value() if type(value) is Handle and value.forced else value


def is_concrete(value: Any) -> bool:
    """Whether a value (settled) is the real object."""
    return type(value) not in _ABSTRACT


def pending_in(values: Iterable[Any]) -> list[Pending]:
    """The pendings that values wait for, each once.

    Args:
        values: Values of any kind.

    Raises:
        Unsafe: One of them will never be known.
    """
    found: dict[int, Pending] = {}
    stack = list(values)
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind not in _ABSTRACT:
            continue
        if kind is Pending:
            value = settled(value)
            if type(value) is Pending:
                found[id(value)] = value
            else:
                stack.append(value)
        elif kind is ListModel or kind is TupleModel:
            stack.extend(value)
        else:
            raise Unsafe("a value that foresight can't see")
    return list(found.values())


def concrete(value: Any, made: dict[int, Any] | None = None) -> Any:
    """The real object for a value that waits for nothing any more.

    Args:
        value: A value of any kind.
        made: What models became before, by id, so that the same model becomes the same object.

    Raises:
        Unsafe: It isn't known, or isn't bound.
    """
    value = settled(value)
    kind = type(value)
    if kind not in _ABSTRACT:
        return value
    if kind is ListModel or kind is TupleModel:
        made = {} if made is None else made
        if id(value) not in made:
            elements = [concrete(each, made) for each in value]
            made[id(value)] = elements if kind is ListModel else tuple(elements)
        return made[id(value)]
    raise Unsafe("a value that foresight can't see")
