"""How processes of one user on one machine find each other without a key.

Beside its TCP port a server listens on a Unix socket in a directory that only its user can enter,
and leaves a *connection file* there, named by host and port. A node or controller of the same user
that asks for that host and port finds the file and connects to the socket; each side then asks the
kernel whose process the other is (:func:`peer_uid`).

Rules:

* The directory is ours, a real directory, and closed to everybody else, or it is not used at all.
  A server is told so by :class:`ConfigError`; a client looks elsewhere, since a file that another
  user planted must neither lead it anywhere nor keep it from the TCP port.
* ``ACHILLES_LOCAL_SOCKET=off`` disables both sides.
* A socket that does not answer is stale. The next server removes it, and a client falls back to TCP.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import secrets
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path

import msgspec

from achilles.errors import ConfigError

__all__ = [
    "ConnectionFile",
    "connect",
    "enabled",
    "find_connection_file",
    "peer_is_us",
    "peer_uid",
    "prepare_socket_path",
    "remove_connection_file",
    "runtime_dir",
    "write_connection_file",
]

MAX_PATH_BYTES = 103
"""Longest path of a Unix socket: 107 on Linux, 103 on macOS and the BSDs."""

CONNECT_S = 2.0
"""A Unix socket answers at once; one whose server is stuck is given up for TCP."""

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


class ConnectionFile(msgspec.Struct, frozen=True):
    """Where a server of our own user listens.

    Attributes:
        socket: Path of its Unix socket.
        host: The address its TCP port is bound to, normalized.
        port: Its TCP port.
        pid: Its process.
        fingerprint: SHA-256 of its TLS certificate, in hex.
        path: The file itself; not written in it.
    """

    socket: str
    host: str
    port: int
    pid: int
    fingerprint: str
    path: str = ""


def enabled() -> bool:
    """Whether local sockets are used: the platform has them, and nobody turned them off."""
    return hasattr(socket, "AF_UNIX") and os.environ.get("ACHILLES_LOCAL_SOCKET", "").lower() != "off"


def runtime_dir() -> Path:
    """The directory for sockets and connection files, made (0700) if missing.

    Raises:
        ConfigError: It cannot be made, belongs to somebody else, or others can enter it.
    """
    directory = _candidates()[0]
    _make_private(directory)
    return directory


def _candidates() -> list[Path]:
    """Where connection files may lie: a server started by a service may see another environment."""
    short = Path(tempfile.gettempdir()) / f"achilles-{os.geteuid()}"
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(xdg) and os.path.isdir(xdg):
        return [Path(xdg) / "achilles", short]
    return [short]


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the runtime directory {directory} cannot be made ({error.strerror}): set XDG_RUNTIME_DIR to a "
            "directory of your own, or ACHILLES_LOCAL_SOCKET=off to go without it",
            key="XDG_RUNTIME_DIR",
            source=str(directory),
        ) from error
    if not _is_private(directory):
        raise ConfigError(
            f"the runtime directory {directory} is not a directory of yours that nobody else can enter: "
            f"remove it or run 'chmod 700 {directory}', or set ACHILLES_LOCAL_SOCKET=off to go without it",
            key="XDG_RUNTIME_DIR",
            source=str(directory),
        )


def _is_private(path: Path, *, directory: bool = True) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    kind = stat.S_ISDIR if directory else stat.S_ISREG
    return kind(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _normalize(host: str) -> str:
    host = host.strip().strip("[]").lower()
    if host in ("", "*"):
        return "0.0.0.0"  # noqa: S104 - compared with, not bound to
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.rstrip(".")


def _file_name(host: str, port: int) -> str:
    host = re.sub(r"[^a-z0-9.-]", "_", _normalize(host))
    if len(host) > 40:
        host = hashlib.sha256(host.encode()).hexdigest()[:20]
    return f"{host}-{port}"


def prepare_socket_path(host: str, port: int) -> Path:
    """A path at which a server bound to ``host`` and ``port`` can bind its Unix socket.

    Sockets and connection files that servers left behind are removed on the way.

    Raises:
        ConfigError: There is no private directory for it, or another server listens there.
    """
    directory = runtime_dir()
    _remove_stale(directory)
    name = f"{_file_name(host, port)}.sock"
    if len(os.fsencode(directory / name)) > MAX_PATH_BYTES:
        directory = _candidates()[-1]
        if len(os.fsencode(directory / name)) > MAX_PATH_BYTES:
            directory = Path("/tmp") / f"achilles-{os.geteuid()}"  # noqa: S108 - made private below
        _make_private(directory)
        _remove_stale(directory)
    path = directory / name
    if _answers(path):
        raise ConfigError(
            f"another server listens on {path} already: stop it, or choose another port",
            key="port",
            source=str(path),
        )
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return path


def write_connection_file(host: str, port: int, socket_path: Path, fingerprint: str) -> ConnectionFile:
    """Tell the user's other processes about this server, once it listens on the socket.

    Returns:
        What was written; give it to :func:`remove_connection_file` at the end.
    """
    path = runtime_dir() / f"{_file_name(host, port)}.json"
    written = ConnectionFile(str(socket_path), _normalize(host), port, os.getpid(), fingerprint, str(path))
    content = msgspec.to_builtins(written)
    del content["path"]
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content) + b"\n")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink()
        raise
    return written


def remove_connection_file(written: ConnectionFile) -> None:
    """Remove the file and its socket, unless a later server has put its own in their place."""
    there = _read(Path(written.path))
    if there is None or (there.pid, there.socket) != (written.pid, written.socket):
        return
    for path in (written.path, written.socket):
        with contextlib.suppress(OSError):
            os.unlink(path)


def find_connection_file(host: str, port: int) -> ConnectionFile | None:
    """The server of our own user that listens at this address, as far as files tell.

    A server that is bound to every address is found by any name of loopback as well.
    """
    if not enabled():
        return None
    wanted = _normalize(host)
    if wanted in _EVERYWHERE:
        wanted = "127.0.0.1"  # what connecting to it means
    also = _LOOPBACK | _EVERYWHERE if wanted in _LOOPBACK else frozenset()
    found = None
    for directory in _candidates():
        for there in _connection_files(directory):
            if there.port != port:
                continue
            if there.host == wanted:
                return there
            if there.host in also and found is None:
                found = there
    return found


def connect(there: ConnectionFile) -> socket.socket | None:
    """A connection to the server, or None if it does not answer or is not our own user's process."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_S)
        connection.connect(there.socket)
        connection.settimeout(None)
        if peer_uid(connection) in (os.geteuid(), None):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _connection_files(directory: Path) -> list[ConnectionFile]:
    if not _is_private(directory):
        return []
    read = [_read(path) for path in sorted(directory.glob("*.json"))]
    return [there for there in read if there is not None]


def _read(path: Path) -> ConnectionFile | None:
    if not _is_private(path, directory=False):
        return None
    try:
        there = msgspec.json.decode(path.read_bytes(), type=ConnectionFile)
    except (OSError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(there, path=str(path))


def _remove_stale(directory: Path) -> None:
    for there in _connection_files(directory):
        if not _answers(Path(there.socket)):
            remove_connection_file(there)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # somebody listens, and is busy
        except OSError:
            return False
    return True


def peer_uid(connection: socket.socket) -> int | None:
    """The user of the process at the other end of a Unix socket; None if the kernel does not say."""
    if connection.family != getattr(socket, "AF_UNIX", None):
        return None
    platform: str = sys.platform  # a variable, so that type checkers read both branches
    try:
        if platform == "linux":
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            uid: int = struct.unpack("iII", credentials)[1]
            return uid
        # macOS and FreeBSD: LOCAL_PEERCRED of level 0 gives struct xucred {u_int version; uid_t uid; ...}
        credentials = connection.getsockopt(0, 1, 128)
        version, uid = struct.unpack_from("II", credentials)
    except (OSError, struct.error):
        return None
    return uid if version == 0 else None


def peer_is_us(connection: socket.socket) -> bool:
    """Whether the kernel says that the other end of a Unix socket is a process of our own user."""
    return peer_uid(connection) == os.geteuid()
