"""Signals that come while foresight walks are the program's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import achilles
from achilles.scheduling.foresight.interrupting import is_from_outside
from achilles.scheduling.foresight.walking import OPERATIONS, Frame, Walk
from tests.unit.scheduling.foresight.stub import StubCalls, run


class TooLateError(Exception):
    pass


@achilles.functional
def f(x: Any) -> Any:
    return x


def counting(n: int) -> Any:
    found: list[Any] = []
    try:
        for i in range(n):
            found.append(f(i + 1))
    except (TooLateError, KeyboardInterrupt) as error:
        found.append(type(error).__name__)
    return [*found, f(-1), f(-2)]


@pytest.fixture
def _late() -> Iterator[None]:
    def late(signum: int, frame: Any) -> None:
        raise TooLateError

    before = signal.signal(signal.SIGUSR1, late)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_late")
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("operation", ["binary", "next_item", "append", "call"])
def test_what_a_handler_raises_while_foresight_walks(
    number: signal.Signals, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0
    original = OPERATIONS[operation]

    def interrupted(walk: Walk, frame: Frame, argument: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == 5:
            signal.raise_signal(number)
        original(walk, frame, argument)

    monkeypatch.setitem(OPERATIONS, operation, interrupted)
    calls = StubCalls(4)
    name = "TooLateError" if number == signal.SIGUSR1 else "KeyboardInterrupt"
    found = achilles.schedule(counting, calls=calls.provider)(40)
    assert found[-3:] == [name, -1, -2]
    assert found[:-3] == list(range(1, len(found) - 2))
    assert sent >= 5


def test_errors_of_operations_are_not_from_outside() -> None:
    def numbers(n: int) -> Any:
        a = f(n)
        b = f(n + 1) / 0
        return a, b

    def missing(n: int) -> Any:
        a = f(n)
        return a, f({}[n])

    def shapes(n: int) -> Any:
        a = f(n)
        return a, f(np.concatenate([np.zeros(2), np.zeros((2, 2))]))

    def own(n: int) -> Any:
        a = f(n)
        return a, f(refusing(n))

    for each in (numbers, missing, shapes, own):
        run(each, 1, pure=[refusing])


def refusing(n: int) -> int:
    raise TooLateError(n)


def test_where_an_error_was_raised() -> None:
    def raised(function: Any) -> Exception:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever it is
            return error
        raise AssertionError

    assert is_from_outside(raised(lambda: 1 / 0))  # in this module, which foresight knows nothing of
    assert not is_from_outside(raised(lambda: np.percentile(np.arange(3), 200)))
    assert not is_from_outside(ValueError())
