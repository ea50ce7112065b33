"""Functions to explain; the tests say what is found in them, by line from the definition on."""

from __future__ import annotations

from typing import Any

from achilles.scheduling.functional import functional


@functional
def f(*args: Any) -> Any:
    return args


@functional
def g(*args: Any) -> Any:
    return args


@functional
def h(*args: Any) -> Any:
    return args


@functional
def k(*args: Any) -> Any:
    return args


def log(*args: Any) -> None:
    print(*args)


def diamond(x):
    a = f(x)
    b = g(a)
    c = h(a)
    return k(b, c)


def branching_loop(xs):
    found = []
    for x in xs:
        y = f(x)
        if y > 3:
            found.append(g(y))
    return found


def decided(xs):
    for x in xs:
        if f(x):
            g(x)
    return h(xs)


def left_early(xs):
    for x in xs:
        g(x)
        if f(x) < 0:
            break
    return h(xs)


def skipping(xs):
    for x in xs:
        g(x)
        if f(x) < 0:
            continue
        k(x)
    return h(xs)


def synced(xs):
    a = f(xs)
    log(a)
    for x in xs:
        b = g(x)
        log(b)
        b = h(b)
    return k(a)


def iterated(x):
    while x < 3:
        x = f(x)
    return g(x)


def nested(rows):
    return [g([f(cell) for cell in row if cell], len(rows)) for row in rows]


def unpacked(x):
    a, (b, *c) = f(x), g(x)
    d, e = [a, b]
    h(d)
    h(e, *c)


def contained(x):
    results = {}
    results["one"] = f(x)
    results.update(two=g(x))
    h(len(results))
    k(results)


def swapped(x):
    a, b = f(x), g(x)
    for _ in range(3):
        a, b = b, a
        h(a)


def tried(x):
    y = None
    try:
        y = f(x)
        y = g(x)
    except ValueError as error:
        y = h(error)
    finally:
        k(y)


def matched(x):
    match f(x):
        case [first, *_] if g(first):
            h(first)
        case {"rest": rest, **others}:
            k(rest, others)


def inner(xs):
    total = f(xs)

    def scaled(x, by=h(0)):  # noqa: B008
        return g(x, total)

    for x in xs:
        y = scaled(k(x))
    return f(y)


def recursive(n):
    def down(m):
        if f(m):
            return g(down(m - 1))
        return m

    return h(down(n))


def unsure(worker, xs):
    function = xs[0]
    a = worker.process(xs)
    return function(a) or undefined_yet(a)  # noqa: F821


def shadowed(xs):
    x = f(xs)
    ys = [g(x) for x in xs]
    lambda x: h(x)
    return k(x), ys
