"""What an installation holds and what importing it costs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Not ours to judge: environments, caches and what builds leave behind.
SKIPPED = {".git", ".venv", "build", "dist", "node_modules", "shared"}
LONGEST_FILE_LINES = 450


def _project_files(*suffixes: str) -> list[Path]:
    return [
        path
        for path in sorted(REPOSITORY.rglob("*"))
        if path.is_file()
        and (not suffixes or path.suffix in suffixes)
        and not any(
            part in SKIPPED
            or part.startswith(".venv")
            or part.endswith(("_cache", "__pycache__", ".egg-info", ".hypothesis"))
            for part in path.relative_to(REPOSITORY).parts
        )
    ]


def _run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_achilles_is_light_and_starts_nothing() -> None:
    loaded = _run_python(
        "import sys, threading, achilles\n"
        "heavy = 'twisted', 'dill', 'multiprocess', 'msgspec', 'scramp', 'numpy', 'click', 'psutil', 'tqdm'\n"
        "print([name for name in heavy if name in sys.modules], threading.active_count())"
    )
    assert loaded == "[] 1"


def test_help_needs_no_twisted() -> None:
    loaded = _run_python(
        "import sys\n"
        "from achilles.cli.main import cli\n"
        "cli.main(['node', '--help'], standalone_mode=False)\n"
        "print('twisted' in sys.modules, 'dill' in sys.modules)"
    )
    assert loaded.endswith("False False")


def test_public_names_are_listed_and_unknown_ones_refused() -> None:
    import achilles

    assert set(achilles._HOMES) <= set(achilles.__all__) <= set(dir(achilles))
    assert achilles.errors.ConfigError is achilles.ConfigError
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        achilles.nonsense  # noqa: B018


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    # Built from a copy, since setuptools leaves build/ behind.
    source = tmp_path_factory.mktemp("source")
    for name in ("achilles", "twisted"):
        shutil.copytree(
            REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".env")
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, source)
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(built), str(source)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_all_of_the_package(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {
        str(p.relative_to(REPOSITORY))
        for p in _project_files(".py")
        if p.is_relative_to(REPOSITORY / "achilles")
    }
    assert modules <= names
    assert {"achilles/.env.example", "achilles/py.typed", "twisted/plugins/achilles_plugin.py"} <= names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"achilles", "twisted"}
    # An __init__.py there would hide Twisted's own.
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/achilles_plugin.py"]
    assert not [name for name in names if name.endswith("/.env") or "cache" in name]


def test_the_wheels_metadata(wheel: zipfile.ZipFile) -> None:
    import achilles

    (home,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = wheel.read(f"{home}/METADATA").decode()
    assert f"\nVersion: {achilles.__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    assert {"test", "dev", "docs"} <= set(re.findall(r"^Provides-Extra: (\w+)$", metadata, re.M))
    assert "achilles = achilles.cli.main:main" in wheel.read(f"{home}/entry_points.txt").decode()


def test_twisted_finds_the_plugin() -> None:
    assert not list((REPOSITORY / "twisted").rglob("__init__.py"))
    found = _run_python(
        "from twisted.application.service import IServiceMaker\n"
        "from twisted.plugin import getPlugins\n"
        "print([maker.tapname for maker in getPlugins(IServiceMaker) if 'achilles' in maker.tapname])"
    )
    assert found == "['achilles-server']"


def test_no_file_is_too_long_to_read() -> None:
    lengths = {
        str(path.relative_to(REPOSITORY)): path.read_bytes().count(b"\n") for path in _project_files(".py")
    }
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE_LINES}


def test_the_text_speaks_of_no_machine() -> None:
    # Spelled so that this file passes its own test.
    machine = re.compile(r"(?<![\w.~$}])/(?:work|root|tmp/w|opt/(?:pypi|wheels))" + r"/\S")
    suffixes = (
        ".py",
        ".md",
        ".toml",
        ".in",
        ".example",
        ".cfg",
        ".sh",
        ".yml",
        ".yaml",
        ".json",
        ".html",
        ".txt",
    )
    files = [*_project_files(*suffixes), REPOSITORY / "Makefile", REPOSITORY / ".ci" / "run"]
    spoken = {
        str(path.relative_to(REPOSITORY)): found.group()
        for path in files
        if (found := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert not spoken
