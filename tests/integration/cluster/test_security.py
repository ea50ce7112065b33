"""No stranger gets in, nothing is shown on the wire, and the server unpickles nothing."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles import AuthenticationError, getClusterStatus, imap, killCluster, map
from achilles.lineReceiver import messages
from achilles.lineReceiver.tls import client_context
from achilles.lineReceiver.wire import FrameParser, frame_segments
from tests.integration.cluster.parties import SECRET_KEY, SERVER, USERNAME, Cluster, Place, wait_until
from tests.integration.cluster.proxies import proxy

# Tells when anything is looked up for an unpickler, and at the end what was imported.
WATCHED_SERVER = (
    "import sys\n"
    "tell = lambda event, args: print('UNPICKLED', args) if event == 'pickle.find_class' else None\n"
    "sys.addaudithook(tell)\n" + SERVER + "\nprint('IMPORTED', *sorted(sys.modules))"
)
WRONG = {"username": USERNAME, "secret_key": "not-the-key-of-the-tests"}
RIGHT = {"username": USERNAME, "secret_key": SECRET_KEY}


@pytest.fixture(scope="module")
def guarded(place: Place) -> Iterator[Cluster]:
    """A server, watched for what it unpickles and imports, without nodes."""
    cluster = Cluster(place, server_code=WATCHED_SERVER, fresh=True)
    try:
        yield cluster
    finally:
        cluster.close()
        _check_server(cluster)


def _check_server(cluster: Cluster) -> None:
    lines = cluster.server.lines
    assert not [line for line in lines if line.startswith("UNPICKLED")]
    imported = set(lines[-1].split()[1:])
    assert lines[-1].startswith("IMPORTED") and "achilles.lineReceiver.server" in imported
    # Twisted imports the standard library's pickle; nothing else that could load one is there.
    never = {"achilles.serialization", "achilles.workers.worker_main", "cloudpickle", "dill", "multiprocess"}
    assert not imported & never


@pytest.fixture
def over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from another machine: this process does not see the server's local socket."""
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def connect(cluster: Cluster, how: str) -> socket.socket:
    if how == "unix":
        near = socket.socket(socket.AF_UNIX)
        near.settimeout(20)
        near.connect(str(next((cluster.place.path / "run").rglob("*.sock"))))
        return near
    far = socket.create_connection(("127.0.0.1", cluster.port), timeout=20)
    return client_context().wrap_socket(far) if how == "tls" else far


def read_to_end(connection: socket.socket) -> bytes:
    received = bytearray()
    while part := connection.recv(65_536):
        received += part
    return bytes(received)


@pytest.mark.parametrize("how", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("disguise", ["bare", "payload"])
def test_a_pickle_before_authentication(guarded: Cluster, tmp_path: Path, how: str, disguise: str) -> None:
    mark = tmp_path / "unpickled"
    sent = pickle.dumps(Bomb(mark)) + b"\r\n"
    if disguise == "payload":
        # A frame of a known type, which only an authenticated controller may send.
        submit = messages.Submit(1, "0" * 64, "session", 1, False, None, "name")
        sent = b"".join(bytes(part) for part in frame_segments(submit, [sent]))
    with connect(guarded, how) as connection:
        connection.sendall(sent)
        received = read_to_end(connection)
    ((error, payload),) = FrameParser().feed(received)
    assert isinstance(error, messages.Error) and not payload
    assert error.code in ("protocol", "authentication")
    assert received.count(b"\r\n") == 1 and received.endswith(b"\r\n")
    assert not mark.exists()
    assert guarded.server.process.poll() is None


def test_wrong_keys_are_refused_everywhere(guarded: Cluster, over_tcp: None) -> None:
    for ask in (
        getClusterStatus,
        lambda **where: map(abs, [1], **where),
        lambda **where: imap(abs, [1], **where),
    ):
        with pytest.raises(AuthenticationError, match="username or secret_key is wrong") as caught:
            ask(**guarded.address, **WRONG)
        assert WRONG["secret_key"] not in str(caught.value)
    assert getClusterStatus(**guarded.with_key).nodes == []


def test_a_wrong_key_is_refused_on_the_local_socket_too(guarded: Cluster) -> None:
    with pytest.raises(AuthenticationError, match="username or secret_key is wrong"):
        getClusterStatus(**guarded.address, **WRONG)
    with pytest.raises(AuthenticationError, match="username or secret_key is wrong"):
        getClusterStatus(**guarded.address, username="nobody", secret_key=SECRET_KEY)
    assert getClusterStatus(**guarded.address).nodes == []  # the kernel's word is enough
    assert getClusterStatus(**guarded.with_key).nodes == []


def test_no_key_from_elsewhere(guarded: Cluster, over_tcp: None) -> None:
    with pytest.raises(AuthenticationError, match="secret_key") as caught:
        getClusterStatus(**guarded.address)
    assert "ACHILLES_SECRET_KEY" in str(caught.value) and str(guarded.port) in str(caught.value)


@pytest.mark.parametrize("local", ["on", "off"])
def test_a_node_with_a_wrong_key_ends_with_the_reason(guarded: Cluster, local: str) -> None:
    more = f", username={USERNAME!r}, secret_key={WRONG['secret_key']!r}"
    node = guarded.start_node(1, wait=False, more=more, ACHILLES_LOCAL_SOCKET=local)
    assert node.wait() == 1
    guarded.nodes.remove(node)
    assert node.lines[-1].startswith("achilles.errors.AuthenticationError: ")
    assert "username or secret_key is wrong" in node.text
    assert getClusterStatus(**guarded.address).nodes == []


def test_a_node_without_a_key_from_elsewhere_ends_with_the_reason(guarded: Cluster) -> None:
    node = guarded.start_node(1, wait=False, ACHILLES_LOCAL_SOCKET="off")
    assert node.wait() == 1
    guarded.nodes.remove(node)
    assert node.lines[-1].startswith("achilles.errors.AuthenticationError: ")
    assert "ACHILLES_SECRET_KEY" in node.text


def test_what_lies_on_disk_is_the_owners_alone(guarded: Cluster) -> None:
    run, state = (guarded.place.path / name / "achilles" for name in ("run", "state"))
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [run, *run.iterdir()]}
    assert modes.pop(run) == 0o700
    assert {path.suffix for path in modes} == {".json", ".sock"} and set(modes.values()) == {0o600}
    (certificate,) = state.rglob("*.pem")
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o600
    for path in run.glob("*.json"):
        assert SECRET_KEY not in path.read_text()


def test_the_key_is_on_no_command_line_and_in_no_output(guarded: Cluster) -> None:
    assert SECRET_KEY not in guarded.server.text
    for name in os.listdir(guarded.place.path / "state" / "achilles"):
        assert SECRET_KEY not in name


MARKER = b"a marker that nobody may read on the wire"


def test_a_proxy_that_listens_learns_nothing(place: Place) -> None:
    cluster = Cluster(place, ACHILLES_LOCAL_SOCKET="off", server_code=WATCHED_SERVER, fresh=True)
    key = ", username={username!r}, secret_key={secret_key!r}".format(**RIGHT)
    try:
        with proxy(cluster.port) as between:
            cluster.start_node(2, more=key, port=between.port)
            through = {"host": "127.0.0.1", "port": between.port, **RIGHT}
            items = [MARKER + bytes([number]) * 1000 for number in range(20)]
            packets = map(lambda item: item + MARKER, items, **through)
            assert [value for packet in packets for value in packet] == [item + MARKER for item in items]
            for seen in (bytes(between.from_clients), bytes(between.from_server)):
                assert len(seen) > 20_000  # both ways, the payloads went through here
                for secret in (MARKER, SECRET_KEY.encode(), USERNAME.encode(), b"hello", b"welcome"):
                    assert secret not in seen
            assert killCluster(**through, command_verified=True) == 1
            assert cluster.nodes.pop().wait() == 0
    finally:
        cluster.close()
    _check_server(cluster)


def test_a_proxy_that_pretends_to_be_the_server_is_refused(
    guarded: Cluster, over_tcp: None, tmp_path: Path
) -> None:
    before = len(guarded.server.lines)
    with proxy(guarded.port, tmp_path) as between:
        through = {"host": "127.0.0.1", "port": between.port, **RIGHT}
        with pytest.raises(AuthenticationError, match="different TLS certificates"):
            getClusterStatus(**through)
        key = ", username={username!r}, secret_key={secret_key!r}".format(**RIGHT)
        node = guarded.start_node(1, wait=False, more=key, port=between.port)
        assert node.wait() == 1
        guarded.nodes.remove(node)
        assert "different TLS certificates" in node.lines[-1]
        # Both spoke, the server answered, and nobody was let in.
        assert b"SCRAM-SHA-256-PLUS" in between.from_clients and between.from_server
        assert b"welcome" not in between.from_server
        assert SECRET_KEY.encode() not in between.from_clients
    wait_until(lambda: sum("is refused" in line for line in guarded.server.lines[before:]) >= 2)
    assert getClusterStatus(**guarded.with_key).nodes == []


class Impostor(threading.Thread):
    """Poses as the server, says yes to everybody, and keeps what it is told."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.heard = b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, self.listener:
            self.heard = connection.recv(65536)
            welcome = messages.Welcome(None, 0, 1, "0", 0, 0)
            connection.sendall(b"".join(map_bytes(frame_segments(welcome))))
            connection.settimeout(10)
            self.heard += read_to_end(connection)


def map_bytes(parts: Any) -> list[bytes]:
    return [bytes(part) for part in parts]


def test_a_server_that_cannot_prove_the_key_is_refused(guarded: Cluster) -> None:
    """Even on the local socket: a key that is given is checked in both directions."""
    import msgspec

    run = guarded.place.path / "run" / "achilles"
    there = msgspec.json.decode(next(run.glob("*.json")).read_bytes())
    port = 1
    path = run / "impostor.sock"
    impostor = Impostor(path)
    impostor.start()
    file = run / f"127.0.0.1-{port}.json"
    file.write_bytes(msgspec.json.encode({**there, "socket": str(path), "port": port}))
    file.chmod(0o600)
    try:
        with pytest.raises(AuthenticationError):
            getClusterStatus(host="127.0.0.1", port=port, **RIGHT)
    finally:
        impostor.join(20)
        file.unlink()
        path.unlink()
    assert b"SCRAM" in impostor.heard and b"status" not in impostor.heard


def test_failing_too_often_shuts_an_address_out(place: Place, over_tcp: None) -> None:
    cluster = Cluster(place)
    try:
        seen = []
        for _ in range(12):
            with pytest.raises(OSError if len(seen) >= 10 else AuthenticationError) as caught:
                getClusterStatus(**cluster.address, **WRONG)
            seen.append(type(caught.value).__name__)
        assert seen[-1] == "ServerUnreachable"
    finally:
        cluster.close()
    assert cluster.server.process.returncode in (0, -signal.SIGINT)
