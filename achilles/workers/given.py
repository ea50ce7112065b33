"""What a worker was given to run and has not answered.

A worker answers in order what it runs, and says of the rest that it will not before it goes on. An answer
that is not to what is due would give somebody the results of other items: so each names what it is for.
"""

from __future__ import annotations

__all__ = ["Given"]


class Given:
    """Pieces in the order in which they were given, by the numbers under which the worker counts them."""

    __slots__ = ("_pieces", "_units")

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[int, int, int]] = {}  # unit -> piece, job, index of its first item
        self._units = 0

    def add(self, piece: int, job: int, first: int) -> None:
        """One more UNIT or REDUCE was sent."""
        self._units += 1
        self._pieces[self._units] = (piece, job, first)

    def count(self) -> None:
        """One more was sent, whose answer somebody else waits for."""
        self._units += 1

    def first(self) -> int | None:
        """The piece that runs, as far as anyone can tell."""
        return next((piece for piece, _, _ in self._pieces.values()), None)

    def answered(self, job: int, first: int) -> int | None:
        """Take the first away, to which this is the answer; None if it is not."""
        for unit, (piece, *due) in self._pieces.items():
            if due != [job, first]:
                return None
            del self._pieces[unit]
            return piece
        return None

    def answered_early(self, job: int, first: int, tasks: int) -> int | None:
        """The first, if this is the answer to so many of its items; what follows is about the others."""
        for unit, (piece, *due) in self._pieces.items():
            if due != [job, first]:
                return None
            self._pieces[unit] = (piece, job, first + tasks)
            return piece
        return None

    def unbegun(self, unit: int) -> int | None:
        """Take one away that the worker will not run."""
        piece, _, _ = self._pieces.pop(unit, (None, 0, 0))
        return piece

    def piece_of(self, unit: int) -> int | None:
        """The piece that the worker counts so; None if it was answered."""
        piece, _, _ = self._pieces.get(unit, (None, 0, 0))
        return piece

    def unit_of(self, piece: int) -> int | None:
        """The number of a piece; None if it was answered."""
        return next((unit for unit, (given, _, _) in self._pieces.items() if given == piece), None)
