"""What calls return: packets, their numbers and order, for every kind of argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import partial
from typing import Any

import pytest

from achilles import SerializationError, imap, imap_unordered, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import Cluster

Where = dict[str, Any]


@pytest.fixture(params=["cluster", "embedded", "tls"])
def where(request: pytest.FixtureRequest, reach: Callable[[str], Where]) -> Where:
    """As elsewhere, and as from another machine."""
    return reach(request.param)


def flat(packets: Iterable[list[Any]]) -> list[Any]:
    return [value for packet in packets for value in packet]


def counted_from(start: int) -> Iterator[int]:
    yield from range(start, start + 40)


def forty() -> Iterator[int]:
    return counted_from(0)


class Forty:
    def __iter__(self) -> Iterator[int]:
        return forty()


KINDS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(range(40)),
    "tuple": lambda: tuple(range(40)),
    "range": lambda: range(40),
    "generator function": lambda: forty,
    "generator object": forty,
    "generator expression": lambda: (number for number in range(40)),
    "partial of a generator function": lambda: partial(counted_from, 0),
    "lambda": lambda: lambda: range(40),
    "dictionary": lambda: dict.fromkeys(range(40)),
    "keys": lambda: dict.fromkeys(range(40)).keys(),
    "values": lambda: {number: number for number in range(40)}.values(),
    "iterator": lambda: iter(range(40)),
    "class": lambda: Forty,
    "enumeration": lambda: IntEnum("Numbers", {f"N{number}": number for number in range(40)}),
    "bytes": lambda: bytes(range(40)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_arguments(where: Where, kind: str) -> None:
    assert flat(map(tasks.square, KINDS[kind](), **where)) == [number * number for number in range(40)]


def test_a_set_and_the_items_of_a_dictionary(where: Where) -> None:
    assert set(flat(map(tasks.negate, set(range(9)), **where))) == {-number for number in range(9)}
    pairs = dict(enumerate("abc")).items()
    assert flat(map(tasks.identity, pairs, **where)) == list(pairs)


def test_no_arguments_give_no_packets(where: Where) -> None:
    for args in ([], (), {}, iter(()), lambda: iter(())):
        assert map(tasks.square, args, **where) == []
        assert list(imap(tasks.square, args, **where)) == []
        assert list(imap_unordered(tasks.square, args, progress=True, **where)) == []


def test_packets_are_cpu_count_times_chunksize_of_one_of_the_nodes(pair: Cluster) -> None:
    for chunksize in (1, 2, 5):
        packets = map(tasks.square, range(200), chunksize=chunksize, **pair.address)
        assert flat(packets) == [number * number for number in range(200)]
        lengths = [len(packet) for packet in packets]
        allowed = {chunksize, 3 * chunksize}
        # Each parcel ends with the input, or with a whole packet.
        assert set(lengths[:-1]) <= allowed and lengths[-1] <= 3 * chunksize, lengths


def test_packets_of_the_embedded_engine(embedded: Where) -> None:
    from achilles.workers.cores import available_cores

    length = 3 * available_cores()
    packets = map(tasks.square, range(100), chunksize=3, **embedded)
    assert [len(packet) for packet in packets[:-1]] == [length] * (len(packets) - 1)
    assert flat(packets) == [number * number for number in range(100)]


def test_imap_counts_and_orders(where: Where) -> None:
    expected = 0
    for packet in imap(tasks.square, range(300), chunksize=2, **where):
        assert sorted(packet) == ["ARGS_COUNTER", "RESULT"]
        assert packet["ARGS_COUNTER"] == expected
        assert packet["RESULT"] == [n * n for n in range(expected, expected + len(packet["RESULT"]))]
        expected += len(packet["RESULT"])
    assert expected == 300


def test_imap_unordered_gives_each_packet_once(where: Where) -> None:
    found = {}
    for packet in imap_unordered(tasks.square, range(300), **where):
        for index, value in enumerate(packet["RESULT"], packet["ARGS_COUNTER"]):
            assert index not in found
            found[index] = value
    assert found == {number: number * number for number in range(300)}


def test_packets_of_a_length_that_is_chosen_for_the_caller(where: Where) -> None:
    for args in (range(5000), lambda: iter(range(5000))):
        packets = list(imap(tasks.square, args, chunksize=None, **where))
        index = 0
        for packet in packets:
            assert packet["ARGS_COUNTER"] == index
            assert packet["RESULT"] == [number**2 for number in range(index, index + len(packet["RESULT"]))]
            index += len(packet["RESULT"])
        assert index == 5000 and len(packets) < 500
    reduced = map(tasks.square, range(5000), reducer=tasks.add_up, chunksize=None, **where)
    assert sum(reduced) == sum(number**2 for number in range(5000))
    unordered = imap_unordered(tasks.square, [3] * 100, chunksize=None, **where)
    assert sum(sum(packet["RESULT"]) for packet in unordered) == 900


def test_lists_are_packets(where: Where) -> None:
    lists = [[1, 2, 3], [], [4], list(range(50)), []]
    squares = [[number * number for number in part] for part in lists]
    assert map(tasks.square, lists, chunksize=7, **where) == squares
    assert map(tasks.square, iter(lists), **where) == squares
    packets = list(imap(tasks.square, lists, **where))
    assert packets == [{"ARGS_COUNTER": i, "RESULT": part} for i, part in enumerate(squares)]
    unordered = list(imap_unordered(tasks.square, lists, **where))
    assert sorted(unordered, key=lambda packet: packet["ARGS_COUNTER"]) == packets


def test_lists_that_begin_with_an_empty_one(where: Where) -> None:
    assert map(tasks.square, [[], [2]], **where) == [[], [4]]
    assert map(tasks.square, [[]], **where) == [[]]


def test_callback_replaces_results_on_the_nodes(where: Where) -> None:
    assert flat(map(tasks.square, range(10), tasks.negate, **where)) == [-(n * n) for n in range(10)]
    assert map(tasks.square, [[1, 2], [3]], tasks.negate, **where) == [[-1, -4], [-9]]


def test_reducer_makes_one_value_of_each_packet(where: Where) -> None:
    plain = map(tasks.square, range(60), chunksize=2, **where)
    reduced = map(tasks.square, range(60), chunksize=2, reducer=tasks.add_up, **where)
    assert sum(reduced) == sum(flat(plain))
    assert map(tasks.square, [[1, 2], [], [3]], reducer=tasks.add_up, **where) == [5, 0, 9]
    packets = list(imap(tasks.square, [[1, 2], [3]], reducer=tasks.add_up, callback=tasks.negate, **where))
    assert packets == [{"ARGS_COUNTER": 0, "RESULT": -5}, {"ARGS_COUNTER": 1, "RESULT": -9}]


def test_progress_goes_to_standard_error(where: Where, capfd: pytest.CaptureFixture[str]) -> None:
    assert flat(map(tasks.square, range(20), progress=True, **where)) == [n * n for n in range(20)]
    for packets in (imap, imap_unordered):
        assert (
            sum(len(packet["RESULT"]) for packet in packets(tasks.square, forty, progress=True, **where))
            == 40
        )
    out, err = capfd.readouterr()
    assert "20/20" in err and "40item" in err.replace(" ", "")
    assert "item" not in out


class Method:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, number: int) -> int:
        return number * self.factor


def test_functions_of_all_sorts(where: Where) -> None:
    three = 3

    def recursive(number: int) -> int:
        return 1 if number == 0 else number * recursive(number - 1)

    assert flat(map(lambda number: number + three, range(4), **where)) == [3, 4, 5, 6]
    assert flat(map(recursive, range(5), **where)) == [1, 1, 2, 6, 24]
    assert flat(map(Method(2).times, range(4), **where)) == [0, 2, 4, 6]
    assert flat(map(partial(pow, 2), range(4), **where)) == [1, 2, 4, 8]
    assert flat(map(str, range(3), **where)) == ["0", "1", "2"]


def test_awkward_values_travel(where: Where) -> None:
    import numpy as np

    values = [2573, b"\r\n" * 1000, b"", None, {"a": (1, {2})}, "ü\r\n\0", np.arange(6.0).reshape(2, 3)]
    back = flat(map(tasks.identity, values, **where))
    assert back[:-1] == values[:-1] and np.array_equal(back[-1], values[-1])
    large = bytes(1000) + b"\r\n" * 4_000_000
    assert flat(map(tasks.identity, (large, large), **where)) == [large, large]


def test_many_calls_in_a_row(where: Where) -> None:
    for number in range(20):
        assert flat(map(tasks.square, [number], **where)) == [number * number]


@pytest.mark.parametrize("bytes_each", [10, 100_000], ids=["small", "too large to be sent unasked"])
def test_arguments_that_are_one_slice(where: dict[str, Any], bytes_each: int) -> None:
    for count in range(4):
        args = [bytes([number]) * bytes_each for number in range(count)]
        expected = [[bytes_each] * count] if count else []
        assert map(len, args, chunksize=4, **where) == expected
        assert [packet["RESULT"] for packet in imap(len, args, chunksize=4, **where)] == expected
    with pytest.raises(SerializationError):
        map(len, [b"", (number for number in [1])], chunksize=4, **where)
