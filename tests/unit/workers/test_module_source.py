"""Which modules the controller sends, and that finding them imports nothing."""

from __future__ import annotations

import hashlib
import sys
import zipfile

import pytest

from achilles.workers.module_source import find_source


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_modules_packages_and_submodules_without_importing_them(path) -> None:
    (path / "kite_things.py").write_text("raise RuntimeError('imported')\n")
    (path / "kite" / "tail").mkdir(parents=True)
    (path / "kite" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (path / "kite" / "tail" / "bow.py").write_text("X = 1\n")
    module = find_source("kite_things")
    assert module.found and not module.is_package
    assert module.origin == str(path / "kite_things.py")
    assert module.sha256 == hashlib.sha256(module.source).hexdigest()
    package = find_source("kite")
    assert package.found and package.is_package
    namespace = find_source("kite.tail")
    assert namespace.found and namespace.is_package and namespace.origin is None
    assert find_source("kite.tail.bow").source == b"X = 1\n"
    assert not find_source("kite.absent").found
    assert not any(name.partition(".")[0] in {"kite", "kite_things"} for name in sys.modules)


@pytest.mark.parametrize("name", ["json", "sys", "achilles.errors", "kite_absent", "..", "", "a b"])
def test_what_is_nobodys_own_is_not_sent(name) -> None:
    assert not find_source(name).found


def test_installed_packages_are_not_sent_and_the_answer_says_what_to_do() -> None:
    module = find_source("numpy")
    assert not module.found and "install it on every node" in module.reason


def test_extensions_are_not_sent(path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    (path / f"kite_fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"\x7fELF")
    module = find_source("kite_fast")
    assert not module.found and module.is_extension and "install it on every node" in module.reason


def test_modules_inside_a_zip_file(path, monkeypatch) -> None:
    with zipfile.ZipFile(path / "kites.zip", "w") as archive:
        archive.writestr("zipped_kite.py", "Y = 2\n")
    monkeypatch.syspath_prepend(str(path / "kites.zip"))
    module = find_source("zipped_kite")
    assert module.found and module.source == b"Y = 2\n"


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "",
        "a..b",
        "os",
        "os.path",
        "test.support",
        "test.pythoninfo",
        "msgspec",
        "twisted.internet.defer",
        "achilles.config",
        "x\x00y",
        "x/y",
        "a b",
        "sys\n",
        "x" * 5000,
        "\ud800",
        "__pycache__",
    ],
)
def test_nothing_but_the_users_own_modules_is_sent(name: str) -> None:
    answer = find_source(name)
    assert not answer.source
    assert not answer.found
