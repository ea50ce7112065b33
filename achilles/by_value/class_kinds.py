"""Skeletons of the classes that have a maker of their own: enums, named tuples, typed dicts.

The ``*_skeleton`` functions run where a class is sent: they return the function that makes the
skeleton on the other side with its arguments, and take out of ``attributes`` what it will make.
"""

from __future__ import annotations

import collections
import enum
import types
import typing
from collections.abc import Callable
from typing import Any

from achilles.by_value.identity import HEAP_TYPE, registry

__all__ = ["TYPED_DICT_META", "create", "enum_skeleton", "make_typed_dict", "named_tuple_skeleton"]

_ENUM_INTERNALS = frozenset(
    "_member_names_ _member_map_ _value2member_map_ _unhashable_values_ _hashable_values_"
    " _unhashable_values_map_ _member_type_ _value_repr_ _new_member_ _use_args_ _flag_mask_"
    " _singles_mask_ _all_bits_ _boundary_ _inverted_ __new__ _add_alias_ _add_value_alias_".split()
)
_NAMED_TUPLE_INTERNALS = frozenset(
    "__new__ __slots__ _fields _field_defaults _make _replace __replace__ _asdict __getnewargs__"
    " __match_args__".split()
)
_MEMBER_INTERNALS = frozenset(["_value_", "_name_", "__objclass__", "_sort_order_"])
# Called with what no type checker could know.
_named_tuple: Any = collections.namedtuple
_typed_dict: Any = typing.TypedDict
TYPED_DICT_META = type(_typed_dict("_Probe", {}))


def named_tuple_skeleton(
    cls: Any, token: bytes, naming: dict[str, Any], attributes: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    for name, value in list(attributes.items()):
        generated = getattr(value, "__globals__", None) is vars(collections)
        if name in _NAMED_TUPLE_INTERNALS or name in cls._fields or generated:
            del attributes[name]
    defaults = tuple(cls._field_defaults.values())  # namedtuple keeps them for the last fields
    return _make_named_tuple, (token, cls.__name__, cls._fields, defaults, naming)


def enum_skeleton(
    cls: type[enum.Enum], token: bytes, naming: dict[str, Any], attributes: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], list[tuple[str, dict[str, Any]]]]:
    for name in list(attributes):
        if name in _ENUM_INTERNALS or name in cls.__members__:
            del attributes[name]
    own_new = getattr(cls, "_new_member_", None)
    # A __new__ of the user's chose data and value by itself; its arguments are not kept anywhere.
    custom = isinstance(own_new, types.FunctionType) and own_new.__module__ != "enum"
    data_type = getattr(cls, "_member_type_", object)
    values = []
    for name, member in cls.__members__.items():
        raw = None if not custom or data_type is object else _plain(data_type, member)
        values.append((name, raw, member._value_))
    members = []
    for name, member in cls.__members__.items():
        extra = {key: value for key, value in vars(member).items() if key not in _MEMBER_INTERNALS}
        if extra:
            members.append((name, extra))
    boundary = getattr(cls, "_boundary_", None)
    arguments = (token, type(cls), cls.__name__, cls.__bases__, naming, custom, values, boundary)
    return _make_enum, arguments, members


def _plain(data_type: Any, member: Any) -> Any:
    """The member's data as an object of the plain built-in type it derives from."""
    if issubclass(data_type, str):
        return str.__str__(member)
    if issubclass(data_type, (int, float)):
        return member.real
    return bytes(member) if issubclass(data_type, bytes) else data_type(member)


def create(metaclass: Any, name: str, bases: tuple[type, ...], namespace: Any, **options: Any) -> Any:
    # ABCMeta, EnumType and the like must do their work; a by-value metaclass has done its own.
    maker: Any = next(m for m in metaclass.__mro__ if "__new__" in vars(m) and not registry.is_by_value(m))
    try:
        return maker.__new__(metaclass, name, bases, namespace, **options)
    except TypeError:
        # Most likely an __init_subclass__ that insists on the keywords of the class statement,
        # which no class remembers. What it did to the class is part of the state.
        owner = next((b for base in bases for b in base.__mro__ if "__init_subclass__" in vars(b)), object)
        if owner is object or not owner.__flags__ & HEAP_TYPE:
            raise
        kept = vars(owner)["__init_subclass__"]
        type.__setattr__(owner, "__init_subclass__", classmethod(lambda cls, **keywords: None))
        try:
            return maker.__new__(metaclass, name, bases, namespace, **options)
        finally:
            type.__setattr__(owner, "__init_subclass__", kept)


def _make_named_tuple(
    token: bytes, name: str, fields: tuple[str, ...], defaults: tuple[Any, ...], naming: dict[str, str]
) -> Any:
    def make() -> Any:
        made = _named_tuple(name, fields, rename=True, defaults=defaults, module=naming["__module__"])
        made.__qualname__ = naming["__qualname__"]
        return made

    return registry.adopt(token, make)


def make_typed_dict(token: bytes, name: str, naming: dict[str, str]) -> Any:
    def make() -> Any:
        made = _typed_dict(name, {})
        made.__module__, made.__qualname__ = naming["__module__"], naming["__qualname__"]
        return made

    return registry.adopt(token, make)


def _make_enum(
    token: bytes,
    metaclass: Any,
    name: str,
    bases: tuple[Any, ...],
    naming: dict[str, str],
    custom: bool,
    values: list[tuple[str, Any, Any]],
    boundary: Any,
) -> Any:
    def new_member(cls: Any, raw: Any, value: Any) -> Any:
        plain = cls._member_type_
        member = object.__new__(cls) if plain is object else plain.__new__(cls, raw)
        member._value_ = value
        return member

    def make() -> Any:
        namespace: Any = enum.EnumMeta.__prepare__.__func__(metaclass, name, bases)  # type: ignore[attr-defined]
        namespace.update(naming)
        if custom:
            namespace["__new__"] = new_member
        for member_name, raw, value in values:
            # enum.member: a value that is a function or descriptor is a member all the same
            namespace[member_name] = enum.member((raw, value) if custom else value)
        options = {} if boundary is None else {"boundary": boundary}
        return create(metaclass, name, bases, namespace, **options)

    return registry.adopt(token, make)
