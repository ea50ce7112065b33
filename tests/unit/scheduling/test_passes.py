"""Passes keep their contracts, and translate what their docstrings show."""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from pathlib import Path
from typing import ClassVar

import pytest

from achilles.scheduling import functional, schedule
from achilles.scheduling.code import ScheduledCode
from achilles.scheduling.keeping import kept_variables
from achilles.scheduling.passes.bare import Bare
from achilles.scheduling.passes.calling import Calling
from achilles.scheduling.passes.contract import Construct, ContractError, Pass
from achilles.scheduling.passes.entering import Entering
from achilles.scheduling.passes.forcing import Forcing
from achilles.scheduling.passes.leaving import Leaving
from achilles.scheduling.passes.looping import Looping
from achilles.scheduling.source import parsed
from achilles.scheduling.translation import Translation, _copied, _passes


@functional
def f(x: object) -> object:
    return x


def _tree(source: str) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


class _Renames(Pass):
    requires: ClassVar[frozenset[Construct]] = frozenset([ast.Return])
    forbids: ClassVar[frozenset[Construct]] = frozenset([ast.While])

    def visit_Return(self, node: ast.Return) -> ast.AST:
        return ast.Expr(ast.Constant(1))


class _LeavesBehind(_Renames):
    removes: ClassVar[frozenset[Construct]] = frozenset([ast.FunctionDef])
    adds: ClassVar[frozenset[Construct]] = frozenset([ast.Expr])


@pytest.mark.parametrize(
    ("step", "source", "message"),
    [
        (_Renames, "def g():\n while 1: return 1", "_Renames can't work on While"),
        (_Renames, "def g(): pass", "_Renames needs Return"),
        (_Renames, "def g(): return 1", "_Renames added Expr"),
        (_LeavesBehind, "def g(): return 1", "_LeavesBehind left FunctionDef"),
    ],
)
def test_a_broken_contract_is_an_error(step: type[Pass], source: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        step().run(_tree(source))


def _calls(xs: list[int]) -> list[object]:
    out = []
    for x in xs:
        y = f(x)
        while f(y):
            try:
                y = f(*[f(z) for z in xs if z])
            except ValueError:
                y = 1
            finally:
                out.append(y)
    return out


def test_passes_in_another_order_break_contracts() -> None:
    code = ScheduledCode(_calls)
    with pytest.raises(ContractError, match="Entering can't work on loop, site"):
        Entering(0).run(_copied(code.tree))


def _after(*steps: Pass) -> str:
    code = ScheduledCode(_calls)
    tree = _copied(code.tree)
    for step in steps:
        step.run(tree)
    return ast.unparse(tree)


def test_loops_are_counted() -> None:
    text = _after(Bare(), Looping())
    assert "for x in .a.loop(0, xs):\n        .a.again(0)" in text
    assert ".a.anew(1)\n        while .a.again(1) and f(y):" in text
    assert "[f(z) for z in .a.loop(2, xs) if .a.again(2) if z]" in text


def test_handlers_tell() -> None:
    text = _after(Bare(), Leaving())
    assert "except ValueError:\n                .a.caught()\n" in text
    assert "finally:\n                .a.unwinding()\n" in text


def test_sites_ask() -> None:
    text = _after(Bare(), Looping(), Calling())
    assert "y = .a.call(0, f)(x)" in text
    assert "y = .a.call(2, f)(*[.a.call(3, f)(z) for" in text


def test_the_body_is_entered_and_left() -> None:
    text = _after(*_passes(7, {}))
    assert text.startswith("def _calls(xs):\n    .a = .run.enter(7)\n    try:\n")
    assert text.endswith("finally:\n        .a.close()")


def _kept(n: int) -> object:
    frames = [f(i) for i in range(n)]
    seen = []
    for i, frame in enumerate(frames):
        result = f((frame, i))
        seen.append(result)
        if i > 1:
            print(result)
    seen.append(f(frames[0]))
    captured = f(1)
    total = sum(len(each) for each in (captured, captured))
    for k in range(10):
        total += k + len(result)
    return f([*seen, frame]), len(seen), (lambda: captured)


def test_handles_stay_in_variables_and_own_lists() -> None:
    code = ScheduledCode(_kept)
    kept = kept_variables(code)
    assert kept[None].singles == {"i", "frame", "result"}
    assert kept[None].lists == {"frames", "seen"}
    tree = _copied(code.tree)
    for step in (Bare(), Forcing(kept), Looping(), Calling()):
        step.run(tree)
    text = ast.unparse(tree)
    assert "frames = [.a.site(0, f, True)(i) for i in" in text
    assert "for i, frame in .a.loop(1, enumerate(frames)):" in text
    assert "result = .a.site(1, f, True)((.a.argument(1, frame), .a.argument(1, i)))" in text
    assert "seen.append(result)\n" in text
    assert "result = .a.force(result)" in text.split("print(result)")[0].split("if i > 1")[1]
    assert "seen.append(.a.site(2, f, True)(.a.argument(2, frames[0])))" in text
    assert "captured = .a.call(3, f)(1)" in text
    assert "total += k + len(result)" in text  # a stretch without sites is as it was
    assert "f, False)([*.a.argument(4, seen), .a.argument(4, frame)])" in text


def test_code_keeps_its_names_and_lines() -> None:
    translation = Translation(ScheduledCode(_calls), 0)
    made = translation.made
    assert made.co_filename == __file__ and made.co_qualname == "_calls"
    lines = {line for *_, line in made.co_lines() if line is not None}
    first = _calls.__code__.co_firstlineno
    assert lines <= set(range(first, first + 13))
    assert {code.co_qualname for code in translation.codes} <= {"_calls", "_calls.<locals>.<listcomp>"}


def test_source_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changing.py"
    path.write_text("def g(x):\n    return x + 1\n")
    spec = importlib.util.spec_from_file_location("changing", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert parsed(module.g)[0].name == "g"
    assert schedule(module.g)(1) == 2
    for changed in ("other(x) + 1", "x + 100"):
        path.write_text(f"def g(x):\n    return {changed}\n")
        with pytest.raises(OSError, match="was changed since it was loaded"):
            schedule(module.g)
    path.write_text("\n\n\n")
    with pytest.raises(OSError, match="isn't the definition of g"):
        parsed(module.g)
