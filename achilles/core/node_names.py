"""Which nodes a job may run on, by patterns of their names and addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["NamePatterns", "listed"]

# Names that a message lists before it only counts the others.
LISTED = 8


class NamePatterns:
    """Shell wildcards (``gpu*``, ``10.0.0.*``, ``alice``) of names, whatever their case.

    ``#`` and a number is the node of that number at its server.

    Args:
        patterns: At least one.

    Attributes:
        is_number: Whether there is one, a number.

    Raises:
        ValueError: One of them is no pattern.
    """

    __slots__ = ("_match", "is_number", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        import fnmatch
        import re

        self.patterns = tuple(sorted({pattern.lower() for pattern in patterns}))
        try:
            found: Any = re.compile("|".join(fnmatch.translate(pattern) for pattern in self.patterns))
        except re.error as error:
            raise ValueError(f"{' or '.join(self.patterns)} is no pattern of names: {error}") from None
        self._match = found.match
        only = self.patterns[0] if len(self.patterns) == 1 else ""
        self.is_number = only.startswith("#") and only[1:].isdecimal()

    def match(self, names: Iterable[str]) -> bool:
        """Whether one of a node's names fits one of the patterns."""
        match = self._match
        return any(match(name.lower()) for name in names)

    def __reduce__(self) -> tuple[type[NamePatterns], tuple[tuple[str, ...]]]:
        return NamePatterns, (self.patterns,)


def listed(names: Iterable[str], quote: str = "") -> str:
    """Some names for a message, and how many more there are."""
    known = list(names)
    shown = [f"{quote}{name}{quote}" for name in known[:LISTED]]
    if len(known) > LISTED:
        shown.append(f"{len(known) - LISTED} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
