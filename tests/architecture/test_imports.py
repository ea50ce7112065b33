"""Imports run one way, down the list of rooms; read from the syntax of every module.

cli, dashboard > compat > aio, deferreds > calls, pool, jobs, scheduling, stateful, batch > engines
> launch, lineReceiver, workers > core > serialization, config, errors
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import achilles

PACKAGE = Path(achilles.__file__).resolve().parent

FEATURES = {"calls", "pool", "jobs", "scheduling", "stateful", "batch"}
# Lowest first; the rooms of one line may import each other, features only each other's fronts.
LINES = [
    {"errors", "initializer_error", "task_cancelled", "worker_died_error"},
    {
        "apart",
        "blobs",
        "broadcast",
        "by_value",
        "config",
        "config_values",
        "env_files",
        "html_table",
        "kept",
        "limits",
        "memory_budget",
        "variables",
        "progress_bar",
        "salvage",
        "repeats",
        "sealed",
        "serialization",
    },
    {"core"},
    {"launch", "lineReceiver", "workers"},
    {"engines"},
    FEATURES,
    {"aio", "deferreds"},
    {"compat", "joblib"},
    {"cli", "dashboard"},
    {"__main__"},
]
HEIGHT = {room: height for height, line in enumerate(LINES) for room in line}

# Users' import lines look for map and its kin in lineReceiver; they live in achilles.calls, above the
# engines, and this module passes them on.
FACE = "achilles.lineReceiver.achilles_main"

# What a brain must not touch: sockets, clock, randomness, threads, processes, files, pickling.
DOING = {
    "asyncio", "concurrent", "dill", "io", "multiprocess", "multiprocessing", "os", "pathlib", "pickle",
    "psutil", "random", "secrets", "selectors", "shutil", "signal", "socket", "ssl", "subprocess",
    "tempfile", "threading", "time", "twisted", "uuid",
}  # fmt: skip


class Import(NamedTuple):
    module: str
    target: str
    line: int
    at_import: bool


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("achilles", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(module: str) -> list[Import]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return list(_walk(ast.parse(path.read_text(encoding="utf-8")), module, package, True))


def _walk(node: ast.AST, module: str, package: str, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(module, name.name, child.lineno, at_import)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - child.level + 1], *base.split(".")]).rstrip(".")
            for name in child.names:
                yield Import(module, _resolved(base, name.name), child.lineno, at_import)
        else:
            only_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, module, package, at_import and not only_types and not inside)


def _resolved(base: str, name: str) -> str:
    """The module that ``from base import name`` is about."""
    if base == "achilles" and name in achilles._HOMES:
        return achilles._HOMES[name]  # a public name leads to where it really lives
    return f"{base}.{name}" if f"{base}.{name}" in MODULES or not base.startswith("achilles") else base


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _height(module: str) -> int:
    return HEIGHT["calls"] if module == FACE else HEIGHT[_room(module)]


def test_every_module_has_a_room() -> None:
    homeless = sorted(m for m in MODULES if m != "achilles" and _room(m) not in HEIGHT)
    assert not homeless, "say in LINES, and in docs/architecture.md, where these belong"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "achilles"])
def test_imports_run_downwards(module: str) -> None:
    wrong = []
    for found in _imports(module):
        if not found.target.startswith("achilles.") or found.target not in MODULES:
            continue
        same_room = _room(found.target) == _room(module) and found.target != FACE
        if not same_room and (
            _height(found.target) > _height(module)
            # The front of a sibling feature may be used, its insides not.
            or (_room(module) in FEATURES and _room(found.target) in FEATURES and found.target.count(".") > 1)
        ):
            wrong.append(f"line {found.line}: {found.target}")
    assert not wrong


def test_one_seam_between_scheduled_functions_and_pools() -> None:
    seam = "achilles.scheduling.pool_calls"
    others = [m for m in MODULES if m.startswith("achilles.scheduling") and m != seam]
    assert any(found.target == "achilles.pool" for found in _imports(seam))
    for module in others:
        used = [found for found in _imports(module) if found.target.startswith("achilles.pool")]
        # An annotation may name a pool.
        assert all(module == "achilles.scheduling.decorator" and not found.at_import for found in used)


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("achilles.core")])
def test_brains_decide_and_do_nothing(module: str) -> None:
    for found in _imports(module):
        top = found.target.partition(".")[0]
        assert top not in DOING, f"line {found.line}: {found.target}"
        if top == "achilles":
            assert _room(found.target) in ("core", "errors"), f"line {found.line}: {found.target}"


@pytest.mark.parametrize("module", list(MODULES))
def test_nothing_imports_the_reactor_at_module_level(module: str) -> None:
    at_import = [found for found in _imports(module) if found.at_import]
    assert not [f"line {f.line}" for f in at_import if f.target.startswith("twisted.internet.reactor")]


def test_the_reader_of_imports_sees_what_it_should() -> None:
    source = (
        "from . import b\nfrom achilles import runAchillesNode\nfrom ..errors import ConfigError\n"
        "from achilles import map\n"
        "def f():\n    from twisted.internet import reactor\n"
    )
    found = list(_walk(ast.parse(source), "achilles.cli.a", "achilles.cli", True))
    assert [(f.target, f.at_import) for f in found] == [
        ("achilles.cli", True),
        ("achilles.lineReceiver.achilles_node", True),
        ("achilles.errors", True),
        ("achilles.calls", True),
        ("twisted.internet.reactor", False),
    ]
