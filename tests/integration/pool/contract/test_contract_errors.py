"""What fails or is cancelled does so alone, is told once, and leaves the rest as it was."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from multiprocessing.pool import MaybeEncodingError
from pathlib import Path
from typing import Any

import pytest

import achilles
from tests.integration.cluster.parties import wait_until
from tests.integration.pool.contract import tasks
from tests.integration.pool.contract.faces import PATIENCE_S, Face

LENGTH = 9
PLACES: list[Sequence[int]] = [[0], [LENGTH // 2], [LENGTH - 1], range(LENGTH)]


def eight_and_no_more() -> Iterator[int]:
    yield from range(8)
    raise LookupError("the iterable")


def outcomes(results: Iterator[Any]) -> list[Any]:
    """All results, and exceptions in their places."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except BaseException as error:  # noqa: BLE001 - these are what is looked for
            found.append(error)


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_exceptions(face: Face, places: Sequence[int]) -> None:
    items = [(number, LookupError(number) if number in places else None) for number in range(LENGTH)]
    with pytest.raises(LookupError) as caught:
        face.all_of(tasks.fail_at, items)
    assert "fail_at" in str(caught.value.__cause__)
    read = face.ordered(tasks.fail_at, items)
    if face.can("items before an error"):
        assert caught.value.args == (places[0],)
        assert [next(read) for _ in range(places[0])] == list(range(places[0]))
        with pytest.raises(LookupError, match=str(places[0])):
            next(read)
    else:
        assert caught.value.args[0] in places
        with pytest.raises(LookupError):
            list(read)
    calls = [face.call(tasks.fail_at, item) for item in items]
    for number, call in enumerate(calls):
        if number in places:
            with pytest.raises(LookupError, match=str(number)):
                call(PATIENCE_S)
        else:
            assert call(PATIENCE_S) == number
    with pytest.raises(LookupError):
        list(face.unordered(tasks.fail_at, items))
    assert face.all_of(tasks.square, range(LENGTH)) == [number * number for number in range(LENGTH)]


def test_what_comes_after_an_exception(face: Face) -> None:
    face.needs("items after an error")
    for places, chunksize in product(PLACES, (1, 2)):
        items = [(number, LookupError(number) if number in places else None) for number in range(LENGTH)]
        expected = [f"LookupError({number})" if number in places else str(number) for number in range(LENGTH)]
        found = map(repr, outcomes(face.ordered(tasks.fail_at, iter(items), chunksize=chunksize)))
        assert list(found) == expected
        found = map(repr, outcomes(face.unordered(tasks.fail_at, iter(items), chunksize=chunksize)))
        assert sorted(found) == sorted(expected)


def test_exceptions_of_lists(pool: achilles.Pool) -> None:
    items = [(number, LookupError(number) if number in (3, 5) else None) for number in range(LENGTH)]
    for chunksize in (1, 2):
        with pytest.raises(LookupError, match="3"):
            pool.starmap(tasks.fail_at, [(item,) for item in items], chunksize)
        with pytest.raises(LookupError, match="3"):
            pool.map_async(tasks.fail_at, items, chunksize).get(PATIENCE_S)


def test_on_error(face: Face) -> None:
    face.needs("options for many items")
    for chunksize in (None, 1, 2):
        check_on_error(face, chunksize)


def check_on_error(face: Face, chunksize: int | None) -> None:
    items = [(number, LookupError(number) if number in (0, 4) else None) for number in range(6)]
    told: list[BaseException] = []
    more: dict[str, Any] = {"chunksize": chunksize, "error_callback": told.append}
    returned = ["LookupError(0)", "1", "2", "3", "LookupError(4)", "5"]
    for run in (face.all_of, face.ordered):
        assert list(map(repr, run(tasks.fail_at, items, on_error="return", **more))) == returned
        assert list(run(tasks.fail_at, items, on_error="skip", **more)) == [1, 2, 3, 5]
    assert sorted(face.unordered(tasks.fail_at, items, on_error="skip", **more)) == [1, 2, 3, 5]
    assert sorted(map(repr, told)) == sorted(["LookupError(0)", "LookupError(4)"] * 5)


def test_exceptions_of_every_kind(face: Face) -> None:
    with pytest.raises(tasks.Odd) as odd:
        face.call(tasks.raise_odd, 3)(PATIENCE_S)
    assert odd.value.item == 3
    with pytest.raises(achilles.RemoteError, match="one way"):
        face.call(tasks.raise_one_way, 3)(PATIENCE_S)
    with pytest.raises(SystemExit, match="3"):
        face.call(tasks.exit_with, 3)(PATIENCE_S)
    with pytest.raises(KeyboardInterrupt):
        face.call(tasks.interrupt, 3)(PATIENCE_S)
    with pytest.raises(SystemExit, match="3"):
        face.all_of(tasks.exit_with, [3])
    with pytest.raises(KeyboardInterrupt):
        next(face.ordered(tasks.interrupt, [3]))
    assert face.call(tasks.square, 3)(PATIENCE_S) == 9


def test_stop_iteration_does_not_end_the_results(face: Face) -> None:
    if face.can("items before an error"):
        read = face.ordered(tasks.stop, range(5))
        assert [next(read), next(read)] == [0, 1]
        with pytest.raises(RuntimeError, match="StopIteration"):
            next(read)
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(face.ordered(tasks.stop, range(5)))


@pytest.mark.parametrize("callback", [tasks.exit_with, tasks.interrupt, tasks.raise_odd])
def test_callback_that_raises(
    pool: achilles.Pool, callback: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    calls = [pool.apply_async(tasks.square, (3,), callback=callback) for _ in range(3)]
    maps = [pool.map_async(tasks.square, [3], callback=callback) for _ in range(3)]
    failed = pool.apply_async(tasks.raise_odd, (3,), error_callback=callback)
    assert [call.get(PATIENCE_S) for call in calls] == [9] * 3
    assert [call.get(PATIENCE_S) for call in maps] == [[9]] * 3
    with pytest.raises(tasks.Odd):
        failed.get(PATIENCE_S)
    assert pool.apply(tasks.square, (4,)) == 16
    assert caplog.text.count("a callback of a pool raised") == 7


def test_callbacks_are_called_once(pool: achilles.Pool) -> None:
    values: list[Any] = []
    errors: list[BaseException] = []
    told: dict[str, Any] = {"callback": values.append, "error_callback": errors.append}
    pool.apply_async(tasks.square, (3,), **told).wait(PATIENCE_S)
    pool.map_async(tasks.square, range(3), **told).wait(PATIENCE_S)
    pool.starmap_async(tasks.square, [(3,)], **told).wait(PATIENCE_S)
    assert values == [9, [0, 1, 4], [9]] and not errors
    pool.apply_async(tasks.raise_odd, (3,), **told).wait(PATIENCE_S)
    pool.map_async(tasks.raise_odd, [4, 5], **told).wait(PATIENCE_S)
    assert len(values) == 3 and [error.item for error in errors] == [3, 4]


@pytest.mark.parametrize("at", [0, 3, 7])
def test_iterable_that_raises(face: Face, at: int) -> None:
    def items() -> Iterator[int]:
        yield from range(at)
        raise LookupError("the iterable")

    with pytest.raises(LookupError, match="the iterable"):
        face.all_of(tasks.square, items())
    read = face.ordered(tasks.square, items())
    if face.can("items before an error"):
        assert [next(read) for _ in range(at)] == [number * number for number in range(at)]
    with pytest.raises(LookupError, match="the iterable"):
        list(read)
    with pytest.raises(StopIteration):
        next(read)
    assert face.all_of(tasks.square, [3]) == [9]


def test_iterable_that_raises_delivers_whole_chunks(face: Face) -> None:
    face.needs("items before an error")
    found = outcomes(face.ordered(tasks.identity, eight_and_no_more(), chunksize=3))
    assert [repr(each) for each in found] == [*map(str, range(6)), "LookupError('the iterable')"]


def test_iterable_that_raises_at_once(pool: achilles.Pool) -> None:
    with pytest.raises(LookupError):
        pool.map_async(tasks.identity, eight_and_no_more())
    with pytest.raises(LookupError):
        pool.starmap(tasks.identity, eight_and_no_more())


@pytest.mark.parametrize("kind", [tasks.Unsendable, tasks.Unloadable])
def test_arguments_that_cannot_travel(face: Face, kind: type) -> None:
    face.needs("options for many items")
    for places in ([0], [8], range(LENGTH), range(0, LENGTH, 2)):
        check_arguments(face, kind, places)


def check_arguments(face: Face, kind: type, places: Sequence[int]) -> None:
    items = [kind() if number in places else number for number in range(LENGTH)]

    def check(found: list[Any]) -> None:
        for number, each in enumerate(found):
            if number in places:
                assert isinstance(each, LookupError | achilles.SerializationError), each
                assert f"argument {number}" in str([each, getattr(each, "__notes__", "")])
            else:
                assert each == "int"

    for chunksize in (1, 2, LENGTH):
        check(outcomes(face.ordered(tasks.describe, iter(items), chunksize=chunksize)))
        check(face.all_of(tasks.describe, items, chunksize=chunksize, on_error="return"))
    check(face.all_of(tasks.describe, iter(items), on_error="return"))
    assert len(outcomes(face.unordered(tasks.describe, items))) == LENGTH
    with pytest.raises((LookupError, achilles.SerializationError)):
        face.all_of(tasks.describe, items)
    check(outcomes(face.ordered(tasks.describe, iter(items), chunksize=2, buffersize=1)))


@pytest.mark.parametrize("kind", [tasks.Unsendable, tasks.Unloadable])
def test_arguments_of_calls_that_cannot_travel(face: Face, kind: type) -> None:
    length = min(100, face.most_calls)
    calls = [face.call(tasks.describe, kind() if number % 10 == 7 else number) for number in range(length)]
    for number, call in enumerate(calls):
        if number % 10 == 7:
            with pytest.raises((LookupError, achilles.SerializationError)):
                call(PATIENCE_S)
        else:
            assert call(PATIENCE_S) == "int"


@pytest.mark.parametrize("func", [tasks.unloadable_at_three, tasks.unsendable_at_three])
def test_results_that_cannot_travel(face: Face, func: Callable[[Any], Any]) -> None:
    calls = [face.call(func, number % 20) for number in range(min(100, face.most_calls))]
    for number, call in enumerate(calls):
        if number % 20 == 3:
            with pytest.raises((MaybeEncodingError, LookupError)):
                call(PATIENCE_S)
        else:
            assert call(PATIENCE_S) == number % 20
    with pytest.raises((MaybeEncodingError, LookupError)):
        face.all_of(func, range(10))
    if face.can("options for many items"):
        for chunksize in (1, 3, 10):
            found = outcomes(face.ordered(func, range(10), chunksize=chunksize))
            assert isinstance(found.pop(3), MaybeEncodingError | LookupError)
            assert found == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        found = face.all_of(func, range(1000), on_error="skip")
        assert found == [0, 1, 2, *range(4, 1000)]


def test_functions_that_cannot_travel(face: Face) -> None:
    held = tasks.Unsendable()
    with pytest.raises((LookupError, achilles.SerializationError)):
        face.call(lambda _: held, 1)(PATIENCE_S)
    with pytest.raises((LookupError, achilles.SerializationError)):
        face.all_of(lambda _: held, [1])
    assert face.all_of(tasks.square, [3]) == [9]
    assert face.call(tasks.square, 3)(PATIENCE_S) == 9


def test_retries(face: Face, tmp_path: Path) -> None:
    face.needs("options")

    def items(name: str) -> list[tuple[str, int]]:
        folder = tmp_path / name
        folder.mkdir()
        return [(str(folder), number) for number in range(5)]

    with face.told(retries=1, retry_on=OSError) as patient:
        assert patient.all_of(tasks.fail_first, items("all")) == list(range(5))
        assert list(patient.ordered(tasks.fail_first, items("ordered"))) == list(range(5))
        assert sorted(patient.unordered(tasks.fail_first, items("unordered"))) == list(range(5))
        assert patient.call(tasks.fail_first, items("call")[3])(PATIENCE_S) == 3
        with pytest.raises(tasks.Odd):
            patient.call(tasks.raise_odd, 1)(PATIENCE_S)
    with face.told(retries=5, retry_on=(LookupError, ValueError)) as patient:
        with pytest.raises(ConnectionError):
            patient.all_of(tasks.fail_first, items("other"))
        with pytest.raises(tasks.Odd):
            patient.call(tasks.raise_odd, 1)(PATIENCE_S)


def test_time_limits(face: Face) -> None:
    face.needs("options")
    with face.told(timeout=0.2) as limited:
        call = limited.call(tasks.sleep_if, 1)
        with pytest.raises(achilles.TaskTimeout):
            next(limited.unordered(tasks.sleep_if, [1]))
        with pytest.raises(achilles.TaskTimeout) as caught:
            call(PATIENCE_S)
        assert isinstance(caught.value, TimeoutError)
        if face.can("options for many items"):
            found = limited.all_of(tasks.sleep_if, [0, 1, 0], on_error="return")
            assert found[0] == found[2] == 0 and isinstance(found[1], achilles.TaskTimeout)


def test_worker_deaths(face: Face) -> None:
    calls = [face.call(tasks.die_if, number) for number in (1, -2, 3)]
    assert (calls[0](PATIENCE_S), calls[2](PATIENCE_S)) == (1, 3)
    with pytest.raises(achilles.WorkerDiedError) as died:
        calls[1](PATIENCE_S)
    # As programs catch it that were written for the standard library's executor.
    assert isinstance(died.value, BrokenProcessPool) and died.value.exit_code == -signal.SIGKILL
    if face.can("options for many items"):
        found = face.all_of(tasks.die_if, [1, -2, 3, 4], on_error="return")
        assert isinstance(found.pop(1), achilles.WorkerDiedError) and found == [1, 3, 4]
    else:
        with pytest.raises(achilles.WorkerDiedError):
            face.all_of(tasks.die_if, [1, -2, 3, 4])
    assert face.all_of(tasks.square, [3]) == [9]


def waiting_at(gate: Path) -> list[int]:
    """The processes that wait, or waited, until it is opened."""
    return [int(path.suffix[1:]) for path in gate.parent.glob(f"{gate.name}.*")]


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def test_leaving_early_stops_what_runs(face: Face, tmp_path: Path) -> None:
    gate, open_gate = tmp_path / "gate", tmp_path / "open"
    open_gate.touch()
    items = (str(open_gate if number == 0 else gate) for number in range(10))
    read = (face.unordered if face.can("lazy results as they come") else face.ordered)(tasks.wait_at, items)
    assert next(read)
    begun = wait_until(lambda: waiting_at(gate), what="for items that run")
    read.close()
    wait_until(lambda: all(map(is_gone, begun)), what="for the workers that ran them")
    assert face.all_of(tasks.square, range(20)) == [number * number for number in range(20)]


def test_a_cancelled_call_stops_alone(face: Face, tmp_path: Path) -> None:
    face.needs("cancelled calls")
    ends, stays = tmp_path / "ends", tmp_path / "stays"
    call, cancel = face.cancellable(tasks.wait_at, str(ends))
    other = face.call(tasks.wait_at, str(stays))
    (pid,) = wait_until(lambda: waiting_at(stays) and waiting_at(ends), what="for both to run")
    cancel()
    known = (concurrent.futures.CancelledError, achilles.TaskCancelled, asyncio.CancelledError)
    with pytest.raises(known):
        call(PATIENCE_S)
    wait_until(lambda: is_gone(pid), what="for the worker that ran it")
    stays.touch()
    assert [other(PATIENCE_S)] == waiting_at(stays)  # it ran once
