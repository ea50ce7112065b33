"""Which names a worker asks the controller for, and when."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from achilles.workers.importing import IDLE_SESSIONS, OwnModules


class Controller:
    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.asked: list[tuple[int, str]] = []

    def ask(self, job, name):
        self.asked.append((job, name))
        source = self.sources.get(name)
        header = json.dumps(
            {"found": source is not None, "origin": f"/c/{name}.py", "is_package": False}
        ).encode()
        return (5, 0, job, 0, len(header), 0, bytearray(header + (source or "").encode()))


@pytest.fixture
def controller() -> Controller:
    return Controller({"robin_nest": "EGGS = []\n"})


@pytest.fixture
def modules(controller) -> Iterator[OwnModules]:
    modules = OwnModules(controller.ask)
    modules.install(first=True)
    yield modules
    sys.meta_path.remove(modules)
    sys.modules.pop("robin_nest", None)


def test_nothing_is_asked_between_sessions(modules, controller) -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("robin_nest")
    assert controller.asked == []


def test_standard_and_installed_modules_are_not_asked_for(modules, controller) -> None:
    modules.enter(1, job=1)
    for name in ("json", "sys", "numpy", "achilles", "achilles.absent", "json.absent"):
        modules.find_spec(name, None)
    assert controller.asked == []


def test_a_session_keeps_its_modules_while_others_run(modules, controller) -> None:
    modules.job_began(1)
    modules.job_began(2)
    modules.enter(1, job=10)
    first = __import__("robin_nest")
    modules.enter(2, job=20)
    assert "robin_nest" not in sys.modules
    second = __import__("robin_nest")
    assert second is not first
    modules.enter(1, job=10)
    assert sys.modules["robin_nest"] is first
    assert controller.asked == [(10, "robin_nest"), (20, "robin_nest")]


def test_a_miss_is_remembered_until_the_next_job(modules, controller) -> None:
    modules.job_began(1)
    modules.enter(1, job=1)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            __import__("robin_absent")
    assert len(controller.asked) == 1
    modules.job_began(1)
    with pytest.raises(ModuleNotFoundError):
        __import__("robin_absent")
    assert len(controller.asked) == 2


def test_sessions_long_gone_are_forgotten(modules, controller) -> None:
    for number in range(IDLE_SESSIONS + 1):
        modules.job_began(number)
        modules.enter(number, job=number)
        __import__("robin_nest")
        modules.job_ended(number)
    controller.asked.clear()
    modules.job_began(0)
    modules.enter(0, job=0)
    __import__("robin_nest")
    assert len(controller.asked) == 1
