"""Call sites and loops, as they are numbered, and the run's keys and places."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest

from achilles.scheduling import functional, schedule
from achilles.scheduling.calls import Handle, forced
from achilles.scheduling.code import ScheduledCode
from achilles.scheduling.foresight import Foresight
from achilles.scheduling.provision import provision
from tests.differential.stub_calls import StubCalls, StubKept


@functional
def f(x: Any) -> Any:
    return x


def plain(x: Any) -> Any:
    return x


def _sites(xs: Any, given: Any) -> Any:
    out = [given(x) for x in xs]
    out.append(plain(1))
    out.append(math.sqrt(4))
    out.append(given.measure(2))

    def inner(a: Any = f(1)) -> Any:  # noqa: B008 - a site
        return f(a)

    def dull(a: Any) -> Any:
        return a

    for x in (f(y) for y in xs if f(y) for z in f(y)):
        inner(x)
        dull(x)
    while f(0):
        pass
    else:
        f(9)
    return out, len(out)


def test_what_is_a_site() -> None:
    code = ScheduledCode(_sites)
    texts = [ast.unparse(call) for call in code.sites.values()]
    assert sorted(texts) == sorted(
        ["given(x)", "given.measure(2)", "f(1)", "f(a)", "f(y)", "f(y)", "f(y)", "inner(x)", "f(0)", "f(9)"]
    )
    by_text = {ast.unparse(call): number for number, call in code.sites.items()}
    owner = code.function_of(code.sites[by_text["f(a)"]])
    assert isinstance(owner, ast.FunctionDef) and owner.name == "inner"
    assert code.function_of(code.sites[by_text["f(1)"]]) is code.tree
    assert [node.name for node in code.inner.values()] == ["inner"]


def test_what_loops_enclose() -> None:
    code = ScheduledCode(_sites)
    depths = sorted((ast.unparse(call), len(code.loops_of(number))) for number, call in code.sites.items())
    assert depths == [
        ("f(0)", 1),
        ("f(1)", 0),
        ("f(9)", 0),
        ("f(a)", 0),
        ("f(y)", 1),
        ("f(y)", 1),
        ("f(y)", 2),
        ("given(x)", 1),
        ("given.measure(2)", 0),
        ("inner(x)", 1),
    ]


def _keyed(n: int) -> list[Any]:
    def inner(x: int) -> Any:
        return f(x)

    found = []
    for i in range(n):
        k = 0
        while k < 2:
            k += 1
            found.append(f(10 * i + k))
        found.append([inner(j) for j in range(2)])
    return found + list(map(inner, [7]))


def test_keys_and_places_of_the_real_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def begin(self: Foresight, place: Any, key: Any, started: Any) -> None:
        seen.append((key, place))

    monkeypatch.setattr(Foresight, "begin", begin)
    run = schedule(_keyed, calls=StubCalls().provider)
    assert run(2) == _keyed(2)
    keys = [key for key, _ in seen]
    (direct,) = {key[0] for key in keys if len(key) == 3}
    assert [key for key in keys if len(key) == 3] == [(direct, i, k) for i in range(2) for k in range(2)]
    inner = [key for key in keys if len(key) == 2]
    called = [key[1] for key in inner[:-1]]
    assert [key[1:] for key in called] == [(i, j) for i in range(2) for j in range(2)]
    assert inner[-1][1] < 0  # map() called it, not a site
    places = [place for _, place in seen]
    assert places[0].scopes[-1]["i"] == 0 and places[0].scopes[-1]["k"] == 1
    within = next(place for place in places if place.caller is not None)
    assert within.scopes[0] == {"x": 0} and within.caller.counters == (0, 0)
    assert within.caller.scopes[-1]["n"] == 2
    assert list(within.caller.iterators.values())


def test_a_provider_is_entered_once_and_left() -> None:
    log: list[str] = []

    class Provider:
        def __call__(self) -> Provider:
            return self

        def __enter__(self) -> StubCalls:
            log.append("enter")
            return StubCalls()

        def __exit__(self, *error: object) -> None:
            log.append("exit")

    provider = Provider()

    @schedule(calls=provider)
    def outer(n: int) -> Any:
        log.append(f"outer {n}")
        return f(n) if n == 0 else outer(n - 1)

    assert outer(2) == 0
    assert log == ["enter", "outer 2", "outer 1", "outer 0", "exit"]
    with pytest.raises(TypeError):
        outer("x")
    assert log[-1] == "exit"

    @schedule(calls=provider)
    def reads() -> Any:
        yield f(1)
        yield f(2)

    log.clear()
    reading = reads()
    assert log == []
    assert next(reading) == 1 and log == ["enter"]
    held = provision(provider)
    reading.close()
    assert log == ["enter"]
    held.leave()
    assert log == ["enter", "exit"]


def test_an_error_of_a_provider_is_the_calls() -> None:
    class Broken:
        def __enter__(self) -> Any:
            raise RuntimeError("no workers")

        def __exit__(self, *error: object) -> None: ...

    ran = []

    @schedule(calls=Broken)
    def run() -> None:
        ran.append(1)

    with pytest.raises(RuntimeError, match="no workers"):
        run()
    assert not ran


def test_handles_are_forced_in_place() -> None:
    import pickle

    handle = Handle(StubKept(pickle.dumps([1, 2])))
    assert pickle.loads(pickle.dumps({"a": handle})) == {"a": [1, 2]}
    assert not handle.forced
    items: list[Any] = [handle, (handle, 3), {"k": handle}, 4]
    assert forced(items) is items
    value = items[0]
    assert items == [[1, 2], ([1, 2], 3), {"k": [1, 2]}, 4]
    assert items[1][0] is value is items[2]["k"] is handle.value()
    value.append(3)
    assert pickle.loads(pickle.dumps(handle)) == [1, 2, 3]
    same = (1, [2])
    assert forced(same) is same
