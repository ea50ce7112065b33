"""What an expression's value stems from, and what the functional calls in it need.

The walk says what may be, so that nothing is left out: a value that one of two branches assigns counts as
assigned by both, and whatever is passed to a method of an object may be in the object from then on.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..code import ScheduledCode
from ..scopes import Scope
from .calling import FUNCTIONAL, INNER, UNKNOWN
from .flows import NOTHING, Flow, Flows, Variable, joined

__all__ = ["DECISION", "VALUE", "Expressions"]

VALUE, DECISION = "value", "decision"

# Built-ins whose result contains what their arguments do, and those that look at the outside of their
# argument.
_CONTAINERS = {"list", "tuple", "set", "frozenset", "dict", "zip", "enumerate", "reversed", "iter", "range"}
_OUTSIDES = {"len", "type", "id", "isinstance", "callable"}
_NONE: frozenset[int] = frozenset()


class Expressions:
    """The state of a walk, and its visits of expressions.

    Attributes:
        changed: Whether this visit of the function learned what earlier parts of it may have needed to know.
        direct: What calls need: the other call, the call, and the kind.
        carried: The same where it came up in a later round of a loop, with that loop.
    """

    def __init__(self, code: ScheduledCode, kinds: Mapping[int, str]) -> None:
        self.changed = False
        self.direct: set[tuple[int, int, str]] = set()
        self.carried: dict[tuple[int, int, str], ast.AST] = {}
        self._kinds = kinds
        self._scopes = code.callees.scopes
        # What variables were given anywhere: what an inner function may see of outer ones.
        self._ever: dict[Variable, Flow] = {}
        # What the parameters of inner functions are given by all their calls.
        self._given: dict[Variable, Flow] = {}
        # What inner functions return, and what decides on their calls.
        self._returns: dict[ast.AST, Flow] = {}
        self._callers: dict[ast.AST, frozenset[int]] = {}
        self._function: ast.AST = code.tree
        self._flows = Flows()
        # Conditions that decide on what is visited now: of what is around it, of what may have been left, and
        # of a `continue` that may have skipped it.
        self._around = _NONE
        self._left = _NONE
        self._skipped = _NONE
        # Loops that are visited again.
        self._repeated: list[ast.AST] = []

    def visit_inner(self, node: ast.FunctionDef | ast.Lambda) -> None:
        """Visit the body of an inner function."""
        raise NotImplementedError

    def flow(self, node: ast.expr) -> Flow:
        """What the value of an expression stems from."""
        visit: Callable[[Any], Flow] | None = getattr(self, f"_flow_{type(node).__name__.lower()}", None)
        return self._below(node).solid if visit is None else visit(node)

    def _below(self, node: ast.AST) -> Flow:
        flows = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                flows.append(self.flow(child))
            elif isinstance(child, ast.keyword):
                flows.append(self._below(child))
        return joined(flows)

    # -- variables

    def assign(self, target: ast.expr, flow: Flow, value: ast.expr | None = None) -> None:
        """Note what a target holds from now on; ``value`` is the expression, where it may be taken apart."""
        if isinstance(target, ast.Name):
            owner = self._scopes.of[target].owner(target.id)
            if owner is not None:
                self.set((owner, target.id), flow)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, flow.contained)
        elif isinstance(target, ast.Tuple | ast.List):
            flows = self._elements(target.elts, value) or [flow.solid] * len(target.elts)
            for each, element in zip(target.elts, flows, strict=True):
                self.assign(each, element)
        else:
            self._below(target)
            self._put_into(target, flow)

    def _elements(self, targets: list[ast.expr], value: ast.expr | None) -> list[Flow] | None:
        """The flows of a display's elements, if each has its target."""
        if not isinstance(value, ast.Tuple | ast.List) or len(value.elts) != len(targets):
            return None
        if any(isinstance(each, ast.Starred) for each in (*value.elts, *targets)):
            return None
        return [self.flow(each) for each in value.elts]

    def _put_into(self, place: ast.expr, flow: Flow) -> None:
        """Note that the object which a name, attribute or subscript begins with may contain something."""
        while isinstance(place, ast.Attribute | ast.Subscript):
            place = place.value
        if isinstance(place, ast.Name):
            owner = self._scopes.of[place].owner(place.id)
            if owner is not None:
                variable = owner, place.id
                self.set(variable, joined((self._variable(variable), flow.contained)))

    def set(self, variable: Variable, flow: Flow) -> None:
        """Note what a variable holds from now on."""
        self._flows.set(variable, flow)
        self._add(self._ever, variable, flow)

    def _add(self, flows: dict[Any, Flow], name: Any, flow: Flow) -> None:
        before = flows.get(name, NOTHING)
        after = joined((before, flow))
        if after != before:
            flows[name] = after
            self.changed = True

    def _variable(self, variable: Variable) -> Flow:
        found = self._flows.get(variable)
        if found is None:
            own = _function_of(variable[0]) is self._function
            found = (self._given if own else self._ever).get(variable, NOTHING)
        return found

    # -- expressions

    def _flow_name(self, node: ast.Name) -> Flow:
        owner = self._scopes.of[node].owner(node.id)
        return NOTHING if owner is None else self._variable((owner, node.id))

    def _flow_namedexpr(self, node: ast.NamedExpr) -> Flow:
        flow = self.flow(node.value)
        self.assign(node.target, flow)
        return flow

    def _flow_list(self, node: ast.List | ast.Tuple | ast.Set) -> Flow:
        flows = [self.flow(each) for each in node.elts]
        return joined(
            flow if isinstance(each, ast.Starred) else flow.contained
            for each, flow in zip(node.elts, flows, strict=True)
        )

    _flow_tuple = _flow_set = _flow_list

    def _flow_dict(self, node: ast.Dict) -> Flow:
        keys = joined(self.flow(key) for key in node.keys if key is not None)
        values = [(key, self.flow(value)) for key, value in zip(node.keys, node.values, strict=True)]
        return joined((keys.solid, *(flow if key is None else flow.contained for key, flow in values)))

    def _flow_starred(self, node: ast.Starred) -> Flow:
        return self.flow(node.value)

    def _flow_binop(self, node: ast.BinOp) -> Flow:
        flow = self._below(node)
        return flow if isinstance(node.op, ast.Add | ast.Mult) else flow.solid

    def _flow_boolop(self, node: ast.BoolOp) -> Flow:
        around, flows = self._around, []
        for each in node.values:
            flows.append(self.flow(each))
            self._around |= flows[-1].whole
        self._around = around
        return joined(flows)

    def _flow_ifexp(self, node: ast.IfExp) -> Flow:
        test = self.flow(node.test).solid
        around, self._around = self._around, self._around | test.whole
        flows = [self.flow(node.body), self.flow(node.orelse)]
        self._around = around
        return joined((test, *flows))

    def _flow_subscript(self, node: ast.Subscript) -> Flow:
        value, index = self.flow(node.value), self.flow(node.slice).solid
        return joined((value if isinstance(node.slice, ast.Slice) else value.solid, index))

    def _flow_lambda(self, node: ast.Lambda) -> Flow:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.flow(default)
        self.visit_inner(node)
        return NOTHING

    def _flow_listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Flow:
        return self._comprehension(node.generators, [node.elt])

    _flow_setcomp = _flow_generatorexp = _flow_listcomp

    def _flow_dictcomp(self, node: ast.DictComp) -> Flow:
        return self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, clauses: list[ast.comprehension], elements: list[ast.expr]) -> Flow:
        around, decides = self._around, []
        for clause in clauses:
            several = self.flow(clause.iter)
            decides.append(Flow(several.whole))
            self.assign(clause.target, several.solid)
            self._around |= several.whole
            for test in clause.ifs:
                decides.append(self.flow(test).solid)
                self._around |= decides[-1].whole
        flows = [self.flow(each).contained for each in elements]
        self._around = around
        return joined((*decides, *flows))

    def _flow_call(self, node: ast.Call) -> Flow:
        function = self.flow(node.func)
        given = joined(self.flow(each) for each in (*node.args, *(word.value for word in node.keywords)))
        site: int | None = getattr(node, "site", None)
        kind = None if site is None else self._kinds[site]
        if site is not None and kind in (FUNCTIONAL, UNKNOWN):
            self._note(site, VALUE, given.every | function.every)
            self._note(site, DECISION, self._decides)
            return Flow(frozenset((site,)))
        if isinstance(node.func, ast.Attribute):
            self._put_into(node.func.value, given)
        elif isinstance(node.func, ast.Name):
            owner = self._scopes.of[node.func].owner(node.func.id)
            if owner is not None and kind == INNER:
                return self._call_inner(owner.bindings[node.func.id], given)
            if owner is None and node.func.id in _CONTAINERS:
                return given
            if owner is None and node.func.id in _OUTSIDES:
                return Flow(given.whole)
        return joined((function, given)).solid

    def _call_inner(self, bindings: list[ast.AST], given: Flow) -> Flow:
        """A call of a function defined within: each of its parameters may get anything that it is given."""
        returned = []
        for definition in bindings:
            if isinstance(definition, ast.FunctionDef):
                for variable in self._parameters(definition):
                    self._add(self._given, variable, given)
                decides = self._callers.get(definition, _NONE) | self._decides
                if decides != self._callers.get(definition, _NONE):
                    self._callers[definition] = decides
                    self.changed = True
                returned.append(self._returns.get(definition, NOTHING))
        return joined(returned)

    def _parameters(self, definition: ast.FunctionDef) -> Iterator[Variable]:
        args = definition.args
        inside = self._scopes.of[definition.body[0]]
        for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if each is not None:
                yield inside, each.arg

    @property
    def _decides(self) -> frozenset[int]:
        return self._around | self._left | self._skipped

    def _note(self, site: int, kind: str, needed: frozenset[int]) -> None:
        for of in needed:
            if not self._repeated:
                self.direct.add((of, site, kind))
            else:
                self.carried.setdefault((of, site, kind), self._repeated[-1])


def _function_of(scope: Scope) -> ast.AST:
    """The function that a scope's code is part of: comprehensions are of the one around."""
    while scope.parent is not None and not isinstance(scope.node, ast.FunctionDef | ast.Lambda):
        scope = scope.parent
    return scope.node
