"""Links resolve, named paths exist, and pages that list the code's things list all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import achilles
from achilles import config
from achilles.workers.process import WITHIN_CORES, WITHIN_NODE
from tests.docs.snippets import DOCUMENTS, ROOT

DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")


def _anchors(document: Path) -> set[str]:
    """Anchors of the headings, made as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there), target
    for label in re.findall(r"\]\[([^\]]+)\]", text):
        assert re.search(rf"^\[{label}\]: https?://", text, flags=re.MULTILINE), label


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_paths_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w./])(?:achilles|benchmarks|docs|examples|tests)/[\w./-]*\w", text):
        if path != "achilles/certificates":  # below a directory of the user's
            assert (ROOT / path).exists(), path


def test_architecture_stays_short_and_names_every_room() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 150
    assert "| I want to… | open | prove it in |" in ARCHITECTURE.splitlines()[:6]
    package = Path(achilles.__file__).parent
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert [room for room in sorted(rooms) if f"`achilles/{room}`" not in ARCHITECTURE] == []


def test_configuration_names_exactly_the_settings() -> None:
    table = CONFIGURATION.partition("## Settings")[2].partition("\n\n`ADDRESS`")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == config.KEYS
    variables = set(re.findall(r"`(ACHILLES_\w+)`", CONFIGURATION))
    assert variables == {f"ACHILLES_{key}" for key in config.KEYS} | {WITHIN_NODE, WITHIN_CORES}
    for default in (config.DEFAULT_HOST, str(config.DEFAULT_PORT), config.DEFAULT_USERNAME):
        assert f"| {default}" in table
    assert f"below {config.MIN_KEY_CHARACTERS} characters" in CONFIGURATION


def test_example_settings_file_names_exactly_the_settings() -> None:
    example = (ROOT / "achilles" / ".env.example").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^#?(\w+)=", example, flags=re.MULTILINE)) == sorted(config.KEYS)


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    records = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")
    listed = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for number, record in enumerate(records, start=1):
        assert record.name.startswith(f"{number:04}-"), record
        title = record.read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {number:04} ")
        assert f"({record.name})" in listed
