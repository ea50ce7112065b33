"""Variables that may hold handles are forced where anything but a functional call uses them.

Handles go, as they are, from call sites into variables and own lists, through loops over these, and into the
arguments of call sites. Everything else gets values: a statement before it forces the variables that it
uses, so that loops without functional calls run as they are written.
"""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from ..keeping import Kept, iterated_lists, target_names
from .contract import Construct, Pass

__all__ = ["Forcing"]

_LATER = (ast.Lambda, ast.GeneratorExp)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp)


class Forcing(Pass):
    """Insert: ::

    y = f(x)             →   y = f(x)            with ``.keeps``
    z = g(y)                 z = g(activation.argument(n, y))       with ``.passes``
    log(y, z)                try: y = activation.force(y)
                             except activation.unbound: pass
                             …
                             log(y, z)
    """

    forbids: ClassVar[frozenset[Construct]] = frozenset(["keeps", "passes"])
    removes: ClassVar[frozenset[Construct]] = frozenset(["raw"])
    adds: ClassVar[frozenset[Construct]] = frozenset(
        [
            ast.Assign, ast.Attribute, ast.Call, ast.Constant, ast.ExceptHandler, ast.Expr, ast.Load,
            ast.Name, ast.Pass, ast.Store, ast.Try, "keeps", "passes",
        ]
    )  # fmt: skip

    def __init__(self, kept: dict[int | None, Kept]) -> None:
        """Make the pass.

        Args:
            kept: By inner function, the variables that may hold handles; None: the scheduled function's.
        """
        self._kept = kept
        self._own = kept.get(None, Kept())
        # Variables of comprehensions that may hold handles.
        self._passing: frozenset[str] = frozenset()
        # All that comprehensions around bind: they hide the function's variables of the same name.
        self._hidden: frozenset[str] = frozenset()
        # What the statement at hand needs forced before it.
        self._needed: dict[str, None] = {}
        # Within tests of while loops: forced where it is used.
        self._at_once = False

    # -- statements

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Translate the statements of a block."""
        done: list[ast.stmt] = []
        for statement in statements:
            around, self._needed = self._needed, {}
            self._statement(statement)
            done += [self._forcing(name, statement) for name in self._needed]
            done.append(statement)
            self._needed = around
        return done

    def _statement(self, node: Any) -> None:
        if isinstance(node, ast.FunctionDef):
            self._function(node)
        elif isinstance(node, ast.For | ast.While) and not _holds_site(node):
            self._need_all(node)
        elif isinstance(node, ast.For):
            self._for(node)
        elif isinstance(node, ast.While):
            around, self._at_once = self._at_once, True
            node.test = self._value(node.test)
            self._at_once = around
            node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        elif isinstance(node, ast.If):
            node.test = self._value(node.test)
            node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        elif isinstance(node, ast.With):
            for item in node.items:
                item.context_expr = self._value(item.context_expr)
                if item.optional_vars is not None:
                    self._fields(item.optional_vars)
            node.body = self.block(node.body)
        elif isinstance(node, ast.Match):
            self._match(node)
        elif hasattr(node, "handlers"):
            node.body, node.orelse = self.block(node.body), self.block(node.orelse)
            node.finalbody = self.block(node.finalbody)
            for handler in node.handlers:
                handler.body = self.block(handler.body)
        elif isinstance(node, ast.Assign):
            self._assign(node, node.targets)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node, [node.target])
        elif (added := _appended(node)) is not None and added.func.value.id in self._own.lists:
            added.args[0] = self._kept_value(added.args[0])
        else:
            if isinstance(node, ast.AugAssign):
                self._need_all(node.target)
            self._fields(node)

    def _function(self, node: ast.FunctionDef) -> None:
        for outside in (*node.decorator_list, node.args):
            self._need_all(outside)
        if node.returns is not None:
            self._need_all(node.returns)
        if hasattr(node, "inner"):
            around = self._own, self.activation
            self._own = self._kept.get(node.inner, Kept())
            self.activation = f".a{node.inner}"
            node.body = self.block(node.body)
            self._own, self.activation = around

    def _for(self, node: ast.For) -> None:
        if node.__dict__.pop("raw", False):
            self._iterated(node.iter)
        else:
            node.iter = self._value(node.iter)
        self._fields(node.target)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)

    def _iterated(self, node: ast.expr) -> None:
        """What gives its elements as they are; of what isn't a list, zip() and its like get the value."""
        lists = set(iterated_lists(node))
        for name in sorted(self._names_in(node) - (lists - self._own.singles)):
            self._needed[name] = None

    def _match(self, node: ast.Match) -> None:
        node.subject = self._value(node.subject)
        for case in node.cases:
            self._need_all(case.pattern)
            if case.guard is not None:
                around, self._at_once = self._at_once, True
                case.guard = self._value(case.guard)
                self._at_once = around
            case.body = self.block(case.body)

    def _assign(self, node: Any, targets: list[ast.expr]) -> None:
        names = [each.id for each in targets if isinstance(each, ast.Name)]
        if len(names) == len(targets):
            if self._own.singles.issuperset(names) and hasattr(node.value, "site"):
                node.value = self._kept_value(node.value)
                return
            if self._own.lists.issuperset(names):
                node.value = self._kept_list(node.value)
                return
        for target in targets:
            self._fields(target)
        node.value = self._value(node.value)

    # -- expressions

    def _fields(self, node: ast.AST) -> None:
        """Translate the expressions within a node; they get values."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(node, name, self._value(value))
            elif isinstance(value, list):
                value[:] = [self._value(each) if isinstance(each, ast.expr) else each for each in value]
                for each in value:
                    if isinstance(each, ast.AST) and not isinstance(each, ast.expr):
                        self._fields(each)
            elif isinstance(value, ast.AST):
                self._fields(value)

    def _value(self, node: Any) -> Any:
        """An expression that gets values."""
        if isinstance(node, ast.Name):
            return self._named(node)
        if isinstance(node, _LATER):
            self._need_all(node)
            return node
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehension(node, self._value)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Subscript) and self._is_list(node.value) and isinstance(node.ctx, ast.Load):
            node.slice = self._value(node.slice)
            return self.call("force", node, at=node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and self._is_list(node.operand):
            return node
        self._fields(node)
        return node

    def _named(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load):
            if node.id in self._passing or (self._at_once and self._may_hold(node.id)):
                return self.call("force", node, at=node)
            if self._may_hold(node.id):
                self._needed[node.id] = None
        return node

    def _call(self, node: ast.Call) -> ast.expr:
        if hasattr(node, "site"):
            node.func = self._value(node.func)
            node.args = [self._argument(each, node) for each in node.args]
            for keyword in node.keywords:
                keyword.value = (
                    self._value(keyword.value) if keyword.arg is None else self._argument(keyword.value, node)
                )
            return node
        if isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1:
            if self._is_list(node.args[0]):
                return node
        self._fields(node)
        return node

    def _argument(self, node: Any, call: Any) -> Any:
        """An argument of a call site, or a part of a display that is one: may hold handles."""
        if isinstance(node, ast.Starred):
            if self._is_list(node.value):
                node.value = self._passed(node.value, call)
            else:
                node.value = self._value(node.value)
            return node
        if isinstance(node, ast.List | ast.Tuple):
            node.elts = [self._argument(each, call) for each in node.elts]
            return node
        if isinstance(node, ast.Dict):
            node.keys = [None if each is None else self._value(each) for each in node.keys]
            node.values = [
                self._value(each) if key is None else self._argument(each, call)
                for key, each in zip(node.keys, node.values, strict=True)
            ]
            return node
        if isinstance(node, ast.Name):
            held = self._may_hold(node.id) or node.id in self._passing
            return self._passed(node, call) if held else node
        if isinstance(node, ast.Subscript) and self._is_list(node.value):
            node.slice = self._value(node.slice)
            return self._passed(node, call)
        if hasattr(node, "site"):
            return self._passed(self._kept_value(node), call)
        if isinstance(node, ast.ListComp):
            return self._passed(self._comprehension(node, self._kept_value), call)
        return self._value(node)

    def _passed(self, node: ast.expr, call: Any) -> ast.expr:
        call.passes = True
        return self.call("argument", call.site, node, at=node)

    def _kept_value(self, node: Any) -> Any:
        """What a variable or an own list gets: may be a handle."""
        if hasattr(node, "site"):
            node = self._call(node)
            node.keeps = True
            return node
        if isinstance(node, ast.Name):
            single = node.id in self._own.singles and node.id not in self._hidden
            return node if single or node.id in self._passing else self._value(node)
        return self._value(node)

    def _kept_list(self, node: Any) -> Any:
        """What a variable that holds an own list gets."""
        if self._is_list(node):
            return node
        if isinstance(node, ast.List):
            node.elts = [self._element(each) for each in node.elts]
            return node
        if isinstance(node, ast.ListComp):
            return self._comprehension(node, self._kept_value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            node.left, node.right = self._kept_list(node.left), self._kept_list(node.right)
            return node
        return self._value(node)

    def _element(self, node: Any) -> Any:
        if isinstance(node, ast.Starred):
            if not self._is_list(node.value):
                node.value = self._value(node.value)
            return node
        return self._kept_value(node)

    def _comprehension(self, node: Any, element: Any) -> Any:
        """A comprehension whose variables may hold handles if it goes over own lists."""
        around = self._passing, self._hidden
        simple = not any(
            isinstance(each, (*_LATER, *_COMPREHENSIONS)) for each in ast.walk(node) if each is not node
        )
        bound = {
            each.id
            for clause in node.generators
            for each in ast.walk(clause.target)
            if isinstance(each, ast.Name)
        }
        for clause in node.generators:
            names = target_names(clause.target)
            raw = getattr(clause, "loop", None) in self._own.clauses or self._is_list(clause.iter)
            if raw and simple and names is not None and self._hidden.isdisjoint(iterated_lists(clause.iter)):
                self._iterated(clause.iter)
                self._passing |= frozenset(names)
            else:
                clause.iter = self._value(clause.iter)
                self._fields(clause.target)
            self._hidden |= bound  # all but the first clause's iterable is within
            clause.ifs = [self._value(each) for each in clause.ifs]
        if isinstance(node, ast.DictComp):
            node.key, node.value = self._value(node.key), self._value(node.value)
        else:
            node.elt = element(node.elt)
        self._passing, self._hidden = around
        return node

    # -- names

    def _may_hold(self, name: str) -> bool:
        return name not in self._hidden and (name in self._own.singles or name in self._own.lists)

    def _is_list(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self._own.lists and node.id not in self._hidden

    def _names_in(self, node: ast.AST) -> set[str]:
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and self._may_hold(each.id)}

    def _need_all(self, node: ast.AST) -> None:
        self._needed.update(dict.fromkeys(sorted(self._names_in(node))))

    def _forcing(self, name: str, statement: ast.stmt) -> ast.stmt:
        """A statement that forces a variable, if it is bound."""

        def here(node: Any) -> Any:
            return ast.copy_location(node, statement)

        value = self.call("force", here(ast.Name(name, ast.Load())), at=statement)
        force = here(ast.Assign([here(ast.Name(name, ast.Store()))], value))
        unbound = here(ast.Attribute(here(ast.Name(self.activation, ast.Load())), "unbound", ast.Load()))
        handler = here(ast.ExceptHandler(unbound, None, [here(ast.Pass())]))
        made: ast.stmt = here(ast.Try([force], [handler], [], []))
        return made


def _holds_site(node: ast.AST) -> bool:
    return any(hasattr(each, "site") for each in ast.walk(node))


def _appended(node: Any) -> Any:
    """The call of a statement ``name.append(value)``; None for any other."""
    call = node.value if isinstance(node, ast.Expr) else None
    if (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "append"
        and isinstance(call.func.value, ast.Name)
        and len(call.args) == 1
        and not call.keywords
        and not isinstance(call.args[0], ast.Starred)
    ):
        return call
    return None
