"""How faces begin and end, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import achilles
from achilles.engines.cluster import close_idle_connections
from tests.integration.cluster import parties
from tests.integration.cluster.parties import wait_until
from tests.integration.pool.contract import tasks
from tests.integration.pool.contract.faces import PATIENCE_S, Face
from tests.integration.pool.contract.waiting_faces import PoolFace


@pytest.fixture
def pools(where: dict[str, Any]) -> Callable[..., achilles.Pool]:
    """Makes pools."""

    def make(*arguments: Any, **options: Any) -> achilles.Pool:
        return achilles.Pool(*(arguments or (2,)), **options, **where)

    return make


@pytest.fixture
def executors(where: dict[str, Any]) -> Callable[..., achilles.Executor]:
    """Makes executors."""

    def make(*arguments: Any, **options: Any) -> achilles.Executor:
        return achilles.Executor(*(arguments or (2,)), **options, **where)

    return make


def items_of(folder: Path, length: int) -> list[tuple[str, int]]:
    return [(str(folder), number) for number in range(length)]


def run_of(folder: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(folder))


def test_what_was_asked_for_is_done_before_the_end(ending: Callable[..., Face], tmp_path: Path) -> None:
    face = ending()
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    reads = [
        face.ordered(tasks.mark, items_of(folders[0], 50)),
        face.ordered(tasks.mark, iter(items_of(folders[1], 50)), chunksize=3),
    ]
    calls = [face.call(tasks.mark, item) for item in items_of(folders[2], 20)]
    assert next(reads[0]) == 0
    face.finish()
    assert list(map(run_of, folders)) == [list(range(50)), list(range(50)), list(range(20))]
    assert list(reads[0]) == list(range(1, 50))
    assert list(reads[1]) == list(range(50))
    assert [call(PATIENCE_S) for call in calls] == list(range(20))
    face.finish()
    face.cancel()


def test_close_ends_buffered_drawing(ending: Callable[..., Face]) -> None:
    # As python/cpython#155477: what waits for a reader must not keep the pool from ending.
    face = ending()
    unread = face.ordered(tasks.square, iter(range(1000)), buffersize=2)
    begun = face.ordered(tasks.square, iter(range(1000)), buffersize=2, chunksize=3)
    assert [next(begun) for _ in range(4)] == [0, 1, 4, 9]
    face.finish()
    for read, start in ((unread, 0), (begun, 4)):
        left = list(read)
        assert left == [number * number for number in range(start, start + len(left))]
        assert len(left) <= 12


def test_use_after_the_end(ending: Callable[..., Face]) -> None:
    for end in ("finish", "cancel"):
        face = ending()
        assert face.all_of(tasks.square, [2]) == [4]
        getattr(face, end)()
        for use in (face.all_of, face.ordered, face.unordered):
            with pytest.raises(face.closed_error):
                use(tasks.square, [2])
        with pytest.raises(face.closed_error):
            face.call(tasks.square, 2)(PATIENCE_S)


def test_who_waits_when_all_is_cancelled(ending: Callable[..., Face]) -> None:
    face = ending()
    call = face.call(tasks.sleep_long, 1)
    read = face.ordered(tasks.sleep_long, [1, 2])
    told: list[BaseException] = []

    def wait(on: Callable[[], Any]) -> None:
        try:
            on()
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            told.append(error)

    waits = [lambda: call(None), lambda: next(read), lambda: face.all_of(tasks.sleep_long, [1, 2])]
    if isinstance(face, PoolFace):
        waits.append(face.pool.map_async(tasks.sleep_long, [1]).get)
    threads = [threading.Thread(target=wait, args=(each,)) for each in waits]
    for thread in threads:
        thread.start()
    time.sleep(0.1)  # whether they wait yet or not, all are told
    face.cancel()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    for error in told:
        known = isinstance(error, concurrent.futures.CancelledError | achilles.TaskCancelled)
        # Or it had not begun to wait.
        assert known or isinstance(error, face.closed_error), repr(error)
    assert len(told) == len(waits)


def test_cancelling_futures(executors: Callable[..., achilles.Executor], tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    with executors() as executor:
        futures = [executor.submit(tasks.after_file, (gate, number)) for number in range(3000)]
        assert futures[-1].cancel() and futures[-1].cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            futures[-1].result(0)
        wait_until(futures[0].running)
        assert not futures[0].cancel()
        threading.Timer(0.1, Path(gate).touch).start()
        executor.shutdown(cancel_futures=True)
        assert futures[0].result(0) == 0
        assert all(future.done() for future in futures)
        cancelled = [future.cancelled() for future in futures]
        assert cancelled[-2] and not cancelled[0]
        done = [future.result() for future in futures if not future.cancelled()]
        assert done == list(range(len(done)))


def _exit(done: concurrent.futures.Future[Any]) -> None:
    # In this thread only what the callback raises at once matters.
    if threading.current_thread() is not threading.main_thread():
        raise SystemExit


def test_futures_of_the_standard_library(executors: Callable[..., achilles.Executor]) -> None:
    with executors() as executor:
        futures = [executor.submit(tasks.square, number) for number in range(10)]
        assert concurrent.futures.wait(futures, PATIENCE_S).not_done == set()
        assert {future.result() for future in concurrent.futures.as_completed(futures)} == {
            number * number for number in range(10)
        }

        async def gather() -> list[int]:
            wrapped = [asyncio.wrap_future(executor.submit(tasks.square, number)) for number in range(5)]
            found = list(await asyncio.gather(*wrapped))
            loop = asyncio.get_running_loop()
            found.append(await loop.run_in_executor(executor, tasks.square, 5))
            with pytest.raises(tasks.Odd):
                await loop.run_in_executor(executor, tasks.raise_odd, 5)
            return found

        assert asyncio.run(gather()) == [0, 1, 4, 9, 16, 25]
        called: list[Any] = []
        futures = [executor.submit(tasks.square, number) for number in range(200)]
        for future in futures:
            future.add_done_callback(lambda done: called.append(done.result()))
            future.add_done_callback(_exit)
        assert [future.result(PATIENCE_S) for future in futures] == [number * number for number in range(200)]
        wait_until(lambda: len(called) == 200)


def test_iterators_that_nobody_reads(pools: Callable[..., achilles.Pool], tmp_path: Path) -> None:
    with pools() as pool:
        for number, options in enumerate(({}, {"buffersize": 2}, {"chunksize": 3, "buffersize": 1})):
            folder = tmp_path / str(number)
            folder.mkdir()
            pool.imap(tasks.mark, items_of(folder, 30), **options)
            gc.collect()
            wait_until(lambda folder=folder: run_of(folder) == list(range(30)))
        # One that was read is not wanted any more.
        read = pool.imap(
            tasks.after_file, ((str(tmp_path / str(number // 2)), number) for number in range(9))
        )
        assert next(read) == 0
        del read
        gc.collect()
        assert pool.map(tasks.square, [3]) == [9]
    pool.join()


def test_executor_that_nobody_keeps(executors: Callable[..., achilles.Executor], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    future = executors().submit(tasks.after_file, (str(gate), 3))
    gc.collect()
    gate.touch()
    assert future.result(PATIENCE_S) == 3
    gate.unlink()
    executor = executors()
    future = executor.submit(tasks.after_file, (str(gate), 4))
    executor.shutdown(wait=False)
    assert not future.done()
    gate.touch()
    assert future.result(PATIENCE_S) == 4
    executor.shutdown()


def test_forgotten_pool(pools: Callable[..., achilles.Pool]) -> None:
    pool = pools()
    pool.map(tasks.square, [3])
    pids = pool._pool
    dropped = [pool]
    del pool
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        dropped.clear()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), what="for its workers")


def test_with_block_that_raises(pools: Callable[..., achilles.Pool]) -> None:
    pool = pools()
    try:
        with pool:
            pool.map_async(tasks.sleep_long, [1])
            raise LookupError
    except LookupError:
        pool.join()
    with pytest.raises(ValueError, match="not running"):
        pool.map(tasks.square, [1])


def test_initializer(ending: Callable[..., Face], tmp_path: Path) -> None:
    face = ending(initializer=tasks.set_up, initargs=(str(tmp_path),))
    calls = [face.call(tasks.times_set_up, str(tmp_path)) for _ in range(30)]
    found = [call(PATIENCE_S) for call in calls]
    found += face.all_of(tasks.times_set_up, [str(tmp_path)] * 100)
    found += list(face.ordered(tasks.times_set_up, [str(tmp_path)] * 30))
    assert {times for _, times in found} == {1}
    assert {str(pid) for pid, _ in found} <= set(os.listdir(tmp_path))
    face.finish()


@pytest.mark.parametrize("how", ["raises", "unsendable"])
def test_initializer_that_fails(ending: Callable[..., Face], how: str) -> None:
    if how == "raises":
        face = ending(initializer=tasks.fail_to_set_up)
        known: Any = achilles.InitializerError
        assert issubclass(known, concurrent.futures.process.BrokenProcessPool)
    else:
        face = ending(initializer=tasks.identity, initargs=(tasks.Unsendable(),))
        known = (achilles.SerializationError, LookupError)
    with pytest.raises(known):
        face.all_of(tasks.square, [1, 2])
    with pytest.raises(known):
        list(face.ordered(tasks.square, [1, 2]))
    with pytest.raises(known):
        face.call(tasks.square, 1)(PATIENCE_S)
    face.finish()


def test_pools_keep_their_workers_apart() -> None:
    with achilles.Pool(1, address="local") as one, achilles.Pool(1, address="local") as other:
        assert one.apply(tasks.remember, (1,)) == [1]
        assert other.apply(tasks.remember, (2,)) == [2]
        assert one.map(tasks.remember, [3]) == [[1, 3]]
        assert other.map(tasks.remember, [4]) == [[2, 4]]
    one.join()
    other.join()


@pytest.mark.parametrize("used", [False, True])
def test_forked_child(ending: Callable[..., Face], used: bool) -> None:
    face = ending()
    read = None
    if used:
        assert face.call(tasks.square, 3)(PATIENCE_S) == 9
        read = face.ordered(tasks.square, range(100))
        assert next(read) == 0
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(30)
            refused = 0
            for use in (face.all_of, face.ordered, face.unordered, face.call):
                try:
                    found = use(tasks.square, [3])
                    if use == face.call:
                        found(PATIENCE_S)
                except RuntimeError as error:
                    refused += "forked" in str(error)
            if isinstance(face, PoolFace):
                face.pool.terminate()
                face.pool.join()
            else:
                face.finish()
            del read, face
            gc.collect()
            code = 0 if refused == 4 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if read is not None:
        assert list(read) == [number * number for number in range(1, 100)]
    assert face.all_of(tasks.square, [3]) == [9]
    assert face.call(tasks.square, 3)(PATIENCE_S) == 9
    face.finish()


def test_many_one_after_the_other(ending: Callable[..., Face]) -> None:
    def count() -> tuple[int, int, int]:
        close_idle_connections()
        return len(parties.own_threads()), parties.own_descriptors().total(), parties.own_children()[1]

    def use(face: Face) -> None:
        assert face.call(tasks.square, 3)(PATIENCE_S) == 9
        read = face.ordered(tasks.square, range(10))
        assert next(read) == 0
        read.close()

    def several(times: int) -> None:
        for number in range(times):
            face = ending(processes=1)
            if number % 2:
                use(face)
            (face.finish if number % 3 else face.cancel)()

    several(3)
    before = count()
    several(6)
    wait_until(lambda: all(now <= most for now, most in zip(count(), before, strict=True)))


WRONG: list[tuple[str, Callable[[achilles.Pool], Any], type[Exception]]] = [
    ("func", lambda pool: pool.map(3, [1]), TypeError),
    ("func", lambda pool: pool.apply(3), TypeError),
    ("func", lambda pool: pool.starmap(3, [1]), TypeError),
    ("args", lambda pool: pool.map(abs, 3), TypeError),
    ("args", lambda pool: pool.map_async(abs, None), TypeError),
    ("args", lambda pool: pool.imap(abs, 3), TypeError),
    ("args", lambda pool: pool.apply(abs, 3), TypeError),
    ("kwds", lambda pool: pool.apply(abs, (), 3), TypeError),
    ("chunksize", lambda pool: pool.map(abs, [1], "2"), TypeError),
    ("chunksize", lambda pool: pool.map(abs, [1], 0), ValueError),
    ("chunksize", lambda pool: pool.imap(abs, [1], 0, 2), ValueError),
    ("chunksize", lambda pool: pool.imap(abs, [1], 1.5, 2), TypeError),
    ("buffersize", lambda pool: pool.imap(abs, [1], 1, 0), ValueError),
    ("buffersize", lambda pool: pool.imap(abs, [1], 1, True), TypeError),
    ("timeout", lambda pool: pool.map(abs, [1], timeout="1"), TypeError),
    ("timeout", lambda pool: pool.apply(abs, (1,), timeout=[1]), TypeError),
    ("timeout", lambda pool: pool.apply(abs, (1,), timeout=-1), ValueError),
    ("timeout", lambda pool: pool.apply_async(abs, (1,)).get("1"), TypeError),
    ("timeout", lambda pool: pool.imap(abs, [1]).next("1"), TypeError),
    ("retries", lambda pool: pool.map(abs, [1], retries=-1), ValueError),
    ("retries", lambda pool: pool.apply(abs, (1,), retries="1"), TypeError),
    ("retry_on", lambda pool: pool.apply(abs, (1,), retries=1, retry_on=[ValueError]), TypeError),
    ("on_error", lambda pool: pool.map(abs, [1], on_error="rise"), ValueError),
    ("on_error", lambda pool: pool.apply(abs, (1,), on_error="skip"), TypeError),
    ("progress", lambda pool: pool.imap(abs, [1], progress=3), TypeError),
    ("reducer", lambda pool: pool.imap(abs, [1], reducer=3), TypeError),
    ("callback", lambda pool: pool.apply_async(abs, (1,), callback=3), TypeError),
    ("error_callback", lambda pool: pool.map(abs, [1], error_callback=3), TypeError),
    ("nonsense", lambda pool: pool.map(abs, [1], nonsense=3), TypeError),
    ("nonsense", lambda pool: pool.apply(abs, (1,), nonsense=3), TypeError),
    ("still running", lambda pool: pool.join(), ValueError),
]


def test_wrong_arguments_of_calls() -> None:
    with achilles.Pool(1, address="local") as pool:
        for name, use, error in WRONG:
            with pytest.raises(error, match=name):
                use(pool)
        assert pool.map(abs, [-1]) == [1]
        pool.close()
        pool.join()  # nothing is left that it would wait for


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("processes", 0, ValueError),
        ("processes", 1.5, TypeError),
        ("maxtasksperchild", 0, ValueError),
        ("initializer", 3, TypeError),
        ("initargs", 3, TypeError),
        ("startup_timeout", "1", TypeError),
        ("startup_timeout", -1, ValueError),
        ("memory_budget", "much", achilles.ConfigError),
        ("nonsense", 3, TypeError),
    ],
)
def test_wrong_arguments_of_pools(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"(?i){name}"):
        achilles.Pool(**{"address": "local", name: value})
    standard = {"processes": "max_workers", "maxtasksperchild": "max_tasks_per_child"}
    name = standard.get(name, name)
    with pytest.raises(error, match=f"(?i){name}"):
        achilles.Executor(**{"address": "local", name: value})


def test_wrong_arguments_of_executors() -> None:
    with achilles.Executor(1, address="local") as executor:
        for name, use, error in (
            ("fn", lambda: executor.submit(3), TypeError),
            ("fn", lambda: executor.map(3, [1]), TypeError),
            ("timeout", lambda: executor.map(abs, [1], timeout="1"), TypeError),
            ("chunksize", lambda: executor.map(abs, [1], chunksize=0), ValueError),
            ("buffersize", lambda: executor.map(abs, [1], buffersize=0), ValueError),
        ):
            with pytest.raises(error, match=name):
                use()
    with pytest.raises(TypeError, match="on_error"):
        achilles.Executor(1, address="local", on_error="skip")
