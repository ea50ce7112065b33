"""What fails fails alone, is told once, and leaves the rest as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import pytest

import achilles
from tests.integration.pool.contract import tasks
from tests.integration.pool.contract.faces import PATIENCE_S, Face, PoolFace

LENGTH = 9


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


@pytest.mark.parametrize("places", [[0], [LENGTH // 2], [LENGTH - 1], range(LENGTH)], ids=str)
def test_exceptions(face: Face, places: list[int]) -> None:
    items = [(number, LookupError(number) if number in places else None) for number in range(LENGTH)]
    with pytest.raises(LookupError, match=str(places[0])) as caught:
        face.all_of(tasks.fail_at, items)
    assert "fail_at" in str(caught.value.__cause__)
    read = face.ordered(tasks.fail_at, items)
    assert [next(read) for _ in range(places[0])] == list(range(places[0]))
    with pytest.raises(LookupError, match=str(places[0])):
        next(read)
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


@pytest.mark.parametrize("places", [[0], [LENGTH // 2], [LENGTH - 1], range(LENGTH)], ids=str)
@pytest.mark.parametrize("chunksize", [1, 2])
def test_what_comes_after_an_exception(pool: achilles.Pool, places: list[int], chunksize: int) -> None:
    items = [(number, LookupError(number) if number in places else None) for number in range(LENGTH)]
    expected = [f"LookupError({number})" if number in places else str(number) for number in range(LENGTH)]
    for imap in (pool.imap, pool.imap_unordered):
        found = list(map(repr, outcomes(imap(tasks.fail_at, iter(items), chunksize))))
        assert (found if imap == pool.imap else sorted(found)) == (
            expected if imap == pool.imap else sorted(expected)
        )
    with pytest.raises(LookupError, match=str(places[0])):
        pool.starmap(tasks.fail_at, [(item,) for item in items], chunksize)
    with pytest.raises(LookupError, match=str(places[0])):
        pool.map_async(tasks.fail_at, items, chunksize).get(PATIENCE_S)


@pytest.mark.parametrize("chunksize", [None, 1, 2])
def test_on_error(pool: achilles.Pool, chunksize: int | None) -> None:
    items = [(number, LookupError(number) if number in (0, 4) else None) for number in range(6)]
    told: list[BaseException] = []
    more: dict[str, Any] = {"chunksize": chunksize, "error_callback": told.append}
    returned = ["LookupError(0)", "1", "2", "3", "LookupError(4)", "5"]
    for run in (pool.map, pool.imap):
        assert list(map(repr, run(tasks.fail_at, items, on_error="return", **more))) == returned
        assert list(run(tasks.fail_at, items, on_error="skip", **more)) == [1, 2, 3, 5]
    assert sorted(pool.imap_unordered(tasks.fail_at, items, on_error="skip", **more)) == [1, 2, 3, 5]
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
    assert len(values) == 3 and [error.item for error in errors] == [3, 4]  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [0, 3, 7])
def test_iterable_that_raises(face: Face, at: int) -> None:
    def items() -> Iterator[int]:
        yield from range(at)
        raise LookupError("the iterable")

    with pytest.raises(LookupError, match="the iterable"):
        face.all_of(tasks.square, items())
    read = face.ordered(tasks.square, items())
    assert [next(read) for _ in range(at)] == [number * number for number in range(at)]
    with pytest.raises(LookupError, match="the iterable"):
        next(read)
    with pytest.raises(StopIteration):
        next(read)
    assert face.all_of(tasks.square, [3]) == [9]


def test_iterable_that_raises_delivers_whole_chunks(pool: achilles.Pool) -> None:
    def items() -> Iterator[int]:
        yield from range(8)
        raise LookupError("the iterable")

    assert [repr(each) for each in outcomes(pool.imap(tasks.identity, items(), 3))] == [
        *map(str, range(6)),
        "LookupError('the iterable')",
    ]
    with pytest.raises(LookupError):
        pool.map_async(tasks.identity, items())
    with pytest.raises(LookupError):
        pool.starmap(tasks.identity, items())


@pytest.mark.parametrize("places", [[0], [8], range(LENGTH), range(0, LENGTH, 2)], ids=str)
@pytest.mark.parametrize("kind", [tasks.Unsendable, tasks.Unloadable])
def test_arguments_that_cannot_travel(
    pool: achilles.Pool,
    kind: type,
    places: list[int],
) -> None:
    items = [kind() if number in places else number for number in range(LENGTH)]

    def check(found: list[Any]) -> None:
        for number, each in enumerate(found):
            if number in places:
                assert isinstance(each, LookupError | achilles.SerializationError), each
                assert f"argument {number}" in str([each, getattr(each, "__notes__", "")])
            else:
                assert each == "int"

    for chunksize in (1, 2, LENGTH):
        check(outcomes(pool.imap(tasks.describe, iter(items), chunksize)))
        check(pool.map(tasks.describe, items, chunksize, on_error="return"))
    check(pool.map(tasks.describe, iter(items), on_error="return"))
    assert len(outcomes(pool.imap_unordered(tasks.describe, items))) == LENGTH
    with pytest.raises((LookupError, achilles.SerializationError)):
        pool.map(tasks.describe, items)
    check(outcomes(pool.imap(tasks.describe, iter(items), 2, buffersize=1)))


@pytest.mark.parametrize("kind", [tasks.Unsendable, tasks.Unloadable])
def test_arguments_of_calls_that_cannot_travel(face: Face, kind: type) -> None:
    calls = [face.call(tasks.describe, kind() if number % 50 == 7 else number) for number in range(200)]
    for number, call in enumerate(calls):
        if number % 50 == 7:
            with pytest.raises((LookupError, achilles.SerializationError)):
                call(PATIENCE_S)
        else:
            assert call(PATIENCE_S) == "int"


@pytest.mark.parametrize("func", [tasks.unloadable_at_three, tasks.unsendable_at_three])
def test_results_that_cannot_travel(face: Face, func: Callable[[Any], Any]) -> None:
    calls = [face.call(func, number % 20) for number in range(100)]
    for number, call in enumerate(calls):
        if number % 20 == 3:
            with pytest.raises((MaybeEncodingError, LookupError)):
                call(PATIENCE_S)
        else:
            assert call(PATIENCE_S) == number % 20
    if isinstance(face, PoolFace):
        for chunksize in (1, 3, 10):
            found = outcomes(face.pool.imap(func, range(10), chunksize))
            assert isinstance(found.pop(3), MaybeEncodingError | LookupError)
            assert found == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        found = face.pool.map(func, range(1000), on_error="skip")
        assert found == [0, 1, 2, *range(4, 1000)]


def test_functions_that_cannot_travel(face: Face) -> None:
    held = tasks.Unsendable()
    with pytest.raises((LookupError, achilles.SerializationError)):
        face.call(lambda _: held, 1)(PATIENCE_S)
    with pytest.raises((LookupError, achilles.SerializationError)):
        face.all_of(lambda _: held, [1])
    assert face.all_of(tasks.square, [3]) == [9]
    assert face.call(tasks.square, 3)(PATIENCE_S) == 9


def test_retries(pool: achilles.Pool, tmp_path: Path) -> None:
    def items(name: str) -> list[tuple[str, int]]:
        folder = tmp_path / name
        folder.mkdir()
        return [(str(folder), number) for number in range(5)]

    assert pool.map(tasks.fail_first, items("map"), retries=1) == list(range(5))
    assert pool.map(tasks.fail_first, items("kind"), retries=1, retry_on=OSError) == list(range(5))
    assert pool.apply(tasks.fail_first, (items("apply")[3],), retries=1, retry_on=(OSError,)) == 3
    with pytest.raises(ConnectionError):
        pool.map(tasks.fail_first, items("other"), retries=5, retry_on=LookupError)
    with pytest.raises(tasks.Odd):
        pool.map(tasks.raise_odd, [1], retries=2)


def test_executor_retries(where: dict[str, Any], tmp_path: Path) -> None:
    with achilles.Executor(2, retries=1, retry_on=OSError, **where) as executor:
        assert list(executor.map(tasks.fail_first, [(str(tmp_path), 1)])) == [1]
        assert executor.submit(tasks.fail_first, (str(tmp_path), 2)).result(PATIENCE_S) == 2


def test_time_limits(pool: achilles.Pool) -> None:
    with pytest.raises(achilles.TaskTimeout):
        pool.apply(tasks.sleep_if, (1,), timeout=0.2)
    found = pool.map(tasks.sleep_if, [0, 1, 0], timeout=0.2, on_error="return")
    assert found[0] == found[2] == 0 and isinstance(found[1], achilles.TaskTimeout)
    assert isinstance(found[1], TimeoutError)
    with pytest.raises(achilles.TaskTimeout):
        next(pool.imap_unordered(tasks.sleep_if, [1], timeout=0.2))


def test_worker_deaths(face: Face) -> None:
    calls = [face.call(tasks.die_if, number) for number in (1, -2, 3)]
    assert (calls[0](PATIENCE_S), calls[2](PATIENCE_S)) == (1, 3)
    with pytest.raises(achilles.WorkerDiedError):
        calls[1](PATIENCE_S)
    with pytest.raises(achilles.WorkerDiedError):
        face.all_of(tasks.die_if, [1, -2, 3])
    if isinstance(face, PoolFace):
        found = face.pool.map(tasks.die_if, [1, -2, 3, 4], on_error="return")
        assert isinstance(found.pop(1), achilles.WorkerDiedError) and found == [1, 3, 4]
