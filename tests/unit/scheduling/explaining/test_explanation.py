"""What ``func.explain()`` prints and draws, with the sync-points that foresight stops at."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from achilles.scheduling import functional, schedule
from achilles.scheduling.explaining.__main__ import main

PROGRAM = """
from achilles import functional, schedule

@schedule
def reduce(names):
    found = []
    for name in names:
        raw = load(name)
        if raw > 3:
            found.append(clean(raw))
    print(found)
    return merge(found)

@functional
def load(name): ...

@functional
def clean(raw): ...

@functional
def merge(found): ...

def plain(names): ...

class Night:
    @schedule
    def reduced(self):
        return merge(self.frames)

if __name__ == "__main__":
    raise AssertionError("explained, not run")
"""
TEXT = """\
reduce, line 5 of pipeline.py

Functional calls
  [1] line 8: load(name), in loop 1
  [2] line 10: clean(raw), in loop 1; needs the result of [1]
  [3] line 12: merge(found); needs the result of [2]

Loops
  loop 1, line 7, for name in names: rounds overlap, unless line 10 proves to be a sync-point

Sync-points
  line 10: found.append(clean(raw)), in loop 1: a call of found.append(), unless that proves to be functional
  line 11: print(found): a call of print(), which isn't marked functional
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    path = tmp_path / "pipeline.py"
    path.write_text(PROGRAM)
    return str(path)


def test_from_the_command_line(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{pipeline}:reduce"]) == 0
    assert capsys.readouterr().out == TEXT
    assert main([f"{pipeline}:reduce", "--dot"]) == 0
    assert capsys.readouterr().out.startswith('digraph "reduce, line 5" {\n')
    assert main([f"{pipeline}:Night.reduced", "--svg"]) == 0
    assert ET.fromstring(capsys.readouterr().out).tag.endswith("svg")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (":nothing", "has no 'nothing'"),
        (":plain", "is no scheduled function"),
        ("x:reduce", "there is no file"),
    ],
)
def test_what_cannot_be_explained_is_told(
    pipeline: str, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert main([pipeline + name]) == 2
    assert said in capsys.readouterr().err


@functional
def f(x: int) -> int:
    return x


def g(x: int) -> int:
    return x


@schedule
def small(x):
    y = f(x)
    y += 1
    with open("no file") as stream:
        stream.name = g(y)
    return f(y)


def test_explaining_runs_nothing_and_may_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dot, svg = tmp_path / "small.dot", tmp_path / "small.svg"
    found = small.explain(1, x=2, dot=dot, svg=str(svg))
    printed = capsys.readouterr().out
    assert printed == f"{found}\n"
    assert dot.read_text() == found.dot() and svg.read_text() == found.svg() == found._repr_svg_()
    small.explain(dot=True)
    assert capsys.readouterr().out == found.dot()
    small.explain(svg=True)
    assert capsys.readouterr().out == found.svg()
    assert repr(found).startswith("<Explanation of small: 2 functional calls, ")


def test_each_sync_point_has_its_line_and_reason() -> None:
    first = small.__wrapped__.__code__.co_firstlineno
    points = [(sync.line - first, sync.text, sync.certain) for sync in small.explain().graph.sync_points]
    assert points == [
        (3, "y += 1", False),
        (4, "with open('no file') as stream", True),
        (4, "open('no file')", True),
        (5, "stream.name", True),
        (5, "g(y)", True),
    ]
    reasons = [sync.reason for sync in small.explain().graph.sync_points]
    assert "unless its type is immutable" in reasons[0] and "g()" in reasons[-1]
