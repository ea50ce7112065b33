"""Calls of asyncio programs that are cancelled, left or overtaken by the end of their pool or loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import achilles
from achilles import aio
from tests.integration.pool.asyncio_programs import (
    numbers,
    run,
    square,
    until,
    wait_at,
    waiting_at,
)

Pools = Callable[..., aio.Pool]


@pytest.mark.parametrize("how", ["map", "group"])
def test_cancelling_stops_what_runs(async_pools: Pools, tmp_path: Path, how: str) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        async with async_pools(2) as pool:

            async def group() -> None:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(8):
                        tasks.create_task(pool.apply(wait_at, (str(gate),)))

            async def call() -> None:
                if how == "map":
                    await pool.map(wait_at, [str(gate)] * 8)
                else:
                    await group()

            task = asyncio.create_task(call())
            await until(lambda: waiting_at(gate))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The workers are free again, or new ones: each of these needs both of a node's.
            assert await asyncio.wait_for(pool.map(square, range(40), chunksize=1), 30)

    run(main)
    assert not gate.exists()


def test_time_limits_of_asyncio(async_pools: Pools) -> None:
    async def main() -> None:
        async with async_pools(2) as pool:
            for call in (pool.map(time.sleep, [600] * 4), pool.apply(time.sleep, (600,))):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await call
            assert await pool.map(square, [3]) == [9]

    run(main)


def test_iterations_that_are_left(async_pools: Pools) -> None:
    async def main() -> None:
        async with async_pools(2) as pool:
            await pool.map(square, [1])
            threads = threading.active_count()
            async for _ in pool.imap(square, itertools.count()):
                break
            for _ in range(3):
                results = pool.imap_unordered(square, itertools.count())
                assert await anext(results) is not None
                await results.aclose()
                await results.aclose()
                with pytest.raises(StopAsyncIteration):
                    await anext(results)
            pool.imap(square, itertools.count())  # nobody ever looks at it
            async with pool.imap(square, itertools.count()) as results:
                pass
            gc.collect()
            await until(lambda: threading.active_count() <= threads)

    run(main)


def test_leaving_a_pool_ends_what_runs(async_pools: Pools, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        with contextlib.suppress(LookupError):
            async with async_pools(2) as pool:
                endless = pool.imap(square, numbers())
                assert await anext(endless) == 0
                calls = [
                    asyncio.create_task(pool.map(wait_at, [str(gate)])),
                    asyncio.create_task(pool.apply(wait_at, (str(gate),))),
                ]
                await until(lambda: waiting_at(gate))
                raise LookupError
        for call in calls:
            with pytest.raises(achilles.TaskCancelled):
                await call
        with pytest.raises(achilles.TaskCancelled):
            async for _ in endless:
                pass

    run(main)


def test_a_loop_that_ends_in_the_middle(async_pools: Pools, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield str(gate)
        finally:
            closed.append(True)

    async def main() -> aio.Pool:
        pool = async_pools(2)
        tasks = [asyncio.create_task(pool.map(wait_at, source()))]
        await until(lambda: waiting_at(gate))
        assert not tasks[0].done()
        return pool  # asyncio.run cancels the others

    pool = run(main)
    assert closed

    async def end() -> None:
        await pool.terminate()

    run(end)
