"""The arithmetic of packets, parcels and units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.core.packets import (
    LEAST_UNIT_NS,
    MAX_UNITS_PER_PARCEL,
    UNIT_TARGET_BYTES,
    UNIT_TARGET_NS,
    cut_list,
    cut_packet,
    cut_units,
    packet_length,
    unit_length,
)

cpus = st.integers(1, 2_000)
chunks = st.integers(1, 5_000)


def length(
    cpu_count: int = 2,
    chunksize: int = 1,
    packets: int = 1_000,
    task_ns: float | None = None,
    task_bytes: float | None = None,
    draw_ns: float | None = None,
    tasks_left: int = 0,
    prompt: bool = False,
    patient: bool = False,
) -> int:
    packet = packet_length(cpu_count, chunksize)
    return unit_length(
        packet_tasks=packet,
        chunksize=chunksize,
        cpu_count=cpu_count,
        available_tasks=packets * packet,
        task_ns=task_ns,
        task_bytes=task_bytes,
        draw_ns=draw_ns,
        tasks_left=tasks_left,
        prompt=prompt,
        patient=patient,
    )


def test_a_packet_is_a_slice_for_every_cpu() -> None:
    assert packet_length(8, 5) == 40


def test_what_is_not_measured_travels_slice_by_slice() -> None:
    assert length(8, 5) == 5


@pytest.mark.parametrize(("tasks_left", "unit_ms"), [(0, 2), (12, 2), (24, 2), (48, 4), (10_000, 50)])
def test_units_are_longer_while_much_is_left_to_do(tasks_left: int, unit_ms: int) -> None:
    assert length(2, 1, task_ns=1e6, packets=1000, tasks_left=tasks_left) == unit_ms


def test_units_stay_short_where_each_result_is_waited_for() -> None:
    assert length(2, 1, task_ns=1e6, packets=1000, tasks_left=10_000, prompt=True) == 10
    assert length(2, 1, task_ns=1e6, packets=1000, tasks_left=10_000, patient=True) == 200
    assert length(2, 1, task_ns=1e6, packets=1000, tasks_left=24, patient=True) == 2


def test_short_tasks_travel_together() -> None:
    assert length(task_ns=100.0, packets=100_000) * 100.0 >= UNIT_TARGET_NS * 0.9


def test_long_tasks_do_not() -> None:
    assert length(4, 3, task_ns=1e9) == 3


@pytest.mark.parametrize(
    ("packet_tasks", "available", "task_ns", "units"),
    [
        (2048, 10_000, 1_000.0, [1024, 1024]),  # and not 2,000 and 48
        (1000, 10_000, 500.0, [2000, 2000, 2000, 2000, 2000]),  # 2,500 at most, in whole packets
        (1000, 9_000, 500.0, [2000, 2000, 2000, 2000, 1000]),
    ],
)
def test_units_are_even(packet_tasks: int, available: int, task_ns: float, units: list[int]) -> None:
    unit = unit_length(
        packet_tasks=packet_tasks,
        chunksize=1,
        cpu_count=2,
        available_tasks=available,
        task_ns=task_ns,
        task_bytes=None,
    )
    packets = 1 if unit < packet_tasks else available // packet_tasks
    assert list(cut_units(packets, packet_tasks, unit)) == units


@pytest.mark.parametrize(
    ("available", "left", "unit"),
    [
        (8_000, 8_000, 4_000),  # all there is: a unit for each of two slots
        (5_000, 10_000, 5_000),  # half of it: one slot's share
        (32, 10_000, 8),  # little of it: two for each slot
        (800, 800, 100),  # little there is: four
        (16_384, 1_000_000, 4_096),
    ],
)
def test_before_the_first_results_a_slot_gets_a_long_share_in_one_unit(
    available: int, left: int, unit: int
) -> None:
    found = unit_length(
        packet_tasks=2,
        chunksize=1,
        cpu_count=2,
        available_tasks=available,
        task_ns=None,
        task_bytes=8.0,
        sized=True,
        tasks_left=left,
    )
    assert found == unit


def test_large_arguments_bound_a_unit() -> None:
    assert length(task_ns=1.0, task_bytes=UNIT_TARGET_BYTES / 10, packets=100_000) <= 10


def test_arguments_of_next_to_no_bytes_are_no_trouble() -> None:
    assert length(task_ns=1.0, task_bytes=5e-324, packets=100_000) > 1


def test_slow_drawing_bounds_a_unit() -> None:
    assert length(task_ns=1.0, draw_ns=1e9, packets=100_000) == 1


def test_every_slot_gets_a_unit() -> None:
    assert length(8, 1, packets=10, task_ns=1e6) <= 80 / 16 + 8


def test_what_is_done_in_no_time_is_not_shared_out() -> None:
    assert length(8, 1, packets=10, task_ns=LEAST_UNIT_NS / 80) == 80
    assert length(8, 1, packets=10, task_ns=LEAST_UNIT_NS / 40) == 40
    assert length(8, 1, packets=10, task_ns=LEAST_UNIT_NS / 10) == 8


@given(
    cpu_count=cpus,
    chunksize=chunks,
    packets=st.integers(1, 100_000),
    task_ns=st.none() | st.floats(0.0, 1e12),
    task_bytes=st.none() | st.floats(0.0, 1e9),
    draw_ns=st.none() | st.floats(0.0, 1e12),
)
def test_a_unit_is_whole_packets_or_whole_slices_of_one(
    cpu_count: int,
    chunksize: int,
    packets: int,
    task_ns: float | None,
    task_bytes: float | None,
    draw_ns: float | None,
) -> None:
    packet = packet_length(cpu_count, chunksize)
    unit = length(cpu_count, chunksize, packets, task_ns, task_bytes, draw_ns)
    assert 1 <= unit <= max(packets * packet, packet)
    assert unit % packet == 0 if unit >= packet else unit % chunksize == 0
    assert -(-packet // unit) <= MAX_UNITS_PER_PARCEL


@given(packets=st.integers(0, 200), packet=st.integers(1, 60), unit=st.integers(1, 500))
def test_units_cover_the_packets_and_cross_no_end_within_one(packets: int, packet: int, unit: int) -> None:
    if unit >= packet:
        unit -= unit % packet
    units = list(cut_units(packets, packet, unit))
    assert sum(units) == packets * packet
    assert all(part >= 1 for part in units)
    at = 0
    for part in units:
        end = at + part
        assert at // packet == (end - 1) // packet or (at % packet == 0 and end % packet == 0)
        at = end


@given(tasks=st.integers(1, 1_000), unit=st.integers(1, 1_000))
def test_a_packet_is_cut_whole(tasks: int, unit: int) -> None:
    parts = list(cut_packet(tasks, unit))
    assert sum(parts) == tasks
    assert all(part == unit for part in parts[:-1])


def test_an_empty_list_is_one_empty_unit() -> None:
    assert cut_list(0, 8, None) == [0]


@given(tasks=st.integers(1, 100_000), cpu_count=cpus, task_ns=st.none() | st.floats(0.0, 1e9))
def test_a_list_is_shared_evenly(tasks: int, cpu_count: int, task_ns: float | None) -> None:
    parts = cut_list(tasks, cpu_count, task_ns)
    assert sum(parts) == tasks
    assert max(parts) - min(parts) <= 1
    assert 1 <= len(parts) <= min(cpu_count, tasks, MAX_UNITS_PER_PARCEL)
    if task_ns is not None and tasks * task_ns <= UNIT_TARGET_NS:
        assert len(parts) == 1
