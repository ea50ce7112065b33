"""Random expressions, by the kind of value that they mostly have."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["Expressions"]

T = TypeVar("T")


class Expressions:
    """Writes expressions over the variables of a program: integers a, b, c, n; lists l, m, xs; d, t, o."""

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.has_global = False
        self.depth = 0
        self.counter = 0
        self._nested = 0

    def pick(self, options: Sequence[T]) -> T:
        return options[self.random.randrange(len(options))]

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _deeper(self, options: Sequence[Callable[[], str]], simple: Callable[[], str]) -> str:
        if self._nested > 2:
            return simple()
        self._nested += 1
        try:
            return self.pick(options)()
        finally:
            self._nested -= 1

    def call(self, names: str = "abc") -> str:
        """A functional call whose result is an integer, most of the time."""
        v = lambda: self.pick(names) if self.chance(0.6) else self.integer()  # noqa: E731
        options = [
            lambda: f"f({v()})",
            lambda: f"f({v()})",
            lambda: f"f({v()}, {v()})",
            lambda: f"f({self.any_()}, y={v()})",
            lambda: f"g({v()}, {self.any_()})",
            lambda: f"g(*{self.pick(['l', 'm', 'xs', 'pair(a)', 'h(b)'])}, {v()})",
            lambda: f"g({v()}, **{self.pick(['k(a)', 'k(n)', '{}'])})",
            lambda: f"f(f({v()}))",
            lambda: f"fails({v()})" if self.chance(0.3) else f"f({v()})",
            lambda: f"o.same({v()})",
            lambda: f"k({v()})['a']",
            lambda: f"f(h({v()}))",
            lambda: f"f(SHARED, {v()})",
        ]
        return self._deeper(options, lambda: f"f({self.pick(names)})")

    def integer(self) -> str:
        options: list[Callable[[], str]] = [
            lambda: str(self.random.randint(0, 12)),
            lambda: self.pick("abcn"),
            lambda: self.pick("abcn"),
            lambda: f"({self.integer()} {self.pick('+-')} {self.integer()})",
            lambda: f"({self.integer()} * {self.pick('abc')}) % 97",
            lambda: f"{self.integer()} // 2",
            lambda: f"len({self.pick(['l', 'm', 'xs', 'd', 't'])})",
            lambda: f"({self.integer()} if {self.condition()} else {self.integer()})",
            lambda: f"max({self.integer()}, {self.integer()})",
            lambda: f"number({self.any_()})",
            lambda: self.call(),
            lambda: f"sum({self.call()} for v in {self.short_iterable()})",
            lambda: f"sum([v for v in {self.pick('lm')} if isinstance(v, int)])",
            lambda: f"(lambda q: {self.call()} + number(q))({self.pick('abc')})",
            lambda: f"-{self.pick('abc')}",
            lambda: f"abs({self.integer()})",
            lambda: "o.n",
            lambda: f"d.get('a', {self.integer()})",
            lambda: f"({self.pick('abc')} or {self.call()})",
        ]
        return self._deeper(options, lambda: self.pick("abcn"))

    def condition(self) -> str:
        options: list[Callable[[], str]] = [
            lambda: f"{self.integer()} > {self.random.randint(0, 20)}",
            lambda: f"{self.pick('abc')} % {self.random.randint(2, 4)} == {self.random.randint(0, 1)}",
            lambda: f"{self.call()} > {self.random.randint(0, 30)}",
            lambda: f"not {self.pick('lmt')}",
            lambda: f"{self.condition()} {self.pick(['and', 'or'])} {self.condition()}",
            lambda: f"{self.integer()} in {self.pick(['l', 'm', 'xs'])}",
            lambda: f"any({self.call()} % 3 == 0 for v in {self.short_iterable()})",
            lambda: f"0 < {self.call()} < {self.integer()}",
            lambda: f"log({self.pick('abc')}) % 2",
        ]
        return self._deeper(options, lambda: f"{self.pick('abc')} % 2")

    def list_(self) -> str:
        options: list[Callable[[], str]] = [
            lambda: f"[{self.integer()}, {self.call()}]",
            lambda: f"[{self.call()} for v in {self.short_iterable()}]",
            lambda: f"[f(v) for v in {self.short_iterable()} if {self.condition()}]",
            lambda: f"[f(v, u) for v in {self.pick('lm')}[:3] for u in (1, {self.pick('abc')})]",
            lambda: f"({self.pick('lm')} + [{self.call()}])",
            lambda: f"({self.pick('lm')} + {self.pick('lm')})",
            lambda: f"h({self.any_()})",
            lambda: f"list(f(v) for v in {self.short_iterable()})",
            lambda: f"sorted({self.short_iterable()}, key=number)",
            lambda: f"[*{self.pick('lm')}, {self.call()}]",
            lambda: f"list({self.pick('lm')})",
            lambda: f"sorted({{f(v) for v in {self.short_iterable()}}})",
            lambda: f"list(map(f, {self.pick('lm')}[:3]))",
        ]
        return self._deeper(options, lambda: f"[{self.pick('abc')}]")

    def dict_(self) -> str:
        return self.pick(
            [
                lambda: f"k({self.any_()})",
                lambda: f"{{'a': {self.call()}, 1: {self.integer()}}}",
                lambda: f"{{v: {self.call()} for v in {self.short_iterable()}}}",
                lambda: f"{{**d, 'b': {self.integer()}}}",
                lambda: "dict(a=f(a), b=b)",
            ]
        )()

    def text(self) -> str:
        return self.pick(
            [
                lambda: f"f'{{a}}-{{{self.call()}}}'",
                lambda: f"str({self.integer()})",
                lambda: "'x' * (a % 3)",
                lambda: f"f'{{{self.pick('lm')}!r:>3}}'",
                lambda: f"('%s' % {self.call()})",
            ]
        )()

    def any_(self) -> str:
        options: list[Callable[[], Any]] = [
            self.integer,
            self.integer,
            self.call,
            self.list_,
            lambda: self.pick(["l", "m", "xs", "d", "t", "a", "b", "c"]),
            lambda: f"({self.pick('abc')}, {self.pick('lm')})",
            lambda: f"[{self.pick('abc')}, {self.call()}]",
            lambda: f"{{'k': {self.pick('abclm')}}}",
            self.text,
        ]
        return str(self._deeper(options, lambda: self.pick("abclm")))

    def short_iterable(self) -> str:
        return self.pick(
            [
                lambda: f"range({self.random.randint(1, 4)})",
                lambda: f"{self.pick(['l', 'm', 'xs'])}[:3]",
                lambda: f"({self.pick('abc')}, {self.pick('abc')})",
                lambda: f"h({self.pick('abc')})",
                lambda: "[1, 2]",
            ]
        )()
