"""Corners of the language that random programs seldom come to, run plainly and scheduled in every mode."""

from __future__ import annotations

import textwrap

import pytest

from .comparing import MODES, Subject

PROGRAMS = {
    "class body": """
        def program(xs, n=3):
            class Inner:
                a = f(n)
                b = [f(x) + n for x in range(2)]
                def method(self, x=f(n)):
                    return f(x) + self.a
                c = f(a)
            return Inner.a, Inner.b, Inner.c, Inner().method(), Inner.__qualname__
    """,
    "except*": """
        def program(xs, n=3):
            try:
                try:
                    raise ExceptionGroup("g", [ValueError(f(n)), KeyError(1)])
                except* ValueError as group:
                    log(len(group.exceptions), f(1))
            except ExceptionGroup as rest:
                return f(len(rest.exceptions)), repr(rest)
    """,
    "return within finally": """
        def program(xs, n=3):
            for x in range(3):
                try:
                    if f(x) % 2:
                        return f(x), x
                    fails(5)
                except ValueError:
                    continue
                finally:
                    log(f(n))
                    if x == 2:
                        return "end"
    """,
    "walrus in a comprehension": """
        def program(xs, n=3):
            a = 1
            l = [a := f(x + a) for x in range(4) if (b := f(x))]
            return l, a, b
    """,
    "nested comprehensions": """
        def program(xs, n=3):
            rows = [[f(x * y) for y in range(x)] for x in range(3)]
            sets = {x: {f(y) for y in r} for x, r in enumerate(rows)}
            return rows, sets, [x for r in rows for x in r if f(x)]
    """,
    "generator expressions that interleave": """
        def program(xs, n=3):
            one, other = [(f(x + k) for x in range(3)) for k in range(2)]
            a = [next(one), next(other), next(one), *other, *one]
            later = (f(x) for x in xs)
            xs.append(5)
            return a, list(later), sum(f(x) for x in (f(y) for y in range(2)))
    """,
    "a generator expression that is returned": """
        def program(xs, n=3):
            return list(map(list, [(f(x) for x in range(n))])), (f(x) for x in range(2)).__next__()
    """,
    "closures over loop variables": """
        def program(xs, n=3):
            found = []
            for i in range(3):
                def later(j=i):
                    return f(i), f(j)
                found.append(later)
                y = f(i)
                found.append(lambda: (y, f(y)))
            return [each() for each in found]
    """,
    "results that are seen by others later": """
        def program(xs, n=3):
            y, z, l = 1, 2, []
            def show():
                return y, f(y), l
            later = (y + z + f(v) for v in range(2))
            y = f(n + 2)
            z = h(4)
            l.append(f(3))
            class Seen:
                shown = y, z
            first = show()
            z = f(2)
            return first, list(later), Seen.shown, show()
    """,
    "nonlocal through two functions": """
        def program(xs, n=3):
            total = 0
            def outer(x):
                nonlocal total
                def inner(y):
                    nonlocal total
                    total += f(y)
                    return total
                total += inner(x)
                return f(total)
            return [outer(x) for x in range(3)], total
    """,
    "recursion of an inner function": """
        def program(xs, n=3):
            def tree(k):
                if k <= 0:
                    return f(k)
                left, right = tree(k - 1), tree(k - 2)
                return f(left) + f(right)
            return tree(4)
    """,
    "aliases of results that stay": """
        def program(xs, n=3):
            a = b = h(n + 3)
            a.append(1)
            c = h(5)
            l = [c, a]
            c.append(2)
            d = l[0]
            d.append(3)
            g(c, l)
            return a is b, c is d, a, c, l, l[0] is c
    """,
    "a result that is changed between two uses": """
        def program(xs, n=3):
            a = h(6)
            before = f(a)
            a.append(40)
            after = f(a)
            l = [h(x) for x in range(3)]
            first = g(l, l)
            l[1].append(9)
            l[2] = 3
            return before, after, first, g(l), g(*l), l
    """,
    "lists of results in loops": """
        def program(xs, n=3):
            out = []
            for x in range(3):
                y = h(x + 3)
                out.append(y)
                if len(out) > 1 and out[-1]:
                    log(out[-1], x)
            again = [f(o) for o in out]
            for i, (o, a) in enumerate(zip(out, again)):
                log(i, o, f(a), f(o))
            out = out + [h(9)]
            while not f(out[0]) > 100 and len(out) < 6:
                out = out + [h(len(out))]
            return [*out, 1], out[1:3], sum(len(o) for o in out)
    """,
    "conditions on results that stay": """
        def program(xs, n=3):
            y = f(n)
            while y > 3:
                y = f(y) - 10
            match h(y):
                case [a, *rest] if y < a:
                    y = f(rest)
                case z if f(z) > y:
                    y = z
            return (y if y else f(1)), y or f(2), not y
    """,
    "unbound names": """
        def program(xs, n=3):
            try:
                log(y)
                y = f(1)
            except NameError as error:
                log(type(error).__name__, error.args)
            if n > 100:
                z = f(2)
            for z in []:
                pass
            return f(z)
    """,
    "deleted names": """
        def program(xs, n=3):
            y = f(n)
            del y
            y = f(n + 1)
            l = [y]
            del l[0]
            del y
            return y
    """,
    "handlers that name results": """
        def program(xs, n=3):
            kind = pair(n)
            error = KeyError if f(n) % 2 else ValueError
            try:
                fails(5)
            except error as e:
                return e.args, f(e.args)
            except Exception as e:
                return kind, e.args
    """,
    "exceptions that are chained": """
        def program(xs, n=3):
            try:
                fails(5)
            except ValueError as e:
                try:
                    fails(2)
                except (KeyError, ValueError) as inner:
                    log(inner.__context__ is e, inner.args)
                    raise RuntimeError(f(n)) from inner
    """,
    "with statements": """
        def program(xs, n=3):
            y = h(4)
            with entered(y) as a, entered(f(a), swallow=True):
                fails(5)
                log("not here")
            with entered(1, swallow=True):
                y = fails(5)
            return y, a
    """,
    "star arguments": """
        def program(xs, n=3):
            l = [f(1), f(2)]
            d = k(3)
            a = g(*l, *h(5), **d, c=f(1))
            b = g(*[f(x) for x in l], *(h(2)), **{"q": f(0)})
            try:
                g(*f(1))
            except TypeError as e:
                log(e.args)
            try:
                g(**d, a=1)
            except TypeError as e:
                log(e.args)
            try:
                f()
            except TypeError as e:
                log(e.args)
            return a, b, log(*l)
    """,
    "augmented assignment": """
        def program(xs, n=3):
            l = [f(1)]
            m = l
            l += [f(2)]
            a = f(1)
            a += f(a)
            d = {"a": h(4)}
            d["a"] += [f(3)]
            xs[f(0) % 2] += f(4)
            return l, m, m is l, a, d
    """,
    "functions that are values": """
        def program(xs, n=3):
            pick = f if n % 2 else number
            table = {"f": f, "number": number}
            found = [fn(n) for fn in (f, number, abs)]
            return pick(3), table["f"](2), found, (lambda fn: fn(4))(f), list(map(f, [1, 2]))
    """,
    "what looks at its variables": """
        def program(xs, n=3):
            y = f(n)
            z = h(2)
            seen = {name: value for name, value in locals().items() if name in ("y", "z", "n")}
            return seen, eval("y + len(z)")
    """,
    "yields in all places": """
        def program(xs, n=3):
            l = [h(1), h(2)]
            got = yield l
            try:
                got = yield [f(got or 0), (yield f(1))]
                yield from (f(x) for x in range(3))
            except ValueError:
                yield f(9)
            finally:
                log(f(3))
            return l, got
    """,
    "an inner generator": """
        def program(xs, n=3):
            def inner(k):
                got = 0
                for i in range(k):
                    got = (yield f(i) + (got or 0))
                    log(i)
                return f(k)
            def outer():
                last = yield from inner(3)
                yield last
            reading = inner(3)
            a = [next(reading), f(next(reading))]
            return a, list(outer()), [x for x, y in zip(inner(2), inner(3))]
    """,
    "a decorated inner function": """
        def program(xs, n=3):
            def twice(times):
                def wrap(function):
                    def wrapper(*args):
                        log(times)
                        return [function(*args) for _ in range(times)]
                    return wrapper
                return wrap
            @twice(f(0) % 3)
            def inner(x):
                return f(x)
            return inner(4)
    """,
    "asserts": """
        def program(xs, n=3):
            y = f(n)
            assert y >= 0, fails(5)
            assert f(y) > 1000, f"{y} {f(y)!r:>4}"
    """,
    "no functional call at all": """
        def program(xs, n=3):
            '''Documented.'''
            return n
    """,
    "nothing but a text": """
        def program(xs, n=3):
            '''Documented.'''
    """,
    "global names": """
        def program(xs, n=3):
            global COUNT, NEW
            COUNT += f(n)
            NEW = h(3)
            NEW.append(COUNT)
            def inner():
                return NEW, COUNT
            return inner(), f(NEW)
    """,
    "conditional expressions": """
        def program(xs, n=3):
            a = f(1) if f(2) > 3 else f(3)
            return a, f(f(1) if n else f(2)), (f(1) and f(0)) or f(5), 1 < f(1) < f(9)
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_it_does_plainly(name: str) -> None:
    subject = Subject(textwrap.dedent(PROGRAMS[name]).lstrip())
    for seed in range(4):
        plain = subject.plain(seed)
        for mode in MODES:
            assert subject.scheduled(seed, mode)[0] == plain
