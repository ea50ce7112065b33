"""``python -m achilles.scheduling.explaining pipeline.py:reduce --svg > reduce.svg``.

The file is run as a module is that is imported: what is below ``if __name__ == "__main__"`` is left out.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from functools import reduce
from pathlib import Path

from ..decorator import scheduled_code
from .explanation import explain

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Explain a function of a file, on the standard output.

    Args:
        arguments: Those of the command line, by default.

    Returns:
        0, or 2 after a line on the standard error that says why the function can't be found.
    """
    parser = argparse.ArgumentParser(
        prog="python -m achilles.scheduling.explaining",
        description="Tell what the functional calls of a scheduled function need of each other.",
    )
    parser.add_argument(
        "function", metavar="FILE:FUNCTION", help="such as pipeline.py:reduce or a.py:Class.method"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--dot", action="store_true", help="print a graph for Graphviz")
    form.add_argument("--svg", action="store_true", help="print a drawing")
    options = parser.parse_args(arguments)
    file, _, name = options.function.rpartition(":")
    if not Path(file).is_file():
        return _told(f"there is no file {file!r}; name a function of a file as FILE:FUNCTION")
    sys.path.insert(0, str(Path(file).resolve().parent))  # as when Python runs it, for its own modules
    try:
        names = runpy.run_path(file, run_name="__explained__")
    finally:
        del sys.path[0]
    first, *rest = name.split(".")
    try:
        code = scheduled_code(reduce(getattr, rest, names[first]))
    except (KeyError, AttributeError):
        return _told(f"{file} has no {name!r}")
    except TypeError as error:
        return _told(str(error))
    found = explain(code)
    print(found.dot() if options.dot else found.svg() if options.svg else f"{found}\n", end="")
    return 0


def _told(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
