"""What a notebook shows of an object: a small table, made without asking anything that could wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["html_table"]


def html_table(shown: object, rows: Callable[[], dict[str, Any]]) -> str:
    """A table of names and values, escaped.

    Args:
        shown: The object, whose kind is the heading.
        rows: Makes the rows. If that fails, the table is its heading alone: a notebook would show an error in
            place of the cell's result.
    """
    from html import escape

    try:
        lines = [
            f"<tr><th style='text-align:left'>{escape(str(name))}</th>"
            f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
            for name, value in rows().items()
        ]
    except Exception:  # noqa: BLE001 - whatever it is, what was to be shown is shown
        lines = []
    kind = type(shown)
    title = escape(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
    return f"<table><caption>{title}</caption><tbody>{''.join(lines)}</tbody></table>"
