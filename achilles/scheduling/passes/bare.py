"""The definition without what the function object brings along: decorators, defaults and annotations."""

from __future__ import annotations

import ast
from typing import ClassVar

from .contract import Construct, Pass

__all__ = ["Bare"]


class Bare(Pass):
    """Leave only the names of the parameters, and the body."""

    requires: ClassVar[frozenset[Construct]] = frozenset([ast.FunctionDef])

    def translate(self, tree: ast.FunctionDef) -> None:
        args = tree.args
        tree.decorator_list = []
        tree.returns = None
        args.defaults = []
        args.kw_defaults = [None for _ in args.kw_defaults]
        for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if each is not None:
                each.annotation = None
