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
import collections
import enum
import sys
import threading
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

__all__ = ["advance_epoch", "is_main", "reduce_class", "reduce_type_variable", "travels_by_reference"]

Reduction = tuple[Any, ...]


class Context(Protocol):
    """What reducers know of the payload being written."""

    by_value: bool
    definitive: bool


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


_registry = _Registry()
advance_epoch = _registry.advance


# --- writing ---------------------------------------------------------------------------------

_ENUM_INTERNALS = frozenset(
    ["_member_names_", "_member_map_", "_value2member_map_", "_unhashable_values_", "_hashable_values_"]
    + ["_unhashable_values_map_", "_member_type_", "_value_repr_", "_new_member_", "_use_args_"]
    + ["_flag_mask_", "_singles_mask_", "_all_bits_", "_boundary_", "_inverted_", "__new__"]
    + ["_add_alias_", "_add_value_alias_"]
)
_NAMED_TUPLE_INTERNALS = frozenset(
    ["__new__", "__slots__", "_fields", "_field_defaults", "_make", "_replace", "__replace__"]
    + ["_asdict", "__getnewargs__", "__match_args__"]
)
_MEMBER_INTERNALS = frozenset(["_value_", "_name_", "__objclass__", "_sort_order_"])
# Called with what no type checker could know.
_named_tuple: Any = collections.namedtuple
_typed_dict: Any = typing.TypedDict
_TYPED_DICT_META = type(_typed_dict("_Probe", {}))
_HEAP_TYPE = 1 << 9


def reduce_class(context: Context, cls: type) -> Any:
    """A pickle reduction of a class, or NotImplemented where its name is enough."""
    if travels_by_reference(cls) or cls is type(None) or cls in (type(NotImplemented), type(...)):
        return NotImplemented
    if not cls.__flags__ & _HEAP_TYPE:
        # A type of the interpreter whose name is not where it says, such as types.FunctionType.
        for name, found in vars(types).items():
            if found is cls:
                return getattr, (types, name)
        return NotImplemented
    if context.definitive:
        context.definitive = False
        advance_epoch()
    token, epoch = _registry.sent(cls)
    attributes = dict(vars(cls))
    for name in ("__dict__", "__weakref__", "_abc_impl"):
        attributes.pop(name, None)
    naming = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    members: list[tuple[str, dict[str, Any]]] = []
    make: Callable[..., Any]
    arguments: tuple[Any, ...]
    if issubclass(cls, enum.Enum):
        make, arguments, members = _enum_skeleton(cls, token, naming, attributes)
    elif cls.__bases__ == (tuple,) and {"_fields", "_make", "_field_defaults"} <= attributes.keys():
        make, arguments = _named_tuple_skeleton(cls, token, naming, attributes)
    elif type(cls) is _TYPED_DICT_META:
        make, arguments = _make_typed_dict, (token, cls.__name__, naming)
    else:
        make = _make_class
        arguments = (token, type(cls), cls.__name__, cls.__bases__, _layout(cls, attributes, naming))
    registered = _registered_with(cls)
    return make, arguments, (epoch, attributes, members, registered), None, None, _set_class_state


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


def _named_tuple_skeleton(
    cls: Any, token: bytes, naming: dict[str, Any], attributes: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    for name, value in list(attributes.items()):
        generated = getattr(value, "__globals__", None) is vars(collections)
        if name in _NAMED_TUPLE_INTERNALS or name in cls._fields or generated:
            del attributes[name]
    defaults = tuple(cls._field_defaults.values())  # namedtuple keeps them for the last fields
    return _make_named_tuple, (token, cls.__name__, cls._fields, defaults, naming)


def _enum_skeleton(
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


def _plain(data_type: type, member: Any) -> Any:
    """The member's data as an object of the plain built-in type it derives from."""
    if issubclass(data_type, str):
        return str.__str__(member)
    if issubclass(data_type, (int, float)):
        return member.real
    return bytes(member) if issubclass(data_type, bytes) else data_type(member)


# --- reading ---------------------------------------------------------------------------------


def _make_class(
    token: bytes, metaclass: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any]
) -> Any:
    return _registry.adopt(token, lambda: _create(metaclass, name, bases, namespace))


def _create(metaclass: Any, name: str, bases: tuple[type, ...], namespace: Any, **options: Any) -> Any:
    # ABCMeta, EnumType and the like must do their work; a by-value metaclass has done its own.
    maker: Any = next(m for m in metaclass.__mro__ if "__new__" in vars(m) and not _registry.is_by_value(m))
    try:
        return maker.__new__(metaclass, name, bases, namespace, **options)
    except TypeError:
        # Most likely an __init_subclass__ that insists on the keywords of the class statement,
        # which no class remembers. What it did to the class is part of the state.
        owner = next((b for base in bases for b in base.__mro__ if "__init_subclass__" in vars(b)), object)
        if owner is object or not owner.__flags__ & _HEAP_TYPE:
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

    return _registry.adopt(token, make)


def _make_typed_dict(token: bytes, name: str, naming: dict[str, str]) -> Any:
    def make() -> Any:
        made = _typed_dict(name, {})
        made.__module__, made.__qualname__ = naming["__module__"], naming["__qualname__"]
        return made

    return _registry.adopt(token, make)


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
        return _create(metaclass, name, bases, namespace, **options)

    return _registry.adopt(token, make)


def _set_class_state(
    cls: Any, state: tuple[int, dict[str, Any], list[tuple[str, dict[str, Any]]], list[type]]
) -> None:
    epoch, attributes, members, registered = state
    if not _registry.wants(cls, epoch):
        return
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)  # past a metaclass that guards its attributes
    for name, extra in members:
        vars(cls.__members__[name]).update(extra)
    for virtual in registered:
        cls.register(virtual)
    _registry.applied(cls, epoch)


# --- type variables --------------------------------------------------------------------------


def reduce_type_variable(context: Context, variable: Any) -> Any:
    """A reduction of a TypeVar, ParamSpec or TypeVarTuple; typing would send a bare name."""
    if travels_by_reference(variable):
        return NotImplemented
    token, _ = _registry.sent(variable)
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

    return _registry.adopt(token, make)
