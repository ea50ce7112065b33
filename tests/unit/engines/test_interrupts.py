"""Signals during a call: noted where they could do harm, raised at waits and in the caller's code."""

# ruff: noqa: PT012 - which steps within a block are taken is what is tested

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from achilles.engines import interrupts
from achilles.engines.changes import Changes
from achilles.engines.interrupts import finalizing, opened, shielded


@pytest.fixture(autouse=True)
def own_functions() -> Iterator[None]:
    """Whatever a test does, the functions of this process stay."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, function in before.items():
        signal.signal(number, function)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), shielded():
        interrupt()
        steps.append("whole")
    assert steps == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_one_that_comes_while_its_function_is_replaced_leaves_the_next_block_whole(
    replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    calls = 0

    def set_signal(number: int, function: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == replaced + 1:
            signal.raise_signal(number)
        return signal.signal(number, function)

    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "_setsignal", set_signal)
        with pytest.raises(KeyboardInterrupt), shielded():
            pytest.fail("it was not interrupted")
    for number in numbers:
        assert signal.getsignal(number) is signal.default_int_handler
        steps = []
        with pytest.raises(KeyboardInterrupt), shielded():
            signal.raise_signal(number)
            steps.append("whole")
        assert steps == ["whole"]


def test_it_is_raised_at_once_where_that_is_allowed() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), shielded():
        with opened():
            interrupt()
            steps.append("after it")
        steps.append("after the opening")
    assert steps == []


def test_what_was_noted_is_raised_at_the_next_opening() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), shielded():
        interrupt()
        steps.append("shielded")
        with opened():
            steps.append("opened")
    assert steps == ["shielded"]


def test_cleaning_up_is_not_interrupted_again() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), shielded(), opened():
        try:
            interrupt()
        finally:
            interrupt()
            steps.append("cleaned up")
    assert steps == ["cleaned up"]


def test_a_call_within_the_code_of_a_call() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), shielded(), opened():
        with shielded():
            interrupt()
            steps.append("the inner one, whole")
        steps.append("the caller's code goes on")
    assert steps == ["the inner one, whole"]
    with shielded():
        with opened(), shielded():
            pass
        with pytest.raises(KeyboardInterrupt), opened():
            interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_function_that_raises_nothing_is_called_once_for_each_signal() -> None:
    seen: list[int] = []

    def count(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    signal.signal(signal.SIGALRM, count)
    with shielded():
        signal.raise_signal(signal.SIGALRM)
        assert seen == []
        with opened():
            assert seen == [signal.SIGALRM]
            signal.raise_signal(signal.SIGALRM)
            signal.raise_signal(signal.SIGALRM)
            assert len(seen) == 3
        signal.raise_signal(signal.SIGALRM)
        assert len(seen) == 3
    assert len(seen) == 4
    assert signal.getsignal(signal.SIGALRM) is count


def test_what_the_program_ignores_or_leaves_to_the_system_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with shielded():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        interrupt()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with shielded():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_function_that_the_callers_code_sets_stays() -> None:
    def own(number: int, frame: FrameType | None) -> None:
        pass

    with shielded(), opened():
        signal.signal(signal.SIGINT, own)
    assert signal.getsignal(signal.SIGINT) is own


def test_without_a_call_an_opening_changes_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), opened():
        interrupt()


def test_other_threads_do_not_touch_signals() -> None:
    seen = []

    def other() -> None:
        with shielded(), opened():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_a_wait_that_is_interrupted_leaves_the_lock_as_it_was() -> None:
    changes = Changes()
    timer = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), shielded(), changes.lock:
        changes.wait()
    timer.join()
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(changes.acquire(timeout=5)))
    thread.start()
    thread.join()
    assert taken == [True]


def test_a_wait_ends_with_a_change_or_with_its_time() -> None:
    changes = Changes()
    with changes.lock:
        assert not changes.wait(0.01)
        assert not changes.wait(0)

    def change() -> None:
        with changes.lock:
            changes.notify_all()

    thread = threading.Thread(target=change)
    with changes.lock:
        thread.start()
        assert changes.wait(20)
        assert changes.number == 1
    thread.join()


@pytest.mark.parametrize("within", [True, False], ids=["noted", "between"])
def test_a_finalizer_does_not_swallow_it(within: bool, capsys: pytest.CaptureFixture[str]) -> None:
    steps = []

    class Dropped:
        def __del__(self) -> None:
            with finalizing():
                with shielded():
                    if within:
                        interrupt()
                    steps.append("shielded")
                if not within:
                    interrupt()
            steps.append("finalized")

    with pytest.raises(KeyboardInterrupt):
        dropped = Dropped()
        del dropped
        steps.append("dropped")
        threading.Event().wait(30)
    assert steps == ["shielded", "finalized", "dropped"]
    assert "ignored" not in capsys.readouterr().err


def test_other_errors_of_finalizers_are_their_own() -> None:
    with pytest.raises(ValueError, match="own"), finalizing():
        raise ValueError("own")
    with pytest.raises(KeyboardInterrupt), shielded():
        interrupt()
