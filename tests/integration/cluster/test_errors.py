"""What goes wrong reaches the caller as what it is, and stops nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from multiprocessing.pool import RemoteTraceback
from pathlib import Path
from typing import Any

import pytest

from achilles import SerializationError, imap, imap_unordered, map
from tests.integration.cluster import tasks
from tests.integration.cluster.tasks import Refused

Where = dict[str, Any]


def each_value(packets: Iterator[dict[str, Any]]) -> Iterator[Any]:
    for packet in packets:
        yield from packet["RESULT"]


def test_the_users_exception_with_the_remote_traceback(where: Where) -> None:
    with pytest.raises(Refused, match="item 6: divisible by three") as caught:
        map(tasks.refuse_thirds, [1, 2, 4, 6, 9], **where)
    assert (caught.value.item, caught.value.reason) == (6, "divisible by three")
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in refuse_thirds" in str(cause) and "raise Refused(number" in str(cause)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1)], ids=repr)
def test_exceptions_with_a_meaning_of_their_own(where: Where, error: BaseException) -> None:
    def fail(_: int) -> None:
        raise error

    with pytest.raises(type(error)):
        map(fail, [1], **where)
    # In place of a packet, a StopIteration would end the loop as if all were well.
    seen = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(seen), imap(fail, [1, 2], **where) as packets:
        next(packets)
    assert map(tasks.square, [2], **where) == [[4]]


def test_a_failing_callback_and_a_failing_reducer(where: Where) -> None:
    with pytest.raises(Refused):
        map(tasks.square, [1, 3], tasks.refuse_thirds, **where)
    with pytest.raises(TypeError, match="unsupported operand"):
        map(str, range(5), reducer=tasks.add_up, **where)


def test_imap_goes_on_after_a_failed_packet(where: Where) -> None:
    packets = imap(tasks.refuse_thirds, [[1, 2], [3], [4], [6, 7], [8]], **where)
    seen: list[Any] = []
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except Refused as error:
            seen.append(error.item)
        else:
            seen.append(packet["RESULT"])
    assert seen == [[1, 2], 3, [4], 6, [8]]


def test_error_callback_hears_of_every_failed_item(where: Where) -> None:
    heard: list[Any] = []

    def hear(error: BaseException) -> None:
        heard.append((error.item, threading.current_thread()))

    left = map(tasks.refuse_thirds, range(10), on_error="skip", error_callback=hear, **where)
    assert [value for packet in left for value in packet] == [1, 2, 4, 5, 7, 8]
    assert [item for item, _ in heard] == [0, 3, 6, 9]
    assert {thread for _, thread in heard} == {threading.current_thread()}


def test_an_error_callback_that_raises(where: Where) -> None:
    def complain(error: BaseException) -> None:
        raise LookupError("from the callback")

    with pytest.raises(LookupError, match="from the callback"):
        map(tasks.refuse_thirds, range(10), on_error="skip", error_callback=complain, **where)
    assert map(tasks.square, [2], **where) == [[4]]


def test_on_error_return_puts_exceptions_in_place(where: Where) -> None:
    for call in (imap, imap_unordered):
        values: dict[int, Any] = {}
        for packet in call(tasks.refuse_thirds, range(7), on_error="return", **where):
            values.update(enumerate(packet["RESULT"], packet["ARGS_COUNTER"]))
        assert [values[i] for i in (1, 2, 4, 5)] == [1, 2, 4, 5]
        assert [type(values[i]) for i in (0, 3, 6)] == [Refused] * 3


def test_items_that_failed_are_run_again(where: Where, tmp_path: Path) -> None:
    def items(name: str) -> list[tuple[str, int]]:
        folder = tmp_path / name
        folder.mkdir()
        return [(str(folder), number) for number in range(5)]

    packets = map(tasks.fail_first, items("map"), tasks.square, retries=1, **where)
    assert [result for packet in packets for result in packet] == [0, 1, 4, 9, 16]
    for call in (imap, imap_unordered):
        found = call(tasks.fail_first, items(call.__name__), retries=2, retry_on=(OSError, KeyError), **where)
        assert sorted(each_value(found)) == list(range(5))
    with pytest.raises(ConnectionError):
        map(tasks.fail_first, items("other"), retries=5, retry_on=LookupError, **where)
    with pytest.raises(Refused):
        map(tasks.refuse_thirds, [3], retries=1, **where)


def test_on_error_with_a_reducer(where: Where) -> None:
    lists = [[1, 2, 3], [3], [4, 5]]
    skipped = map(tasks.refuse_thirds, lists, reducer=tasks.add_up, on_error="skip", **where)
    assert skipped == [3, 0, 9]
    with pytest.raises(Refused):
        map(tasks.refuse_thirds, lists, reducer=tasks.add_up, **where)
    returned = map(tasks.refuse_thirds, lists, reducer=len, on_error="return", **where)
    assert returned == [3, 1, 2]


def test_a_function_that_cannot_travel(where: Where) -> None:
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="the function") as caught:
        map(lambda number: lock.locked() or number, range(3), **where)
    assert "lock" in str(caught.value)
    with pytest.raises(SerializationError):
        imap(lambda number: lock.locked() or number, range(3), **where)


def test_an_argument_that_cannot_travel(where: Where) -> None:
    with pytest.raises(SerializationError, match="argument 3"):
        map(tasks.identity, [0, 1, 2, {"deep": [threading.Lock()]}, 4], **where)
    with pytest.raises(SerializationError):
        map(tasks.identity, [[0, 1], [threading.Lock()]], **where)
    assert map(tasks.square, [2], **where) == [[4]]


def test_imap_delivers_what_came_before_a_bad_argument(where: Where) -> None:
    values: list[Any] = []
    with pytest.raises(SerializationError, match="argument 25"):
        values.extend(each_value(imap(tasks.identity, [*range(25), threading.Lock(), 26], **where)))
    assert values == list(range(25))


def test_a_result_that_cannot_travel_fails_its_item_alone(where: Where) -> None:
    def lock_at_two(number: int) -> Any:
        import threading

        return threading.Lock() if number == 2 else number

    values = [value for packet in map(lock_at_two, range(5), on_error="return", **where) for value in packet]
    assert isinstance(values.pop(2), SerializationError) and values == [0, 1, 3, 4]
    with pytest.raises(SerializationError, match="result of item 2"):
        map(lock_at_two, range(5), **where)


class Broken(Exception):
    pass


def broken_at(k: int) -> Iterator[int]:
    yield from range(k)
    raise Broken(f"at {k}")


@pytest.mark.parametrize("k", [0, 1, 25])
def test_a_generator_that_raises_half_way(where: Where, k: int) -> None:
    with pytest.raises(Broken, match=f"at {k}"):
        map(tasks.square, broken_at(k), **where)
    values: list[int] = []
    with pytest.raises(Broken, match=f"at {k}"):
        values.extend(each_value(imap(tasks.square, lambda: broken_at(k), **where)))
    assert values == [number * number for number in range(k)]


def test_lists_followed_by_something_else(where: Where) -> None:
    with pytest.raises(TypeError, match="each argument must be one"):
        map(tasks.square, [[1], 2], **where)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"chunksize": 0}, ValueError, "at least 1"),
        ({"chunksize": -3}, ValueError, "at least 1"),
        ({"chunksize": 1.5}, TypeError, "an int or None, not float"),
        ({"chunksize": True}, TypeError, "an int or None, not bool"),
        ({"func": 5}, TypeError, "func must be callable, not int"),
        ({"func": None}, TypeError, "func must be callable"),
        ({"callback": 5}, TypeError, "callback must be callable"),
        ({"reducer": "sum"}, TypeError, "reducer must be callable"),
        ({"args": 5}, TypeError, r"pass \[argument\]"),
        ({"args": int}, TypeError, "a function that returned int"),
        ({"args": None}, TypeError, "not NoneType"),
        ({"on_error": "ignore"}, ValueError, "'raise', 'return' or 'skip'"),
        ({"retries": -1}, ValueError, "retries must be between"),
        ({"retries": 1, "func": 5}, TypeError, "func must be callable"),
        ({"retry_on": [OSError]}, TypeError, "retry_on must be exception classes"),
        ({"nodes": 5}, TypeError, "nodes must be"),
        ({"slots": 0}, ValueError, "slots must be"),
    ],
    ids=str,
)
def test_calls_that_make_no_sense(
    where: Where, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    for call in (map, imap, imap_unordered):
        with pytest.raises(error, match=said):
            call(**{"func": tasks.square, "args": [1], **where, **arguments})


def test_a_generator_function_that_wants_parameters(where: Where) -> None:
    with pytest.raises(TypeError, match="required positional argument"):
        map(tasks.square, broken_at, **where)
