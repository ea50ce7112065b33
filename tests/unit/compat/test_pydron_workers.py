"""Where pydron's scheduled functions run: pools that come, stay a while and go; servers; what is refused."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles.compat.pydron import conf as conf_module
from achilles.compat.pydron import kept_pools, workers
from achilles.errors import ConfigError, UnsupportedByEngine

DEADLINE_S = 20.0


class StubPool:
    """A pool that only notes what becomes of it."""

    made: list[StubPool]

    def __init__(self, workers: int, *, address: str) -> None:
        assert address == "local"
        self.workers = workers
        self.ended = threading.Event()
        self.made.append(self)

    def terminate(self) -> None:
        assert not self.ended.is_set()

    def join(self) -> None:
        self.ended.set()


class StubCalls:
    """What would run calls on a pool."""

    def __init__(self, pool: StubPool, slots: int) -> None:
        self.pool = pool
        self.slots = slots


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StubPool]]:
    """The pools that were made."""
    monkeypatch.setattr(StubPool, "made", [], raising=False)
    monkeypatch.setattr(kept_pools, "Pool", StubPool)
    monkeypatch.setattr(workers, "PoolCalls", StubCalls)
    monkeypatch.setattr(workers, "program_calls", lambda settings: settings)
    threads = set(threading.enumerate())
    yield StubPool.made
    kept_pools.close_pools()
    assert all(pool.ended.is_set() for pool in StubPool.made)
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the file in the working directory, the only place where one is."""
    for name in list(os.environ):
        if name.startswith(("ACHILLES_", "PYDRON_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(conf_module, "ETC", tmp_path / "etc")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return lambda *entries: (tmp_path / "pydron.conf").write_text(json.dumps({"workers": entries}))


def test_workers_are_there_for_one_call(write: Any, made: list[StubPool]) -> None:
    write({"type": "multicore", "cores": 3}, {"type": "multicore", "cores": 1})
    with workers.configured_calls() as calls:
        assert isinstance(calls, StubCalls)
        assert (calls.slots, calls.pool.workers) == (4, 4)
        assert not calls.pool.ended.is_set()
    assert made[0].ended.is_set()
    with pytest.raises(ZeroDivisionError), workers.configured_calls():
        1 / 0  # noqa: B018
    assert len(made) == 2 and made[1].ended.is_set()


def test_calls_that_overlap_share_workers(write: Any, made: list[StubPool]) -> None:
    write({"type": "multicore", "cores": 2})
    with workers.configured_calls() as outer:
        with workers.configured_calls() as inner:
            assert inner.pool is outer.pool
        assert not made[0].ended.is_set()
        write({"type": "multicore", "cores": 3})
        with workers.configured_calls():
            assert [pool.workers for pool in made] == [2, 3]
        assert made[1].ended.is_set() and not made[0].ended.is_set()
    assert made[0].ended.is_set()


def test_workers_are_kept_for_the_next_call_and_end_when_idle(write: Any, made: list[StubPool]) -> None:
    write({"type": "multicore", "cores": 2, "keep_alive_s": 3600})
    for _ in range(3):
        with workers.configured_calls():
            pass
    assert len(made) == 1 and not made[0].ended.is_set()
    write({"type": "multicore", "cores": 2, "keep_alive_s": 0.001})
    with workers.configured_calls():
        pass
    assert made[0].ended.wait(DEADLINE_S)
    with workers.configured_calls():
        assert len(made) == 2
    assert made[1].ended.wait(DEADLINE_S)


def test_a_timer_that_comes_late_ends_nothing(made: list[StubPool]) -> None:
    pool = kept_pools.borrow(2)
    kept_pools.give_back(2, 3600)
    timer = kept_pools._kept[2].timer
    assert timer is not None
    assert kept_pools.borrow(2) is pool
    timer.function()
    assert not made[0].ended.is_set()
    kept_pools.give_back(2, 0)
    assert made[0].ended.is_set()
    timer.function()


def test_what_is_kept_ends_with_the_program(made: list[StubPool]) -> None:
    kept_pools.borrow(2)
    kept_pools.borrow(3)
    kept_pools.give_back(3, 3600)
    kept_pools.close_pools()
    assert all(pool.ended.is_set() for pool in made)
    kept_pools.give_back(2, 0)  # the call that had it comes to its end


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_none_of_them(made: list[StubPool]) -> None:
    kept_pools.borrow(2)
    kept_pools.give_back(2, 3600)
    child = os.fork()
    if child == 0:
        try:
            kept_pools.close_pools()
            os._exit(int(bool(kept_pools._kept) or made[0].ended.is_set()))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not made[0].ended.is_set()


def test_a_cluster_is_reached_as_everywhere(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_SECRET_KEY", "the key of the settings")
    monkeypatch.setenv("ACHILLES_USERNAME", "from the settings")
    write({"type": "cluster", "address": "10.0.0.5:7000"})
    with workers.configured_calls() as calls:
        settings: Any = calls
        assert (settings.endpoint, settings.username) == ("10.0.0.5:7000", "from the settings")
        assert settings.secret_key == "the key of the settings"
    write({"type": "cluster", "address": "10.0.0.5:7000", "username": "me"})
    with workers.configured_calls() as calls:
        assert calls.username == "me"


def test_without_a_file_the_settings_say_where(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with workers.configured_calls() as calls:
        assert calls.is_local
    monkeypatch.setenv("ACHILLES_ADDRESS", "10.0.0.6:7000")
    with workers.configured_calls() as calls:
        assert calls.endpoint == "10.0.0.6:7000"


SSH = {"type": "ssh", "hostname": "node1", "username": "me", "password": "very-secret", "cores": 4}


def test_what_cannot_be_started_yet_is_said_with_what_to_do(write: Any, made: list[StubPool]) -> None:
    write({"type": "multicore", "cores": 2}, SSH)
    with pytest.raises(UnsupportedByEngine) as caught, workers.configured_calls():
        raise AssertionError("nothing may run")
    assert 'line 1: workers of type "ssh" can\'t be started yet' in str(caught.value)
    assert '{"type": "cluster", "address": "HOST:9999"}' in str(caught.value)
    assert caught.value.engine == "ssh" and "very-secret" not in str(caught.value)
    assert made == []


def test_a_broken_file_is_told_before_anything_starts(write: Any, made: list[StubPool]) -> None:
    write({"type": "multicore", "cores": "two"})
    said = "line 1, column 45: 'cores' must be a whole number"
    with pytest.raises(ConfigError, match=said), workers.configured_calls():
        raise AssertionError("nothing may run")
    assert made == []
