"""Settings: who has the last word, what is refused, and what is written where."""

from __future__ import annotations

import io
import os
import pickle
import stat
import string
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings, strategies

import achilles.config as cfg
from achilles import env_files
from achilles.errors import ConfigError


class Places:
    """A working directory, a home and a package directory of the test's own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = root / "project"
        self.user = root / "config" / "achilles"
        self.package = root / "package"
        for place in (self.project, self.user, self.package):
            place.mkdir(parents=True)
        for name in os.environ:
            if name.startswith("ACHILLES_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "config"))
        monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))
        monkeypatch.setattr(env_files, "package_env_path", lambda: self.package / ".env")
        monkeypatch.chdir(self.project)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, monkeypatch)


def test_nothing_configured_is_local(places: Places) -> None:
    found = cfg.load_settings()
    assert found.is_local
    assert found.address == "local"
    assert (found.host, found.port, found.username, found.secret_key) == ("127.0.0.1", 9999, "achilles", None)
    assert found.sources == {}


def test_each_place_comes_before_the_next(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.package / ".env").write_text("HOST=package\n")
    assert cfg.load_settings().host == "package"
    (places.user / ".env").write_text("HOST=user\n")
    assert cfg.load_settings().host == "user"
    below = places.project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    (places.project / ".env").write_text("HOST=project\n")
    found = cfg.load_settings()
    assert (found.host, found.sources) == ("project", {"HOST": str(places.project / ".env")})
    (below / ".env").write_text("HOST=below\n")
    assert cfg.load_settings().host == "below"
    monkeypatch.setenv("ACHILLES_HOST", "variable")
    found = cfg.load_settings()
    assert (found.host, found.sources) == ("variable", {"HOST": "ACHILLES_HOST"})
    found = cfg.load_settings(host="given")
    assert (found.host, found.sources) == ("given", {"HOST": "argument"})


def test_settings_are_looked_for_one_by_one(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.package / ".env").write_text("HOST=h\nPORT=1\nUSERNAME=u\nSECRET_KEY=k\n")
    (places.project / ".env").write_text("USERNAME=v\n")
    monkeypatch.setenv("ACHILLES_SECRET_KEY", "l")
    found = cfg.load_settings(port=2)
    assert (found.host, found.port, found.username, found.secret_key) == ("h", 2, "v", "l")
    assert not found.is_local
    assert found.endpoint == "h:2"


def test_the_environment_is_not_touched_and_its_username_not_used(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERNAME", "windows-login")
    monkeypatch.setenv("HOST", "somewhere")
    (places.project / ".env").write_text("SECRET_KEY=k\n")
    before = dict(os.environ)
    found = cfg.load_settings()
    assert dict(os.environ) == before
    assert (found.username, found.host) == ("achilles", "127.0.0.1")


def test_empty_values_count_as_not_set(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_HOST", "")
    (places.project / ".env").write_text("HOST=\nPORT=''\nUSERNAME\n")
    assert cfg.load_settings().is_local


def test_prefixed_names_in_a_shared_file_come_first(places: Places) -> None:
    (places.project / ".env").write_text("HOST=web\nACHILLES_HOST=cluster\n")
    assert cfg.load_settings().host == "cluster"


def test_example_file_sets_nothing_and_names_every_setting(places: Places) -> None:
    example = Path(cfg.__file__).with_name(".env.example")
    assert dotenv_values(example) == {}
    commented = example.read_text().replace("\n#", "\n")
    assert set(cfg.KEYS) <= set(dotenv_values(stream=io.StringIO(commented)))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("node1", "node1", 9999),
        ("10.0.0.5:80", "10.0.0.5", 80),
        ("[::1]:7000", "::1", 7000),
        ("[::1]", "::1", 9999),
        ("fe80::1", "fe80::1", 9999),
        ("achilles://node1:81", "node1", 81),
        ("ACHILLES://node1/", "node1", 9999),
    ],
)
def test_address_forms(places: Places, text: str, host: str, port: int) -> None:
    found = cfg.load_settings(address=text)
    assert (found.host, found.port) == (host, port)
    assert not found.is_local
    assert cfg.parse_address(found.address) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "a b", ":9999", "host:", "host:x", "host:70000", "dask://h:1", "[::1", "[::1]x", "h/p", "u:k@h:1"],
)
def test_other_addresses_are_refused(places: Places, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cfg.load_settings(address=text)
    assert (caught.value.key, caught.value.source) == ("ADDRESS", "argument")
    assert "u:k" not in str(caught.value)


def test_local_overrules_what_lies_below(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.project / ".env").write_text("HOST=h\nPORT=5\n")
    assert cfg.load_settings(address="local").is_local
    monkeypatch.setenv("ACHILLES_ADDRESS", "local")
    assert cfg.load_settings().is_local
    assert not cfg.load_settings(host="other").is_local


def test_address_and_host_together_are_refused(places: Places) -> None:
    with pytest.raises(ConfigError, match="not both"):
        cfg.load_settings(host="a", address="b")


def test_a_port_alone_means_a_server_on_this_machine(places: Places) -> None:
    found = cfg.load_settings(port=0)
    assert found.address == "achilles://127.0.0.1:0"


@pytest.mark.parametrize("port", [-1, 65536, "12a", "١٢", True, 1.5, ""])
def test_bad_ports_name_key_and_source(places: Places, port: object) -> None:
    with pytest.raises(ConfigError) as caught:
        cfg.load_settings(port=port)
    assert (caught.value.key, caught.value.source) == ("PORT", "argument")


@pytest.mark.parametrize("host", ["", "a:1", "a b", "http://a", "u@h", "[]"])
def test_bad_hosts_name_key_and_source(places: Places, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cfg.load_settings(host=host)
    assert (caught.value.key, caught.value.source) == ("HOST", "argument")


def test_a_bad_value_that_is_overruled_does_not_matter(places: Places) -> None:
    (places.project / ".env").write_text("PORT=tcp\n")
    assert cfg.load_settings(port=1).port == 1
    with pytest.raises(ConfigError, match="PORT") as caught:
        cfg.load_settings()
    assert caught.value.source == str(places.project / ".env")


def test_secrets_stay_out_of_sight(places: Places) -> None:
    assert "hush" not in repr(cfg.load_settings(secret_key="hush-hush"))
    for bad in ("hush\nhush", 5):
        with pytest.raises(ConfigError) as caught:
            cfg.load_settings(secret_key=bad)
        assert "hush" not in str(caught.value)
    assert pickle.loads(pickle.dumps(cfg.load_settings(secret_key="k"))).secret_key == "k"


def test_key_files(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    key = places.project / "key"
    key.write_text("two words\n")
    monkeypatch.setenv("ACHILLES_SECRET_KEY_FILE", str(key))
    found = cfg.load_settings()
    assert found.secret_key == "two words"
    assert "ACHILLES_SECRET_KEY_FILE" in found.sources["SECRET_KEY"]
    monkeypatch.setenv("ACHILLES_SECRET_KEY", "direct")
    assert cfg.load_settings().secret_key == "direct"
    assert cfg.load_settings(secret_key="given").secret_key == "given"


def test_a_relative_key_file_lies_beside_its_env_file(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places.user / ".env").write_text("SECRET_KEY_FILE=key\n")
    (places.user / "key").write_text("k")
    assert cfg.load_settings().secret_key == "k"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a\nb\n", b"\xff\xfe"])
def test_bad_key_files_are_refused(places: Places, content: bytes | None) -> None:
    path = places.project / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="key file") as caught:
        cfg.read_secret_key_file(path)
    assert caught.value.key == "SECRET_KEY_FILE"


def test_a_server_with_no_host_listens_everywhere(places: Places) -> None:
    assert cfg.load_server_settings().host == "0.0.0.0"
    assert cfg.load_server_settings(port=5).address == "achilles://0.0.0.0:5"
    assert cfg.load_server_settings(host="::1").endpoint == "[::1]:9999"
    (places.project / ".env").write_text("ADDRESS=local\n")
    assert cfg.load_server_settings().host == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.4.5", "::1", "localhost", "LOCALHOST."])
def test_any_key_will_do_on_loopback(places: Places, host: str) -> None:
    cfg.require_strong_key(cfg.Settings(host=host, secret_key="bar"))
    cfg.require_strong_key(cfg.Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])
def test_other_machines_need_a_strong_key(places: Places, host: str) -> None:
    for key in (None, "bar", "x" * 15):
        with pytest.raises(ConfigError, match="SECRET_KEY") as caught:
            cfg.require_strong_key(cfg.Settings(host=host, secret_key=key))
        assert key is None or key not in str(caught.value)
    cfg.require_strong_key(cfg.Settings(host=host, secret_key=cfg.new_secret_key()))


def test_new_keys_differ_and_need_no_quoting() -> None:
    keys = {cfg.new_secret_key() for _ in range(200)}
    assert len(keys) == 200
    assert all(len(key) == 22 and set(key) <= {*string.ascii_letters, *string.digits, *"-_"} for key in keys)
    assert not any(key.startswith("-") for key in keys)


def test_written_files_are_private_and_keep_the_rest(places: Places) -> None:
    path = places.project / ".env"
    path.write_text("# mine\nOTHER='x y'\nHOST=old\nSECRET_KEY=kept")
    path.chmod(0o644)
    assert cfg.write_config({"HOST": "new", "PORT": "1"}, path) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("# mine\n")
    assert dotenv_values(path) == {"OTHER": "x y", "SECRET_KEY": "kept", "HOST": "new", "PORT": "1"}
    assert os.listdir(places.project) == [".env"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    first=strategies.text(strategies.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1),
    second=strategies.text(alphabet="a '\"#$\\{}=%`ü", min_size=1),
)
def test_what_is_written_is_read_back(places: Places, first: str, second: str) -> None:
    path = places.project / ".env"
    cfg.write_config({"USERNAME": first, "SECRET_KEY": second}, path)
    found = cfg.load_settings()
    assert (found.username, found.secret_key) == (first, second)


def test_the_package_directory_is_first_choice(places: Places) -> None:
    assert cfg.write_config({"HOST": "h"}) == places.package / ".env"
    assert cfg.load_settings().host == "h"


def test_the_users_directory_serves_when_the_packages_is_closed(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = env_files._replace_file

    def closed(place: Path, text: str) -> None:
        if place.parent == places.package:
            raise PermissionError(13, "Permission denied")
        real(place, text)

    monkeypatch.setattr(env_files, "_replace_file", closed)
    assert cfg.write_config({"HOST": "h"}) == places.user / ".env"
    with pytest.raises(ConfigError, match="can't be written"):
        cfg.write_config({"HOST": "h"}, places.package / ".env")


def test_genconfig_asks_for_what_is_missing(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return {"PORT": "8000"}.get(prompt.partition(" ")[0], "")

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "it's $ecret # \\")
    written = cfg.genConfig(host="10.0.0.5")
    assert written == places.package / ".env"
    assert asked == ["PORT [9999]: ", "USERNAME [achilles]: "]
    found = cfg.load_settings()
    assert (found.endpoint, found.username, found.secret_key) == (
        "10.0.0.5:8000",
        "achilles",
        "it's $ecret # \\",
    )
    printed = capsys.readouterr().out
    assert str(written) in printed
    assert "ecret" not in printed


def test_genconfig_with_everything_asks_nothing_and_overwrites(places: Places) -> None:
    for key in ("bar", "baz"):
        cfg.genConfig(host="127.0.0.1", port=9999, username="foo", secret_key=key)
        assert cfg.load_settings().secret_key == key


def test_genconfig_says_when_another_place_comes_first(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACHILLES_HOST", "other")
    cfg.genConfig("h", 1, "u", "k")
    assert "HOST is also set by ACHILLES_HOST" in capsys.readouterr().out


def test_genconfig_without_anybody_to_ask(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(ConfigError, match="PORT"):
        cfg.genConfig(host="h")
    assert not (places.package / ".env").exists()


def test_a_strangers_env_file_is_ignored_with_a_warning(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places.project / ".env").write_text("HOST=evil\nSECRET_KEY=k\n")
    monkeypatch.setattr(env_files, "left_by_stranger", lambda place: place.parent == places.project)
    with pytest.warns(RuntimeWarning, match="another user"):
        assert cfg.load_settings().is_local


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no user numbers here")
def test_who_is_a_stranger(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    path = places.project / ".env"
    path.touch()
    owner = path.stat().st_uid
    assert not env_files.left_by_stranger(path)
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert env_files.left_by_stranger(path) == (owner != 0)


def test_xdg_directories(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cfg.config_home() == tmp_path / "config" / "achilles"
    assert cfg.state_home() == tmp_path / "state" / "achilles"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert cfg.config_home() == tmp_path / ".config" / "achilles"
    assert cfg.state_home() == tmp_path / ".local" / "state" / "achilles"


def test_a_file_that_is_not_text_is_named(places: Places) -> None:
    (places.project / ".env").write_bytes(b"HOST=\xff\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        cfg.load_settings()
