"""What generated programs find around them: functional functions, and such that leave traces in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def number(value: Any) -> int:
    """A small number that any value of a program has."""
    if isinstance(value, int):
        return value % 101
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple | set):
        return sum(number(each) for each in value) % 101
    if isinstance(value, dict):
        return sum(number(each) for each in value.values()) % 101
    return 0


# -- functional; none may keep, change or return what it was given


def f(x: Any, y: Any = 2) -> int:
    return (number(x) * 3 + number(y)) % 50


def g(*args: Any, **kwargs: Any) -> int:
    return (sum(number(each) for each in args) + 7 * sum(map(number, kwargs.values()))) % 61


def h(x: Any) -> list[int]:
    n = number(x)
    return [n % 5, n % 7, n % 3][: n % 4]


def k(x: Any) -> dict[str, int]:
    return {"a": number(x) % 9, "b": 1}


def pair(x: Any) -> tuple[int, int]:
    return number(x) % 8, number(x) % 6


def fails(x: Any) -> int:
    n = number(x)
    if n % 4 == 1:
        raise ValueError("fails", n)
    if n % 5 == 2:
        raise KeyError(n)
    return n + 1


FUNCTIONAL = (f, g, h, k, pair, fails)


class World:
    """Functions that log, and what they act on: one for each run of a program."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shared = [3, 1, 4]

    def log(self, *values: Any) -> int:
        self.lines.append(repr(values))
        return len(self.lines)

    def grow(self, items: list[Any]) -> list[Any]:
        """Changes its argument."""
        self.lines.append(f"grow {items!r}")
        if len(items) < 8:
            items.append(len(items))
        return items

    def boom(self, x: Any) -> int:
        self.lines.append(f"boom {x!r}")
        if number(x) % 3 == 0:
            raise ValueError("boom", number(x))
        return number(x)

    def apply(self, function: Any, *args: Any) -> Any:
        """Calls back."""
        self.lines.append("apply")
        return function(*args)

    def steps(self, n: int) -> Iterator[int]:
        for i in range(number(n) % 4):
            self.lines.append(f"step {i}")
            yield i

    @contextmanager
    def entered(self, x: Any, swallow: bool = False) -> Iterator[int]:
        self.lines.append(f"enter {x!r}")
        try:
            yield number(x)
        except ValueError:
            self.lines.append("with ValueError")
            if not swallow:
                raise
        finally:
            self.lines.append("leave")

    def names(self) -> dict[str, Any]:
        """Globals for a program."""

        class Thing:
            def __init__(self, n: int) -> None:
                self.n = n

            def same(self, x: Any) -> int:
                return f(x, self.n)

            def bump(this) -> int:
                this.n += 1
                self.lines.append(f"bump {this.n}")
                return this.n

        found = {function.__name__: function for function in FUNCTIONAL}
        found.update(
            log=self.log,
            grow=self.grow,
            boom=self.boom,
            apply=self.apply,
            steps=self.steps,
            entered=self.entered,
            number=number,
            SHARED=self.shared,
            COUNT=0,
            Thing=Thing,
        )
        return found
