"""`Explanation`: a graph that prints, draws and shows itself."""

from __future__ import annotations

from ..code import ScheduledCode
from ..foresight import sync_points
from .dot import dot_of
from .drawing import drawing_of
from .graph import Graph, graph_of
from .svg import svg_of
from .text import text_of

__all__ = ["Explanation", "explain"]


class Explanation:
    """What foresight sees in a function. Print it, draw it, or let a notebook show it.

    Attributes:
        graph: Its calls, what they need of each other, loops and sync-points, as records.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __str__(self) -> str:
        return text_of(self.graph)

    def __repr__(self) -> str:
        calls, syncs = len(self.graph.calls), len(self.graph.sync_points)
        return f"<Explanation of {self.graph.name}: {calls} functional calls, {syncs} sync-points>"

    def dot(self) -> str:
        """The graph in DOT, Graphviz's language."""
        return dot_of(drawing_of(self.graph))

    def svg(self) -> str:
        """The graph as the text of an SVG file."""
        return svg_of(drawing_of(self.graph))

    def _repr_svg_(self) -> str:
        return self.svg()


def explain(code: ScheduledCode) -> Explanation:
    """What foresight sees in a function, as its globals are now. Nothing of it is run."""
    return Explanation(graph_of(code, sync_points(code)))
