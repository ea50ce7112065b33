"""From a function object to the syntax tree of its definition, with line and column numbers of its file."""

from __future__ import annotations

import ast
import inspect
import linecache
from itertools import pairwise
from types import FunctionType

__all__ = ["parsed"]

_REFUSED = {
    ast.AsyncFunctionDef: "'async def'",
    ast.Await: "'await'",
    ast.AsyncFor: "'async for'",
    ast.AsyncWith: "'async with'",
}


def parsed(function: FunctionType) -> tuple[ast.FunctionDef, str | None]:
    """The definition of a function, and the class in whose body it was compiled.

    Args:
        function: A function that was made by a ``def`` statement.

    Returns:
        The tree, and the name of the class that names such as ``__x`` are mangled with, or None.

    Raises:
        OSError: The source can't be had, or isn't the function's any more.
        TypeError: It is a lambda.
        SyntaxError: It holds ``async`` or ``await``; with file and line.
    """
    code = function.__code__
    if code.co_name == "<lambda>":
        raise TypeError(
            f"schedule() can't take a lambda ({code.co_filename}, line {code.co_firstlineno}): write a def"
        )
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise OSError(
            f"schedule() reads the source of {function.__qualname__}(), but {code.co_filename!r} holds none: "
            "define the function in a file or a notebook cell, not with exec() or in the plain interpreter"
        )
    first = code.co_firstlineno
    block = inspect.getblock(lines[first - 1 :])
    tree = _definition("".join(block), first, code.co_name)
    if tree is None:
        raise OSError(
            f"line {first} of {code.co_filename} isn't the definition of {function.__qualname__}(): "
            "the file was changed since it was loaded, or the function was made by other means"
        )
    _refuse_async(tree, code.co_filename, lines)
    assert isinstance(tree, ast.FunctionDef)
    return tree, _class_around(function.__qualname__)


def _definition(block: str, first: int, name: str) -> ast.AST | None:
    """The one definition in a block of lines, which may be indented."""
    indented = block[:1] in " \t"
    # Indented code keeps its columns, and its multi-line strings, below an if of its own.
    above = "\n" * (first - 2) + "if 1:\n" if indented else "\n" * (first - 1)
    try:
        module = ast.parse(above + block)
    except SyntaxError:
        return None
    statement = module.body[0] if module.body else None
    if indented and isinstance(statement, ast.If):
        statement = statement.body[0]
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or statement.name != name:
        return None
    return statement


def _refuse_async(tree: ast.AST, filename: str, lines: list[str]) -> None:
    for node in ast.walk(tree):
        what, place = _REFUSED.get(type(node)), node
        if isinstance(node, ast.comprehension) and node.is_async:
            what, place = "an asynchronous comprehension", node.target
        if what is not None:
            line: int = place.lineno  # type: ignore[attr-defined]
            text = lines[line - 1] if line <= len(lines) else ""
            message = (
                f"a scheduled function can't hold {what}: it runs functional calls in parallel by itself; "
                "use achilles.aio in coroutines"
            )
            raise SyntaxError(message, (filename, line, place.col_offset + 1, text))  # type: ignore[attr-defined]


def _class_around(qualname: str) -> str | None:
    """The innermost class in a qualified name, such as ``make.<locals>.Class.method``."""
    parts = qualname.split(".")
    around = [part for part, after in pairwise(parts) if "<locals>" not in (part, after)]
    return around[-1] if around else None
