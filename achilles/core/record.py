"""Classes with named fields that cost next to nothing to define.

A program defines some eighty of them before its first result, and uses half. `dataclasses` compiles three
methods for each, about half a millisecond, and loads `inspect`; here a class is its slots, and its
``__init__`` is compiled when the first instance is made. An instance costs what a dataclass's does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

__all__ = ["Record", "made_by"]

T = TypeVar("T")


class _Factory:
    """A default that is made anew for each instance."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def made_by(*, default_factory: Callable[[], T]) -> T:
    """The default of a field whose value each instance has for itself, such as ``list``."""
    return _Factory(default_factory)  # type: ignore[return-value]


@dataclass_transform(field_specifiers=(made_by,))
class _RecordType(type):
    """Makes the annotated names of a class its slots, and their values the defaults."""

    _defaults: dict[str, Any]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        fields = tuple(namespace.get("__annotations__", ())) if bases else ()
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        namespace |= {"__slots__": fields, "__match_args__": fields, "_defaults": defaults}
        return super().__new__(mcs, name, bases, namespace)


class Record(metaclass=_RecordType):
    """Base of such classes: fields as in a dataclass with slots, in order, those with defaults last.

    Subclasses are final: fields are not inherited. ``__post_init__`` is called where there is one.
    Instances with equal fields are equal, and have no hash.
    """

    __match_args__: ClassVar[tuple[str, ...]]
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        cls.__init__ = _compiled_init(cls)  # type: ignore[method-assign]
        cls.__init__(self, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in self.__match_args__)

    def __repr__(self) -> str:
        values = ", ".join(f"{field}={getattr(self, field)!r}" for field in self.__match_args__)
        return f"{type(self).__qualname__}({values})"

    def replaced(self, **changes: Any) -> Self:
        """One that differs in these fields."""
        return type(self)(**{field: getattr(self, field) for field in self.__match_args__} | changes)


def _compiled_init(cls: type[Record]) -> Any:
    """The ``__init__`` of a class: one assignment for each field."""
    defaults = cls._defaults
    parameters = ["self"]
    body = []
    for field in cls.__match_args__:
        default = defaults.get(field)
        if isinstance(default, _Factory):
            parameters.append(f"{field}=_missing")
            body.append(f"self.{field} = _defaults[{field!r}].make() if {field} is _missing else {field}")
        else:
            parameters.append(f"{field}=_defaults[{field!r}]" if field in defaults else field)
            body.append(f"self.{field} = {field}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"])
    scope: dict[str, Any] = {"_defaults": defaults, "_missing": object()}
    # Compiled first: to run a text makes CPython forget that Ctrl-C ended the program, and its exit status.
    code = compile(source, f"<fields of {cls.__qualname__}>", "exec")
    exec(code, scope)  # noqa: S102 - of names that Python has accepted as identifiers
    made = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made
