"""Which operations foresight does: those that provably run no user code and change nothing."""

from __future__ import annotations

import fractions
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from achilles.scheduling.foresight import operations
from achilles.scheduling.foresight.pure_calls import call_pure, is_pure
from achilles.scheduling.foresight.values import Unsafe

TOUCHED: list[str] = []


class Spy:
    """Every operation on it leaves a trace."""

    def __init__(self) -> None:
        self.plain = 7

    def _touched(self, *args: Any) -> Any:
        TOUCHED.append("spy")
        return 1

    __add__ = __radd__ = __eq__ = __lt__ = __bool__ = __len__ = __getitem__ = __contains__ = _touched
    __neg__ = __hash__ = __call__ = __index__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _touched

    def __iter__(self) -> Any:
        TOUCHED.append("spy")
        return iter([])

    def __repr__(self) -> str:
        TOUCHED.append("spy")
        return "spy"

    __str__ = __format__ = __repr__

    @property
    def asked(self) -> int:
        TOUCHED.append("spy")
        return 1

    def method(self) -> int:
        return self.plain


class Own(list):
    """A list with its own ideas."""

    def __add__(self, other: Any) -> Any:
        TOUCHED.append("own")
        return self

    __getitem__ = __len__ = __contains__ = __add__


class Asking:
    def __getattr__(self, name: str) -> int:
        TOUCHED.append(name)
        return 1

    def __getattribute__(self, name: str) -> Any:
        TOUCHED.append(name)
        return object.__getattribute__(self, name)


@pytest.fixture(autouse=True)
def _untouched() -> Any:
    TOUCHED.clear()
    yield
    assert TOUCHED == []


SPY = Spy()


def _line(value: Any) -> str:
    """A case by the line that it is on."""
    code = getattr(value, "__code__", None)
    return "value" if code is None else f"line {code.co_firstlineno}"


@pytest.mark.parametrize(
    "operate",
    [
        lambda: operations.binary("Add", SPY, 1),
        lambda: operations.binary("Add", 1, SPY),
        lambda: operations.binary("Mult", [1], SPY),
        lambda: operations.binary("Mod", "%s", SPY),
        lambda: operations.binary("Mod", "%s", (SPY,)),
        lambda: operations.binary("Add", Own(), [1]),
        lambda: operations.binary("BitOr", {1}, {SPY_IN_SET}),
        lambda: operations.binary("Add", fractions.Fraction(1), 1),
        lambda: operations.binary("Add", np.array([None], dtype=object), 1),
        lambda: operations.compare("Eq", SPY, 1),
        lambda: operations.compare("Eq", [1, [SPY]], [1, [2]]),
        lambda: operations.compare("In", 1, [SPY]),
        lambda: operations.compare("In", SPY, {1: 2}),
        lambda: operations.compare("In", 1, COLLIDING),
        lambda: operations.compare("In", 1, set(COLLIDING)),
        lambda: operations.subscript(COLLIDING, 1),
        lambda: operations.subscript({n: n for n in range(200_000)}, 1),
        lambda: call_pure(COLLIDING.get, (1,), {}),
        lambda: operations.compare("Is", 1000, 1000),
        lambda: operations.unary("USub", SPY),
        lambda: operations.unary("Not", SPY),
        lambda: operations.unary("Invert", True),
        lambda: operations.truth(SPY),
        lambda: operations.truth(Own()),
        lambda: operations.subscript(SPY, 1),
        lambda: operations.subscript([1], SPY),
        lambda: operations.subscript(Own(), 0),
        lambda: operations.subscript([1, 2], slice(SPY)),
        lambda: operations.attribute(SPY, "asked"),
        lambda: operations.attribute(Asking(), "x"),
        lambda: operations.attribute(math, "nonsense"),
        lambda: operations.formatted(SPY, -1, ""),
        lambda: operations.formatted(SPY, ord("r"), ""),
        lambda: operations.augmented("Add", [1], [2]),
        lambda: operations.augmented("Add", np.zeros(2), 1),
        lambda: operations.augmented("BitOr", {1}, {2}),
        lambda: call_pure(len, (SPY,), {}),
        lambda: call_pure(sum, ([1, SPY],), {}),
        lambda: call_pure(sorted, ([2, 1],), {"key": lambda x: TOUCHED.append("key")}),
        lambda: call_pure(max, ([1, 2],), {"key": SPY}),
        lambda: call_pure(str, (SPY,), {}),
        lambda: call_pure(list, (SPY,), {}),
        lambda: call_pure(dict, ([(1, SPY)],), {}),
        lambda: call_pure(isinstance, (SPY, Abstract), {}),
        lambda: call_pure(getattr, (SPY, "asked"), {}),
        lambda: call_pure(type, ("X", (), {}), {}),
        lambda: call_pure(",".join, ([SPY],), {}),
        lambda: call_pure("{}".format, (SPY,), {}),
        lambda: call_pure([SPY].index, (1,), {}),
        lambda: call_pure(np.add, (np.zeros(2), 1, np.zeros(2)), {}),
        lambda: call_pure(np.sum, (np.zeros(2),), {"out": np.zeros(())}),
        # What takes long, or makes something large.
        lambda: operations.binary("Pow", 10, 10**8),
        lambda: operations.binary("LShift", 1, 10**9),
        lambda: operations.binary("Mult", [0], 10**9),
        lambda: operations.binary("Mult", "x", 10**9),
        lambda: operations.binary("Add", np.zeros(3_000_000), 1),
        lambda: operations.binary("Add", np.zeros((4000, 1)), np.zeros((1, 4000))),
        lambda: call_pure(sum, (range(10**9),), {}),
        lambda: call_pure(np.zeros, ((10**5, 10**5),), {}),
        lambda: call_pure(bytes, (10**9,), {}),
        lambda: call_pure("x".rjust, (10**9,), {}),
        lambda: call_pure(pow, (10, 10**8), {}),
    ],
    ids=_line,
)
def test_refused(operate: Any) -> None:
    with pytest.raises(Unsafe):
        operate()


class Meta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        TOUCHED.append("meta")
        return True


class Abstract(metaclass=Meta):
    pass


class Hashed:
    def __eq__(self, other: object) -> bool:
        TOUCHED.append("hashed")
        return True

    def __hash__(self) -> int:
        return 1


SPY_IN_SET = Hashed()
COLLIDING = {SPY_IN_SET: 2}  # it has the hash of 1


@dataclass
class Point:
    x: int
    y: int

    @staticmethod
    def origin() -> int:
        return 0

    @classmethod
    def made(cls) -> int:
        return 1


class Slotted:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 5


@pytest.mark.parametrize(
    ("operate", "expected"),
    [
        (lambda: operations.binary("Add", [SPY], [1])[1], 1),
        (lambda: len(operations.binary("Mult", [SPY], 3)), 3),
        (lambda: operations.binary("Mod", "%s-%d", ("a", 3)), "a-3"),
        (lambda: operations.binary("Add", np.arange(3), 1).tolist(), [1, 2, 3]),
        (lambda: operations.binary("Div", np.zeros(1), 0.0).shape, (1,)),
        (lambda: operations.binary("BitOr", {1}, {2}), {1, 2}),
        (lambda: operations.augmented("Add", "a", "b"), "ab"),
        (lambda: operations.augmented("Add", (1,), (2,)), (1, 2)),
        (lambda: operations.augmented("Add", np.float64(1), 2), 3.0),
        (lambda: operations.compare("Lt", (1, "a"), (1, "b")), True),
        (lambda: operations.compare("Is", None, SPY), False),
        (lambda: operations.compare("IsNot", 5, None), True),
        (lambda: operations.compare("In", "k", {"k": SPY}), True),
        (lambda: operations.compare("NotIn", 3, [1, 2]), True),
        (lambda: operations.truth([SPY]), True),
        (lambda: operations.subscript([SPY, 4], 1), 4),
        (lambda: operations.subscript({"a": 4}, "a"), 4),
        (lambda: operations.subscript({(1, "a"): SPY, (2, "b"): 5}, (2, "b")), 5),
        (lambda: operations.subscript(np.arange(6).reshape(2, 3), (1, 2)), 5),
        (lambda: operations.attribute(SPY, "plain"), 7),
        (lambda: operations.attribute(SPY, "method")(), 7),
        (lambda: operations.attribute(Point(1, 2), "y"), 2),
        (lambda: operations.attribute(Point, "origin")(), 0),
        (lambda: operations.attribute(Point(1, 2), "made")(), 1),
        (lambda: operations.attribute(Slotted(), "a"), 5),
        (lambda: operations.attribute(math, "pi"), math.pi),
        (lambda: operations.attribute(np.zeros((2, 3)), "shape"), (2, 3)),
        (lambda: operations.attribute(np.arange(4), "sum")(), 6),
        (lambda: operations.formatted(3.14159, -1, ".2f"), "3.14"),
        (lambda: call_pure(sorted, ([2, 1],), {"reverse": True}), [2, 1]),
        (lambda: call_pure(isinstance, (SPY, (int, Spy)), {}), True),
        (lambda: call_pure(getattr, (SPY, "plain"), {}), 7),
        (lambda: call_pure(math.sqrt, (4,), {}), 2.0),
        (lambda: call_pure({"a": SPY}.get, ("b", 2), {}), 2),
        (lambda: call_pure("a-b".split, ("-",), {}), ["a", "b"]),
        (lambda: call_pure(np.mean, (np.arange(5),), {"axis": 0}), 2.0),
    ],
    ids=_line,
)
def test_done(operate: Any, expected: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert operate() == expected


def test_errors_are_those_of_the_program() -> None:
    with pytest.raises(ZeroDivisionError):
        operations.binary("Div", 1, 0)
    with pytest.raises(KeyError):
        operations.subscript({}, 1)
    with pytest.raises(AttributeError):
        operations.attribute("x", "nonsense")
    with pytest.raises(TypeError):
        operations.binary("Add", 1, "x")


@pytest.mark.parametrize(
    ("function", "pure"),
    [
        (len, True),
        (print, False),
        (open, False),
        (next, False),
        (id, False),
        (input, False),
        (setattr, False),
        (math.sin, True),
        ([].append, False),
        ([].count, True),
        ({}.setdefault, False),
        ({}.items, True),
        (set().add, False),
        ("".join, True),
        (np.sin, True),
        (np.mean, True),
        (np.save, False),
        (np.random.default_rng, False),
        (np.zeros(1).sort, False),
        (np.zeros(1).mean, True),
        (np.zeros(1).fill, False),
        (lambda: 1, False),
        (Spy, False),
    ],
    ids="""
        len print open next id input setattr math.sin list.append list.count dict.setdefault dict.items
        set.add str.join np.sin np.mean np.save np.default_rng array.sort array.mean array.fill lambda Spy
    """.split(),
)
def test_what_is_pure(function: Any, pure: bool) -> None:
    assert is_pure(function) is pure


def test_what_a_program_adds_is_called_as_it_is() -> None:
    def own(x: Any) -> Any:
        return x

    assert is_pure(own, (own,))
    assert call_pure(own, (SPY,), {}, (own,)) is SPY


def test_methods_that_a_program_adds() -> None:
    one, other = Spy(), Spy()
    assert is_pure(one.method, (Spy.method,))
    assert is_pure(one.method, (one.method,))
    assert not is_pure(other.method, (one.method,))
    assert not is_pure(one.method)
    assert call_pure(one.method, (), {}, (Spy.method,)) == 7
