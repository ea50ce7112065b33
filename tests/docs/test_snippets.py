"""Every Python snippet runs and prints what is said; every shell snippet names things that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from achilles.cli.main import cli
from tests.docs.snippets import BLOCKS, ROOT, Block
from tests.examples.programs import clean_environment, free_port, quick_start, run_python

PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
# What snippets may run beside our own command.
OTHER_COMMANDS = {"docker", "export", "make", "pip", "umask"}

# Programs of other libraries, shown as they are before they are changed: too heavy to install for that.
ONLY_COMPILED = re.compile(r"^(?:from|import) (?:dask|pydron|ray)\b", re.MULTILINE)
OF_EXTRAS = re.compile(r"^(?:from|import) (joblib|sklearn)\b", re.MULTILINE)


class Cluster:
    """The quick start's server, and a node of 8 workers, for the snippets that name port 9999."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = clean_environment(directory)
        self.port = free_port()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    with quick_start(found.directory, found.environment, found.port):
        yield found


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_snippet(block: Block, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    of_file = re.match(r"# (examples/\S+\.py)\n", block.code)
    if of_file:
        # A copy of an example, which has its own test. The file opens with a docstring as well.
        code = (ROOT / of_file[1]).read_text(encoding="utf-8")
        assert code.split('"""', 2)[2].lstrip("\n") == block.code[of_file.end() :]
        return
    if ONLY_COMPILED.search(block.code):
        compile(block.code, block.name, "exec")
        return
    for module in OF_EXTRAS.findall(block.code):
        pytest.importorskip(module)
    script = tmp_path / "snippet.py"
    code, expected = block.code, block.output
    environment = clean_environment(tmp_path)
    if re.search(r"9999\b.*\)", code) and "genConfig" not in code:
        cluster: Cluster = request.getfixturevalue("cluster")
        environment = cluster.environment
        code = code.replace("9999", str(cluster.port))
        expected = None if expected is None else expected.replace("9999", str(cluster.port))
    script.write_text(code, encoding="utf-8")
    printed = run_python(script, cwd=tmp_path, environment=environment)
    if expected is not None:
        assert printed == expected


def _commands(script: str) -> list[list[str]]:
    """The simple commands of a snippet, without assignments before them and redirections."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\||;|\$\(|[()]", line):
            words = shlex.split(part.partition(" #")[0].partition(">")[0])
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words and not words[0].startswith("#"):
                found.append(words)
    return found


def _check_achilles(words: list[str]) -> None:
    """The command and each of its options exist."""
    command: click.Command = cli
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, words
        command = found
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        assert not word.startswith("-") or word.partition("=")[0] in {*options, "--help"}, words


def _check_python(words: list[str], document: Path) -> None:
    assert any((place / words[1]).is_file() for place in (ROOT, document.parent)), words


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shell_snippet(block: Block) -> None:
    checked = subprocess.run(
        ["sh", "-n"], input=block.code, text=True, capture_output=True, timeout=20, check=False
    )
    assert checked.returncode == 0, checked.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in _commands(block.code):
        if words[0] == "achilles":
            _check_achilles(words)
        elif words[0] == "python":
            _check_python(words, block.document)
        else:
            assert words[0] in OTHER_COMMANDS, words
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "ini"], ids=lambda b: b.name)
def test_service_unit_runs_a_command_that_exists(block: Block) -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", block.code, flags=re.MULTILINE)
    words = shlex.split(start)
    assert os.path.basename(words[0]) == "achilles"
    _check_achilles(words)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "dockerfile"], ids=lambda b: b.name)
def test_container_runs_a_command_that_exists(block: Block) -> None:
    assert 'ENTRYPOINT ["achilles", "node"]' in block.code
    assert re.search(r"^USER achilles$", block.code, flags=re.MULTILINE)


def test_every_block_says_what_it_is() -> None:
    known = {"python", "sh", "text", "ini", "dockerfile", "frames", "hex"}
    assert [block.name for block in BLOCKS if block.language not in known] == []
    assert len(PYTHON) > 10 and len(SHELL) > 10
