"""``progress=``: how far a call is, as a bar (tqdm) or told to a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable
from operator import length_hint
from typing import Any, Protocol

__all__ = ["Bar", "ProgressChoice", "bar_for", "check_progress"]

#: True shows a bar; a function is called with (items done, items in all or None).
ProgressChoice = bool | Callable[[int, int | None], Any]


class Bar(Protocol):
    """Something that is told of progress, and closed at the end."""

    def update(self, items: int) -> Any:
        """So many more are done."""

    def close(self) -> None:
        """No more will be."""


class _Told:
    """Calls a function of the caller's."""

    def __init__(self, tell: Callable[[int, int | None], Any], total: int | None) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def update(self, items: int) -> None:
        self._done += items
        self._tell(self._done, self._total)

    def close(self) -> None:
        pass


def check_progress(progress: ProgressChoice) -> None:
    """Raise TypeError unless it is a bool or a function."""
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(
            f"progress must be True, False or a function of two arguments (items done, items in all or "
            f"None), not {type(progress).__name__}"
        )


def bar_for(progress: ProgressChoice, args: Any, *, flat: bool = False) -> Bar | None:
    """What to tell of progress through these arguments; None for nothing.

    Args:
        progress: As the caller gave it.
        args: The arguments: their length, or a good guess of it, is the total. Of lists of lists, that of
            all inner ones.
        flat: Lists are arguments as any others.
    """
    if progress is False:
        return None
    total: int | None
    if not flat and isinstance(args, list) and args and isinstance(args[0], list):
        total = sum(len(packet) for packet in args)
    else:
        try:
            total = length_hint(args) or None
        except TypeError:
            total = None
    if progress is not True:
        return _Told(progress, total)
    from tqdm.auto import tqdm

    bar: Bar = tqdm(total=total, unit="item")
    return bar
