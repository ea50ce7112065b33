"""Random programs with much to foresee: functional calls and what may be evaluated ahead, few sync-points.

Those of `tests.differential` cover the language; these cover long walks ahead, with objects in between whose
operators log and change things, which only their types tell.
"""

from __future__ import annotations

import random

__all__ = ["PREAMBLE", "dataflow_program"]

PREAMBLE = """
class Odd:
    # Its operators have effects that nobody can tell from the source.
    def __init__(self, items):
        self.items = items
        self.n = len(items)
    def __add__(self, other):
        log('odd', other)
        self.items.append(number(other))
        del self.items[6:]
        return len(self.items)
    def __bool__(self):
        log('asked')
        self.items.insert(0, 1)
        del self.items[6:]
        return len(self.items) % 2 == 0
    def __getitem__(self, place):
        self.n += 1
        return self.n % 7
    __radd__ = __add__

def plain(x):
    return number(x) + 1
"""


def dataflow_program(seed: int, size: int = 14) -> str:
    """The source of a function ``program(xs, n)``, which needs the names of `PREAMBLE`."""
    return _Program(random.Random(seed), size).source()


class _Program:
    def __init__(self, source: random.Random, size: int) -> None:
        self.random = source
        self.left = size
        self.depth = 1
        self.loops = 0
        self.nested = 0
        self.in_inner = False
        self.counter = 0

    def source(self) -> str:
        lines = ["def program(xs, n=3):"]
        lines += self.put(
            "a, b, c = n, 5, xs[0]",
            "l, m = [], [f(a), n]",
            "d = {'a': b, 'b': n}",
            "odd = Odd(SHARED)",
            "things = [odd, 1, 2, odd]",
        )
        if self.chance(0.6):
            lines += self.inner()
        while self.left > 0:
            lines += self.statement()
        lines += self.put("return a, b, c, l, m, d, SHARED")
        return "\n".join(lines) + "\n"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def put(self, *texts: str) -> list[str]:
        return ["    " * self.depth + text for text in texts]

    def block(self, most: int = 3) -> list[str]:
        self.depth += 1
        lines = []
        for _ in range(self.random.randint(1, most)):
            lines += self.statement()
        self.depth -= 1
        return lines

    def statement(self) -> list[str]:
        self.left -= 1
        if self.depth < 4 and self.chance(0.4):
            return self.random.choice(
                [self.for_, self.for_, self.if_, self.if_, self.while_, self.try_, self.continue_]
            )()
        simple = [
            lambda: f"{self.name()} = {self.value()}",
            lambda: f"{self.name()} = {self.value()}",
            lambda: f"l.append({self.value()})",
            lambda: f"l.append({self.value()})",
            lambda: f"m = m[-3:] + [{self.value()}]",
            lambda: f"m = {self.list()}[:5]",
            lambda: f"{self.name()} += {self.value()}",
            lambda: f"a, (b, c) = {self.value()}, pair({self.value()})",
            lambda: f"b, *m = [{self.value()}, {self.value()}, {self.value()}]",
            lambda: f"d = {{**d, 'a': {self.value()}}}",
            lambda: "assert a is not None",
        ]
        effects = [
            lambda: f"log({self.name()})",
            lambda: "SHARED.append(3); del SHARED[5:]",
            lambda: f"{self.name()} = number(odd + {self.value()})",
            lambda: f"{self.name()} = things[{self.value()} % 4] + 1",
            lambda: f"{self.name()} = number(things[{self.value()} % 4] and {self.value()})",
            lambda: f"{self.name()} = odd[{self.value()}]",
            lambda: f"odd.n = {self.value()}",
            lambda: f"d['b'] = {self.value()}",
            lambda: f"m.append({self.value()}); del m[5:]",
            lambda: f"{self.name()} = fails({self.value()})",
        ]
        return self.put(self.random.choice(effects if self.chance(0.12) else simple)())

    def name(self) -> str:
        return self.pick("a", "b", "c")

    def value(self) -> str:
        """An integer, most of the time; often a call's result, or one that depends on such."""
        if self.nested > 2:
            return self.pick("a", "b", "c", "n")
        self.nested += 1
        try:
            return self.random.choice(
                [
                    lambda: f"f({self.value()})",
                    lambda: f"f({self.value()}, {self.value()})",
                    lambda: f"g({self.value()}, {self.list()})",
                    lambda: "f(SHARED, a)",
                    lambda: "g(SHARED, [SHARED, b])",
                    lambda: f"g(*{self.list()}, x={self.value()})",
                    lambda: "f((odd.n, m))",
                    lambda: f"h({self.value()}).__len__()",
                    lambda: f"k({self.value()})['a']",
                    lambda: f"({self.value()} + {self.value()})",
                    lambda: f"({self.value()} - 7 * {self.name()}) % 89",
                    lambda: f"({self.value()} if {self.test()} else {self.value()})",
                    lambda: f"({self.value()} or {self.value()})",
                    lambda: f"sum({self.value()} for v in {self.items()})",
                    lambda: f"sum({self.list()})",
                    lambda: f"max({self.value()}, {self.value()}, 1)",
                    lambda: f"len({self.list()})",
                    lambda: f"len(f'{{{self.name()}}}-{{f({self.name()})!r:>3}}')",
                    lambda: "d['a']",
                    lambda: "odd.n",
                    lambda: f"(a := {self.value()})",
                    lambda: f"inner({self.value()})" if not self.in_inner else "f(a)",
                    lambda: f"(lambda q: f(q) + {self.name()})({self.value()})",
                    lambda: str(self.random.randint(0, 9)),
                ]
            )()
        finally:
            self.nested -= 1

    def test(self) -> str:
        return self.random.choice(
            [
                lambda: f"{self.value()} % 2",
                lambda: f"{self.value()} > {self.random.randint(0, 20)}",
                lambda: f"1 < {self.value()} <= {self.value()}",
                lambda: f"{self.value()} > 4 and {self.value()} < 30",
                lambda: f"any({self.value()} % 5 == 0 for v in {self.items()})",
                lambda: f"all(f(v) for v in {self.items()})",
                lambda: f"not {self.value()} in m",
                lambda: f"isinstance({self.value()}, int)",
            ]
        )()

    def list(self) -> str:
        if self.nested > 2:
            return self.pick("l[-4:]", "m", "xs")
        return self.random.choice(
            [
                lambda: f"[{self.value()}, {self.value()}]",
                lambda: f"[{self.value()} for v in {self.items()}]",
                lambda: f"[f(v, a) for v in {self.items()} if {self.test()}]",
                lambda: f"[f(v + u) for v in {self.items()} for u in {self.items()}]",
                lambda: f"[f(i, number(v)) for i, v in enumerate({self.items()})]",
                lambda: f"[g(x, y) for x, y in zip({self.items()}, {self.items()})]",
                lambda: f"sorted({{f(v) for v in {self.items()}}})",
                lambda: f"list({{v: f(v) for v in {self.items()}}}.values())",
                lambda: f"[*m[:2], {self.value()}]",
                lambda: f"[inner(v) for v in {self.items()}]" if not self.in_inner else "m",
            ]
        )()

    def items(self) -> str:
        return self.random.choice(
            [
                lambda: f"range({self.random.randint(1, 4)})",
                lambda: "xs[:3]",
                lambda: "m[:3]",
                lambda: "l[-3:]",
                lambda: "(a, b)",
                lambda: "h(c)",
                lambda: "reversed(m[:2])",
            ]
        )()

    def for_(self) -> list[str]:
        head = self.random.choice(
            [
                lambda: f"for a in {self.items()}:",
                lambda: f"for i, b in enumerate({self.items()}):",
                lambda: f"for b, c in zip({self.items()}, {self.items()}):",
                lambda: f"for c in ({self.value()} for v in {self.items()}):",
                lambda: f"for c in (f(v) for v in {self.items()} if v % 2):",
                lambda: "for _, b in d.items():",
                lambda: f"for b in {self.list()}[:3]:",
            ]
        )()
        lines = self.put(head)
        self.loops += 1
        lines += self.block()
        if self.chance(0.2):
            self.depth += 1
            lines += self.put(f"if {self.test()}: break")
            self.depth -= 1
        self.loops -= 1
        if self.chance(0.15):
            lines += [*self.put("else:"), *self.block(1)]
        return lines

    def while_(self) -> list[str]:
        self.counter += 1
        w = f"w{self.counter}"
        test = f"{w} < {self.random.randint(1, 4)}" + (f" and {self.test()}" if self.chance(0.5) else "")
        lines = self.put(f"{w} = 0", f"while {test}:")
        self.loops += 1
        lines += ["    " * (self.depth + 1) + f"{w} += 1", *self.block()]
        self.loops -= 1
        return lines

    def if_(self) -> list[str]:
        lines = [*self.put(f"if {self.test()}:"), *self.block()]
        if self.chance(0.5):
            lines += [*self.put("else:"), *self.block()]
        return lines

    def continue_(self) -> list[str]:
        if not self.loops:
            return self.if_()
        return [
            *self.put(f"if {self.test()}:"),
            *["    " + each for each in self.put(f"{self.name()} = {self.value()}", "continue")],
        ]

    def try_(self) -> list[str]:
        lines = [*self.put("try:"), *self.block()]
        lines += ["    " * (self.depth + 1) + f"{self.name()} = fails({self.value()})"]
        lines += [*self.put("except (ValueError, KeyError, TypeError):"), *self.block(2)]
        if self.chance(0.3):
            lines += [*self.put("finally:"), *self.block(1)]
        return lines

    def inner(self) -> list[str]:
        self.in_inner = True
        lines = self.put("def inner(p, q=2):")
        self.depth += 1
        lines += self.put("nonlocal c") if self.chance(0.3) else self.put("c = p")
        lines += self.put("a, b, l, m = q, 4, [], [p, 1]")
        self.depth -= 1
        lines += self.block(2)
        self.depth += 1
        lines += self.put(self.pick("return f(c)", "return a", "return g(l, m)", "return f(p, q)"))
        self.depth -= 1
        self.in_inner = False
        return lines
