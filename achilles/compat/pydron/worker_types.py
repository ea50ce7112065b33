"""What may stand in the list of workers of a ``pydron.conf``.

=========== ============================================================ =======================
type        names                                                        what it stands for
=========== ============================================================ =======================
multicore   cores, keep_alive_s                                          processes here
cluster     address, username                                            the nodes of a server
ssh         hostname, username, password, cores, data_ports, tmp_dir,    processes elsewhere,
            private_key_files, private_keys                              read and checked only
cloud       username, provider, accesskeyid, accesskey, imageid, sizeid, machines in a cloud,
            publickey, privatekey, count, cores, data_ports, tmp_dir     read and checked only
=========== ============================================================ =======================

``data_ports`` and ``preconnect`` say how pydron's processes found each other. They are checked, because a
file with wrong ones never worked, and not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...config_values import parse_address
from ...errors import ConfigError
from .entries import Entry, Secret

__all__ = ["CloudWorkers", "ClusterWorkers", "MulticoreWorkers", "SshWorkers", "Workers", "read_workers"]

DEFAULT_TMP_DIR = "/tmp"  # noqa: S108 - pydron's own default, a directory of the other machine


class MulticoreWorkers(NamedTuple):
    """Processes on this machine.

    Attributes:
        cores: How many.
        keep_alive_s: For how long, in seconds, they wait for the next call when one is over.
        line: Where in the file this is, from 1; here and below.
    """

    cores: int
    keep_alive_s: float
    line: int
    type: str = "multicore"


class ClusterWorkers(NamedTuple):
    """The nodes of a server.

    Attributes:
        address: ``"host:port"``.
        username: Who asks, for the server; None for what the settings say. The key is theirs alone.
    """

    address: str
    username: str | None
    line: int
    type: str = "cluster"


class SshWorkers(NamedTuple):
    """Processes on a machine that is reached over SSH."""

    hostname: str
    username: str
    password: Secret | None
    private_key_files: tuple[str, ...]
    private_keys: tuple[Secret, ...]
    tmp_dir: str
    data_ports: tuple[int, ...]
    cores: int
    line: int
    type: str = "ssh"


class CloudWorkers(NamedTuple):
    """Machines that are started in a cloud. ``publickey`` and ``privatekey`` are files."""

    username: str
    provider: str
    accesskeyid: Secret
    accesskey: Secret
    imageid: str
    sizeid: str
    publickey: Secret
    privatekey: Secret
    tmp_dir: str
    data_ports: tuple[int, ...]
    machines: int
    cores: int
    line: int
    type: str = "cloud"


Workers = MulticoreWorkers | ClusterWorkers | SshWorkers | CloudWorkers


def read_workers(entry: Entry) -> Workers:
    """One element of the list.

    Raises:
        ConfigError: Something about it is wrong: what, in which file, line and column.
    """
    kind = entry.text("type")
    read = _READERS.get(kind)
    if read is None:
        raise entry.error("type", f"there are no workers of type {kind!r}; it may be {', '.join(_READERS)}")
    entry.what = f"a worker of type {kind}"
    found = read(entry)
    entry.finish()
    return found


def _multicore(entry: Entry) -> MulticoreWorkers:
    found = MulticoreWorkers(entry.count("cores"), entry.seconds("keep_alive_s", 0.0), entry.line)
    _read_ports(entry, found.cores)
    return found


def _cluster(entry: Entry) -> ClusterWorkers:
    address = entry.text("address")
    username = entry.text("username", default="") or None
    try:
        where = parse_address(address, "address")
    except ConfigError:
        where = None
    if where is None:
        raise entry.error("address", "'address' must be a server's host and port, such as \"10.0.0.5:9999\"")
    return ClusterWorkers(address, username, entry.line)


def _ssh(entry: Entry) -> SshWorkers:
    cores = entry.count("cores")
    found = SshWorkers(
        hostname=entry.text("hostname"),
        username=entry.text("username"),
        password=entry.optional_secret("password"),
        private_key_files=entry.texts("private_key_files"),
        private_keys=entry.secrets("private_keys"),
        tmp_dir=entry.text("tmp_dir", DEFAULT_TMP_DIR),
        data_ports=_read_ports(entry, cores),
        cores=cores,
        line=entry.line,
    )
    if found.password is None and not found.private_key_files and not found.private_keys:
        raise entry.error("password", f"{entry.what} needs 'password' or 'private_key_files'")
    return found


def _cloud(entry: Entry) -> CloudWorkers:
    cores = entry.count("cores", default=1)
    return CloudWorkers(
        username=entry.text("username"),
        provider=entry.text("provider"),
        accesskeyid=entry.secret("accesskeyid"),
        accesskey=entry.secret("accesskey"),
        imageid=entry.text("imageid"),
        sizeid=entry.text("sizeid"),
        publickey=entry.secret("publickey"),
        privatekey=entry.secret("privatekey"),
        tmp_dir=entry.text("tmp_dir", DEFAULT_TMP_DIR),
        data_ports=_read_ports(entry, cores),
        machines=entry.count("count"),
        cores=cores,
        line=entry.line,
    )


def _read_ports(entry: Entry, cores: int) -> tuple[int, ...]:
    """Each process opens a port of its own, so there must be as many as processes, or none named."""
    entry.flag("preconnect", True)
    ports = entry.ports("data_ports")
    if ports and len(set(ports)) < cores:
        raise entry.error(
            "data_ports",
            f"'data_ports' has {len(set(ports))} ports for {cores} processes, which need one each; "
            "make the range longer",
        )
    return ports


_READERS: dict[str, Callable[[Entry], Workers]] = {
    "multicore": _multicore,
    "cluster": _cluster,
    "ssh": _ssh,
    "cloud": _cloud,
}
