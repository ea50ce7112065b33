"""A cluster's status as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["render_rows", "render_status"]


def render_status(found: Mapping[str, Any]) -> str:
    """Lay out what ``ClusterStatus.as_dict()`` gives: facts line by line, lists as tables."""
    parts = []
    for name, part in found.items():
        title = f"{name.replace('_', ' ').capitalize()}"
        if isinstance(part, Mapping):
            width = max((len(str(key)) for key in part), default=0)
            lines = "\n".join(f"  {key!s:<{width}}  {_cell(value)}" for key, value in part.items())
        elif isinstance(part, Sequence) and not isinstance(part, str):
            lines = render_rows([row for row in part if isinstance(row, Mapping)]) if part else "  none"
        else:
            lines = f"  {_cell(part)}"
        parts.append(f"{title}\n{lines}")
    return "\n\n".join(parts)


def render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with one column per key of the first row."""
    columns = list(rows[0]) if rows else []
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list | tuple):
        return ".".join(str(part) for part in value)  # versions: (3, 11)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(part)}" for key, part in value.items())
    return str(value)
