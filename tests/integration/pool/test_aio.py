"""Pools in asyncio programs: results, errors, cancellation, and a loop that is never held up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import achilles
from achilles import aio
from achilles.engines.cluster import close_idle_connections
from tests.integration.forked_party import ROOT
from tests.integration.pool.asyncio_programs import (
    fail_at_three,
    numbers,
    run,
    square,
    until,
)

Pools = Callable[..., aio.Pool]


@pytest.fixture(scope="module", autouse=True)
def _end_of_the_shared_workers(nothing_left_of_the_module: None) -> Iterator[None]:
    """Calls without a pool leave them for the next one."""
    yield
    from achilles.engines import local

    if local._engine is not None:
        local._engine.close()
        local._engine = None
    close_idle_connections()


def test_every_call_of_a_pool(async_pools: Pools) -> None:
    async def main() -> None:
        async with async_pools(2) as pool:
            assert await pool.map(square, [4, 5]) == [16, 25]
            assert await pool.starmap(divmod, [(7, 2), (9, 4)]) == [(3, 1), (2, 1)]
            assert await pool.apply(int, ("11",), {"base": 2}) == 3
            assert [n async for n in pool.imap(square, range(3))] == [0, 1, 4]
            assert sorted([n async for n in pool.imap_unordered(square, range(3))]) == [0, 1, 4]
            # Lists are arguments as any others.
            assert await pool.map(sum, [[1, 2], [3]]) == [3, 3]
            # Many at once.
            assert await asyncio.gather(*(pool.map(square, [n, n]) for n in range(10))) == [
                [n * n] * 2 for n in range(10)
            ]

    run(main)


def test_calls_without_a_pool(reach: dict[str, Any]) -> None:
    async def main() -> None:
        assert await aio.map(square, range(5), **reach) == [0, 1, 4, 9, 16]
        assert await aio.starmap(pow, [(2, 3), (3, 2)], **reach) == [8, 9]
        assert await aio.apply(int, ("11",), {"base": 2}, **reach) == 3
        assert [n async for n in aio.imap(square, range(5), **reach)] == [0, 1, 4, 9, 16]
        assert sorted([n async for n in aio.imap_unordered(square, range(5), **reach)]) == [0, 1, 4, 9, 16]
        with pytest.raises(LookupError):
            await aio.apply(fail_at_three, (3,), **reach)

    # One loop after the other.
    run(main)
    run(main)


def test_asynchronous_arguments(async_pools: Pools) -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            async for number in numbers(70):
                if number % 10 == 0:
                    await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def main() -> None:
        async with async_pools(2) as pool:
            assert await pool.map(square, source()) == [n * n for n in range(70)]
            assert [n async for n in pool.imap(square, source)] == [n * n for n in range(70)]
            assert len(closed) == 2
            assert [n async for n in pool.imap(sum, source_of_lists(), reducer=sum, chunksize=2)] == [6, 15]

    async def source_of_lists() -> AsyncIterator[list[int]]:
        for each in ([1, 2], [3], [4, 5], [6]):
            yield each

    run(main)


def test_an_endless_asynchronous_generator_is_drawn_as_far_as_is_read(async_pools: Pools) -> None:
    drawn = closed = 0

    async def source() -> AsyncIterator[int]:
        nonlocal drawn, closed
        try:
            async for number in numbers():
                drawn += 1
                yield number
        finally:
            closed += 1

    async def main() -> None:
        async with async_pools(2) as pool:
            async with contextlib.aclosing(pool.imap(square, source(), buffersize=3)) as results:
                assert [await anext(results) for _ in range(50)] == [n * n for n in range(50)]
            # Three ahead, one that waits to be drawn, and one that was asked for.
            assert drawn <= 50 + 5
            assert closed == 1
            async for result in pool.imap_unordered(square, source()):
                if result == 100:
                    break
            await until(lambda: closed == 2)
            stopped = drawn
            assert await pool.map(square, [1]) == [1]
            assert drawn == stopped

    run(main)


def test_arguments_that_need_the_results_of_earlier_ones(async_pools: Pools) -> None:
    async def main() -> None:
        got: asyncio.Queue[int] = asyncio.Queue()

        async def source() -> AsyncIterator[int]:
            number = 2
            for _ in range(3):
                yield number
                number = await got.get()

        async with async_pools(2) as pool:
            found = []
            async for result in pool.imap(square, source()):
                found.append(result)
                got.put_nowait(result)
            assert found == [4, 16, 256]

    run(main)


def test_a_pipeline_of_two_iterations(async_pools: Pools) -> None:
    async def main() -> None:
        async with async_pools(2) as pool:
            twice = pool.imap_unordered(square, pool.imap(square, numbers(500)))
            assert sorted([n async for n in twice]) == [n**4 for n in range(500)]

    run(main)


def test_what_arguments_raise(async_pools: Pools) -> None:
    async def breaking() -> AsyncIterator[int]:
        yield 1
        raise OSError("no more")

    async def main() -> None:
        async with async_pools(2) as pool:
            with pytest.raises(OSError, match="no more"):
                await pool.map(square, breaking())
            results = pool.imap(square, breaking())
            assert await anext(results) == 1
            with pytest.raises(OSError, match="no more"):
                await anext(results)
            with pytest.raises(StopAsyncIteration):
                await anext(results)

    run(main)


def test_callbacks_and_wrong_arguments(async_pools: Pools) -> None:
    told: list[BaseException] = []
    seen: list[Any] = []
    threads = set()

    def progress(done: int, total: int | None) -> None:
        threads.add(threading.get_ident())
        seen.append((done, total))

    def tell(error: BaseException) -> None:
        threads.add(threading.get_ident())
        told.append(error)

    async def main() -> None:
        async with async_pools(2) as pool:
            with pytest.raises(LookupError):
                await pool.map(fail_at_three, range(6), error_callback=tell, progress=progress)
            assert seen[-1] == (6, 6)
            results = pool.imap(fail_at_three, range(5), error_callback=tell, progress=progress)
            assert [await anext(results) for _ in range(3)] == [0, 1, 2]
            with pytest.raises(LookupError):
                await anext(results)
            assert [n async for n in results] == [4]
            assert seen[-1] == (5, 5)
            with pytest.raises(LookupError):
                await pool.apply(fail_at_three, (3,), error_callback=tell)
            # What is wrong with a call is said before anything starts.
            for wrong in ({"chunksize": 0}, {"on_error": "shrug"}, {"retries": -1}, {"buffersize": 0}):
                with pytest.raises(ValueError):
                    pool.imap(square, [1], **wrong)
            with pytest.raises(TypeError):
                await pool.map(None, [1])
            with pytest.raises(TypeError):
                await pool.map(square, 5)
            with pytest.raises(TypeError, match="progress"):
                await pool.apply(square, (1,), progress=True)

    run(main)
    assert len(told) == 3 and all(isinstance(error, LookupError) for error in told)
    assert threads == {threading.get_ident()}


def test_what_a_callback_raises_ends_the_call(async_pools: Pools) -> None:
    def progress(done: int, total: int | None) -> None:
        raise ValueError("of the callback")

    async def main() -> None:
        async with async_pools(2) as pool:
            with pytest.raises(ValueError, match="of the callback"):
                await pool.map(square, range(6), progress=progress)
            assert await pool.map(square, [2]) == [4]

    run(main)


class Slow:
    """What takes its time to be serialized, and holds no lock meanwhile."""

    def __reduce__(self) -> tuple[Any, ...]:
        time.sleep(0.5)
        return (Slow, ())


def size(_: object) -> int:
    return 1


def test_the_loop_goes_on_ticking(async_pools: Pools) -> None:
    longest_s = 0.0
    what = ""

    async def tick() -> None:
        nonlocal longest_s
        before_s = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now_s = time.monotonic()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s

    def slowly() -> Iterator[int]:
        time.sleep(0.5)
        yield 1

    async def main() -> None:
        nonlocal longest_s, what
        ticking = asyncio.create_task(tick())
        async with async_pools(2) as pool:
            calls: list[tuple[str, Callable[[], Any]]] = [
                ("map", lambda: pool.map(size, [Slow()])),
                ("apply", lambda: pool.apply(size, (Slow(),))),
                ("arguments", lambda: pool.map(square, slowly())),
                ("large arguments", lambda: pool.map(len, [bytes(30_000_000)] * 2)),
            ]
            for what, call in calls:
                await call()
                # Half of what any of these would hold it up for; other processes may do so, too.
                if what != "large arguments":
                    assert longest_s < 0.4, what
                longest_s = 0.0
        ticking.cancel()

    asyncio.run(main())


def test_the_life_of_a_pool(async_pools: Pools) -> None:
    async def main() -> None:
        pool = async_pools(2)
        assert "not started" in repr(pool)
        with pytest.raises(ValueError, match="still running"):
            await pool.join()
        calls = [
            asyncio.create_task(pool.map(square, range(100))),
            asyncio.create_task(pool.apply(square, (3,))),
        ]
        await asyncio.sleep(0)
        # What was asked for is done, though nothing of it had begun.
        await pool.close()
        assert await asyncio.gather(*calls) == [[n * n for n in range(100)], 9]
        await pool.join()
        for call in (pool.map(square, [1]), pool.apply(square, (1,))):
            with pytest.raises(ValueError, match="Pool not running"):
                await call
        with pytest.raises(ValueError, match="Pool not running"):
            pool.imap(square, [1])
        unused = async_pools(2)
        await unused.close()
        await unused.terminate()
        await unused.join()

    run(main)


def remember(name: str) -> None:
    os.environ["REMEMBERED"] = name


def test_initializers_and_replaced_workers(reach: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.Pool(2, remember, ("me",), 1, **reach) as pool:
            assert set(await pool.map(os.getenv, ["REMEMBERED"] * 4, chunksize=1)) == {"me"}

    run(main)


def test_a_server_that_cannot_be_reached_and_settings_that_are_wrong() -> None:
    async def main() -> None:
        with pytest.raises(achilles.ServerUnreachable):
            await aio.map(square, [1], address="127.0.0.1:1")
        with pytest.raises(achilles.ServerUnreachable):
            async for _ in aio.imap(square, numbers(), address="127.0.0.1:1"):
                pass
        async with aio.Pool(address="127.0.0.1:1") as pool:
            with pytest.raises(achilles.ServerUnreachable):
                await pool.apply(square, (1,))
        with pytest.raises(achilles.ConfigError):
            await aio.map(square, [1], address="no such address at all")
        with pytest.raises(achilles.ConfigError):
            async with aio.Pool(address="no such address at all"):
                pass
        with pytest.raises(ValueError):
            aio.Pool(0)

    run(main)


def test_importing_achilles_loads_it_when_it_is_asked_for() -> None:
    import subprocess
    import sys

    code = "import sys, achilles\nprint('asyncio' in sys.modules)\nprint(achilles.aio.map.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "map"]
