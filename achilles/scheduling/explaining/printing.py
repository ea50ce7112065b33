"""A scheduled function's ``explain()``: what it prints, and where it draws."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..code import ScheduledCode
from .explanation import Explanation, explain

__all__ = ["explain_call"]


def explain_call(
    code: ScheduledCode,
    *,
    dot: bool | str | os.PathLike[str] = False,
    svg: bool | str | os.PathLike[str] = False,
    **unknown: Any,
) -> Explanation:
    """What ``func.explain(…)`` does: print, and return what was printed.

    Args:
        code: The function's.
        dot: True prints DOT instead of the text; a path writes it there, besides the text.
        svg: The same for SVG.
        **unknown: The function's own arguments by name; the graph is that of all arguments.

    Raises:
        OSError: A file can't be written.
    """
    found = explain(code)
    printed = str(found)
    for wanted, drawn in ((dot, found.dot), (svg, found.svg)):
        if wanted is True:
            printed = drawn().rstrip("\n")
        elif wanted is not False:
            Path(wanted).write_text(drawn(), encoding="utf-8")
    print(printed)
    return found
