"""What is to be run of pydron's document: ``pydron.rst`` beside this file."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

__all__ = ["CLOUD", "MULTICORE", "PROGRAM", "QUICK_START", "SSH", "SSH_ON_THREE"]

# Tabs as reStructuredText takes them.
DOCUMENT = Path(__file__).with_name("pydron.rst").read_text(encoding="utf-8").expandtabs(8)


def _blocks(opening: str) -> list[str]:
    """The indented blocks behind lines that end so, without their indentation."""
    found = []
    for start in re.finditer(rf"{opening}[ ]*\n(?:[ ]*\n)*((?:(?:[ ]+.*)?\n)+)", DOCUMENT):
        found.append(textwrap.dedent(start[1]).strip() + "\n")
    return found


(QUICK_START,) = _blocks("code-block:: python")
MULTICORE, SSH, SSH_ON_THREE, CLOUD = (block for block in _blocks("::") if block.startswith("{"))
PROGRAM = QUICK_START.replace("import pydron", "from achilles.compat import pydron")
