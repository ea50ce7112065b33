"""Nodes of another minor version of Python run what needs no bytecode of ours, and refuse the rest.

The other Python is one on PATH or of pyenv; its dependencies are installed once into
``.venv-other-*`` in the repository, which git ignores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from achilles import VersionMismatch, getClusterStatus, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import SERVER, Cluster, Place, wait_until
from tests.integration.forked_party import ROOT

OURS = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHERS = [version for version in ("3.12", "3.13", "3.11", "3.14") if version != OURS]
# Half a second of patience instead of ten for a node that can run the function.
HASTY_SERVER = "import achilles.core.pythons as p; p.VERSION_PATIENCE_NS = 500_000_000\n" + SERVER
INSTALL_TIMEOUT_S = 120
# As it was before the fixtures: another HOME has neither pyenv nor pip's settings.
ENVIRONMENT, HOME = dict(os.environ), Path.home()


def _interpreters() -> Iterator[tuple[str, str]]:
    for version in OTHERS:
        pyenv = sorted(str(path) for path in HOME.glob(f".pyenv/versions/{version}.*/bin/python"))
        for path in [shutil.which(f"python{version}"), *pyenv]:
            if (
                path is not None
                and _says(path, "import sys; print('%d.%d' % sys.version_info[:2])") == version
            ):
                yield version, path


def _says(python: str, code: str) -> str:
    return _run([python, "-c", code], 20).stdout.strip()


def _run(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )


def _install(version: str, python: str) -> Path:
    """A directory of the dependencies for the other Python."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = metadata["project"]["dependencies"]
    home = ROOT / f".venv-other-{version}"
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        shutil.rmtree(home, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=ROOT, prefix=".venv-other-") as building:
            # The name says to achilles that these are installed packages, not the user's modules.
            target = Path(building) / "site-packages"
            command = [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--target",
                str(target),
                *wanted,
            ]
            done = _run(command, INSTALL_TIMEOUT_S)
            if done.returncode:
                raise OSError(done.stderr.strip()[-300:])
            (Path(building) / "installed.txt").write_text("\n".join(wanted))
            try:
                os.rename(building, home)
            except OSError:
                pass  # another run was faster
            else:
                os.mkdir(building)
    return home / "site-packages"


@pytest.fixture(scope="module")
def other(place: Place) -> Iterator[tuple[Cluster, str]]:
    """A server with one node, of another Python, and which one it is."""
    reasons = ["none was found"]
    for version, python in _interpreters():
        try:
            packages = _install(version, python)
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons.append(f"{version}: {error}")
            continue
        break
    else:
        pytest.skip(f"no other Python with our dependencies: {'; '.join(reasons)}")
    cluster = Cluster(place, server_code=HASTY_SERVER)
    try:
        cluster.start_node(2, python=python, PYTHONPATH=os.pathsep.join([str(ROOT), str(packages)]))
        yield cluster, version
    finally:
        cluster.close()


def test_the_status_tells_the_version(other: tuple[Cluster, str]) -> None:
    cluster, version = other
    assert [node["python"] for node in getClusterStatus(**cluster.address).nodes] == [version]


def test_functions_by_value_are_refused_with_the_remedy(other: tuple[Cluster, str]) -> None:
    cluster, version = other
    for function in (lambda number: number + 1, LocalCallable()):
        with pytest.raises(VersionMismatch) as caught:
            map(function, [1], **cluster.address)
        said = str(caught.value)
        assert f"bytecode of Python {OURS}" in said and f"every node runs Python {version}" in said
        assert f"start a node with Python {OURS}" in said and "module of its own" in said


class LocalCallable:
    """Not by value, as a class of a module; its lambda is."""

    def __init__(self) -> None:
        self.inner = lambda number: number

    def __call__(self, number: int) -> int:
        return int(self.inner(number))


def test_what_needs_no_bytecode_runs(other: tuple[Cluster, str]) -> None:
    cluster, _ = other
    where = cluster.address
    assert map(tasks.square, [[1, 2, 3]], **where) == [[1, 4, 9]]
    assert map(tasks.square, [[1, 2, 3]], tasks.negate, reducer=tasks.add_up, **where) == [-14]
    assert map(abs, [[-1, -2]], **where) == [[1, 2]]
    assert map(partial(pow, 2), [[1, 2]], **where) == [[2, 4]]
    assert map(str.upper, [["a"]], **where) == [["A"]]
    with pytest.raises(tasks.Refused, match="item 3: divisible by three"):
        map(tasks.refuse_thirds, [[1, 2, 3]], **where)


def test_bytecode_in_arguments_is_refused_item_by_item(other: tuple[Cluster, str]) -> None:
    cluster, version = other
    with pytest.raises(VersionMismatch) as caught:
        map(tasks.identity, [[lambda: 1]], **cluster.address)
    assert OURS in str(caught.value) and version in str(caught.value)
    assert map(tasks.square, [[2]], **cluster.address) == [[4]]


def test_bytecode_in_results_is_refused(other: tuple[Cluster, str]) -> None:
    cluster, version = other
    with pytest.raises(VersionMismatch) as caught:
        map(tasks.make_function, [[1]], **cluster.address)
    assert OURS in str(caught.value) and version in str(caught.value)


def test_a_node_of_our_python_that_joins_gets_what_the_others_cannot_run(other: tuple[Cluster, str]) -> None:
    cluster, _ = other

    def python(number: int) -> tuple[int, str]:
        import sys

        return number, f"{sys.version_info[0]}.{sys.version_info[1]}"

    ours = cluster.start_node(1)
    try:
        packets = map(python, range(20), **cluster.address)
        assert [value for packet in packets for value in packet] == [(n, OURS) for n in range(20)]
        found = map(tasks.python_of, range(40), **cluster.address)
        assert {value for packet in found for value in packet} <= {OURS, other[1]}
    finally:
        cluster.end_node(ours)
    wait_until(lambda: len(getClusterStatus(**cluster.address).nodes) == 1)
