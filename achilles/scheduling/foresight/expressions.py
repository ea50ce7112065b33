"""Lowering of expressions: each leaves one value on the stack."""

from __future__ import annotations

import ast
from typing import Any

from ..functional import is_functional
from .emitting import ABSENT, Emitter
from .program import Branch
from .pure_calls import EAGER_CONSUMERS, PURE_BUILTINS, is_pure

__all__ = ["Expressions"]

_STREAMS = frozenset({"enumerate", "zip", "reversed"})


class Expressions(Emitter):
    """Lowers expressions."""

    def expression(self, node: ast.expr) -> None:
        """Emit what evaluates an expression and pushes its value."""
        method = getattr(self, "expression_" + type(node).__name__.lower(), None)
        depth = len(self.stack)
        if method is None:
            self.stop(node, f"an expression of kind {type(node).__name__}")
            self.emit("unknown", None, node)
        else:
            method(node)
        del self.stack[depth:]
        self.push(node)

    def expressions(self, nodes: list[ast.expr]) -> None:
        for node in nodes:
            self.expression(node)

    # -- names and constants

    def expression_constant(self, node: ast.Constant) -> None:
        self.emit("constant", node.value, node)

    def expression_name(self, node: ast.Name) -> None:
        kind, where = self.variable(node)
        self.emit("load_" + kind, where, node)

    def expression_namedexpr(self, node: ast.NamedExpr) -> None:
        self.expression(node.value)
        self.emit("copy", 1, node)
        self.push(None)
        self.store(node.target)

    def store(self, target: ast.expr) -> None:
        """Bind the value on top of the stack to a target, and pop it."""
        if isinstance(target, ast.Name):
            kind, where = self.variable(target)
            if kind == "global":
                self.stop(target, f"an assignment to {target.id}, which others see")
            elif self.leaks(target):
                self.stop(target, f"an assignment to {target.id}, which a function sees that may be anywhere")
            self.emit("pop" if kind == "global" else "store_" + kind, where, target)
            self.pop()
        elif isinstance(target, ast.Tuple | ast.List):
            stars = [n for n, each in enumerate(target.elts) if isinstance(each, ast.Starred)]
            after = len(target.elts) - stars[0] - 1 if stars else 0
            self.emit("unpack", (len(target.elts), stars[0] if stars else None, after), target)
            self.pop()
            for _ in target.elts:
                self.push(None)
            for each in target.elts:
                self.store(each.value if isinstance(each, ast.Starred) else each)
        else:
            what = "an attribute" if isinstance(target, ast.Attribute) else "an element"
            self.stop(target, f"an assignment to {what} changes an object")
            self.emit("pop", None, target)
            self.pop()

    # -- operators

    def expression_unaryop(self, node: ast.UnaryOp) -> None:
        self.expression(node.operand)
        self.emit("unary", type(node.op).__name__, node)

    def expression_binop(self, node: ast.BinOp) -> None:
        self.expressions([node.left, node.right])
        self.emit("binary", type(node.op).__name__, node)

    def expression_boolop(self, node: ast.BoolOp) -> None:
        when = isinstance(node.op, ast.Or)
        branches = []
        for each in node.values[:-1]:
            self.expression(each)
            branches.append(self.branch(node, Branch(when=when, keeps=True, gives=True)))
        self.expression(node.values[-1])
        for branch in branches:
            branch.target = branch.join = self.here

    def branch(self, node: ast.AST, branch: Branch) -> Branch:
        """A conditional jump, which takes the condition from the stack."""
        self.emit("branch", branch, node)
        branch.start = self.here
        self.pop()
        return branch

    def expression_ifexp(self, node: ast.IfExp) -> None:
        self.expression(node.test)
        branch = self.branch(node, Branch(gives=True))
        self.expression(node.body)
        self.pop()
        over = self.jump(node)
        branch.target = self.here
        self.expression(node.orelse)
        self.land(over)
        branch.join = self.here

    def expression_compare(self, node: ast.Compare) -> None:
        self.expression(node.left)
        branches = []
        for number, (operator, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            self.expression(right)
            last = number == len(node.ops) - 1
            middle = self.fresh("operand")
            if not last:
                self.emit("copy", 1, node)
                self.emit("store_local", middle, node)
            self.emit("compare", type(operator).__name__, node)
            self.pop(2)
            self.push(None)
            if not last:
                branches.append(self.branch(node, Branch(keeps=True, gives=True)))
                self.emit("load_local", middle, node)
                self.push(None)
        for branch in branches:
            branch.target = branch.join = self.here

    def expression_attribute(self, node: ast.Attribute) -> None:
        self.expression(node.value)
        name, around = node.attr, self.definitions.code.class_name
        if around is not None and name.startswith("__") and not name.endswith("__") and around.strip("_"):
            name = f"_{around.lstrip('_')}{name}"
        self.emit("attribute", name, node)

    def expression_subscript(self, node: ast.Subscript) -> None:
        self.expressions([node.value, node.slice])
        self.emit("subscript", None, node)

    def expression_slice(self, node: ast.Slice) -> None:
        for part in (node.lower, node.upper, node.step):
            self.expression(part if part is not None else ast.Constant(None))
        self.emit("make_slice", None, node)

    # -- displays and f-strings

    def expression_tuple(self, node: ast.Tuple) -> None:
        self.sequence(node.elts, node)
        self.emit("to_tuple", None, node)

    def expression_list(self, node: ast.List) -> None:
        self.sequence(node.elts, node)

    def expression_set(self, node: ast.Set) -> None:
        self.sequence(node.elts, node)
        self.emit("finish", "set", node)

    def sequence(self, elements: list[ast.expr], node: ast.AST) -> None:
        """A list of elements, some of which may be starred."""
        plain = next((n for n, each in enumerate(elements) if isinstance(each, ast.Starred)), len(elements))
        self.expressions(elements[:plain])
        self.emit("make_list", plain, node)
        self.pop(plain)
        self.push(None)
        for each in elements[plain:]:
            starred = isinstance(each, ast.Starred)
            self.expression(each.value if isinstance(each, ast.Starred) else each)
            self.emit("list_extend" if starred else "list_add", None, node)
            self.pop()

    def expression_dict(self, node: ast.Dict) -> None:
        self.mapping(list(zip(node.keys, node.values, strict=True)), node)
        self.emit("finish", "dict", node)

    def mapping(self, items: list[tuple[ast.expr | None, ast.expr]], node: ast.AST) -> None:
        """A list of pairs, and of mappings (paired with nothing)."""
        self.emit("make_list", 0, node)
        self.push(None)
        for key, value in items:
            self.expressions([value] if key is None else [key, value])
            self.emit("add_mapping" if key is None else "add_pair", None, node)
            self.pop(1 if key is None else 2)

    def expression_joinedstr(self, node: ast.JoinedStr) -> None:
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.expression(value.value)
                if value.format_spec is not None:
                    self.expression(value.format_spec)
                self.emit("format", (value.conversion, value.format_spec is not None), value)
                self.pop(1 + (value.format_spec is not None))
                self.push(None)
            else:
                self.expression(value)
        self.emit("join", len(node.values), node)

    # -- functions

    def expression_lambda(self, node: ast.Lambda) -> None:
        self.function(node)

    def function(self, node: ast.FunctionDef | ast.Lambda) -> None:
        """The function object of a definition within this one."""
        args = node.args
        defaults = [*args.defaults, *(each for each in args.kw_defaults if each is not None)]
        self.expressions(defaults)
        self.emit("make_function", (node, len(defaults)), node)
        self.pop(len(defaults))
        self.lower_inner(node)

    def lower_inner(self, node: ast.FunctionDef | ast.Lambda) -> None:
        raise NotImplementedError

    # -- calls

    def expression_call(self, node: ast.Call) -> None:
        builtin = self._builtin_called(node)
        if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.GeneratorExp):
            if builtin in EAGER_CONSUMERS:
                self.expression(node.func)
                self.comprehension(node.args[0], "list", [node.args[0].elt])
                self.push(None)
                self._emit_call(node, 1, ())
                return
            if builtin in ("any", "all"):
                self.comprehension(node.args[0], builtin, [node.args[0].elt])
                return
        self._note_call(node, builtin)
        self.expression(node.func)
        spread = any(isinstance(each, ast.Starred) for each in node.args)
        if spread or any(each.arg is None for each in node.keywords):
            self.sequence(node.args, node)
            pairs = [(None if k.arg is None else ast.Constant(k.arg), k.value) for k in node.keywords]
            self.mapping(pairs, node)  # type: ignore[arg-type]
            self.emit("call_spread", getattr(node, "site", None), node)
            self.pop(3)
            self._resume_behind(node)
        else:
            self.expressions(node.args)
            self.expressions([each.value for each in node.keywords])
            self._emit_call(node, len(node.args), tuple(str(each.arg) for each in node.keywords))

    def _emit_call(self, node: ast.Call, count: int, names: tuple[str, ...]) -> None:
        self.emit("call", (getattr(node, "site", None), count, names), node)
        self.pop(1 + count + len(names))
        self._resume_behind(node)

    def _resume_behind(self, node: ast.Call) -> None:
        site = getattr(node, "site", None)
        if site is not None:
            self.resumption(site)

    def _builtin_called(self, node: ast.Call) -> str | None:
        if isinstance(node.func, ast.Name) and node.func.id in PURE_BUILTINS:
            return node.func.id if self.definitions.is_builtin(node.func) else None
        return None

    def _note_call(self, node: ast.Call, builtin: str | None) -> None:
        """Say whether a call is a sync-point, for those who explain; the walk itself decides at run time."""
        if builtin is not None:
            return
        found, name = self.definitions.value_of(node.func), ast.unparse(node.func)
        if found is ABSENT:
            if not (isinstance(node.func, ast.Name) and self._is_inner(node.func)):
                self.note(node, f"a call of {name}(), unless that proves to be functional", certain=False)
        elif not is_functional(found) and not is_pure(found, self.definitions.code.pure):
            self.note(node, f"a call of {name}(), which isn't marked functional")

    def _is_inner(self, node: ast.Name) -> bool:
        """Whether a name means a function that is defined in the scheduled one."""
        scope = self.definitions.scopes.of.get(node)
        owner = scope.owner(node.id) if scope is not None else None
        bindings = owner.bindings.get(node.id, []) if owner is not None else []
        return bool(bindings) and all(isinstance(each, ast.FunctionDef) for each in bindings)

    def comprehension(self, node: Any, kind: str, parts: list[ast.expr]) -> None:
        raise NotImplementedError
