"""Random programs over the language that scheduled functions may use; the same for the same seed."""

from __future__ import annotations

import random

from .expressions import Expressions

__all__ = ["program"]


def program(seed: int, size: int = 20) -> str:
    """The source of a function ``program(xs, n)``.

    Args:
        seed: Decides everything.
        size: About how many statements.
    """
    for attempt in range(100):
        source = _Program(f"{seed} {attempt}", size).source()
        try:
            compile(source, "<program>", "exec")
        except SyntaxError:
            continue  # quotes within an f-string, before Python 3.12
        return source
    raise RuntimeError(f"no program for seed {seed} that compiles")


class _Program(Expressions):
    def __init__(self, seed: str, size: int) -> None:
        super().__init__(random.Random(seed))
        self.size = size
        self.left = size
        self.loops = 0
        self.generates = self.chance(0.2)
        self.inner_generator = False
        self.in_finally = False

    def source(self) -> str:
        lines = ["def program(xs, n=3):"]
        self.depth = 1
        if self.chance(0.3):
            lines += self.put("global COUNT")
            self.has_global = True
        body = [
            *self.put("a, b = n, 5"),
            *self.put("c = xs[0] if xs else 1"),
            *self.put("l = [1, n]"),
            *self.put("m = []"),
            *self.put("d = {'a': n}"),
            *self.put("t = 's'"),
            *self.put("o = Thing(n)"),
        ]
        while self.left > 0:
            body += self.statement()
        if self.chance(0.8):
            body += self.put("return (a, b, c, l, m, d, t, o.n)")
        return "\n".join([*lines, *body]) + "\n"

    # -- blocks

    def put(self, text: str) -> list[str]:
        return ["    " * self.depth + text]

    def block(self, most: int = 3) -> list[str]:
        self.depth += 1
        lines: list[str] = []
        for _ in range(self.random.randint(1, most)):
            if self.left > 0 or not lines:
                lines += self.statement()
        self.depth -= 1
        return lines

    def statement(self) -> list[str]:
        self.left -= 1
        simple = [
            self.assign, self.assign, self.assign, self.collect, self.collect, self.log, self.unpack,
            self.augment, self.change, self.simple_rest,
        ]  # fmt: skip
        compound = [
            self.if_, self.if_, self.for_, self.for_, self.while_, self.try_, self.with_, self.match,
            self.inner, self.reader, self.leave,
        ]  # fmt: skip
        return self.pick(compound if self.depth < 5 and self.chance(0.45) else simple)()

    # -- simple statements

    def assign(self) -> list[str]:
        which = self.random.random()
        if which < 0.65:
            name = self.pick("abc")
            return self.put(f"{name} = {self.call() if self.chance(0.6) else self.integer()}")
        if which < 0.8:
            return self.put(f"{self.pick('lm')} = {self.list_()}[:6]")
        if which < 0.87:
            return self.put(f"d = {self.dict_()}")
        if which < 0.93:
            return self.put(f"t = {self.text()}")
        return self.put(f"{self.pick('ab')} = {self.pick('bc')} = {self.integer()}")

    def collect(self) -> list[str]:
        """What programs do with results."""
        m = self.pick("lm")
        return self.pick(
            [
                lambda: self.put(f"{m} = {m}[-4:] + [{self.call()}]"),
                lambda: self.put(f"{m} = {m} + [{self.pick('abc')}]") + self.put(f"{m} = {m}[-5:]"),
                lambda: self.put(f"{m}.append({self.call()})"),
                lambda: self.put(f"{m}.append({self.pick('abc')})"),
                lambda: self.put(f"a = {self.call()}") + self.put(f"{m}.append(a)"),
                lambda: self.put(f"c = g(*{m}[:3])"),
                lambda: self.put(f"c = g({m}[:3], [a, {m}])"),
                lambda: self.put(f"b = f({m}[0]) if {m} else f(1)"),
                lambda: self.put(f"{m} = [{self.call()} for v in {self.short_iterable()}]"),
                lambda: self.put(f"{m} = [f(v, i) for i, v in enumerate({self.pick('lm')}[:4])]"),
                lambda: self.put(f"d = {{v: f(v) for v in {self.short_iterable()}}}"),
            ]
        )()

    def log(self) -> list[str]:
        return self.put(f"log({self.any_()})")

    def unpack(self) -> list[str]:
        return self.pick(
            [
                lambda: self.put(f"a, b = {self.integer()}, {self.integer()}"),
                lambda: self.put(f"a, c = pair({self.any_()})"),
                lambda: self.put(f"b, *m = [{self.integer()}, {self.call()}, {self.integer()}]"),
                lambda: self.put(f"(a, b), c = ({self.integer()}, {self.call()}), {self.integer()}"),
                lambda: self.put("a, b = b, a"),
                lambda: self.put(f"a, b = h({self.any_()})"),
            ]
        )()

    def augment(self) -> list[str]:
        return self.pick(
            [
                lambda: self.put(f"{self.pick('abc')} += {self.integer()}"),
                lambda: self.put(f"{self.pick('abc')} -= {self.call()}"),
                lambda: self.put(f"{self.pick('lm')} += [{self.call()}]"),
                lambda: self.put(f"t += {self.text()}[:3]"),
                lambda: self.put(f"d['a'] = d.get('a', 0) + {self.call()}"),
                lambda: self.put(f"o.n += {self.call()}"),
            ]
        )()

    def change(self) -> list[str]:
        return self.pick(
            [
                lambda: self.put(f"d[{self.integer()} % 3] = {self.integer()}"),
                lambda: self.put(f"{self.pick('lm')}[:1] = [{self.integer()}]"),
                lambda: self.put(f"grow({self.pick(['l', 'm', 'xs', 'SHARED'])})"),
                lambda: self.put(f"o.n = {self.integer()}"),
                lambda: self.put("o.bump()"),
                lambda: self.put(f"SHARED[0] = {self.integer()}"),
                lambda: self.put(f"xs.insert(0, {self.integer()})") + self.put("del xs[5:]"),
                lambda: self.put("l, m = m, l"),
                lambda: self.put("l = m"),
                lambda: self.put(f"xs = {self.pick('lm')}"),
            ]
        )()

    def simple_rest(self) -> list[str]:
        options = [
            lambda: self.put(f"assert {self.condition()}, {self.integer()}"),
            lambda: self.put(f"boom({self.integer()})"),
            lambda: self.put("pass"),
            lambda: self.put(f"{self.any_()}"),
            lambda: self.put("del a"),
            lambda: self.put(f"a: int = {self.call()}"),
        ]
        if self.has_global:
            options += [
                lambda: self.put(f"COUNT += {self.call()}"),
                lambda: self.put(f"COUNT = {self.integer()}"),
                lambda: self.put("a = COUNT"),
            ]
        if self.generates or self.inner_generator:
            options += [
                lambda: self.put(f"yield {self.any_()}"),
                lambda: self.put(f"c = number((yield {self.pick('abclm')}))"),
                lambda: self.put(f"b = number((yield from {self.short_iterable()}))"),
            ] * 3
        return self.pick(options)()

    # -- compound statements

    def if_(self) -> list[str]:
        test = self.condition()
        if self.chance(0.15):
            test = f"(a := {self.call()}) % 3 and {test}"
        lines = [*self.put(f"if {test}:"), *self.block()]
        if self.chance(0.3):
            lines += [*self.put(f"elif {self.condition()}:"), *self.block()]
        if self.chance(0.4):
            lines += [*self.put("else:"), *self.block()]
        return lines

    def for_(self) -> list[str]:
        head = self.pick(
            [
                lambda: f"for a in range({self.random.randint(1, 4)}):",
                lambda: f"for c in {self.short_iterable()}:",
                lambda: f"for i, b in enumerate({self.short_iterable()}):",
                lambda: f"for a, b in zip({self.short_iterable()}, {self.short_iterable()}):",
                lambda: "for t, a in list(d.items())[:3]:",
                lambda: f"for v in {self.pick('lm')}:",
                lambda: f"for b in reversed({self.pick('lm')}[:3]):",
                lambda: f"for c in steps({self.integer()}):",
                lambda: f"for c in [{self.call()}, {self.call()}]:",
                lambda: f"for a in h({self.any_()}):",
            ]
        )()
        lines = self.put(head)
        self.depth += 1
        lines += self.put("if len(l) + len(m) > 24: break")
        self.depth -= 1
        self.loops += 1
        lines += self.block(4)
        self.loops -= 1
        if self.chance(0.15):
            lines += [*self.put("else:"), *self.block(2)]
        return lines

    def while_(self) -> list[str]:
        self.counter += 1
        w = f"w{self.counter}"
        test = f"{w} < {self.random.randint(1, 4)}"
        if self.chance(0.6):
            test += f" and ({self.condition()})"
        lines = [*self.put(f"{w} = 0"), *self.put(f"while {test}:")]
        self.depth += 1
        lines += self.put(f"{w} += 1")
        self.depth -= 1
        self.loops += 1
        lines += self.block()
        self.loops -= 1
        if self.chance(0.15):
            lines += [*self.put("else:"), *self.block(2)]
        return lines

    def try_(self) -> list[str]:
        lines = [*self.put("try:"), *self.block()]
        if self.chance(0.5):
            self.depth += 1
            lines += self.put(f"a = fails({self.any_()})")
            self.depth -= 1
        handled = self.chance(0.8)
        if handled:
            kinds = ["ValueError", "KeyError", "(ValueError, KeyError)", "Exception", "TypeError"]
            for kind in self.random.sample(kinds, self.random.randint(1, 2)):
                named = self.chance(0.5)
                lines += self.put(f"except {kind}{' as e' if named else ''}:")
                if named:
                    self.depth += 1
                    lines += self.put("log(type(e).__name__, e.args)")
                    self.depth -= 1
                lines += self.block(2)
                if self.chance(0.15):
                    self.depth += 1
                    lines += self.put(
                        self.pick(["raise", "raise KeyError(a)", "raise TypeError(b) from None"])
                    )
                    self.depth -= 1
            if self.chance(0.3):
                lines += [*self.put("else:"), *self.block(2)]
        if not handled or self.chance(0.3):
            lines += [*self.put("finally:"), *self.block(2)]
            if self.chance(0.3):
                self.depth += 1
                lines += self.put(self.pick(self.CHANGES))
                self.depth -= 1
        if self.chance(0.6):
            lines += self.put(f"{self.pick('abc')} = g(SHARED, xs, o.n, {self.call()})")
        return lines

    CHANGES = (
        "grow(xs)",
        "SHARED[1] = a",
        "xs[:1] = [b]",
        "o.bump()",
        "l.append(a)",
        "m = [c]",
        "grow(SHARED)",
    )

    def with_(self) -> list[str]:
        swallow = ", swallow=True" if self.chance(0.4) else ""
        second = f", entered({self.call()})" if self.chance(0.2) else ""
        lines = [*self.put(f"with entered({self.any_()}{swallow}) as b{second}:"), *self.block()]
        if self.chance(0.4):
            lines += self.put(f"c = g(SHARED, xs, {self.call()})")
        return lines

    def match(self) -> list[str]:
        lines = self.put(f"match {self.pick([self.call, self.integer, lambda: 'l', lambda: 'pair(a)'])()}:")
        self.depth += 1
        lines += [
            *self.put(f"case {self.random.randint(0, 9)} | {self.random.randint(0, 9)}:"),
            *self.block(2),
        ]
        if self.chance(0.6):
            lines += [*self.put("case [a, *m]:"), *self.block(2)]
        if self.chance(0.5):
            lines += [*self.put(f"case int(b) if {self.condition()}:"), *self.block(2)]
        if self.chance(0.5):
            lines += [*self.put("case _:"), *self.block(2)]
        self.depth -= 1
        return lines

    def leave(self) -> list[str]:
        if self.loops and self.chance(0.6):
            return [*self.put(f"if {self.condition()}:"), *["    " + each for each in self._jump()]]
        if self.chance(0.5):
            return [*self.put(f"if {self.condition()}:"), *["    " + each for each in self._end()]]
        return self.log()

    def _jump(self) -> list[str]:
        return self.put(self.pick(["break", "continue"]))

    def _end(self) -> list[str]:
        return self.put(
            self.pick(
                [f"return {self.any_()}", f"raise ValueError({self.integer()})", f"return {self.call()}"]
            )
        )

    # -- inner functions

    def reader(self) -> list[str]:
        """An inner function that sees variables which are assigned after it was made."""
        self.counter += 1
        name = f"reader{self.counter}"
        seen = f"({self.pick('abc')}, {self.pick('lm')})"
        result = self.pick([f"{seen}", f"number({seen}) + f({self.pick('abc')})", f"f({seen})"])
        made = self.pick(
            [
                [*self.put(f"def {name}(p=1):"), "    " * (self.depth + 1) + f"return {result}"],
                self.put(f"{name} = lambda p=1: {result}"),
            ]
        )
        return [*made, *self.assign(), *self.collect(), *self.put(f"log({name}())")]

    def inner(self) -> list[str]:
        self.counter += 1
        name = f"inner{self.counter}"
        around = (self.loops, self.generates, self.inner_generator, self.has_global)
        self.loops, self.generates, self.has_global = 0, False, False
        self.inner_generator = self.chance(0.2)
        kind = self.random.random()
        if kind < 0.2:
            lines = self.put(f"{name} = lambda p, q=3: {self.call('pq')}")
        else:
            default = f"={self.call()}" if self.chance(0.3) else "=2"
            lines = self.put(f"def {name}(p, q{default}):")
            self.depth += 1
            if self.chance(0.4):
                lines += self.put("nonlocal c, m")
            else:
                lines += self.put("c, m = p, []")
            # Its own, so that they aren't unbound.
            lines += self.put("a, b, l, d, t = q, 4, [p], {}, ''")
            if kind < 0.4 and not self.inner_generator:  # a generator can't be an argument
                lines += self.put(f"if 1 < number(p) < 50: c = {name}(number(p) // 3)")
            self.depth -= 1
            lines += self.block(3)
            self.depth += 1
            lines += self.put(
                self.pick(["return c", f"return {self.call('pq')}", "return [p, q]", "return a"])
            )
            self.depth -= 1
        generator = self.inner_generator and any("yield" in line for line in lines)
        self.loops, self.generates, self.inner_generator, self.has_global = around
        first, second = self.integer(), self.call()
        if generator:
            lines += self.put(f"m = list({name}({first}))[:5]")
        else:
            lines += self.pick(
                [
                    lambda: self.put(f"a = number({name}({first}))"),
                    lambda: self.put(f"a = {name}({first}); b = {name}({second}, q=1)"),
                    lambda: self.put(f"m = [number({name}(v)) for v in {self.short_iterable()}]"),
                    lambda: self.put(f"b = number(apply({name}, {first}))"),
                    lambda: self.put(f"l = list(map({name}, {self.short_iterable()}))"),
                    lambda: self.put(f"l = sorted({self.short_iterable()}, key=lambda v: {name}(v) or 0)"),
                ]
            )()
            if self.chance(0.7):
                lines += self.put("a, b = number(a), number(b)")
        return lines
