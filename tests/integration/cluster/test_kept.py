"""Values that stay where they were made: where calls run then, what moves, and when memory is given back."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import achilles
from achilles import Kept, KeptLost, Pool, sealed
from achilles.kept import Reference
from achilles.sealed import Sealed
from tests.integration.cluster.kept_values import (
    MEBIBYTE,
    SIZE,
    Array,
    Two,
    kept_from,
    memory_files,
    memory_of,
    no_more_than,
    numbers,
    own_memory_files,
    place_and_sum,
    processes_below,
    write,
)
from tests.integration.cluster.parties import Party, Place, wait_until

shared_memory = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")


@pytest.fixture(autouse=True)
def collected(nothing_left: None) -> Iterator[None]:
    """Tracebacks of expected errors hold handles, in cycles."""
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def clusters(place: Place) -> Iterator[dict[str, Two]]:
    """Near: on the server's machine, where memory is shared; far: as on three others."""
    made: dict[str, Two] = {}
    try:
        for how in ("near", "far"):
            made[how] = Two(place, near=how == "near")
        yield made
    finally:
        for each in made.values():
            each.cluster.close()


Find = Callable[[str], Two]


@pytest.fixture
def find(clusters: dict[str, Two], monkeypatch: pytest.MonkeyPatch) -> Find:
    def find(how: str) -> Two:
        if how == "far":
            monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
        return clusters[how]

    return find


@pytest.fixture(params=["near", "far"])
def two(request: pytest.FixtureRequest, find: Find) -> Two:
    return find(request.param)


@pytest.fixture(params=["near", "far", "embedded"])
def pool(request: pytest.FixtureRequest, find: Find) -> Iterator[Pool]:
    if request.param == "embedded":
        with Pool(2, address="local") as found:
            yield found
    else:
        with find(request.param).pool() as found:
            yield found


# What holds wherever it is.


def test_small_results_come_and_large_ones_stay(pool: Pool) -> None:
    assert pool.keep_async(divmod, (7, 2)).get(30) == (3, 1)
    assert pool.keep_async(numbers, kwargs={"size_bytes": 800}).get(30).shape == (100,)
    kept = kept_from(pool)
    assert SIZE < kept.size_bytes < SIZE + 4096
    assert bool(kept.node) == (kept.holder is not None)
    value = kept.value()
    value[0] = -1.0  # his own
    assert kept.value()[:2].tolist() == [0.0, 1.0]


def test_callbacks(pool: Pool) -> None:
    found: list[Any] = []
    pool.keep_async(numbers, (SIZE,), callback=found.append).get(30)
    failed = pool.keep_async(divmod, (1, 0), error_callback=found.append)
    with pytest.raises(ZeroDivisionError) as caught:
        failed.get(30)
    assert caught.value.__cause__ is not None
    wait_until(lambda: len(found) == 2)
    assert isinstance(found[0], Kept)
    assert isinstance(found[1], ZeroDivisionError)


def is_one(first: Array, nested: dict[str, list[Array]], *, again: Array) -> tuple[bool, bool]:
    return first is nested["x"][0] is again, bool(first.flags.writeable)


def test_a_handle_is_loaded_as_one_object_wherever_it_stands(pool: Pool) -> None:
    kept = kept_from(pool)
    assert pool.keep_async(is_one, (kept, {"x": [kept]}), {"again": kept}).get(30) == (True, True)
    assert pool.apply(is_one, (kept, {"x": [kept]}), {"again": kept}) == (True, True)
    in_closure = pool.keep_async(lambda: float(kept[5]))  # it is the array there
    assert in_closure.get(30) == 5.0
    assert pool.map(float_at, [(kept, place) for place in range(6)]) == [float(n) for n in range(6)]


def float_at(pair: tuple[Array, int]) -> float:
    return float(pair[0][pair[1]])


def test_what_a_function_writes_nobody_else_sees(pool: Pool) -> None:
    kept = kept_from(pool)
    calls = [pool.keep_async(write, (kept,)) for _ in range(8)]
    calls += [pool.apply_async(write, (kept,)) for _ in range(8)]
    assert [call.get(30) for call in calls] == [4.0] * 16
    assert kept.value()[3] == 3.0


@shared_memory
def test_workers_of_a_machine_share_one_copy(pool: Pool) -> None:
    kept = kept_from(pool)
    calls = [pool.keep_async(memory_of, (kept,)) for _ in range(24)]
    found = [call.get(30) for call in calls]
    assert len({inode for _, inode in found}) == 1
    if kept.holder is None:
        payload = kept.payload()
        assert isinstance(payload, Sealed)
        assert os.fstat(payload.descriptor.fileno()).st_ino == found[0][1]  # the very memory that this has


@shared_memory
def test_released_memory_of_this_machine_is_given_back() -> None:
    gc.collect()
    others = processes_below()  # nodes of this file's clusters give back in their own time
    with Pool(2, address="local") as pool:
        assert [pool.keep_async(abs, (-1,)).get(30) for _ in range(4)] == [1] * 4
        before = own_memory_files(others)
        dropped, released = kept_from(pool), kept_from(pool)
        assert pool.keep_async(place_and_sum, (dropped, released)).get(30)[1] == 2.0
        assert own_memory_files(others) > before
        released.release()
        del dropped
        wait_until(lambda: own_memory_files(others) <= before, what="for the memory to be given back")


def test_calls_upon_calls(pool: Pool) -> None:
    def add(first: Array, second: Array) -> Array:
        return first + second

    total = kept_from(pool)
    for _ in range(4):  # handles are dropped as soon as they were given to the next call
        total = pool.keep_async(add, (total, kept_from(pool))).get(30)
    assert float(total.value()[7]) == 35.0


def test_handles_come_home_as_themselves(pool: Pool) -> None:
    kept = kept_from(pool)
    assert pickle.loads(pickle.dumps(kept)) is kept
    assert "bytes" in repr(kept)
    kept.release()
    kept.release()
    assert "released" in repr(kept)
    for use in (kept.value, lambda: pickle.dumps(kept), lambda: pool.keep_async(write, (kept,)).get(30)):
        with pytest.raises(KeptLost, match="released") as caught:
            use()
        assert caught.value.size_bytes == kept.size_bytes
        assert caught.value.node == kept.node
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.fields) == (KeptLost, str(caught.value), caught.value.fields)


def test_a_released_value_is_gone_for_calls_alone_that_use_it(pool: Pool) -> None:
    kept = kept_from(pool)
    pickled = pickle.dumps(kept)
    kept.release()

    def is_gone() -> bool:
        # Nobody waits for that; it is told over another connection than these calls take.
        try:
            pool.apply_async(pickle.loads, (pickled,)).get(30)
        except KeptLost:
            return True
        return False

    wait_until(is_gone)
    calls = [pool.apply_async(pickle.loads, (pickled,)), *[pool.apply_async(abs, (-n,)) for n in range(20)]]
    with pytest.raises(KeptLost, match="Make it again"):
        calls[0].get(30)
    assert [call.get(30) for call in calls[1:]] == list(range(20))


def nested() -> Any:
    with Pool(1, address="local") as inner:
        kept = kept_from(inner)
        return inner.keep_async(write, (kept,)).get(30), float(kept.value()[1]), kept


def nested_sums() -> Any:
    return nested()[:2]


def test_tasks_that_keep_values_themselves() -> None:
    with Pool(2, address="local") as pool:  # with it end the workers below its workers
        assert pool.apply(nested_sums) == pool.keep_async(nested_sums).get(60) == (4.0, 1.0)
        calls = [pool.keep_async(nested), *[pool.keep_async(abs, (-n,)) for n in range(4)]]
        with pytest.raises(KeptLost):
            calls[0].get(60)  # what it returned was gone with its own pool
        assert [call.get(60) for call in calls[1:]] == list(range(4))


def unpicklable() -> Any:
    return (i for i in range(3))


def test_what_cannot_travel_is_told(pool: Pool) -> None:
    with pytest.raises(Exception, match="generator"):
        pool.keep_async(unpicklable).get(30)
    with pytest.raises(Exception, match="generator"):
        pool.keep_async(list, (unpicklable(),)).get(30)


def test_it_ends_with_its_pool(two: Two) -> None:
    for where in ({"address": "local"}, two.where):
        with Pool(2, **where) as pool:
            kept = kept_from(pool)
        with pytest.raises(KeptLost, match="has ended"):
            kept.value()
        with pytest.raises(ValueError, match="not running"):
            pool.keep_async(abs, (1,))


def test_other_pools_of_the_program_get_it(two: Two) -> None:
    with two.pool() as first, two.pool() as second, Pool(1, address="local") as near:
        for kept in (kept_from(first), kept_from(near)):
            for pool in (first, second, near):
                assert pool.keep_async(write, (kept,)).get(30) == 4.0


# On nodes.


def test_calls_go_where_the_largest_lies(two: Two) -> None:
    with two.pool() as pool:
        large, small = two.on(1, pool), two.on(0, pool, MEBIBYTE)
        for _ in range(8):
            assert pool.keep_async(place_and_sum, (small, large)).get(30) == (two.party(large).pid, 2.0)
        other = two.on(0, pool, SIZE + MEBIBYTE)
        calls = [pool.keep_async(place_and_sum, ([large, other][n % 2],)) for n in range(40)]
        found = [call.get(30)[0] for call in calls]
        assert found == [two.party([large, other][n % 2]).pid for n in range(40)]


def test_it_moves_once_at_most(two: Two) -> None:
    with two.pool() as pool:
        before = two.moved()

        def moved() -> tuple[int, ...]:
            return tuple(now - then for now, then in zip(two.moved(), before, strict=True))

        large, small = two.on(1, pool), two.on(0, pool, MEBIBYTE)
        for _ in range(6):
            pool.keep_async(place_and_sum, (large,)).get(30)
        assert moved() == (0, 0, 0)
        for _ in range(6):
            pool.keep_async(place_and_sum, (small, large)).get(30)
        assert moved() == (0, small.size_bytes, 0)
        for _ in range(3):
            assert float(large.value()[1]) == 1.0
        assert moved() == (0, small.size_bytes, large.size_bytes)


@shared_memory
def test_released_memory_is_given_back_wherever_it_is(two: Two) -> None:
    with two.pool() as pool:
        pool.keep_async(abs, (1,)).get(30)
        before = [memory_files(node) for node in two.nodes]
        large, small = two.on(1, pool), two.on(0, pool, MEBIBYTE)
        assert pool.keep_async(place_and_sum, (small, large)).get(30)[1] == 2.0
        assert memory_files(two.nodes[1]) >= before[1] + 2
        del large
        small.release()
        for node, most in zip(two.nodes, before, strict=True):
            no_more_than(node, most)


@shared_memory
def test_it_is_freed_when_its_pool_ends(two: Two) -> None:
    before = [memory_files(node) for node in two.nodes]
    with two.pool() as pool:
        held = [two.on(node, pool) for node in range(2)]
        for node, most in zip(two.nodes, before, strict=True):
            assert memory_files(node) > most
    for node, most in zip(two.nodes, before, strict=True):
        no_more_than(node, most)
    assert len(held) == 2


CONTROLLER = """
import os, time
from achilles import Pool
if __name__ == "__main__":
    pool = Pool(WHERE)
    held = [pool.keep_async(bytes, (5_000_000,)).get(30) for _ in range(4)]
    print("HELD", flush=True)
    time.sleep(600)
"""


@shared_memory
def test_it_is_freed_when_its_program_dies(two: Two, place: Place) -> None:
    before = [memory_files(node) for node in two.nodes]
    where = ", ".join(f"{key}={value!r}" for key, value in two.where.items())
    program = Party([place.write("holds.py", CONTROLLER.replace("WHERE", where))], place=place)
    try:
        program.wait_for("HELD")
        assert sum(map(memory_files, two.nodes)) >= sum(before) + 4
    finally:
        program.stop(signal.SIGKILL)
    for node, most in zip(two.nodes, before, strict=True):
        no_more_than(node, most)


STRANGER = """
import pickle, sys
from achilles import KeptLost, Pool
if __name__ == "__main__":
    with Pool(WHERE) as pool:
        mine = pool.keep_async(bytes, (200_000,)).get(30)
        try:
            pool.apply(pickle.loads, (bytes.fromhex(sys.argv[1]),))
        except KeptLost as error:
            print("REFUSED", error.reason)
        # By its own means: as if the value were one of its own.
        reference = pickle.loads(bytes.fromhex(sys.argv[2]))
        try:
            mine._keeper.payload(reference)
        except KeptLost as error:
            print("REFUSED", error.reason)
        mine._keeper.release(reference)
        assert mine.value() == bytes(200_000)
"""


def test_another_session_gets_nothing_and_drops_nothing(two: Two, place: Place) -> None:
    where = ", ".join(f"{key}={value!r}" for key, value in two.where.items())
    with two.pool() as pool:
        kept = kept_from(pool)
        # Even told its name.
        told = [pickle.dumps(kept).hex(), pickle.dumps(Reference(*kept.reference)).hex()]
        lines = two.cluster.run("stranger.py", STRANGER.replace("WHERE", where), *told)
        assert [line.split()[0] for line in lines if "REFUSED" in line] == ["REFUSED"] * 2
        assert float(kept.value()[1]) == 1.0


def test_many_handles_at_once(two: Two) -> None:
    with two.pool() as pool:
        made = [pool.keep_async(numbers, (100_000, float(n))) for n in range(300)]
        kept = [each.get(60) for each in made]
        sums = [pool.keep_async(place_and_sum, (a, b)) for a, b in itertools.pairwise(kept)]
        assert [each.get(60)[1] for each in sums] == [2.0 * n + 3.0 for n in range(299)]


def test_a_worker_that_dies_with_a_value(two: Two) -> None:
    with two.pool() as pool:
        kept = kept_from(pool)
        with pytest.raises(achilles.WorkerDiedError):
            pool.keep_async(die, (kept,)).get(60)
        assert pool.keep_async(write, (kept,)).get(30) == 4.0


def die(array: Array) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
