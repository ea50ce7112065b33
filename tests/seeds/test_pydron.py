"""pydron's document, run as its reader would run it.

Its quick start is taken from it as it stands, but for the import; so are the files that it shows, which are
put where it says that they are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster.parties import Place, run_program
from tests.seeds.pydron_document import CLOUD, MULTICORE, PROGRAM, QUICK_START, SSH, SSH_ON_THREE

CALLED = "print(calibration_pipeline([1, 2, 3]))\n"
TOLD = """
try:
    calibration_pipeline([1, 2, 3])
except Exception as error:
    print(type(error).__name__, error)
"""
COUNTED = """
import os
import psutil

def workers():
    return len(psutil.Process().children())

before = workers()

@pydron.functional
def process(input):
    return os.getpid()

during = []

@pydron.schedule
def counting(inputs):
    pids = [process(input) for input in inputs]
    during.append(workers())
    return pids

pids = counting(range(40))
print(os.getpid() in pids, len(set(pids)) <= 4, before, *during, workers())
"""


@pytest.fixture
def place() -> Iterator[Place]:
    found = Place()
    yield found
    found.remove()


def test_the_quick_start(place: Place) -> None:
    """``process`` is ``...`` there, so that what comes back is None for each input."""
    assert "import pydron" in QUICK_START and "    ...\n" in QUICK_START
    place.write("pydron.conf", MULTICORE)
    assert run_program(place, "quick_start.py", PROGRAM + CALLED) == ["[None, None, None]"]


def test_without_a_file_it_runs_on_the_cores_of_the_settings(place: Place) -> None:
    assert run_program(place, "quick_start.py", PROGRAM + CALLED) == ["[None, None, None]"]


def test_four_interpreters_come_with_the_call_and_go_with_it(place: Place) -> None:
    place.write("conf/mine.conf", MULTICORE)
    lines = run_program(
        place, "counting.py", PROGRAM + COUNTED, PYDRON_CONF=str(place.work / "conf/mine.conf")
    )
    assert lines == ["False True 0 4 0"]


def test_the_comma_of_the_example_for_ssh_is_named(place: Place) -> None:
    path = place.write("pydron.conf", SSH)
    (line,) = run_program(place, "told.py", PROGRAM + TOLD)
    assert line.startswith(f"ConfigError {path}, line 10, column ")
    assert "remove this comma" in line and "mypassword" not in line


@pytest.mark.parametrize(
    ("conf", "kind"),
    [(SSH.replace("4,\n", "4\n"), "ssh"), (SSH_ON_THREE, "ssh"), (CLOUD.replace("\\", "/"), "cloud")],
    ids=["ssh", "three machines", "cloud"],
)
def test_what_is_to_be_started_elsewhere_is_read_and_refused(place: Place, conf: str, kind: str) -> None:
    path = place.write("../pydron.conf", conf)  # in the home directory
    (line,) = run_program(place, "told.py", PROGRAM + TOLD)
    said = f'UnsupportedByEngine {path.resolve()}, line 3: workers of type "{kind}" can\'t be started yet'
    assert line.startswith(said)
    assert "mypassword" not in line and "AbDef012" not in line


def test_the_backslashes_of_the_example_for_the_cloud_are_named(place: Place) -> None:
    path = place.write("pydron.conf", CLOUD)
    (line,) = run_program(place, "told.py", PROGRAM + TOLD)
    assert line.startswith(f"ConfigError {path}, line 11, column ")
    assert "a backslash within a text is written twice" in line and "AbDef012" not in line
