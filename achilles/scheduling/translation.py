"""From the tree of a scheduled function to the code that runs in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from .code import ScheduledCode
from .keeping import INTROSPECTING, Kept, kept_variables
from .passes.bare import Bare
from .passes.calling import Calling
from .passes.contract import Pass, constructs
from .passes.entering import RUN, Entering, marker
from .passes.forcing import Forcing
from .passes.leaving import Leaving
from .passes.looping import Looping

__all__ = ["Translation", "check_source", "stub"]

_MAKER = ".make"
_PLAIN = (int, float, complex, str, bytes)
_FUTURES = 0x1FE0000  # compiler flags of `from __future__ import …`, as code objects keep them


class Translation:
    """A scheduled function, translated.

    Attributes:
        code: What is known of its source.
        made: The code that runs in its place. Its free variables are those of the original and `RUN`, in the
            order of their names; file, lines and names are the original's.
        codes: That, and all code within it.
        loops_of: By site, the loops around it in its own function, outermost first.
        introspects: Whether the function may look at its own variables other than by their names.
    """

    def __init__(self, code: ScheduledCode, number: int) -> None:
        """Translate.

        Args:
            code: The function; its inner functions' definitions are noted there.
            number: What the code says that it is when it enters: which translation of its function.

        Raises:
            ContractError: A pass is wrong.
        """
        kept = kept_variables(code)
        tree = _copied(code.tree)
        held = constructs(tree)
        for each in _passes(number, kept):
            held = each.run_on(tree, held)
        self.code = code
        self.made = _compiled(tree, code.function, code.class_name)
        self.codes = {self.made, *_all(self.made)}
        self.loops_of = {site: code.loops_of(site) for site in code.sites}
        self.introspects = not INTROSPECTING.isdisjoint(code.function.__code__.co_names)
        self._sites_of: dict[CodeType, dict[int, int]] = {}
        for inner in self.codes:
            for inner_number in code.inner:
                if marker(inner_number) in inner.co_consts:
                    code.define(inner, inner_number)

    def site_at(self, code: CodeType, offset: int) -> int | None:
        """The call site that an instruction belongs to; None if it is no call's, or other code's.

        Args:
            code: Code of a frame.
            offset: Where in it, in bytes.
        """
        if code not in self.codes:
            return None
        sites = self._sites_of.get(code)
        if sites is None:
            sites = self._sites_of[code] = self._sites_by_offset(code)
        return sites.get(offset)

    def _sites_by_offset(self, code: CodeType) -> dict[int, int]:
        numbers = {
            (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset): number
            for number, node in self.code.sites.items()
        }
        return {
            2 * place: numbers[position]
            for place, position in enumerate(code.co_positions())
            if position in numbers
        }


def _copied(node: Any) -> Any:
    """A tree, with the marks of its nodes."""
    if isinstance(node, ast.AST):
        made = type(node).__new__(type(node))
        made.__dict__.update({name: _copied(value) for name, value in node.__dict__.items()})
        return made
    return [_copied(each) for each in node] if type(node) is list else node


def _passes(number: int, kept: dict[int | None, Kept]) -> list[Pass]:
    return [Bare(), Leaving(), Forcing(kept), Looping(), Calling(), Entering(number)]


def check_source(tree: ast.FunctionDef, function: FunctionType, class_name: str | None) -> None:
    """Check that a definition, as read from the source, is what a function was made from.

    Raises:
        OSError: It can't be: the file was changed since it was loaded.
    """
    tree = _copied(tree)
    Bare().run(tree)
    read = _compiled(tree, function, class_name, ())
    # The function may hold more: test runners rewrite assertions.
    if not _words(read) <= _words(function.__code__):
        raise OSError(
            f"the source of {function.__qualname__}() in {function.__code__.co_filename} isn't what runs: "
            "the file was changed since it was loaded; load it again"
        )


def _words(code: CodeType) -> set[Any]:
    """The names and the simple constants of code and all code within it."""
    found: set[Any] = set()
    for each in (code, *_all(code)):
        found.update(each.co_names, each.co_varnames, each.co_freevars, each.co_cellvars)
        found.update((type(value), value) for value in each.co_consts if type(value) in _PLAIN)
    return found


def stub(function: FunctionType, *, generator: bool) -> CodeType:
    """Code that waits for the first call, and then lets the translation run: it needs globals that the
    decorator can't see yet.

    Returns:
        Code with the same free variables as the translation will have.
    """
    names = function.__code__.co_freevars
    call = f"{_PLACE}.first()(*args, **kwargs)"
    source = f"def {_PLACE}(*args, **kwargs):\n return {'(yield from ' + call + ')' if generator else call}\n"
    if names:
        source += f" lambda: ({', '.join(_PLACE + str(n) for n in range(len(names)))},)\n"
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    named = {_PLACE: RUN, **{_PLACE + str(n): name for n, name in enumerate(names)}}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in named:
            node.id = named[node.id]
        if isinstance(node, ast.stmt | ast.expr | ast.arg):
            node.lineno = node.end_lineno = function.__code__.co_firstlineno
            node.col_offset = node.end_col_offset = 0
    tree.name = function.__code__.co_name
    return _compiled(tree, function, None)


_PLACE = "achilles_stub"


def _compiled(
    tree: ast.FunctionDef, function: FunctionType, class_name: str | None, more: tuple[str, ...] = (RUN,)
) -> CodeType:
    """Compile a definition as if it stood where the function's own does."""
    original = function.__code__
    body: list[ast.stmt] = [tree]
    if class_name is not None:
        # Names such as __x mean the class's own.
        body = [ast.ClassDef(name=class_name, bases=[], keywords=[], body=body, decorator_list=[])]
        body[0].type_params = []  # type: ignore[attr-defined]
    parameters = [ast.arg(name) for name in (*original.co_freevars, *more)]
    arguments = ast.arguments(
        posonlyargs=[], args=parameters, vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
    )
    maker = ast.FunctionDef(name=_MAKER, args=arguments, body=body, decorator_list=[], returns=None)
    maker.type_params = []  # type: ignore[attr-defined]
    for around in (maker, *body):
        ast.copy_location(around, tree)
    module = ast.fix_missing_locations(ast.Module([maker], []))
    flags = original.co_flags & _FUTURES
    outer = compile(module, original.co_filename, "exec", flags, dont_inherit=True)
    inside = _named(outer, _MAKER)
    if class_name is not None:
        inside = _named(inside, class_name)
    made = _named(inside, tree.name)
    made = _renamed(made, made.co_qualname, original.co_qualname)
    expected = tuple(sorted((*original.co_freevars, *more)))
    if made.co_freevars != expected:
        raise RuntimeError(
            f"{original.co_qualname}() can't be scheduled: its free variables would be {made.co_freevars}, "
            f"not {expected}. This is a mistake in achilles."
        )
    return made


def _named(code: CodeType, name: str) -> CodeType:
    return next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)


def _renamed(code: CodeType, before: str, after: str) -> CodeType:
    """The code, and all code within it, with qualified names that begin otherwise."""
    own = code.co_qualname
    name = after + own[len(before) :] if own.startswith(before) else own
    constants = tuple(
        _renamed(each, before, after)
        if isinstance(each, CodeType)
        else name
        if each == own and isinstance(each, str)  # a class body sets its __qualname__ from this
        else each
        for each in code.co_consts
    )
    return code.replace(co_qualname=name, co_consts=constants)


def _all(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _all(each)
