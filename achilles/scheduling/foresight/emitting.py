"""What all of the lowering shares: instructions, what is on the stack, names, sync-points."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, Any

from ..functional import is_functional
from ..scopes import Scope
from .leaking import leaks
from .own_lists import OwnLists
from .program import Generated, Loop, Program, Resumption, SyncPoint

if TYPE_CHECKING:
    from types import FunctionType

    from ..code import ScheduledCode

__all__ = ["ABSENT", "COMPREHENSIONS", "Definitions", "Emitter"]

ABSENT = object()
_INTROSPECTING = frozenset({"eval", "exec", "inspect", "locals", "sys", "vars"})
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Definitions:
    """What the lowering of all functions of a scheduled function has in common.

    Attributes:
        code: The scheduled function.
        programs: By definition: of the function, and of functions within it that were met.
    """

    def __init__(self, code: ScheduledCode) -> None:
        self.code = code
        self.scopes = code.callees.scopes
        self.programs: dict[ast.AST, Program] = {}
        function: FunctionType = code.function
        self.globals = function.__globals__
        self.cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._numbers = 0
        # What gets at variables by other ways than their names.
        self.introspects = any(
            isinstance(node, ast.Name) and node.id in _INTROSPECTING for node in code.parents
        )
        self.has_walrus = any(isinstance(node, ast.NamedExpr) for node in code.parents)
        self.scope_of: dict[ast.AST, Scope] = {self.scopes.top.node: self.scopes.top}
        for scope in {id(each): each for each in self.scopes.of.values()}.values():
            self.scope_of.setdefault(scope.node, scope)
        self.uses: dict[tuple[int, str], list[ast.Name]] = {}
        for node, scope in self.scopes.of.items():
            if isinstance(node, ast.Name) and (owner := scope.owner(node.id)) is not None:
                self.uses.setdefault((id(owner), node.id), []).append(node)
        self.own_lists = OwnLists(code.parents, self.is_builtin, self.is_functional_call)

    def number(self) -> int:
        """A number that no other variable of foresight's own has."""
        self._numbers += 1
        return self._numbers

    def look_up(self, name: str) -> Any:
        """What a global, a cell of the function's closure, or a built-in is now; ABSENT if it isn't."""
        cell = self.cells.get(name)
        if cell is not None:
            try:
                return cell.cell_contents
            except ValueError:
                return ABSENT
        found = self.globals.get(name, ABSENT)
        return getattr(builtins, name, ABSENT) if found is ABSENT else found

    def value_of(self, node: ast.expr) -> Any:
        """What an expression of global names and attributes of modules is now; ABSENT for any other."""
        if isinstance(node, ast.Name):
            scope = self.scopes.of.get(node)
            return self.look_up(node.id) if scope is not None and scope.owner(node.id) is None else ABSENT
        if isinstance(node, ast.Attribute):
            base = self.value_of(node.value)
            return vars(base).get(node.attr, ABSENT) if type(base) is type(ast) else ABSENT
        return ABSENT

    def is_builtin(self, node: ast.Name) -> bool:
        return self.value_of(node) is getattr(builtins, node.id, None)

    def is_functional_call(self, call: ast.Call) -> bool:
        return is_functional(self.value_of(call.func))


class Emitter:
    """Makes the program of one function.

    Args:
        definitions: What it shares with those of other functions.
        node: The function's definition.
    """

    def __init__(self, definitions: Definitions, node: ast.FunctionDef | ast.Lambda) -> None:
        self.definitions = definitions
        self.program = Program(getattr(node, "name", "<lambda>"), node)
        self.scope = definitions.scope_of.get(node) or Scope(node, None)
        self.stack: list[ast.expr | None] = []
        self.rebound: set[str] = set()  # by a walrus in the statement that is being lowered
        self._loops: list[int] = []
        self._unfinished: list[tuple[str, list[int]]] = []
        self._comprehensions: list[dict[str, str]] = []
        self._generated: list[Generated] = []
        self._mangled: dict[tuple[int, str], str] = {}
        self.program.variables = frozenset(self.scope.bindings)
        scopes = definitions.scopes
        if not definitions.introspects:
            self.program.own_lists = definitions.own_lists.find(
                self.scope,
                {name: definitions.uses.get((id(self.scope), name), []) for name in self.scope.bindings},
                lambda name: scopes.captured(name, self.scope) or scopes.shared(name),
            )

    # -- instructions

    @property
    def here(self) -> int:
        return len(self.program.instructions)

    def emit(self, operation: str, argument: Any = None, node: ast.AST | None = None) -> int:
        """Add an instruction; returns its place."""
        self.program.instructions.append((operation, argument))
        self.program.lines.append(node if node is not None else self.program.node)
        return self.here - 1

    def jump(self, node: ast.AST) -> int:
        """A jump whose target is said later, by `land`."""
        return self.emit("jump", None, node)

    def land(self, *jumps: int, at: int | None = None) -> None:
        for place in jumps:
            self.program.instructions[place] = ("jump", self.here if at is None else at)

    def push(self, origin: ast.expr | None) -> None:
        self.stack.append(origin)

    def pop(self, count: int = 1) -> None:
        if count:
            del self.stack[-count:]

    def stop(self, node: ast.AST, reason: str) -> None:
        """A sync-point."""
        self.note(node, reason)
        self.emit("stop", reason, node)

    def note(self, node: ast.AST, reason: str, *, certain: bool = True) -> None:
        line = getattr(node, "lineno", self.program.node.lineno)
        self.program.sync_points.append(SyncPoint(node, line, reason, certain))

    def resumption(self, site: int) -> None:
        """Note how to go on behind a call whose result is about to be pushed."""
        self.program.resumptions[site] = Resumption(
            self.here,
            tuple(self._again(each) for each in self.stack),
            tuple(self._loops),
            tuple((name, tuple(loops)) for name, loops in self._unfinished),
            tuple(self._comprehensions),
            tuple(Generated(each.number, list(each.clauses), each.simple) for each in self._generated),
        )

    def _again(self, origin: ast.expr | None) -> tuple[tuple[str, Any], ...] | None:
        """Instructions that give once more what an expression gave; None if that may differ."""
        if isinstance(origin, ast.Constant):
            return (("constant", origin.value),)
        if isinstance(origin, ast.Attribute):
            base = self._again(origin.value)
            return (*base, ("attribute", origin.attr)) if base and base[0][0] == "load_global" else None
        if isinstance(origin, ast.Name) and origin.id not in self.rebound:
            kind, where = self.variable(origin)
            if kind != "free":
                return (("load_" + kind, where),)
        return None

    # -- names

    def variable(self, node: ast.Name) -> tuple[str, Any]:
        """Where the variable is that a name means.

        Returns:
            "local" and its name; "free" and (how many functions out, its name); "global" and its name.
        """
        scope = self.definitions.scopes.of.get(node)
        owner = scope.owner(node.id) if scope is not None else None
        if scope is None or owner is None:
            return "global", node.id
        levels = 0
        at: Scope | None = scope
        while at is not None and at is not owner:
            if isinstance(at.node, ast.FunctionDef | ast.Lambda):
                levels += 1
            at = at.parent
        name = node.id
        if isinstance(owner.node, COMPREHENSIONS):
            name = self.mangled(owner, name)
        return ("local", name) if levels == 0 else ("free", (levels, name))

    def leaks(self, node: ast.Name) -> bool:
        """Whether a function object that may be anywhere sees the variable."""
        scope = self.definitions.scopes.of.get(node)
        owner = scope.owner(node.id) if scope is not None else None
        return owner is not None and leaks(self.definitions, owner, node.id)

    def mangled(self, scope: Scope, name: str) -> str:
        """What a comprehension's variable is called here, where it is one of the function's."""
        return f"{name}@{id(scope)}"

    def fresh(self, what: str) -> str:
        """The name of a variable of foresight's own."""
        return f"{what}@{self.definitions.number()}"

    # -- loops

    def loop(self, node: ast.AST) -> Loop:
        number = getattr(node, "loop", None)
        return Loop(-self.definitions.number() if number is None else number)

    def enter_loop(self, loop: Loop) -> None:
        if loop.number >= 0:
            self._loops.append(loop.number)

    def leave_loop(self, loop: Loop) -> None:
        if loop.number >= 0:
            self._loops.remove(loop.number)
