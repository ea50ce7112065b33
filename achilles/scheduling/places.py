"""Where the real run is: read from its frames, only when foresight begins there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .translation import Translation

__all__ = ["Place", "call_under_way", "scopes_of"]

_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


class Place(NamedTuple):
    """Where the run is.

    Attributes:
        site: The call site.
        counters: Of the loops around it in its own function, outermost first.
        scopes: Variables by name, innermost scope first: those of comprehensions, then the function's own.
        iterators: The iterators of ``for`` loops and clauses, by number; those of loops that are over too.
        caller: The place that called this inner function; None in the scheduled function, or where unknown.
    """

    site: int
    counters: tuple[int, ...]
    scopes: Sequence[Mapping[str, Any]]
    iterators: Mapping[int, Any]
    caller: Place | None


def scopes_of(
    frame: FrameType | None, translation: Translation
) -> tuple[list[dict[str, Any]], FrameType] | None:
    """Variables of the frame of a call site and of those around it, up to its function's, and that frame.

    None if they aren't there: a generator expression that is read elsewhere has another frame around it.
    """
    scopes: list[dict[str, Any]] = []
    while frame is not None and _is_functions(frame, translation):
        scopes.append(_variables(frame, translation))
        if frame.f_code.co_name not in _COMPREHENSIONS:
            return scopes, frame
        frame = frame.f_back
    return None


def call_under_way(frame: FrameType, translation: Translation) -> tuple[int, FrameType] | None:
    """The site whose call is under way in the frame that called this one, and the frame of its function."""
    below = frame.f_back
    if below is None:
        return None
    site = translation.site_at(below.f_code, below.f_lasti)
    while below is not None and _is_functions(below, translation):
        if below.f_code.co_name not in _COMPREHENSIONS:
            return None if site is None else (site, below)
        below = below.f_back
    return None


def _is_functions(frame: FrameType, translation: Translation) -> bool:
    """Whether a frame is a translated function's or comprehension's, not that of a class body."""
    return frame.f_code in translation.codes and bool(frame.f_code.co_flags & CO_OPTIMIZED)


def _variables(frame: FrameType, translation: Translation) -> dict[str, Any]:
    found = frame.f_locals
    variables = {name: value for name, value in found.items() if not name.startswith(".")}
    if type(found) is dict and not translation.introspects:
        # The frame would keep these values until it ends, whatever happens to its variables.
        found.clear()
    return variables
