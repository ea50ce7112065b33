"""Classes and type variables that travel by value, one identity per process.

A class from ``__main__``, a notebook or a function body cannot be imported elsewhere, so its
definition travels. Each such class has a *token*, given by the process that first sent it (its
origin). A process keeps token -> class, so the same class arriving many times is one class, and
instances coming home are instances of the original.

Rules:

- A class is rebuilt in two phases, skeleton then state, so that it may name itself (``super()``,
  recursion) and other classes that name it back.
- State flows one way, from the origin. The origin counts *epochs*, one per function it serializes;
  a receiver applies the state of a known class again only when its epoch is newer. So a method or
  a constant that was edited between two jobs is seen, and within one job all workers keep what they
  have, along with the globals that the job's function shares with the class.
- User code is run as little as possible: metaclass ``__new__`` and ``__init__`` of by-value
  metaclasses are skipped, since what they made is part of the state.
"""

from __future__ import annotations

import abc
import enum
import types
import typing
from collections.abc import Callable
from typing import Any

from achilles.by_value.class_kinds import (
    TYPED_DICT_META,
    create,
    enum_skeleton,
    make_typed_dict,
    named_tuple_skeleton,
)
from achilles.by_value.identity import HEAP_TYPE, registry, travels_by_reference

__all__ = ["reduce_class", "reduce_type_variable"]


def reduce_class(context: object, cls: type) -> Any:
    """A pickle reduction of a class, or NotImplemented where its name is enough."""
    if travels_by_reference(cls) or cls is type(None) or cls in (type(NotImplemented), type(...)):
        return NotImplemented
    if not cls.__flags__ & HEAP_TYPE:
        # A type of the interpreter whose name is not where it says, such as types.FunctionType.
        for name, found in vars(types).items():
            if found is cls:
                return getattr, (types, name)
        return NotImplemented
    token, epoch = registry.sent(cls)
    attributes = dict(vars(cls))
    for name in ("__dict__", "__weakref__", "_abc_impl"):
        attributes.pop(name, None)
    naming = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    members: list[tuple[str, dict[str, Any]]] = []
    make: Callable[..., Any]
    arguments: tuple[Any, ...]
    if issubclass(cls, enum.Enum):
        make, arguments, members = enum_skeleton(cls, token, naming, attributes)
    elif cls.__bases__ == (tuple,) and {"_fields", "_make", "_field_defaults"} <= attributes.keys():
        make, arguments = named_tuple_skeleton(cls, token, naming, attributes)
    elif type(cls) is TYPED_DICT_META:
        make, arguments = make_typed_dict, (token, cls.__name__, naming)
    else:
        make = _make_class
        arguments = (token, type(cls), cls.__name__, cls.__bases__, _layout(cls, attributes, naming))
    making = {name: attributes.pop(name) for name in _MAKING_INSTANCES if name in attributes}
    state = _Definition(cls, epoch, making), epoch, attributes, members, _registered_with(cls)
    return make, arguments, state, None, None, _set_class_state


# What loading an instance may call. It is set before the rest is even read, since the rest may
# hold instances: class attributes, or globals of the methods.
_MAKING_INSTANCES = (
    "__abstractmethods__",
    "__dataclass_fields__",
    "__new__",
    "__init__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__hash__",
    "__eq__",
)


class _Definition:
    """Attributes of a class that are set as soon as they are loaded."""

    def __init__(self, cls: type, epoch: int, attributes: dict[str, Any]) -> None:
        self.parts = cls, epoch, attributes

    def __reduce__(self) -> tuple[Any, ...]:
        return _set_attributes, self.parts


def _set_attributes(cls: Any, epoch: int, attributes: dict[str, Any]) -> None:
    if registry.wants(cls, epoch):
        for name, value in attributes.items():
            type.__setattr__(cls, name, value)  # past a metaclass that guards its attributes


def _layout(cls: type, attributes: dict[str, Any], naming: dict[str, Any]) -> dict[str, Any]:
    """The part of the namespace that must be there when the class is created."""
    namespace = dict(naming)
    slots = []
    for name, value in vars(cls).items():
        if isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls:
            slots.append(name)
            del attributes[name]
    if "__slots__" in attributes:
        slots += [name for name in ("__dict__", "__weakref__") if name in vars(cls)]
        namespace["__slots__"] = tuple(slots)
    if "__orig_bases__" in attributes:  # Generic refuses to be subclassed without it
        namespace["__orig_bases__"] = attributes["__orig_bases__"]
    hook = getattr(attributes.get("__subclasshook__"), "__qualname__", "")
    if hook.startswith(("Protocol.__init_subclass__", "_proto_hook")):
        del attributes["__subclasshook__"]  # typing makes it anew
    return namespace


def _registered_with(cls: type) -> list[type]:
    if not isinstance(cls, abc.ABCMeta):
        return []
    dump = getattr(abc, "_get_dump", None)
    registry = dump(cls)[0] if dump else ()
    return [found for found in (reference() for reference in registry) if found is not None]


def _make_class(
    token: bytes, metaclass: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any]
) -> Any:
    return registry.adopt(token, lambda: create(metaclass, name, bases, namespace))


def _set_class_state(
    cls: Any, state: tuple[None, int, dict[str, Any], list[tuple[str, dict[str, Any]]], list[type]]
) -> None:
    _, epoch, attributes, members, registered = state
    if not registry.wants(cls, epoch):
        return
    _set_attributes(cls, epoch, attributes)
    for name, extra in members:
        vars(cls.__members__[name]).update(extra)
    for virtual in registered:
        cls.register(virtual)
    registry.applied(cls, epoch)


# --- type variables --------------------------------------------------------------------------


def reduce_type_variable(context: object, variable: Any) -> Any:
    """A reduction of a TypeVar, ParamSpec or TypeVarTuple; typing would send a bare name."""
    if travels_by_reference(variable):
        return NotImplemented
    token, _ = registry.sent(variable)
    options: dict[str, Any] = {}
    constraints: tuple[Any, ...] = ()
    if not isinstance(variable, typing.TypeVarTuple):
        options = {
            "bound": variable.__bound__,
            "covariant": variable.__covariant__,
            "contravariant": variable.__contravariant__,
        }
        constraints = getattr(variable, "__constraints__", ())
    kind = type(variable).__name__
    return _make_type_variable, (token, kind, variable.__name__, constraints, options, variable.__module__)


def _make_type_variable(
    token: bytes, kind: str, name: str, constraints: tuple[Any, ...], options: dict[str, Any], module: str
) -> Any:
    def make() -> Any:
        variable = getattr(typing, kind)(name, *constraints, **options)
        variable.__module__ = module
        return variable

    return registry.adopt(token, make)
