"""What a caller asked for, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..core.record import Record
from ..limits import (
    MAX_PATTERN_CHARACTERS,
    MAX_PATTERNS,
    MAX_PATTERNS_CHARACTERS,
    MAX_PRIORITY,
    MAX_SLOTS,
)
from ..repeats import of_functions
from ..serialization import Serialized, serialize

__all__ = ["JobSpec", "check_limit"]

# Payload that may be out or unread for one job before drawing pauses.
BUDGET_BYTES = 256 * 1024 * 1024
# Anything longer is no limit.
LONGEST_TIMEOUT_S = 1e9


def check_limit(limit_s: Any) -> None:
    """Raise a clear error unless a task may have this as its time limit."""
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(limit_s).__name__}")
    if not 0 < limit_s < LONGEST_TIMEOUT_S:
        raise ValueError(f"timeout must be more than 0 and finite, or None, not {limit_s}")


class JobSpec(Record):
    """What the caller asked for."""

    func: Callable[[Any], Any]
    args: Iterable[Any] | Callable[[], Iterable[Any]]
    callback: Callable[[Any], Any] | None = None
    reducer: Callable[[list[Any]], Any] | None = None
    # None: the length of packets is chosen by what is measured.
    chunksize: int | None = 1
    ordered: bool = True
    on_error: str = "raise"
    startup_timeout_s: float | None = 60.0
    budget_bytes: int = BUDGET_BYTES
    # Large buffers are sent straight from the arguments, which nobody may change meanwhile.
    keep_views: bool = False
    # Whether the caller sees what the function prints.
    output: bool = True
    # How long one task may run.
    timeout_s: float | None = None
    # Whether a task that runs unusually long may run on an idle node as well.
    speculate: bool = False
    # Single results instead of packets: a slice is a packet, and lists are arguments as any others.
    flat: bool = False
    # How many tasks may be drawn whose results were not taken. None: as many as keep the nodes busy.
    most_ahead: int | None = None
    # Whether somebody takes single results as they come.
    prompt: bool = False
    # Whether nobody sees a result before the last is there.
    patient: bool = False
    # Jobs of a higher priority get nodes and workers before others.
    priority: int = 0
    # Patterns of the names or addresses of nodes that may run it; none: all may.
    nodes: tuple[str, ...] = ()
    # How many slots of its node a task takes.
    slots: int = 1

    def check(self) -> None:
        """Raise a clear error for arguments that cannot work."""
        if not callable(self.func):
            raise TypeError(f"func must be callable, not {type(self.func).__name__}")
        for name in ("callback", "reducer"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be callable or None, not {type(function).__name__}")
        if isinstance(self.chunksize, bool) or not isinstance(self.chunksize, int | None):
            raise TypeError(f"chunksize must be an int or None, not {type(self.chunksize).__name__}")
        if self.chunksize is not None and self.chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {self.chunksize}")
        if self.on_error not in ("raise", "return", "skip"):
            raise ValueError(f"on_error must be 'raise', 'return' or 'skip', not {self.on_error!r}")

        self._check_needs()
        if self.timeout_s is not None:
            check_limit(self.timeout_s)

    def _check_needs(self) -> None:
        for name, least, most in (("priority", -MAX_PRIORITY, MAX_PRIORITY), ("slots", 1, MAX_SLOTS)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{name} must be an int, not {type(number).__name__}")
            if not least <= number <= most:
                raise ValueError(f"{name} must be from {least} to {most}, not {number}")
        if not isinstance(self.nodes, tuple | list):
            raise TypeError(f"nodes must be a tuple of strings, not {type(self.nodes).__name__}")
        for pattern in self.nodes:
            if not isinstance(pattern, str):
                raise TypeError(f"nodes must be strings, not {type(pattern).__name__}")
            if not pattern or not pattern.isascii() or not pattern.isprintable():
                raise ValueError(f"nodes must be names of printable ASCII characters, not {pattern[:99]!a}")
            if len(pattern) > MAX_PATTERN_CHARACTERS:
                raise ValueError(f"a name in nodes has at most {MAX_PATTERN_CHARACTERS} characters")
        if len(self.nodes) > MAX_PATTERNS or sum(map(len, self.nodes)) > MAX_PATTERNS_CHARACTERS:
            raise ValueError(
                f"nodes may be {MAX_PATTERNS} names of {MAX_PATTERNS_CHARACTERS} characters together: use "
                f"patterns, such as 'gpu*'"
            )
        self.nodes = tuple(self.nodes)

    @property
    def slice_tasks(self) -> int:
        """Tasks in a slice, the least that a worker is given."""
        return 1 if self.chunksize is None else self.chunksize

    @property
    def limit_ms(self) -> int:
        """The time limit of a task as it travels; 0 for none."""
        return 0 if self.timeout_s is None else max(round(self.timeout_s * 1000), 1)

    def function(self) -> Serialized:
        """What workers need to run a task."""
        name = getattr(self.func, "__qualname__", type(self.func).__name__)
        functions = (self.func, self.callback, self.reducer, self.on_error)
        subject = f"the function {name}, its callback or its reducer"
        return serialize(functions, subject, repeats=of_functions)
