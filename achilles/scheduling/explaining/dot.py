"""A drawing in DOT, Graphviz's language."""

from __future__ import annotations

from .drawing import CARRIED, DECISION, ORDER, VALUE, Drawing

__all__ = ["dot_of"]

_ARROWS = {
    VALUE: "",
    DECISION: " [style=dashed]",
    ORDER: " [color=gray]",
    CARRIED: " [style=dotted, constraint=false]",
}


def dot_of(drawing: Drawing) -> str:
    """The drawing as a digraph, for ``dot -Tpdf`` and its like. Ends with a line's end."""
    lines = [
        f"digraph {_quoted(drawing.title)} {{",
        "  node [shape=box, fontname=monospace];",
    ]
    for box in drawing.boxes:
        shape = "" if box.is_call else ", shape=octagon, color=gray"
        style = "" if box.certain else ", style=dashed"
        label, note = _quoted(f"{box.label}\nline {box.line}"), _quoted(box.note)
        lines.append(f"  {box.name} [label={label}, tooltip={note}{shape}{style}];")
    lines += [f"  {arrow.tail} -> {arrow.head}{_ARROWS[arrow.kind]};" for arrow in drawing.arrows]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
