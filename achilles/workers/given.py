"""What a worker was given to run and has not answered."""

from __future__ import annotations

__all__ = ["Given"]


class Given:
    """Pieces in the order in which they were given, by the numbers under which the worker counts them."""

    __slots__ = ("_pieces", "_units")

    def __init__(self) -> None:
        self._pieces: dict[int, int] = {}
        self._units = 0

    def add(self, piece: int) -> None:
        """One more UNIT or REDUCE was sent."""
        self._units += 1
        self._pieces[self._units] = piece

    def first(self) -> int | None:
        """The piece that runs, as far as anyone can tell."""
        return next(iter(self._pieces.values()), None)

    def answered(self) -> int:
        """Take the first away: a worker answers in order what it runs."""
        return self._pieces.pop(next(iter(self._pieces)))

    def unbegun(self, unit: int) -> int | None:
        """Take one away that the worker will not run."""
        return self._pieces.pop(unit, None)

    def unit_of(self, piece: int) -> int | None:
        """The number of a piece; None if it was answered."""
        return next((unit for unit, given in self._pieces.items() if given == piece), None)
