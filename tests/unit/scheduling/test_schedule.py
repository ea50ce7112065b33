"""Scheduled functions are the functions that they were, on calls that a stub runs."""

from __future__ import annotations

import functools
import inspect
import math
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.scheduling import functional, schedule, scheduled_code
from achilles.serialization import deserialize, join, serialize
from tests.differential.stub_calls import StubCalls

CALLS = StubCalls()
scheduled = schedule(calls=CALLS.provider)


@pytest.fixture(autouse=True)
def _nothing_left_over() -> Iterator[None]:
    CALLS.started.clear()
    yield
    assert not CALLS.under_way


@functional
def double(x: Any) -> Any:
    if x == 13:
        raise ValueError("thirteen", x)
    return 2 * x


@scheduled
def pipeline(inputs: list[int], *, offset: int = 1) -> list[int]:
    """What it does."""
    outputs: list[int] = []
    for each in inputs:
        outputs = outputs + [later(each) + offset]  # noqa: RUF005 - as pydron writes it
    return outputs


@functional
def later(x: int) -> int:  # below the function that calls it
    return x * x


def test_the_quick_start() -> None:
    assert pipeline([1, 2, 3]) == [2, 5, 10]
    assert pipeline([1, 2], offset=0) == [1, 4]
    assert len(CALLS.started) == 5
    assert CALLS.most >= 2


def test_it_looks_like_the_function() -> None:
    assert pipeline.__name__ == "pipeline" and pipeline.__doc__ == "What it does."
    assert pipeline.__module__ == __name__
    assert list(inspect.signature(pipeline).parameters) == ["inputs", "offset"]
    assert "outputs + [later(each)" in inspect.getsource(pipeline)
    assert inspect.isfunction(pipeline) and pipeline.__wrapped__([2]) == [5]
    assert [call.func.id for call in scheduled_code(pipeline).sites.values()] == ["later"]
    with pytest.raises(TypeError, match="no scheduled function"):
        scheduled_code(later)


def test_arguments_are_those_of_the_function() -> None:
    with pytest.raises(TypeError, match=r"pipeline\(\) missing 1 required positional argument: 'inputs'"):
        pipeline()
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrong'"):
        pipeline([], wrong=1)


class Base:
    def scale(self) -> int:
        return 10


class Camera(Base):
    __gain = 3

    @scheduled
    def expose(self, x: int) -> int:
        return double(x) * self.__gain + super().scale()

    @scheduled
    @classmethod
    def make(cls, x: int) -> tuple[type, int]:
        return cls, double(x)

    @staticmethod
    @scheduled
    def plain(x: int) -> int:
        return double(x)

    @functional
    def measure(self, x: int) -> int:
        return x + self.scale()

    @scheduled
    def measured(self) -> list[int]:
        return [self.measure(x) for x in range(3)]

    @property
    @scheduled
    def size(self) -> int:
        return double(4)


def test_methods() -> None:
    camera = Camera()
    assert camera.expose(2) == 22
    assert Camera.make(3) == (Camera, 6) == camera.make(3)
    assert Camera.plain(4) == 8
    assert camera.measured() == [10, 11, 12]
    assert camera.size == 8
    assert len(CALLS.started) == 8


def test_cells_are_shared_not_copied() -> None:
    count = 0

    @scheduled
    def add(x: int) -> int:
        nonlocal count
        count += double(x)
        return count

    assert add(1) == 2
    count = 10
    assert add(2) == 14 == count


def test_decorators_below_and_above() -> None:
    seen = []

    def noting(function: Any) -> Any:
        @functools.wraps(function)
        def noted(*args: Any) -> Any:
            seen.append(function.__name__)
            return function(*args)

        return noted

    @noting
    @scheduled
    @noting
    def twice(x: int) -> int:
        return double(x)

    assert twice(2) == 4
    assert seen == ["twice", "twice"]


def test_generators() -> None:
    @scheduled
    def squares(n: int) -> Iterator[int]:
        got = 0
        try:
            for i in range(n):
                got = (yield double(i) + (got or 0)) or 0
        except KeyError:
            yield -1
        finally:
            ended.append(n)

    ended: list[int] = []
    assert inspect.isgeneratorfunction(squares)
    assert list(squares(3)) == [0, 2, 4]
    reading = squares(9)
    assert next(reading) == 0
    assert reading.send(5) == 7
    assert reading.throw(KeyError) == -1
    reading.close()
    assert ended == [3, 9]
    abandoned = squares(4)
    next(abandoned)
    del abandoned
    assert ended == [3, 9, 4]
    assert inspect.isgeneratorfunction(squares)


def test_recursion_and_scheduled_functions_that_call_each_other() -> None:
    @scheduled
    def tree(n: int) -> int:
        if n == 0:
            return double(1)
        return tree(n - 1) + double(n) + tree(n - 1)

    assert tree(4) == tree.__wrapped__(4)


def test_callees_that_become_functional_later() -> None:
    @scheduled
    def run(x: int) -> int:
        return helper(x)

    def helper(x: int) -> int:
        return x + 1

    assert run(1) == 2 and not CALLS.started
    functional(helper)
    run(1)
    assert run(1) == 2 and CALLS.started


def _raises(x: int) -> int:
    y = 0
    return double(
        x + y,
    )


def test_tracebacks_point_into_the_function() -> None:
    fails = scheduled(_raises)
    for _ in range(2):
        with pytest.raises(ValueError, match="thirteen") as caught:
            fails(13)
        frames = traceback.extract_tb(caught.value.__traceback__)[1:]
        last = frames[-1]
        assert (last.filename, last.name, last.line) == (__file__, "_raises", "return double(")
    assert len(frames) == 1  # the first call translates, and is one frame more


def test_tracebacks_within_the_function_are_as_short() -> None:
    seen: list[str] = []

    @scheduled
    def catches(x: int) -> int:
        try:
            return double(x)
        except ValueError as error:
            seen.extend(frame.name for frame in traceback.extract_tb(error.__traceback__))
            return -1

    assert catches(13) == -1
    assert seen == ["catches"]


def test_what_python_says_of_wrong_calls() -> None:
    @scheduled
    def spread(x: Any) -> Any:
        return double(*x)

    with pytest.raises(TypeError) as theirs:
        spread.__wrapped__(5)
    with pytest.raises(TypeError) as ours:
        spread(5)
    assert str(ours.value) == str(theirs.value)


def test_what_is_not_functional_runs_in_the_callers_frame() -> None:
    @scheduled
    def look(function: Any) -> Any:
        x = double(2)
        return sorted(name for name in locals() if not name.startswith(".")), function(), x

    def caller() -> Any:
        frame = inspect.currentframe()
        assert frame is not None and frame.f_back is not None
        return frame.f_back.f_code.co_name

    assert look(caller) == (["function", "x"], "look", 4)


def test_threads_in_one_function() -> None:
    results: dict[int, Any] = {}
    begin = threading.Barrier(4)

    @schedule(calls=lambda: StubCalls().provider())
    def run(n: int) -> list[int]:
        return [_sum_of_doubles(double(i)) for i in range(n)] + [double(n) for _ in range(3)]

    def in_thread(n: int) -> None:
        begin.wait()
        results[n] = [run(n) for _ in range(20)]

    threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [run.__wrapped__(n)] * 20 for n in range(4)}


def _sum_of_doubles(n: int) -> int:
    def one(i: int) -> int:
        return double(i)

    return sum([one(i) for i in range(n)])


def test_an_inner_function_in_another_thread_or_after_the_end_runs_in_place() -> None:
    @scheduled
    def make() -> Any:
        def inner(x: int) -> int:
            return double(x)

        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(inner(1)))
        thread.start()
        thread.join()
        return inner, found, inner(5)

    inner, found, here = make()
    assert found == [2] and here == 10
    assert inner(4) == 8
    assert len(CALLS.started) == 1


def test_ctrl_c_cancels_what_is_under_way() -> None:
    class Interrupted(StubCalls):
        def wait(self, started: Any, finished: Any) -> None:
            raise KeyboardInterrupt

    calls = Interrupted(slots=4)
    calls.random.random = lambda: 1.0  # nothing is done at once
    run = schedule(_sum_of_doubles, calls=calls.provider)
    with pytest.raises(KeyboardInterrupt):
        run(5)
    assert calls.started and not calls.under_way


def test_a_scheduled_function_travels_and_runs_in_place() -> None:
    offset = 3

    @scheduled
    def travels(x: int) -> int:
        inner = lambda y: double(y) + offset  # noqa: E731
        return inner(x) + sum(double(i) for i in range(x))

    here = travels(4)
    CALLS.started.clear()
    for _ in range(2):
        there = deserialize(join(serialize(travels, "a function")), "a function")
        assert there(4) == here
        there = deserialize(join(serialize(there, "a function")), "a function")
    assert not CALLS.started
    untouched = deserialize(join(serialize(scheduled(_raises), "a function")), "a function")
    assert untouched(2) == 4


def test_an_inner_function_travels_as_an_argument() -> None:
    @functional
    def apply(function: Any, x: int) -> int:
        return function(x)

    class ByValue(StubCalls):
        """Whose arguments go through the serialization of achilles."""

        def start(self, function: Any, args: Any, kwargs: Any, finished: Any) -> Any:
            travelled = deserialize(join(serialize((args, kwargs), "arguments")), "arguments")
            started = super().start(function, (), {}, finished)
            started.load = lambda: travelled
            return started

    calls = ByValue()
    calls.random.random = lambda: 1.0

    @schedule(calls=calls.provider)
    def run(x: int) -> int:
        def inner(y: int) -> int:
            return double(y) + 1

        return apply(inner, x)

    assert run(3) == 7


def test_pure_functions_are_known_to_foresight() -> None:
    @schedule(calls=CALLS.provider, pure=[math.floor])
    def run(x: float) -> int:
        return double(math.floor(x))

    assert run(2.5) == 4
    assert scheduled_code(run).pure == (math.floor,)


async def _coroutine() -> None: ...


def _with_coroutine() -> Any:
    async def inner() -> None: ...

    return inner


@pytest.mark.parametrize("function", [_coroutine, _with_coroutine])
def test_async_is_refused_with_its_line(function: Any) -> None:
    with pytest.raises(SyntaxError, match="can't hold 'async def'") as caught:
        schedule(function)
    assert caught.value.filename == __file__
    assert caught.value.lineno is not None
    with open(__file__, encoding="utf-8") as file:
        assert "async def" in file.read().splitlines()[caught.value.lineno - 1]


def test_what_has_no_source_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def typed(x): return x", names)
    with pytest.raises(OSError, match="define the function in a file or a notebook cell"):
        schedule(names["typed"])
    with pytest.raises(TypeError, match="can't take a lambda"):
        schedule(lambda x: x)
    with pytest.raises(TypeError, match="directly above the def"):
        schedule(len)


def test_a_pool_or_an_address() -> None:
    with pytest.raises(ValueError, match="not both"):
        schedule(_raises, pool=object(), address="local")


def test_explain_prints_at_the_first_call(capsys: pytest.CaptureFixture[str]) -> None:
    run = schedule(_raises, explain=True, calls=CALLS.provider)
    assert capsys.readouterr().out == ""
    run(1)
    assert "double" in capsys.readouterr().out
    run(1)
    assert capsys.readouterr().out == ""
