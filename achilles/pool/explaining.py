"""`Pool.explain`: what limits a job, from what was measured of it."""

from __future__ import annotations

import html

from ..core.record import Record

__all__ = ["Explanation", "Figures", "explain"]

# Workers that are so busy could hardly be more so.
BUSY_SHARE = 0.8
# What takes so much of the time is what to look at.
LARGE_SHARE = 0.5
# Below this, moving a task costs as much as running it.
SMALL_TASK_S = 20e-6


class Figures(Record):
    """What was measured of one job. Times are in seconds.

    ``elapsed_s``: since it began, or until its end. ``busy_s``: of all workers together. ``longest_s``: the
    task that took longest. ``drawing_s``, ``serializing_s``, ``reading_s``: spent in the caller's process on
    the iterable, on pickling arguments, and on unpickling results.
    """

    name: str
    elapsed_s: float
    tasks: int
    slots: int
    busy_s: float
    longest_s: float
    drawing_s: float
    serializing_s: float
    reading_s: float
    sent_bytes: int
    received_bytes: int
    chunksize: int | None
    is_local: bool
    done: bool

    @property
    def task_s(self) -> float:
        """The mean time of a task."""
        return self.busy_s / max(self.tasks, 1)

    @property
    def busy_share(self) -> float:
        """The share of the workers' time that tasks took."""
        return min(self.busy_s / max(self.slots * self.elapsed_s, 1e-9), 1.0)


class Explanation:
    """What limits a job, with its figures and one suggestion.

    Attributes:
        limit: ``"nothing"``, ``"slots"``, ``"imbalance"``, ``"iterable"``, ``"serialization"``,
            ``"results"``, ``"small tasks"`` or ``"network"``.
        reason: A sentence about it.
        suggestion: What to try.
        figures: What was measured; None when nothing has run.
    """

    def __init__(self, limit: str, reason: str, suggestion: str, figures: Figures | None) -> None:
        self.limit = limit
        self.reason = reason
        self.suggestion = suggestion
        self.figures = figures

    def rows(self) -> list[tuple[str, str]]:
        """The figures, for people."""
        figures = self.figures
        if figures is None:
            return []
        rate = figures.tasks / max(figures.elapsed_s, 1e-9)
        return [
            ("job", f"{figures.name}, {'done' if figures.done else 'under way'}"),
            ("tasks", f"{figures.tasks:,} in {figures.elapsed_s:.3g} s, {rate:,.4g}/s"),
            ("workers", f"{figures.slots}, busy {figures.busy_share:.0%} of the time"),
            ("a task", f"{figures.task_s * 1e3:.3g} ms, the longest {figures.longest_s * 1e3:.3g} ms"),
            ("drawing arguments", _share(figures.drawing_s, figures)),
            ("serializing arguments", _share(figures.serializing_s, figures)),
            ("loading results", _share(figures.reading_s, figures)),
            ("bytes", f"{figures.sent_bytes:,} sent, {figures.received_bytes:,} received"),
        ]

    def __str__(self) -> str:
        lines = [f"Limited by: {self.limit}. {self.reason}", f"Try: {self.suggestion}"]
        return "\n".join(lines + [f"  {name + ':':23}{value}" for name, value in self.rows()])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.limit}: {self.reason}>"

    def _repr_html_(self) -> str:
        said = [("limited by", f"{self.limit}: {self.reason}"), ("try", self.suggestion)]
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in [*said, *self.rows()]
        )
        return f"<table>{cells}</table>"


def _share(spent_s: float, figures: Figures) -> str:
    return f"{spent_s:.3g} s, {spent_s / max(figures.elapsed_s, 1e-9):.0%} of the time"


def explain(figures: Figures | None) -> Explanation:
    """Say what limits a job: the first of these that holds, from what only machines help against on."""
    if figures is None or not figures.tasks:
        return Explanation("nothing", "No task was done yet.", "Call map or imap, then ask again.", figures)
    elapsed_s = max(figures.elapsed_s, 1e-9)
    if figures.busy_share >= BUSY_SHARE:
        limit: tuple[str, str, str] = (
            "slots",
            f"All {figures.slots} workers were busy with tasks {figures.busy_share:.0%} of the time.",
            "more workers: a cluster (address=), or more nodes" if figures.is_local else "more nodes",
        )
    elif figures.tasks < figures.slots:
        limit = (
            "imbalance",
            f"There were {figures.tasks} tasks for {figures.slots} workers.",
            "cut the work into more tasks than there are workers",
        )
    elif figures.longest_s >= LARGE_SHARE * elapsed_s:
        limit = (
            "imbalance",
            f"One task took {figures.longest_s:.3g} s of {elapsed_s:.3g} s, while others waited for work.",
            "cut the longest tasks up, or put them first",
        )
    else:
        limit = _of_caller(figures, elapsed_s)
    return Explanation(*limit, figures)


def _of_caller(figures: Figures, elapsed_s: float) -> tuple[str, str, str]:
    spent = {
        "iterable": (figures.drawing_s, "drawing arguments from the iterable"),
        "serialization": (figures.serializing_s, "pickling arguments"),
        "results": (figures.reading_s, "unpickling results"),
    }
    remedies = {
        "iterable": "make the arguments in the function instead, from an index or a name",
        "serialization": "send less: a file's name instead of what is in it, arrays instead of lists",
        "results": "return less, or reduce in the workers (reducer=)",
    }
    most = max(spent, key=lambda name: spent[name][0])
    if spent[most][0] >= LARGE_SHARE * elapsed_s:
        share = spent[most][0] / elapsed_s
        return most, f"This process spent {share:.0%} of the time {spent[most][1]}.", remedies[most]
    if figures.task_s < (SMALL_TASK_S if figures.chunksize is None else 10 * SMALL_TASK_S):
        remedy = "chunksize=None, or " if figures.chunksize is not None else ""
        return (
            "small tasks",
            f"A task takes {figures.task_s * 1e6:.3g} µs, about what it costs to move one.",
            f"{remedy}more work in each call of the function",
        )
    rate = (figures.sent_bytes + figures.received_bytes) / elapsed_s / 1e6
    return (
        "network",
        f"Workers waited {1 - figures.busy_share:.0%} of the time for what was on its way ({rate:.3g} MB/s).",
        "fewer and longer tasks, or less data in each",
    )
