"""A cluster's status as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = ["render_rows", "render_status"]

_UNIX_TIMES = {"started", "connected_since", "submitted"}


def render_status(found: Mapping[str, Any]) -> str:
    """Lay out what ``ClusterStatus.as_dict()`` gives: facts line by line, lists as tables."""
    parts = []
    for name, part in found.items():
        title = f"{name.replace('_', ' ').capitalize()}"
        if isinstance(part, Mapping):
            width = max((len(str(key)) for key in part), default=0)
            lines = "\n".join(f"  {key!s:<{width}}  {_cell(value, key)}" for key, value in part.items())
        elif isinstance(part, Sequence) and not isinstance(part, str):
            rows = [row for row in part if isinstance(row, Mapping)]
            lines = render_rows(rows) if rows else f"  none{_remedy(name, found)}"
        else:
            lines = f"  {_cell(part)}"
        parts.append(f"{title}\n{lines}")
    return "\n\n".join(parts)


def _remedy(name: str, found: Mapping[str, Any]) -> str:
    if name != "nodes":
        return ""
    # HOST stays a word: the address that a server listens on may be one that nobody can dial.
    return f": lend cores with `achilles node HOST:{found.get('server', {}).get('port', 'PORT')}`"


def render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with one column per key of the first row."""
    columns = list(rows[0]) if rows else []
    cells = [columns, *([_cell(row.get(column), column) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: Any, name: str = "") -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _UNIX_TIMES and isinstance(value, int | float):
        return f"{datetime.fromtimestamp(value).astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list | tuple):
        return ".".join(str(part) for part in value)  # versions: (3, 11)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(part)}" for key, part in value.items())
    return str(value)
