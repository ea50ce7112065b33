"""Connection files and sockets of one user: found by the right name, never through anybody else's file."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from achilles.errors import ConfigError
from achilles.lineReceiver import local_socket as local

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not tmp_path: its names are too long for sockets on some machines.
    with tempfile.TemporaryDirectory(prefix="a") as short:
        for name in ("run", "tmp"):
            (Path(short) / name).mkdir(0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{short}/run")
        monkeypatch.setattr(tempfile, "tempdir", f"{short}/tmp")
        monkeypatch.delenv("ACHILLES_LOCAL_SOCKET", raising=False)
        yield Path(short)


class Server:
    """Listens as a server's body would."""

    def __init__(self, host: str, port: int) -> None:
        path = local.prepare_socket_path(host, port)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(os.fspath(path))
        self.socket.listen()
        self.file = local.write_connection_file(host, port, path, "ab" * 32)

    def crash(self) -> None:
        self.socket.close()

    def stop(self) -> None:
        local.remove_connection_file(self.file)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server("127.0.0.1", 9999)
    yield running
    running.stop()


def test_a_client_finds_the_server_and_each_sees_whose_the_other_is(server: Server, directory: Path) -> None:
    found = local.find_connection_file("localhost", 9999)
    assert found == server.file
    assert (found.pid, found.fingerprint, found.host) == (os.getpid(), "ab" * 32, "127.0.0.1")
    assert stat.S_IMODE(os.stat(found.path).st_mode) == 0o600
    assert stat.S_IMODE((directory / "run" / "achilles").stat().st_mode) == 0o700
    connection = local.connect(found)
    assert connection is not None
    accepted, _ = server.socket.accept()
    with connection, accepted:
        assert local.peer_uid(accepted) == local.peer_uid(connection) == os.geteuid()
        assert local.peer_is_us(accepted)
        assert connection.gettimeout() is None


@pytest.mark.parametrize(
    ("bound", "asked", "same"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "[::1]", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "10.0.0.1", False),
        ("127.0.0.2", "localhost", False),
        ("0.0.0.0", "localhost", True),
        ("::", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("0.0.0.0", "10.0.0.1", False),
        ("localhost", "127.0.0.1", True),
        ("10.0.0.1", "localhost", False),
        ("Node-1.example.org.", "node-1.example.org", True),
        ("fe80::1%eth0", "FE80:0::1%eth0", True),
        ("../../etc/passwd", "../../etc/passwd", True),
        ("x" * 250, "x" * 250, True),
    ],
)
def test_hosts_match(bound: str, asked: str, same: bool, directory: Path) -> None:
    server = Server(bound, 9999)
    found = local.find_connection_file(asked, 9999)
    assert (found == server.file) is same
    assert local.find_connection_file(asked, 9998) is None
    assert Path(server.file.path).parent == directory / "run" / "achilles"
    server.stop()
    assert local.find_connection_file(asked, 9999) is None
    assert list((directory / "run" / "achilles").iterdir()) == []


def test_the_exact_address_comes_first() -> None:
    everywhere, loopback = Server("0.0.0.0", 9999), Server("127.0.0.1", 9999)
    assert local.find_connection_file("localhost", 9999) == loopback.file
    loopback.stop()
    assert local.find_connection_file("localhost", 9999) == everywhere.file
    everywhere.stop()


def test_a_stale_file_is_removed_by_the_next_server() -> None:
    crashed = Server("127.0.0.1", 9999)
    crashed.crash()
    assert local.connect(crashed.file) is None
    other = Server("127.0.0.1", 7777)
    assert local.find_connection_file("127.0.0.1", 9999) is None
    assert not os.path.exists(crashed.file.socket)
    other.stop()


def test_the_same_port_again_after_a_crash() -> None:
    Server("127.0.0.1", 9999).crash()
    again = Server("127.0.0.1", 9999)
    connection = local.connect(again.file)
    assert connection is not None
    connection.close()
    again.stop()


def test_a_socket_that_answers_is_not_taken_over(server: Server) -> None:
    with pytest.raises(ConfigError, match="another server listens"):
        local.prepare_socket_path("127.0.0.1", 9999)


def test_a_later_servers_file_is_left_alone(server: Server) -> None:
    earlier = local.ConnectionFile(
        server.file.socket, "127.0.0.1", 9999, server.file.pid + 1, "", server.file.path
    )
    local.remove_connection_file(earlier)
    assert local.find_connection_file("127.0.0.1", 9999) == server.file


def test_off_disables(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    assert not local.enabled()
    assert local.find_connection_file("127.0.0.1", 9999) is None


def test_a_long_runtime_dir_gets_a_short_socket(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = directory / ("x" * 100)
    long.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    server = Server("127.0.0.1", 9999)
    assert Path(server.file.socket).parent == directory / "tmp" / f"achilles-{os.geteuid()}"
    assert stat.S_IMODE(Path(server.file.socket).parent.stat().st_mode) == 0o700
    assert Path(server.file.path).parent == long / "achilles"
    found = local.find_connection_file("127.0.0.1", 9999)
    assert found is not None and found.socket == server.file.socket
    server.stop()


def test_a_server_started_without_xdg_is_found_by_a_client_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as service:
        service.delenv("XDG_RUNTIME_DIR")
        server = Server("127.0.0.1", 9999)
    assert local.find_connection_file("127.0.0.1", 9999) == server.file
    server.stop()


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_that_others_can_enter_is_refused(server: Server, directory: Path, mode: int) -> None:
    (directory / "run" / "achilles").chmod(mode)
    with pytest.raises(ConfigError, match="chmod 700"):
        local.runtime_dir()
    assert local.find_connection_file("127.0.0.1", 9999) is None  # a client goes on to TCP
    (directory / "run" / "achilles").chmod(0o700)


def test_a_link_in_place_of_the_directory_is_refused(directory: Path) -> None:
    (directory / "elsewhere").mkdir(0o700)
    (directory / "run" / "achilles").symlink_to(directory / "elsewhere")
    with pytest.raises(ConfigError, match="nobody else can enter"):
        local.runtime_dir()


def test_another_users_directory_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local.runtime_dir()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(ConfigError, match="nobody else can enter"):
        local.runtime_dir()


def test_a_runtime_dir_that_cannot_be_made(directory: Path) -> None:
    (directory / "run" / "achilles").write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be made .*ACHILLES_LOCAL_SOCKET=off"):
        local.runtime_dir()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"socket": "x"}', b"\x80\x04"])
def test_a_broken_file_is_as_good_as_none(server: Server, content: bytes) -> None:
    path = Path(server.file.path)
    good = path.read_bytes()
    path.write_bytes(content)
    assert local.find_connection_file("127.0.0.1", 9999) is None
    path.write_bytes(good)
    path.chmod(0o644)  # somebody else may have had a hand in it
    assert local.find_connection_file("127.0.0.1", 9999) is None
    path.chmod(0o600)


def test_a_tcp_socket_has_no_user() -> None:
    with socket.socket() as connection:
        assert local.peer_uid(connection) is None
        assert not local.peer_is_us(connection)
