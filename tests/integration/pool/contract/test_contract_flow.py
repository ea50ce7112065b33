"""How arguments are drawn and results come: lazily, bounded, in order, of any size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, product
from pathlib import Path
from typing import Any

import pytest

import achilles
from achilles.core.long_pieces import SLICE_PATIENCE_NS
from tests.integration.cluster.parties import wait_until
from tests.integration.pool.contract import tasks
from tests.integration.pool.contract.faces import CANNOT, ENDING, PATIENCE_S, Face
from tests.integration.pool.contract.waiting_faces import ExecutorFace, PoolFace

MEGABYTE = 1 << 20


def test_no_reason_is_out_of_date() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for reasons in CANNOT.values():
        assert all(what == ENDING or f'("{what}")' in tests for what in reasons)


class Drawn:
    """An endless iterable that counts what was drawn."""

    def __init__(self) -> None:
        self.count = 0
        self.ended = False

    def __iter__(self) -> Iterator[int]:
        try:
            for number in count():
                self.count += 1
                yield number
        finally:
            self.ended = True


def _close(iterator: Any) -> None:
    iterator.close()


def _stands_still(drawn: Drawn) -> bool:
    before = drawn.count
    threading.Event().wait(0.1)
    return drawn.count == before


@pytest.mark.parametrize("unordered", [False, True])
def test_endless_iterables(face: Face, unordered: bool) -> None:
    if unordered:
        face.needs("lazy results as they come")
    drawn = Drawn()
    read = (face.unordered if unordered else face.ordered)(tasks.square, drawn)
    length = min(100, 2 * face.most_calls)
    first = [next(read) for _ in range(length)]
    assert unordered or first == [number * number for number in range(length)]
    assert len(set(first)) == length
    if face.can("a bounded lead"):
        # While nobody reads, drawing comes to a halt.
        wait_until(lambda: _stands_still(drawn), what="for drawing to pause")
    assert drawn.count < 1_000_000
    _close(read)
    del read
    wait_until(lambda: drawn.ended, what="for the generator to be closed")
    assert face.all_of(tasks.square, [3]) == [9]


def test_buffersize_is_exact(face: Face) -> None:
    face.needs("buffersize")
    for chunksize, buffersize in ((1, 1), (1, 3), (4, 2)):
        check_buffersize(face, chunksize, buffersize)


def check_buffersize(face: Face, chunksize: int, buffersize: int) -> None:
    drawn = Drawn()
    read = face.ordered(tasks.square, drawn, chunksize=chunksize, buffersize=buffersize)
    most = chunksize * buffersize
    wait_until(lambda: drawn.count == most, what="for the buffer to be full")
    assert _stands_still(drawn)
    for taken in range(1, 3 * most + 1):
        assert next(read) == (taken - 1) ** 2
        # Whole chunks are drawn, and never more than there is room for.
        wait_until(lambda taken=taken: drawn.count >= taken + most - chunksize + 1)
        assert drawn.count <= taken + most
    _close(read)


def test_buffersize_of_reduced_chunks(face: Face) -> None:
    face.needs("options for many items")
    expected = [sum(number * number for number in range(start, start + 4)) for start in range(0, 100, 4)]
    chosen: dict[str, Any] = {"chunksize": 4, "buffersize": 2, "reducer": tasks.add_up}
    assert list(face.ordered(tasks.square, range(100), **chosen)) == expected
    drawn = Drawn()
    read = face.ordered(tasks.square, drawn, **chosen)
    for number in range(10):
        assert next(read) == expected[number]
        assert drawn.count <= 4 * (number + 1) + 8
    _close(read)


@pytest.mark.parametrize("unordered", [False, True])
def test_iterable_that_waits_for_its_results(face: Face, unordered: bool) -> None:
    face.needs("arguments from results")
    if unordered:
        face.needs("lazy results as they come")
    seen = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(5):
            yield number
            assert seen.acquire(timeout=PATIENCE_S), "its result did not come"

    for _ in (face.unordered if unordered else face.ordered)(tasks.square, items()):
        seen.release()


def test_huge_items_among_tiny_ones(face: Face) -> None:
    blobs = [bytes([number]) * (6 * MEGABYTE if number == 3 else 10) for number in range(8)]
    expected = [(len(blob), blob) for blob in blobs]
    assert face.all_of(tasks.length_and_more, blobs) == expected
    assert list(face.ordered(tasks.length_and_more, iter(blobs))) == expected
    assert sorted(face.unordered(tasks.length_and_more, blobs)) == sorted(expected)
    calls = [face.call(tasks.length_and_more, blob) for blob in blobs]
    assert [call(PATIENCE_S) for call in calls] == expected


def test_many_tiny_items(face: Face) -> None:
    numbers = range(4 * face.most_calls)
    squares = [number * number for number in numbers]
    assert face.all_of(tasks.square, numbers) == squares
    assert list(face.ordered(tasks.square, iter(numbers), chunksize=7)) == squares
    assert sorted(face.unordered(tasks.square, numbers[:2_000])) == squares[:2_000]
    calls = [face.call(tasks.square, number) for number in numbers[: face.most_calls]]
    assert [call(PATIENCE_S) for call in calls] == squares[: face.most_calls]


@pytest.mark.parametrize("nothing", [[], (), iter(()), range(0), {}], ids=lambda found: type(found).__name__)
def test_nothing(face: Face, nothing: Any) -> None:
    assert face.all_of(tasks.square, nothing) == []
    assert list(face.ordered(tasks.square, nothing)) == []
    if face.can("lazy results as they come"):
        assert list(face.unordered(tasks.square, nothing)) == []
    if face.can("buffersize"):
        assert list(face.ordered(tasks.square, nothing, chunksize=5, buffersize=1)) == []
    if face.can("options for many items"):
        assert list(face.ordered(tasks.square, nothing, chunksize=3, reducer=tasks.add_up)) == []
    if isinstance(face, PoolFace):
        assert face.pool.map_async(tasks.square, nothing).get(PATIENCE_S) == []
        assert face.pool.starmap(tasks.square, nothing, 3) == []


def test_chunks_run_in_one_worker(face: Face) -> None:
    face.needs("chosen chunks")
    length = 11
    for chunksize in (2, 5):
        for read in (
            _soon(lambda: face.all_of(tasks.pid_of, range(length), chunksize=chunksize)),  # noqa: B023
            _soon(lambda: face.ordered(tasks.pid_of, iter(range(length)), chunksize=chunksize)),  # noqa: B023
        ):
            assert len(read) == length
            for start in range(0, length, chunksize):
                assert len(set(read[start : start + chunksize])) == 1


def _soon(call: Callable[[], Iterable[Any]]) -> list[Any]:
    """What a call returns, of one in which no chunk took so long that others may get a part of it."""
    results: list[Any] = []

    def is_quick() -> bool:
        began_ns = time.monotonic_ns()
        results[:] = call()
        return time.monotonic_ns() - began_ns < SLICE_PATIENCE_NS

    wait_until(is_quick)
    return results


def test_progress(face: Face) -> None:
    face.needs("options for many items")

    def check(told: list[tuple[int, int | None]], total: int | None) -> None:
        done = [count for count, _ in told]
        assert done == sorted(done) and done[-1] == 10
        assert {of for _, of in told} == {total}

    for run, chunksize in product((face.all_of, face.ordered, face.unordered), (1, 3, None)):
        for more in ({}, {"reducer": tasks.add_up}):
            for items, total in ((range(10), 10), ((number for number in range(10)), None)):
                told: list[tuple[int, int | None]] = []

                def tell(*counts: Any, told: list[Any] = told) -> None:
                    told.append(counts)

                list(run(tasks.square, items, chunksize=chunksize, progress=tell, **more))
                check(told, total)


def test_reducer(face: Face) -> None:
    face.needs("options for many items")
    by_four: dict[str, Any] = {"chunksize": 4, "reducer": tasks.add_up}
    squares = [number * number for number in range(10)]
    chunks = [sum(squares[:4]), sum(squares[4:8]), sum(squares[8:])]
    assert face.all_of(tasks.square, range(10), **by_four) == chunks
    assert list(face.ordered(tasks.square, iter(range(10)), **by_four)) == chunks
    assert sorted(face.unordered(tasks.square, range(10), **by_four)) == sorted(chunks)
    items = [(number, LookupError(number) if number == 5 else None) for number in range(10)]
    with pytest.raises(LookupError):
        face.all_of(tasks.fail_at, items, **by_four)
    skipped = face.all_of(tasks.fail_at, items, on_error="skip", **by_four)
    assert skipped == [0 + 1 + 2 + 3, 4 + 6 + 7, 8 + 9]
    told: list[BaseException] = []
    read = face.ordered(tasks.fail_at, items, error_callback=told.append, **by_four)
    assert next(read) == 6
    with pytest.raises(LookupError):
        next(read)
    assert list(read) == [17] and len(told) == 1


def test_output(face: Face, capfd: pytest.CaptureFixture[str]) -> None:
    spoken: list[str] = []

    def heard(what: str) -> bool:
        spoken.append(capfd.readouterr().out)
        lines = [line for line in "".join(spoken).splitlines() if line.endswith(f"spoken {what}")]
        assert all("item" in line or "[" in line for line in lines), lines
        return bool(lines)

    face.call(tasks.speak, "called")(PATIENCE_S)
    wait_until(lambda: heard("called"))
    face.all_of(tasks.speak, ["mapped"])
    wait_until(lambda: heard("mapped"))
    list(face.ordered(tasks.speak, ["read"]))
    wait_until(lambda: heard("read"))
    if face.can("options"):
        with face.told(output=False) as silent:
            silent.all_of(tasks.speak, ["quiet"])
            silent.call(tasks.speak, "quiet")(PATIENCE_S)
        face.call(tasks.speak, "later")(PATIENCE_S)
        wait_until(lambda: heard("later"))
        assert not heard("quiet")


def test_patience(face: Face, tmp_path: Path) -> None:
    face.needs("patience")
    gate = tmp_path / "gate"
    call = face.call(tasks.after_file, (str(gate), 1))
    with pytest.raises(TimeoutError):
        call(0.01)
    with pytest.raises(TimeoutError):
        face.next_within(0.01, tasks.after_file, [(str(gate), 2)])
    gate.touch()
    assert call(PATIENCE_S) == 1
    assert face.next_within(PATIENCE_S, tasks.after_file, [(str(gate), 2)]) == 2


def test_patience_with_an_iterator(pool: achilles.Pool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    read = pool.imap(tasks.after_file, [(str(gate), 2)])
    with pytest.raises(TimeoutError):
        read.next(0.01)
    with pytest.raises(TimeoutError):
        read.next(timeout=0)
    gate.touch()
    assert read.next(PATIENCE_S) == 2
    with pytest.raises(StopIteration):
        read.next(PATIENCE_S)


def test_threads_share_a_face(face: Face) -> None:
    failed: list[BaseException] = []

    def use(number: int) -> None:
        try:
            numbers = range(number, number + 50)
            squares = [each * each for each in numbers]
            for _ in range(2):
                assert face.all_of(tasks.square, numbers) == squares
                assert list(face.ordered(tasks.square, iter(numbers))) == squares
                calls = [face.call(tasks.square, each) for each in numbers[: face.most_calls // 8]]
                assert [call(PATIENCE_S) for call in calls] == squares[: face.most_calls // 8]
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=use, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_threads_share_an_iterator(face: Face) -> None:
    face.needs("shared iterators")
    read = face.unordered(tasks.square, range(1000))
    found: list[list[int]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(read)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chain(*found)) == [number * number for number in range(1000)]


def test_calls_from_callbacks(pool: achilles.Pool) -> None:
    found: list[Any] = []

    def use(value: int) -> None:
        found.append(pool.map(tasks.square, range(value)))
        pool.apply_async(tasks.square, (7,), callback=found.append)
        found.append(list(pool.imap(tasks.square, range(2))))

    pool.apply_async(tasks.square, (2,), callback=use).wait(PATIENCE_S)
    wait_until(lambda: len(found) == 3)
    assert sorted(map(str, found)) == ["49", "[0, 1, 4, 9]", "[0, 1]"]
    found.clear()
    pool.map_async(tasks.square, [1], callback=lambda values: use(values[0])).wait(PATIENCE_S)
    wait_until(lambda: len(found) == 3)


def test_callbacks_that_would_wait_for_themselves(
    face: Face, faces: Callable[..., Face], tmp_path: Path
) -> None:
    face.needs("callbacks within readers")
    told: list[Any] = []

    def note(use: Callable[[], Any]) -> None:
        try:
            use()
        except RuntimeError as error:
            told.append(error)

    face = faces()
    if isinstance(face, PoolFace):
        pool = face.pool

        def end(_: Any) -> None:
            pool.close()
            note(pool.join)

        for callback in (lambda _: note(lambda: pool.apply(tasks.square, (3,))), end):
            pool.apply_async(tasks.square, (2,), callback=callback).get(PATIENCE_S)
    else:
        assert isinstance(face, ExecutorFace)
        executor = face.executor
        for number, use in enumerate((lambda: executor.submit(tasks.square, 3).result(), executor.shutdown)):
            gate = tmp_path / str(number)
            future = executor.submit(tasks.after_file, (str(gate), 2))
            future.add_done_callback(lambda _, use=use: note(use))
            gate.touch()  # only now, so that the callback runs where results are read
            wait_until(lambda number=number: len(told) > number)
    face.finish()
    assert [str(error).partition(" cannot")[0] for error in told] == ["a callback"] * 2


def test_pools_within_tasks(face: Face) -> None:
    squares = [0, 1, 4]
    assert face.call(tasks.own_pool_within, 3)(PATIENCE_S) == squares


def test_pickled_pools_within_tasks(face: Face) -> None:
    face.needs("pickled pools")
    squares = [0, 1, 4]
    if isinstance(face, PoolFace):
        assert face.pool.apply(tasks.squares_within, (face.pool, 3)) == squares
        assert face.pool.starmap(tasks.squares_within, [(face.pool, 3)] * 8, 1) == [squares] * 8
    else:
        assert isinstance(face, ExecutorFace)
        made = face.executor
        futures = [made.submit(tasks.squares_within_executor, made, 3) for _ in range(8)]
        assert [future.result(PATIENCE_S) for future in futures] == [squares] * 8
