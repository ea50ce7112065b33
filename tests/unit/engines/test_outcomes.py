"""From result segments to the packets that the user sees."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.engines.outcomes import ParcelResults, packets_of, results_of
from achilles.serialization import join, serialize, serialize_failure


def ok(first: int, tasks: int, values: list[Any]) -> Any:
    return first, tasks, 0, 0, join(serialize(values, "results"))


def some_failed(first: int, tasks: int, values: list[Any], failed: list[int]) -> Any:
    blobs = [(index, serialize_failure(ValueError(index), index)) for index in failed]
    return first, tasks, 1, 0, join(serialize((join(serialize(values, "values")), blobs), "failures"))


def all_failed(first: int, tasks: int) -> Any:
    return first, tasks, 2, 0, serialize_failure(ValueError(first), first)


def parcel(segments: list[Any], *, first: int = 0, tasks: int = 10, packet_tasks: int = 4) -> ParcelResults:
    return ParcelResults(first, tasks, packet_tasks, 0, False, segments)


def packets(found: ParcelResults, on_error: str = "return", *, reduces: bool = False) -> list[Any]:
    """(counter, result, failed items), exceptions as their item's number."""
    return [
        (packet.counter, plain(packet.result), [error.args[0] for error in packet.failures])
        for packet in packets_of(found, reduces=reduces, on_error=on_error)
        if not packet.dropped
    ]


def plain(result: Any) -> Any:
    if isinstance(result, list):
        return [plain(value) for value in result]
    return ("failed", *result.args) if isinstance(result, ValueError) else result


def test_segments_in_any_order_become_packets_of_exact_length() -> None:
    whole = parcel([ok(7, 3, [7, 8, 9]), ok(0, 5, [0, 1, 2, 3, 4]), ok(5, 2, [5, 6])])
    expected = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert results_of(whole, reduces=False) == expected
    assert packets(whole) == [(0, expected[0], []), (4, expected[1], []), (8, expected[2], [])]


@given(lengths=st.lists(st.integers(1, 9), max_size=8), packet_tasks=st.integers(1, 9))
def test_packets_are_of_exact_length_however_long_segments_are(lengths: list[int], packet_tasks: int) -> None:
    segments = [
        ok(start, length, list(range(start, start + length)))
        for start, length in zip(accumulate([0, *lengths]), lengths, strict=False)
    ]
    tasks = sum(lengths)
    found = results_of(parcel(segments, tasks=tasks, packet_tasks=packet_tasks), reduces=False)
    starts = range(0, tasks, packet_tasks)
    assert found == [list(range(start, min(start + packet_tasks, tasks))) for start in starts]


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        ("return", [(0, [0, ("failed", 1), 2, 3], [1]), (4, [("failed", 4)] * 2, [4, 4])]),
        ("skip", [(0, [0, 2, 3], [1]), (4, [], [4, 4])]),
    ],
)
def test_failed_items(on_error: str, expected: Any) -> None:
    found = parcel([some_failed(0, 4, [0, None, 2, 3], [1]), all_failed(4, 2)], tasks=6)
    assert results_of(found, reduces=False) is None
    assert packets(found, on_error) == expected


def test_of_segments_that_go_beyond_their_part_only_that_part_counts() -> None:
    """One attempt was delivered up to a packet's end, another one goes on from before it."""
    found = parcel([ok(2, 4, [2, 3, 4, 5]), ok(6, 6, list(range(6, 12)))], first=4, tasks=4)
    assert results_of(found, reduces=False) == [[4, 5, 6, 7]]


def test_reduced_segments_that_begin_before_their_part() -> None:
    found = parcel([ok(0, 10, ["a", "b", "c"])], first=4, tasks=6)
    assert packets(found, reduces=True) == [(4, "b", []), (8, "c", [])]


def test_reduced_packets_that_failed() -> None:
    segments = [ok(0, 4, ["a"]), all_failed(4, 1), ok(8, 2, ["c"])]
    found = parcel(segments)
    assert packets(found, "return", reduces=True) == [(0, "a", []), (4, ("failed", 4), [4]), (8, "c", [])]
    assert packets(found, "skip", reduces=True) == [(0, "a", []), (8, "c", [])]


def test_a_parcel_that_was_lost_fails_all_its_packets() -> None:
    found = parcel([])
    found.lost = ValueError("lost")
    assert [item for _, _, failed in packets(found) for item in failed] == ["lost"] * 3
    assert packets(found, "skip") == []
