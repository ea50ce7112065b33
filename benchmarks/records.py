"""Finished measurements: a JSON line for each, and what follows from all of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """One workload with one peer in one round.

    Attributes:
        figures: What was measured; empty when it failed.
        failure: Why there are no figures.
        wall_s: How long it took, starting and stopping included.
        load: The machine's load average just before.
    """

    round: int
    workload: str
    peer: str
    figures: dict[str, float]
    failure: str | None
    wall_s: float
    load: float


class Rounds:
    """All cells of a run, kept in a file as they come.

    Args:
        path: The file of JSON lines; None: kept nowhere.
        resume: Take over what is in the file; else it is begun anew.
    """

    def __init__(self, path: Path | None, *, resume: bool = False) -> None:
        self._path = path
        self.cells: list[Cell] = []
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                # The last line may have been cut short.
                try:
                    self.cells.append(Cell(**json.loads(line)))
                except (ValueError, TypeError):
                    continue
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(cell)) + "\n" for cell in self.cells)

    def add(self, cell: Cell) -> None:
        """Keep a cell."""
        self.cells.append(cell)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(cell)) + "\n")

    def has(self, round_number: int, workload: str, peer: str) -> bool:
        """Whether this was measured already; what failed is not measured again."""
        return any(
            (cell.round, cell.workload, cell.peer) == (round_number, workload, peer) for cell in self.cells
        )

    def peers(self) -> list[str]:
        """Who was measured, in the order of appearance."""
        return list(dict.fromkeys(cell.peer for cell in self.cells))

    def workloads(self) -> list[str]:
        """What was measured, in the order of appearance."""
        return list(dict.fromkeys(cell.workload for cell in self.cells))

    def count(self) -> int:
        """Number of rounds."""
        return len({cell.round for cell in self.cells})

    def by_round(self, workload: str, peer: str, figure: str) -> dict[int, float]:
        """A figure in each round that has it."""
        return {
            cell.round: cell.figures[figure]
            for cell in self.cells
            if cell.workload == workload and cell.peer == peer and figure in cell.figures
        }

    def median(self, workload: str, peer: str, figure: str) -> float | None:
        """The median over the rounds."""
        return _median(self.by_round(workload, peer, figure).values())

    def ratios(
        self, workload: str, figure: str, ours: str, theirs: str, their_figure: str | None = None
    ) -> list[float]:
        """Ours ÷ theirs within each round that has both."""
        our_figures = self.by_round(workload, ours, figure)
        their_figures = self.by_round(workload, theirs, their_figure or figure)
        return [
            our_figures[number] / their_figures[number]
            for number in our_figures
            if their_figures.get(number, 0) > 0
        ]

    def ratio(
        self, workload: str, figure: str, ours: str, theirs: str, their_figure: str | None = None
    ) -> float | None:
        """The median over the rounds of ours ÷ theirs within a round."""
        return _median(self.ratios(workload, figure, ours, theirs, their_figure))

    def difference(self, workload: str, figure: str, ours: str, theirs: str) -> float | None:
        """The median over the rounds of ours - theirs within a round."""
        our_figures = self.by_round(workload, ours, figure)
        their_figures = self.by_round(workload, theirs, figure)
        return _median(
            our_figures[number] - their_figures[number] for number in our_figures if number in their_figures
        )


def _median(figures: Iterable[float]) -> float | None:
    known = list(figures)
    return statistics.median(known) if known else None
