"""Code blocks of the documents, and what is said beside them."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)


class Block(NamedTuple):
    """A fenced block, and the output that a ``text`` block right below it promises, if any."""

    document: Path
    line: int
    language: str
    code: str
    output: str | None

    @property
    def name(self) -> str:
        """Where it is, for the name of a test."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """All fenced blocks of a document."""
    text = document.read_text(encoding="utf-8")
    found = []
    fences = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    for fence, after in zip_longest(fences, fences[1:]):
        output = None
        if after is not None and after[1] == "text":
            between = text[fence.end() : after.start()].strip()
            # "On a node with 8 cores this prints:" may stand between code and output.
            if not between or re.fullmatch(r".{0,60}this prints:", between):
                output = after[2]
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(document, line, fence[1], fence[2], output))
    return found


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
