"""``pydron.conf``: which file counts, what it may say, and how what is wrong is told."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from achilles.compat.pydron import conf as conf_module
from achilles.compat.pydron.conf import Conf, find_conf, read_conf
from achilles.compat.pydron.entries import Secret
from achilles.compat.pydron.worker_types import CloudWorkers, ClusterWorkers, MulticoreWorkers, SshWorkers
from achilles.errors import ConfigError

SECRET = "very-secret"
MULTICORE = {"type": "multicore", "cores": 4}
CLUSTER = {"type": "cluster", "address": "10.0.0.5:9999"}
SSH = {
    "type": "ssh",
    "hostname": "node1.mydomain.tld",
    "username": "myusername",
    "password": SECRET,
    "tmp_dir": "/tmp",
    "data_ports": "10000-10010",
    "cores": 4,
}
CLOUD = {
    "type": "cloud",
    "username": "root",
    "provider": "ec2_us_east",
    "accesskeyid": SECRET + "-id",
    "accesskey": SECRET,
    "imageid": "ami-abcdef",
    "sizeid": "t1.micro",
    "publickey": "keys/id_rsa.pub",
    "privatekey": "keys/id_rsa",
    "tmp_dir": "/tmp",
    "data_ports": "10000-10010",
    "count": 10,
}
MINIMAL = {"workers": [MULTICORE]}


class Places:
    """The four places where the file is looked for, none of which has one."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.work, self.home, self.etc = root / "work", root / "home", root / "etc"
        for directory in (self.work, self.home, self.etc):
            directory.mkdir()
        monkeypatch.delenv("PYDRON_CONF", raising=False)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setattr(conf_module, "ETC", self.etc)
        monkeypatch.chdir(self.work)

    def write(self, content: Any, directory: Path | None = None) -> Path:
        path = (directory or self.work) / "pydron.conf"
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def read(self, content: Any) -> Conf:
        return read_conf(self.write(content))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, monkeypatch)


def _changed(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"workers": [{name: value for name, value in {**entry, **changes}.items() if value is not ...}]}


# -- which file counts


def test_the_first_that_is_there_counts(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_conf() is None
    for directory in (places.etc, places.home, places.work):
        path = places.write(MINIMAL, directory)
        assert find_conf() == path
    named = places.work / "another.conf"
    named.write_text("")
    monkeypatch.setenv("PYDRON_CONF", "another.conf")
    assert find_conf() == named
    monkeypatch.setenv("PYDRON_CONF", "~/pydron.conf")
    assert find_conf() == places.home / "pydron.conf"
    monkeypatch.setenv("PYDRON_CONF", "")
    assert find_conf() == places.work / "pydron.conf"


@pytest.mark.parametrize(("named", "said"), [("nowhere.conf", "is not there"), (".", "is a directory")])
def test_a_variable_that_names_no_file_is_an_error(
    places: Places, monkeypatch: pytest.MonkeyPatch, named: str, said: str
) -> None:
    places.write(MINIMAL, places.home)
    monkeypatch.setenv("PYDRON_CONF", named)
    with pytest.raises(ConfigError, match=said) as caught:
        find_conf()
    assert (caught.value.key, caught.value.source) == ("PYDRON_CONF", "environment")


def test_one_left_by_a_stranger_does_not_count(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    left, own = places.write(MINIMAL), places.write(MINIMAL, places.home)
    monkeypatch.setattr(conf_module, "left_by_stranger", lambda path: path == left)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert find_conf() == own


def test_what_cannot_be_read_is_said(places: Places) -> None:
    path = places.write("")
    path.write_bytes(b'{"workers": "\xff"}')
    with pytest.raises(ConfigError, match="not UTF-8 text") as caught:
        read_conf(path)
    assert caught.value.source == str(path) and caught.value.__context__ is None
    path.write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        read_conf(path)
    path.unlink()
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read_conf(path)


def test_a_byte_order_mark_is_no_harm(places: Places) -> None:
    assert places.read("\ufeff" + json.dumps(MINIMAL)).cores == 4


# -- what it may say


def test_multicore_entries_add_up(places: Places) -> None:
    more = {"type": "multicore", "cores": 2, "keep_alive_s": 1.5}
    found = places.read({"workers": [MULTICORE, more]})
    assert found.workers == (MulticoreWorkers(4, 0.0, 3), MulticoreWorkers(2, 1.5, 7))
    assert (found.cores, found.keep_alive_s, found.cluster, found.elsewhere) == (6, 1.5, None, None)


def test_a_cluster(places: Places) -> None:
    found = places.read({"workers": [CLUSTER]})
    assert found.cluster == ClusterWorkers("10.0.0.5:9999", None, 3)
    assert places.read(_changed(CLUSTER, username="me")).cluster == ClusterWorkers("10.0.0.5:9999", "me", 3)


def test_ssh(places: Places) -> None:
    (found,) = places.read({"workers": [SSH]}).workers
    assert found == SshWorkers(
        hostname="node1.mydomain.tld",
        username="myusername",
        password=Secret(SECRET),
        private_key_files=(),
        private_keys=(),
        tmp_dir="/tmp",
        data_ports=tuple(range(10000, 10011)),
        cores=4,
        line=3,
    )
    pem = f"-----BEGIN\n{SECRET}\n-----END\n"
    keys = _changed(SSH, password=..., private_keys=[pem], private_key_files=["~/.ssh/id"], data_ports=...)
    (found,) = places.read(keys).workers
    assert isinstance(found, SshWorkers)
    assert (found.password, found.private_keys[0].reveal(), found.data_ports) == (None, pem, ())


def test_cloud(places: Places) -> None:
    (found,) = places.read({"workers": [CLOUD]}).workers
    assert isinstance(found, CloudWorkers)
    assert (found.machines, found.cores, len(found.data_ports)) == (10, 1, 11)
    assert (found.accesskey.reveal(), found.privatekey.reveal()) == (SECRET, "keys/id_rsa")


@pytest.mark.parametrize("entry", [SSH, CLOUD], ids=["ssh", "cloud"])
def test_multicore_goes_with_processes_elsewhere(places: Places, entry: dict[str, Any]) -> None:
    found = places.read({"scheduler": "trivial", "data_ports": 0, "workers": [MULTICORE, entry]})
    assert found.elsewhere == found.workers[1] and found.cores == 4


@pytest.mark.parametrize(
    ("ports", "count"), [("10000-10003", 4), ([1, "2", 3, 4], 4), (0, 0), ("00", 0), ([0], 0), ("7 - 12", 6)]
)
def test_ports_may_be_written_as_pydron_took_them(places: Places, ports: Any, count: int) -> None:
    (found,) = places.read(_changed(SSH, data_ports=ports)).workers
    assert isinstance(found, SshWorkers) and len(found.data_ports) == count


def test_secrets_are_shown_to_nobody_who_does_not_ask(places: Places) -> None:
    found = places.read({"workers": [SSH, CLOUD]})
    assert SECRET not in f"{found!r} {found} {found.workers[0]} {found.workers[1]!r}"
    assert f"{Secret(SECRET)} {[Secret(SECRET)]}" == "Secret(…) [Secret(…)]"
    assert pickle.loads(pickle.dumps(found)) == found and len({Secret("a"), Secret("a")}) == 1


# -- how what is wrong is told


def _refused(places: Places, content: Any) -> ConfigError:
    path = places.write(content)
    with pytest.raises(ConfigError) as caught:
        read_conf(path)
    error = caught.value
    assert str(error).startswith(f"{path}, line {error.line}, column {error.column}: ")
    assert error.source == str(path)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.fields)
    assert SECRET not in told
    return error


def test_the_trailing_comma_of_the_documents_own_example(places: Places) -> None:
    text = json.dumps({"workers": [SSH]}, indent=4).replace('"cores": 4', '"cores": 4,')
    error = _refused(places, text)
    assert (error.line, error.column) == (10, 23) and "remove this comma" in str(error)


def test_the_backslashes_of_the_documents_own_example(places: Places) -> None:
    text = json.dumps(_changed(CLOUD, publickey="C:/.../id_rsa.pub"), indent=1).replace("/.../", "\\...\\")
    error = _refused(places, text)
    assert error.line == 11 and "backslash within a text is written twice" in str(error)


@pytest.mark.parametrize(
    ("content", "key", "line", "said"),
    [
        ([MULTICORE], "the file", 1, "the file is written in braces"),
        ({}, "workers", 1, "the file needs 'workers', which is missing"),
        ({"workers": []}, "workers", 2, "this list has no workers"),
        ({"workers": MULTICORE}, "workers", 2, "'workers' must be a list, […], not an object"),
        ({"workers": ["multicore"]}, "worker 1 of the list", 3, "in braces, {…}, not as a text"),
        ({"worker": [], "workers": [MULTICORE]}, "worker", 2, "no 'worker'; did you mean 'workers'"),
        ({"scheduler": "greedy", "workers": [MULTICORE]}, "scheduler", 2, "no scheduler 'greedy'"),
        (_changed(MULTICORE, type=...), "type", 3, "worker 1 of the list needs 'type'"),
        (
            _changed(MULTICORE, type="multcore"),
            "type",
            4,
            "no workers of type 'multcore'; it may be multicore",
        ),
        (_changed(MULTICORE, cores=...), "cores", 3, "a worker of type multicore needs 'cores'"),
        (_changed(MULTICORE, cores=0), "cores", 5, "must be a whole number from 1 on, not 0"),
        (_changed(MULTICORE, cores=True), "cores", 5, "not true or false"),
        (_changed(MULTICORE, cores=4.0), "cores", 5, "not a number with a fraction"),
        (_changed(MULTICORE, cores=SECRET), "cores", 5, "not a text"),
        (_changed(MULTICORE, keep_alive_s=-1), "keep_alive_s", 6, "not a negative number"),
        (_changed(MULTICORE, hostname="a"), "hostname", 6, "a worker of type multicore has no 'hostname'"),
        (_changed(CLUSTER, address="local"), "address", 5, "a server's host and port"),
        (_changed(CLUSTER, address=f"me:{SECRET}@h:1"), "address", 5, "a server's host and port"),
        (
            _changed(CLUSTER, secret_key=SECRET),
            "secret_key",
            6,
            "a worker of type cluster has no 'secret_key'",
        ),
        (_changed(SSH, password=None), "password", 7, "not null"),
        (_changed(SSH, password=""), "password", 7, "not an empty text"),
        (_changed(SSH, password=f"{SECRET}\x07"), "password", 7, "control character"),
        (_changed(SSH, password=...), "password", 3, "needs 'password' or 'private_key_files'"),
        (_changed(SSH, private_keys=[SECRET, 5]), "private_keys", 13, "not a whole number"),
        (_changed(SSH, pasword=SECRET), "pasword", 11, "did you mean 'password'"),
        (_changed(SSH, data_ports="10000-10002"), "data_ports", 9, "3 ports for 4 processes"),
        (_changed(SSH, data_ports=[1, 1, 1, 1]), "data_ports", 9, "1 ports for 4 processes"),
        (_changed(SSH, data_ports=SECRET), "data_ports", 9, "must be a range of ports"),
        (_changed(SSH, data_ports="9-1"), "data_ports", 9, "must be a range of ports"),
        (_changed(SSH, data_ports="1-70000"), "data_ports", 9, "must be a range of ports"),
        (_changed(SSH, data_ports=[]), "data_ports", 9, "must be a range of ports"),
        (_changed(SSH, preconnect="yes"), "preconnect", 11, "'preconnect' must be true or false"),
        (_changed(CLOUD, count=0), "count", 15, "must be a whole number from 1 on"),
        (_changed(CLOUD, accesskey=[SECRET]), "accesskey", 8, "must be a text that is not empty, not a list"),
        ({"workers": [MULTICORE, CLUSTER]}, "type", 8, "can't be mixed"),
        ({"workers": [CLUSTER, CLUSTER]}, "type", 8, "can't be mixed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    places: Places, content: Any, key: str, line: int, said: str
) -> None:
    error = _refused(places, content)
    assert said in str(error)
    assert (error.key, error.line) == (key, line)
