"""The command line as a translation: options to calls, errors to exit codes.

What the calls do is proved where they live. Here each module that a command imports when it runs
is a recorder, so nothing listens, connects or works.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from achilles import __version__, env_files, errors
from achilles.cli import demo
from achilles.cli.main import cli
from achilles.cli.table import render_status

STATUS = {
    "server": {"host": "127.0.0.1", "port": 9999, "uptime_s": 1.0},
    "nodes": [{"id": 0, "host": "a", "python": [3, 11]}, {"id": 10, "host": "b", "python": None}],
    "jobs": [],
}


class Recorder:
    """Stands for the modules that commands call; keeps what they were called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: BaseException | None = None
        self._provide(monkeypatch, "achilles_server", runAchillesServer=None)
        self._provide(monkeypatch, "achilles_node", runAchillesNode=None)
        self._provide(monkeypatch, "achilles_main", killCluster=2, getClusterStatus=self)

    def as_dict(self) -> dict[str, Any]:
        return STATUS

    def _provide(self, monkeypatch: pytest.MonkeyPatch, name: str, **answers: Any) -> None:
        module = ModuleType(name)
        for called, answer in answers.items():
            setattr(module, called, self._recording(called, answer))
        monkeypatch.setitem(sys.modules, f"achilles.lineReceiver.{name}", module)

    def _recording(self, name: str, answer: Any) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            if self.error is not None:
                raise self.error
            return answer

        return call


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(env_files, "package_env_path", lambda: tmp_path / "package" / ".env")
    for key in ("HOST", "PORT", "USERNAME", "SECRET_KEY", "SECRET_KEY_FILE", "ADDRESS"):
        monkeypatch.delenv(f"ACHILLES_{key}", raising=False)
    return Recorder(monkeypatch)


def run(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(cli, arguments, input=answers)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    return str(tmp_path / "key")


@pytest.mark.parametrize(
    "command",
    [(), *[(name,) for name in cli.commands], ("config", "show"), ("config", "write"), ("config", "new-key")],
)
def test_help_shows_examples_and_exit_codes(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "Exit codes:" in result.output
    assert "--secret-key " not in result.output


def test_commands_and_version() -> None:
    assert sorted(cli.commands) == ["config", "demo", "kill", "node", "server", "status"]
    assert __version__ in run("--version").output


def test_server_with_nothing_configured(recorder: Recorder) -> None:
    assert run("server").exit_code == 0
    assert recorder.calls == [
        ("runAchillesServer", {"host": "0.0.0.0", "port": 9999, "username": "achilles", "secret_key": None})
    ]


def test_server_with_options(recorder: Recorder, key_file: str) -> None:
    result = run(
        "server", "--host", "10.0.0.5", "--port", "1", "--username", "u", "--secret-key-file", key_file
    )
    assert result.exit_code == 0
    assert recorder.calls == [
        (
            "runAchillesServer",
            {"host": "10.0.0.5", "port": 1, "username": "u", "secret_key": "0123456789abcdef"},
        )
    ]


def test_server_refuses_a_weak_key_for_other_machines(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACHILLES_SECRET_KEY", "barbarous")
    result = run("server")
    assert (result.exit_code, recorder.calls) == (2, [])
    assert "SECRET_KEY has 9 characters" in result.stderr
    assert "barbarous" not in result.output
    assert run("server", "--host", "127.0.0.1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "host", "port", "cpu_count"),
    [
        ((), "127.0.0.1", 9999, None),
        (("10.0.0.5",), "10.0.0.5", 9999, None),
        (("10.0.0.5:80", "--cpus", "3"), "10.0.0.5", 80, 3),
        (("[::1]:80",), "::1", 80, None),
        (("--host", "h", "--port", "81"), "h", 81, None),
        (("h", "--port", "82"), "h", 82, None),
    ],
)
def test_node_addresses(
    recorder: Recorder, arguments: tuple[str, ...], host: str, port: int, cpu_count: int | None
) -> None:
    assert run("node", *arguments).exit_code == 0
    ((name, called),) = recorder.calls
    assert name == "runAchillesNode"
    assert (called["host"], called["port"], called["cpu_count"]) == (host, port, cpu_count)


@pytest.mark.parametrize(
    "arguments",
    [
        ("node", "a", "--host", "b"),
        ("node", "a:b"),
        ("node", "local"),
        ("node", "--cpus", "0"),
        ("node", "--port", "65536"),
        ("node", "--secret-key", "k"),
        ("node", "--secret-key-file", "nowhere"),
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_with_2_and_calls_nothing(recorder: Recorder, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, recorder.calls) == (2, [])
    assert "Traceback" not in result.output


def test_local_on_purpose_has_no_server(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_ADDRESS", "local")
    assert run("status").exit_code == 2
    assert run("status", "--host", "h").exit_code == 0


def test_status_for_people_and_for_scripts(recorder: Recorder) -> None:
    assert json.loads(run("status", "--json").stdout) == STATUS
    assert run("status").stdout.splitlines() == [
        "Server",
        "  host      127.0.0.1",
        "  port      9999",
        "  uptime_s  1.00",
        "",
        "Nodes",
        "  id  host  python",
        "  0   a     3.11",
        "  10  b     -",
        "",
        "Jobs",
        "  none",
    ]


def test_status_of_other_shapes() -> None:
    shown = render_status({"jobs": {"done": 1, "running": 0}, "version": "1", "server": {}})
    assert "done     1" in shown
    assert "  1" in shown


def test_kill_asks_first(recorder: Recorder) -> None:
    result = run("kill", answers="yes\n")
    assert (result.exit_code, recorder.calls) == (1, [])
    assert "Nothing was ended" in result.stderr
    result = run("kill", answers="YES\n")
    assert result.exit_code == 0
    assert "2 nodes ended." in result.stdout
    assert recorder.calls[0][1]["command_verified"] is True


def test_status_says_when_in_the_local_time() -> None:
    then_s = datetime(2026, 1, 2, 3, 4, 5).astimezone().timestamp()
    shown = render_status({"server": {"started": then_s}, "nodes": [{"id": 0, "connected_since": then_s}]})
    assert shown.count("2026-01-02 03:04:05") == 2


def test_status_of_an_empty_cluster_says_what_to_do() -> None:
    shown = render_status({"server": {"host": "0.0.0.0", "port": 9000}, "nodes": [], "jobs": []})
    assert "none: lend cores with `achilles node HOST:9000`" in shown


def test_status_answers_yes_and_no() -> None:
    assert "no" in render_status({"nodes": [{"draining": False}]})


def test_kill_for_scripts(recorder: Recorder) -> None:
    result = run("kill", "--yes", "--shutdown-server", "--json")
    assert json.loads(result.stdout) == {"nodes_ended": 2, "server_stopped": True}
    assert recorder.calls[0][1]["shutdown_server"] is True


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ServerUnreachable("Nothing answers.\nStart it."), 3),
        (errors.AuthenticationError("Wrong key."), 4),
        (errors.ConfigError("Bad.", key="PORT", source="argument"), 2),
        (errors.ProtocolError("Odd."), 1),
        (ZeroDivisionError("by zero"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_one_line_and_an_exit_code(recorder: Recorder, error: BaseException, code: int) -> None:
    recorder.error = error
    result = run("status")
    assert result.exit_code == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_debug_lets_the_traceback_through(recorder: Recorder) -> None:
    recorder.error = errors.ServerUnreachable("Nothing answers.")
    assert run("--debug", "status").exception is recorder.error


def test_config_show_says_where_the_work_is_done(recorder: Recorder) -> None:
    assert "No server is configured" in run("config", "show").stdout
    Path(".env").write_text("HOST=h\n")
    assert "No server" not in run("config", "show").stdout


def test_config_show_hides_the_key(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_SECRET_KEY", "hush")
    Path(".env").write_text("HOST=h\n")
    shown = json.loads(run("config", "show", "--json").stdout)
    assert shown["SECRET_KEY"] == {"value": "(set)", "source": "ACHILLES_SECRET_KEY"}
    assert shown["HOST"] == {"value": "h", "source": str(Path.cwd() / ".env")}
    assert shown["ADDRESS"]["value"] == "achilles://h:9999"
    assert "hush" not in run("config", "show").stdout


def test_config_write(recorder: Recorder, key_file: str) -> None:
    options = (
        "--host",
        "h",
        "--port",
        "5",
        "--username",
        "u",
        "--secret-key-file",
        key_file,
        "--path",
        "here.env",
    )
    assert run("config", "write", *options).exit_code == 0
    assert "SECRET_KEY='0123456789abcdef'" in Path("here.env").read_text()


def test_config_new_key(recorder: Recorder) -> None:
    assert len(run("config", "new-key").stdout.strip()) == 22


def demo_with(monkeypatch: pytest.MonkeyPatch, spoil: bool) -> Result:
    """The demo on three texts, with a stand-in for the cluster."""

    def imap_unordered(func: Any, args: Any, *, reducer: Any, chunksize: int, address: str) -> Any:
        texts = list(args())
        yield {"ARGS_COUNTER": 2, "RESULT": reducer([func(text) for text in texts[2:]])}
        if not spoil:
            yield {"ARGS_COUNTER": 0, "RESULT": reducer([func(text) for text in texts[:2]])}

    monkeypatch.setattr("achilles.imap_unordered", imap_unordered, raising=False)
    monkeypatch.setattr(demo, "source_files", lambda: iter(["a b", "b c1c", "b d_e"]))
    return run("demo")


def test_demo_prints_the_count_and_checks_it(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    result = demo_with(monkeypatch, spoil=False)
    assert result.exit_code == 0
    assert "b                    3" in result.stdout
    assert "equal        yes" in result.stdout
    assert "3 files, 0.0 million characters" in result.stdout
    result = demo_with(monkeypatch, spoil=True)
    assert result.exit_code == 1
    assert "equal        NO" in result.stdout


def test_the_standard_library_is_real_input() -> None:
    texts = demo.source_files()
    first = [next(texts) for _ in range(20)]
    assert demo.merge([demo.count_words(text) for text in first]) == Counter(
        word for text in first for word in demo.count_words(text).elements()
    )
