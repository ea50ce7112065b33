"""Results are let go of with their last use."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from achilles.scheduling import functional, schedule
from achilles.scheduling.calls import Handle
from tests.differential.stub_calls import StubCalls


@functional
def make(x: Any) -> list[Any]:
    return [x]


@functional
def join(*parts: Any) -> list[Any]:
    return [each for part in parts for each in part]


def _kept_for_a_while() -> Any:
    parts = [make(i) for i in range(4)]
    seen = []
    for part in parts:
        whole = join(part, part)
        if len(seen) < 3:
            seen.append(whole)

    def inner(x: int) -> Any:
        return make(x)

    last = inner(3)
    return len(join(*seen)), len(last)


def test_results_go_with_their_last_use_not_with_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Handle] = weakref.WeakSet()
    begin = Handle.__init__

    def noted(handle: Handle, *args: Any) -> None:
        begin(handle, *args)
        alive.add(handle)

    monkeypatch.setattr(Handle, "__init__", noted)
    calls = StubCalls(keeps=True)
    run = schedule(_kept_for_a_while, calls=calls.provider)
    run()
    calls.started.clear()
    gc.collect()
    gc.disable()
    try:
        assert run() == (6, 1)
        calls.started.clear()
        assert not alive
    finally:
        gc.enable()
