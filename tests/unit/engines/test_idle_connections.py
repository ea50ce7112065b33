"""What is kept between calls, for whom, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from achilles.config import Settings
from achilles.engines.idle_connections import IdleConnections, Origin, origin_of

SETTINGS = Settings(host="lab7", port=9999, username="foo", secret_key="bar", address="achilles://lab7:9999")


class Line:
    """A connection that can be cut."""

    def __init__(self, origin: Origin = ("here",)) -> None:
        self.origin = origin
        self.good = True
        self.closed = 0

    def is_good(self) -> bool:
        return self.good and not self.closed

    def close(self) -> None:
        self.closed += 1


class Time:
    """A clock that stands still, and what waits for it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.calls.append((self.now_s + delay_s, call))

    def go(self, to_s: float) -> None:
        while due := sorted((call for call in self.calls if call[0] <= to_s), key=lambda call: call[0]):
            self.now_s = due[0][0]
            self.calls.remove(due[0])
            due[0][1]()
        self.now_s = to_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def idle(time: Time) -> IdleConnections[Line]:
    return IdleConnections(time.later, idle_s=10.0, most=3, clock=lambda: time.now_s)


def test_the_one_that_was_used_last_is_taken_first(idle: IdleConnections[Line]) -> None:
    first, second = Line(), Line()
    idle.put(first)
    idle.put(second)
    assert [idle.take(("here",)) for _ in range(3)] == [second, first, None]


def test_only_a_call_with_the_same_origin_gets_it(idle: IdleConnections[Line]) -> None:
    line = Line(("here",))
    idle.put(line)
    assert idle.take(("there",)) is None
    assert idle.take(("here",)) is line


def test_a_connection_that_is_no_longer_good_is_closed(idle: IdleConnections[Line]) -> None:
    bad, good = Line(), Line()
    idle.put(good)
    idle.put(bad)
    bad.good = False
    assert idle.take(("here",)) is good
    assert bad.closed and not good.closed
    idle.put(bad)
    assert len(idle) == 0 and bad.closed == 2


def test_what_nobody_takes_is_closed_after_a_while(idle: IdleConnections[Line], time: Time) -> None:
    old, young = Line(), Line()
    idle.put(old)
    time.go(104.0)
    idle.put(young)
    time.go(109.9)
    assert not old.closed
    time.go(110.0)
    assert old.closed and not young.closed
    assert len(time.calls) == 1  # one look at a time
    time.go(114.0)
    assert young.closed and not time.calls


def test_using_a_connection_makes_it_young_again(idle: IdleConnections[Line], time: Time) -> None:
    line = Line()
    for at_s in (100.0, 109.0, 118.0, 127.0):
        time.go(at_s)
        idle.put(line)
        assert len(time.calls) == 1
        assert idle.take(("here",)) is line
    idle.put(line)
    time.go(136.9)
    assert not line.closed
    time.go(137.0)
    assert line.closed == 1 and not time.calls


def test_only_so_many_are_kept(idle: IdleConnections[Line]) -> None:
    lines = [Line() for _ in range(5)]
    for line in lines:
        idle.put(line)
    assert [line.closed for line in lines] == [1, 1, 0, 0, 0]
    assert len(idle) == 3


def test_after_the_end_nothing_is_kept(idle: IdleConnections[Line]) -> None:
    first, second = Line(), Line()
    idle.put(first)
    idle.close()
    idle.put(second)
    assert first.closed == second.closed == 1 and len(idle) == 0


def test_a_connection_that_ended_by_itself_is_forgotten(idle: IdleConnections[Line]) -> None:
    line, other = Line(), Line()
    idle.put(line)
    idle.put(other)
    idle.drop(line)
    idle.drop(line)
    assert idle.take(("here",)) is other and idle.take(("here",)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"host": "lab8"},
        {"port": 9998},
        {"username": "fo"},
        {"secret_key": "ba"},
        {"secret_key": None},
        {"secret_key": ""},
    ],
    ids=str,
)
def test_an_origin_tells_servers_and_proofs_apart(change: dict[str, object]) -> None:
    assert origin_of(SETTINGS) == origin_of(SETTINGS._replace())
    assert origin_of(SETTINGS._replace(**change)) != origin_of(SETTINGS)


def test_without_a_key_the_name_proves_nothing() -> None:
    nameless = [SETTINGS._replace(username=name, secret_key=None) for name in ("foo", "fo")]
    assert origin_of(nameless[0]) == origin_of(nameless[1])


@pytest.mark.parametrize("name", ["ACHILLES_LOCAL_SOCKET", "XDG_RUNTIME_DIR"])
def test_an_origin_knows_where_local_sockets_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    before = origin_of(SETTINGS)
    monkeypatch.setenv(name, "off")
    assert origin_of(SETTINGS) != before


def test_an_origin_does_not_hold_the_key() -> None:
    assert "bar" not in repr(origin_of(SETTINGS)) and b"bar" not in origin_of(SETTINGS)
