"""When no server answers, the message says where its address came from."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from achilles.cli.main import cli


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """A port where nobody listens, in an environment without settings."""
    for name in ("HOST", "PORT", "USERNAME", "SECRET_KEY", "SECRET_KEY_FILE", "ADDRESS"):
        monkeypatch.delenv(f"ACHILLES_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("command", [("status",), ("kill", "--yes")])
@pytest.mark.parametrize(
    ("variables", "options", "source"),
    [
        ({"HOST": "127.0.0.1", "PORT": "{port}"}, (), "ACHILLES_HOST"),
        ({"ADDRESS": "127.0.0.1:{port}"}, (), "ACHILLES_ADDRESS"),
        ({"HOST": "10.0.0.5"}, ("--host", "127.0.0.1", "--port", "{port}"), "argument"),
        ({"PORT": "{port}"}, (), "the default"),
    ],
)
def test_the_command_line_names_the_source_of_the_address(
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    variables: dict[str, str],
    options: tuple[str, ...],
    source: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"ACHILLES_{name}", value.format(port=closed_port))
    given = [option.format(port=closed_port) for option in options]
    result = CliRunner().invoke(cli, [*command, *given], prog_name="achilles")
    assert result.exit_code == 3
    assert f"(it came from {source})" in result.stderr
