"""The faces of a pool behind one small interface, so that each keeps the same contract.

What a face cannot do by its nature stands, with the reason, in `CANNOT` and nowhere else. A test that is
about such a thing begins with ``face.needs("…")`` and is skipped; one of which a part is about it asks
``face.can("…")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest

__all__ = ["CANNOT", "ENDING", "PATIENCE_S", "Call", "Face"]

#: Waits for the result so many seconds at most, and returns it or raises.
Call = Callable[[float | None], Any]

#: Longer than anything takes that does not hang.
PATIENCE_S = 60.0

_ENDS = "what raises within a generator has ended it"
_CALLS = "Parallel takes many calls, and each of it is a job of its own"

#: Tests of how faces end are not made for those that cannot do that.
ENDING = "a pool to end"

#: By face: what it cannot do, and why.
CANNOT: dict[str, dict[str, str]] = {
    "pool": {
        "cancelled calls": "an AsyncResult has no cancel; Executor and asyncio have",
    },
    "executor": {
        "lazy results as they come": "submit is given its arguments one by one, and draws nothing",
        "items after an error": _ENDS,
        "options for many items": "an Executor is told its options once, and those of single calls alone",
        "shared iterators": "map returns a generator, and threads cannot share one",
    },
    "asyncio": {
        "callbacks within readers": "callbacks are called by the task that awaits, which may await more",
        "pickled pools": "its calls are awaited in a loop, and a task of a worker has none; take Pool there",
    },
    "joblib": {
        "a bounded lead": "Parallel hands out the next batch whenever one is done, read or not",
        "arguments from results": "Parallel draws pre_dispatch calls before it returns",
        "buffersize": "Parallel has pre_dispatch, which counts what is out, not what is unread",
        "callbacks within readers": "there are no callbacks of the user's",
        "cancelled calls": _CALLS,
        "chosen chunks": "Parallel makes the last batches smaller than batch_size says",
        ENDING: "each Parallel ends with its own results",
        "items after an error": _ENDS,
        "items before an error": "Parallel drops what it has when a call fails, and stops the others",
        "options": "Parallel has none for single calls",
        "options for many items": "Parallel has none for single calls",
        "patience": "Parallel's timeout ends the whole call",
        "pickled pools": "within tasks, Parallel uses threads",
        "shared iterators": "return_as gives a generator, and threads cannot share one",
    },
}


class Face:
    """What every face can do, named alike.

    Args:
        where: Arguments that lead to the engine.
        **options: Of the pool itself: ``processes``, ``initializer``, ``initargs``.
    """

    name: str
    #: What is raised by a face that was closed.
    closed_error: type[Exception] = ValueError
    #: How many calls may be begun one by one within a second or so.
    most_calls = 5000

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        raise NotImplementedError

    @classmethod
    def surroundings(cls) -> AbstractContextManager[Any]:
        """What has to be there while faces of this kind are."""
        return nullcontext()

    @classmethod
    def can(cls, what: str) -> bool:
        """Whether it can do something that not all can."""
        assert any(what in reasons for reasons in CANNOT.values()), f"{what!r} is nowhere in CANNOT"
        return what not in CANNOT[cls.name]

    @classmethod
    def needs(cls, what: str) -> None:
        """Skip the test if it is about what this face cannot do."""
        if not cls.can(what):
            pytest.skip(f"{cls.name}: {what}: {CANNOT[cls.name][what]}")

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        """Run all, and return the results in order."""
        return list(self.ordered(func, items, **options))

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Results in order, arguments drawn lazily. They have a method ``close``."""
        raise NotImplementedError

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Results as they come."""
        raise NotImplementedError

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        """Begin one call."""
        raise NotImplementedError

    def cancellable(self, func: Callable[..., Any], *args: Any) -> tuple[Call, Callable[[], Any]]:
        """Begin one call, and say how to cancel it while it runs."""
        raise NotImplementedError

    def next_within(self, timeout_s: float, func: Callable[[Any], Any], items: list[Any]) -> Any:
        """Wait for the first result of an iteration so long, and leave it then."""
        raise NotImplementedError

    @contextmanager
    def told(self, **options: Any) -> Iterator[Face]:
        """A face whose calls all run with these options."""
        raise NotImplementedError
        yield self

    def finish(self) -> None:
        """Take no more, do what was asked for, and end."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End at once; who waits is told."""
        raise NotImplementedError
