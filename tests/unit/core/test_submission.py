"""The controller's brain alone: laziness, bounds, order, repeated attempts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.core import submission_events as ev
from achilles.core.submission import LEAD_TASKS, DrawPlan, Submission


def start(
    *, chunksize: int = 1, ordered: bool = True, budget: int = 1_000_000, lists: bool = False
) -> Submission:
    brain = Submission(chunksize, ordered=ordered, budget_bytes=budget)
    brain.handle(ev.InputStarted(lists))
    return brain


def draw(brain: Submission, tasks: int | None = None, size: int = 10) -> list[ev.Command]:
    """Answer the plan with a parcel of one packet (or so many tasks)."""
    plan = brain.plan()
    assert plan is not None
    tasks = plan.packet_tasks if tasks is None else tasks
    return brain.handle(ev.ParcelDrawn(plan.node, tasks, 1, plan.packet_tasks, size, 100))


def give(brain: Submission, parcels: int, node: int = 0, cpu_count: int = 2, size: int = 10) -> None:
    for _ in range(parcels):
        brain.handle(ev.Granted(node, cpu_count, 1))
        draw(brain, size=size)


def results(
    brain: Submission, parcel: int, first: int = 0, tasks: int = 2, attempt: int = 1, size: int = 10
) -> list[ev.Command]:
    return brain.handle(ev.ResultsArrived(parcel, attempt, [(first, tasks, 0, 100)], size))


def delivered(commands: list[ev.Command]) -> list[int]:
    return [command.parcel for command in commands if isinstance(command, ev.Deliver)]


def test_nothing_is_drawn_without_a_demand() -> None:
    brain = start()
    assert brain.plan() is None
    brain.handle(ev.Granted(3, 4, 3))
    assert brain.plan() == DrawPlan(3, 4, 3, 4, 1, None, slice_tasks=1)


def test_a_plan_is_not_a_promise() -> None:
    brain = start()
    brain.handle(ev.Granted(3, 4, 5))
    assert brain.plan() == brain.plan()


def test_packets_are_cut_for_the_node_that_asked() -> None:
    brain = start(chunksize=5)
    brain.handle(ev.Granted(0, 2, 1))
    brain.handle(ev.Granted(1, 8, 1))
    plans = []
    for _ in range(2):
        plans.append(brain.plan())
        draw(brain)
    assert [(plan.node, plan.packet_tasks) for plan in plans if plan] == [(0, 10), (1, 40)]


def test_drawing_pauses_at_the_budget_and_goes_on_when_the_reader_reads() -> None:
    brain = start(budget=100)
    give(brain, 2, size=50)
    brain.handle(ev.Granted(0, 2, 1))
    assert brain.plan() is None
    assert delivered(results(brain, 0, size=49)) == [0]
    assert brain.plan() is None  # done, but not read
    brain.handle(ev.ParcelRead(0))
    plan = brain.plan()
    assert plan is not None
    assert plan.packets == 1


def test_one_parcel_larger_than_the_budget_is_drawn_all_the_same() -> None:
    brain = start(budget=100)
    give(brain, 1, size=5_000)
    brain.handle(ev.Granted(0, 2, 1))
    assert brain.plan() is None
    results(brain, 0)
    brain.handle(ev.ParcelRead(0))
    assert brain.plan() is not None


def test_results_that_will_come_are_part_of_the_budget() -> None:
    """Ten bytes go out for each task and a thousand come back: the first results teach it."""
    brain = start(budget=10_000)
    give(brain, 1, size=20)
    results(brain, 0, size=2_000)
    drawn = 0
    for node in range(100):
        brain.handle(ev.Granted(node, 2, 1))
        if brain.plan() is not None:
            draw(brain, size=20)
            drawn += 1
    assert 2 <= drawn <= 5


def test_a_parcel_is_no_longer_than_its_results_may_be() -> None:
    brain = start(budget=10_000)
    give(brain, 1, size=20)
    results(brain, 0, size=2_000)
    brain.handle(ev.ParcelRead(0))
    brain.handle(ev.Granted(0, 2, 1_000))
    plan = brain.plan()
    assert plan is not None
    assert 1 <= plan.packets <= 5


def test_a_reader_that_stands_still_stops_the_drawing() -> None:
    brain = start()
    drawn = 0
    for _ in range(100 * LEAD_TASKS):
        brain.handle(ev.Granted(0, 2, 1))
        if brain.plan() is None:
            break
        draw(brain, size=0)
        results(brain, drawn, 2 * drawn, size=0)
        drawn += 1
    assert LEAD_TASKS <= 2 * drawn <= 2 * LEAD_TASKS
    brain.handle(ev.ParcelRead(0))
    assert brain.plan() is not None


@pytest.mark.parametrize(("ordered", "expected"), [(True, [[], [], [0, 1, 2]]), (False, [[2], [1], [0]])])
def test_order(ordered: bool, expected: list[list[int]]) -> None:
    brain = start(ordered=ordered)
    give(brain, 3)
    assert [delivered(results(brain, parcel, 2 * parcel)) for parcel in (2, 1, 0)] == expected


def test_a_failed_parcel_takes_its_place_in_the_order() -> None:
    brain = start()
    give(brain, 3)
    results(brain, 1, 2)
    assert delivered(brain.handle(ev.ParcelFailed(2))) == []
    assert delivered(brain.handle(ev.ParcelFailed(0))) == [0, 1, 2]
    assert brain.handle(ev.ParcelFailed(0)) == []


def test_a_parcel_that_failed_after_some_results_leaves_the_books_even() -> None:
    brain = start()
    brain.handle(ev.Granted(0, 4, 1))
    draw(brain)
    results(brain, 0, 0, 3, size=7)
    brain.handle(ev.ParcelFailed(0))
    brain.handle(ev.ParcelRead(0))
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks, brain.parcels) == (0, 0, 0, {})


def test_a_resend_drops_what_came_and_ignores_the_older_attempt() -> None:
    brain = start()
    brain.handle(ev.Granted(0, 4, 1))
    draw(brain)
    results(brain, 0, 0, 3)
    commands = brain.handle(ev.ResendAsked(0, 2, 9))
    assert commands == [ev.DropResults(0, 1), ev.SendParcel(0, 9, 2)]
    assert results(brain, 0, 3, 1, attempt=1) == []
    assert results(brain, 0, 0, 4, attempt=1) == []
    assert delivered(results(brain, 0, 0, 4, attempt=2)) == [0]


def test_a_resend_of_what_nothing_came_of_drops_nothing() -> None:
    brain = start()
    give(brain, 1)
    assert brain.handle(ev.ResendAsked(0, 2, 9)) == [ev.SendParcel(0, 9, 2)]


@pytest.mark.parametrize("read", [False, True])
def test_a_resend_of_a_delivered_parcel_is_ignored(read: bool) -> None:
    brain = start()
    give(brain, 1)
    results(brain, 0)
    if read:
        brain.handle(ev.ParcelRead(0))
    assert brain.handle(ev.ResendAsked(0, 2, 9)) == []
    assert results(brain, 0, attempt=2) == []


def test_an_empty_list_is_delivered_once_its_empty_result_is_here() -> None:
    brain = start(lists=True)
    brain.handle(ev.Granted(0, 2, 1))
    assert ev.SendParcel(0, 0, 1) in brain.handle(ev.ParcelDrawn(0, 0, 1, 0, 5, 10))
    assert delivered(brain.handle(ev.ResendAsked(0, 2, 1))) == []
    assert delivered(results(brain, 0, 0, 0, attempt=2)) == [0]
    brain.handle(ev.ParcelRead(0))
    assert brain._bytes == 0


def test_completion_is_told_once_when_all_is_delivered() -> None:
    brain = start()
    give(brain, 2)
    assert brain.handle(ev.InputEnded()) == [ev.EndInput()]
    assert ev.Complete() not in results(brain, 1, 2)
    assert results(brain, 0)[-1] == ev.Complete()
    assert brain.handle(ev.InputEnded()) == []


def test_an_empty_input_completes_at_once() -> None:
    assert start().handle(ev.InputEnded()) == [ev.EndInput(), ev.Complete()]


def test_demands_after_the_end_are_nothing() -> None:
    brain = start()
    brain.handle(ev.Granted(0, 2, 1))
    brain.handle(ev.InputEnded())
    brain.handle(ev.Granted(0, 2, 1))
    assert brain.plan() is None


@given(data=st.data(), ordered=st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_happens_every_parcel_is_delivered_once_and_the_books_close(
    data: st.DataObject, ordered: bool
) -> None:
    brain = start(ordered=ordered, budget=500)
    out: dict[int, tuple[int, int, int]] = {}  # parcel -> first, tasks, attempt
    done: dict[int, int] = {}
    seen: list[tuple[int, int]] = []  # first, tasks
    unread: list[tuple[int, int]] = []

    def hear(event: Any) -> None:
        for command in brain.handle(event):
            if isinstance(command, ev.Deliver):
                seen.append((command.first, command.tasks))
                unread.append((command.parcel, command.tasks))
            elif isinstance(command, ev.DropResults):
                done[command.parcel] = 0

    def report(parcel: int, tasks: int) -> None:
        first, length, attempt = out[parcel]
        at = done.get(parcel, 0)
        tasks = min(tasks, length - at)
        done[parcel] = at + tasks
        if at + tasks == length:
            del out[parcel]
        hear(ev.ResultsArrived(parcel, attempt, [(first + at, tasks, 0, 5)], 3 * tasks))

    for _ in range(data.draw(st.integers(0, 60))):
        what = data.draw(
            st.sampled_from(["grant", "draw", "draw", "results", "resend", "fail", "read", "late"])
        )
        parcel = data.draw(st.sampled_from(sorted(out))) if out else None
        if what == "grant":
            hear(ev.Granted(data.draw(st.integers(0, 2)), data.draw(st.integers(1, 4)), 2))
        elif what == "draw" and (plan := brain.plan()) is not None:
            number, first = brain.next_parcel()
            tasks = data.draw(st.integers(1, plan.packets * plan.packet_tasks))
            out[number] = (first, tasks, 1)
            hear(ev.ParcelDrawn(plan.node, tasks, 1, plan.packet_tasks, 7 * tasks, 9))
        elif what == "read" and unread:
            hear(ev.ParcelRead(*unread.pop(0)))
        elif parcel is not None:
            first, tasks, attempt = out[parcel]
            if what == "results":
                report(parcel, data.draw(st.integers(1, 4)))
            elif what == "resend":
                out[parcel] = (first, tasks, attempt + 1)
                hear(ev.ResendAsked(parcel, attempt + 1, 0))
            elif what == "late" and attempt > 1:
                hear(ev.ResultsArrived(parcel, attempt - 1, [(first, tasks, 0, 5)], 50))
            elif what == "fail":
                del out[parcel]
                hear(ev.ParcelFailed(parcel))
    for parcel in sorted(out):
        report(parcel, 100)
    hear(ev.InputEnded())
    while unread:
        hear(ev.ParcelRead(*unread.pop(0)))
    assert [index for first, tasks in sorted(seen) for index in range(first, first + tasks)] == list(
        range(brain.tasks_drawn)
    )
    assert not ordered or seen == sorted(seen)
    assert brain.completed
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks, brain.parcels) == (0, 0, 0, {})


def test_packets_at_the_start_of_a_parcel_are_delivered_as_they_are_complete() -> None:
    brain = start(ordered=True)
    brain.handle(ev.Granted(0, 2, 10))
    brain.handle(ev.ParcelDrawn(0, 9, 5, 2, 90, 9))
    assert brain.handle(ev.ResultsArrived(0, 1, [(3, 2, 0, 5)], 8)) == []
    assert brain.handle(ev.ResultsArrived(0, 1, [(0, 3, 0, 5)], 8)) == [ev.Deliver(0, 0, 4, 1)]
    assert brain._unread_tasks == 5
    brain.handle(ev.ParcelRead(0, 4))
    assert brain._unread_tasks == 1
    assert brain.handle(ev.ResultsArrived(0, 1, [(5, 4, 0, 5)], 8))[1:] == [ev.Deliver(0, 4, 5, 1)]
    brain.handle(ev.ParcelRead(0, 5))
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks, brain.parcels) == (0, 0, 0, {})


def test_a_parcel_waits_for_those_before_it_also_with_its_first_packets() -> None:
    brain = start(ordered=True)
    for _ in range(2):
        brain.handle(ev.Granted(0, 2, 10))
        brain.handle(ev.ParcelDrawn(0, 4, 2, 2, 40, 9))
    assert brain.handle(ev.ResultsArrived(1, 1, [(4, 2, 0, 5)], 8)) == []
    delivered = brain.handle(ev.ResultsArrived(0, 1, [(0, 4, 0, 5)], 8))[1:]
    assert delivered == [ev.Deliver(0, 0, 4, 1), ev.Deliver(1, 4, 2, 1)]


def test_what_was_delivered_of_a_parcel_is_not_delivered_again() -> None:
    brain = start(ordered=False)
    brain.handle(ev.Granted(0, 2, 10))
    brain.handle(ev.ParcelDrawn(0, 6, 3, 2, 60, 9))
    assert brain.handle(ev.ResultsArrived(0, 1, [(0, 2, 0, 5)], 8)) == [ev.Deliver(0, 0, 2, 1)]
    brain.handle(ev.ResendAsked(0, 2, 1))
    assert brain.handle(ev.ResultsArrived(0, 2, [(0, 3, 0, 5)], 8)) == []
    assert brain.handle(ev.ParcelFailed(0))[2:] == [ev.Deliver(0, 2, 4, 0)]
    brain.handle(ev.ParcelRead(0, 2))
    brain.handle(ev.ParcelRead(0, 4))
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks, brain.parcels) == (0, 0, 0, {})


def test_an_iterable_of_unknown_length_is_drawn_slowly_at_first() -> None:
    brain = start()
    brain.handle(ev.Granted(0, 2, 1000))
    plan = brain.plan()
    assert plan is not None and (plan.packets, plan.unit_tasks) == (4, 1)
    brain.handle(ev.ParcelDrawn(0, 8, 4, 2, 80, 9))
    brain.handle(ev.ResultsArrived(0, 1, [(0, 8, 0, 8)], 8))
    brain.handle(ev.Granted(0, 2, 1000))
    plan = brain.plan()
    assert plan is not None and plan.packets == 20


def test_a_list_is_drawn_at_once_as_far_as_it_is_asked_for() -> None:
    brain = Submission(1, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False, 1000, 10.0))
    brain.handle(ev.Granted(0, 2, 10_000))
    plan = brain.plan()
    assert plan is not None and (plan.packets, plan.unit_tasks) == (500, 112)


def test_a_list_of_large_arguments_is_drawn_in_small_units_within_the_budget() -> None:
    brain = Submission(1, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False, 1000, 100_000.0))
    brain.handle(ev.Granted(0, 2, 10_000))
    plan = brain.plan()
    assert plan is not None and (plan.packets, plan.unit_tasks) == (5, 2)


def test_the_length_of_packets_can_be_left_to_what_is_measured() -> None:
    brain = Submission(None, ordered=True, budget_bytes=10_000_000)
    brain.handle(ev.InputStarted(False, 100_000, 10.0))
    brain.handle(ev.Granted(0, 2, 4_000))
    plan = brain.plan()
    assert plan is not None and (plan.packets, plan.packet_tasks, plan.unit_tasks) == (4, 2000, 2000)
    brain.handle(ev.ParcelDrawn(0, 8000, 4, 2000, 80_000, 9))
    brain.handle(ev.ResultsArrived(0, 1, [(0, 8000, 0, 8000)], 8000))  # a microsecond each
    brain.handle(ev.Granted(0, 2, 50_000))
    plan = brain.plan()
    assert plan is not None and (plan.packets, plan.packet_tasks) == (3, 40_000)


def test_packets_of_large_or_long_tasks_are_short_when_their_length_is_left_to_us() -> None:
    for task_us, task_bytes in ((50_000, 10), (1, 10_000_000)):
        brain = Submission(None, ordered=True, budget_bytes=1 << 30)
        brain.handle(ev.InputStarted(False))
        brain.handle(ev.Granted(0, 4, 1))
        brain.handle(ev.ParcelDrawn(0, 4, 1, 4, 4 * task_bytes, 9))
        brain.handle(ev.ResultsArrived(0, 1, [(0, 4, 0, 4 * task_us)], 40))
        brain.handle(ev.Granted(0, 4, 9))
        plan = brain.plan()
        assert plan is not None and (plan.packet_tasks, plan.unit_tasks) == (4, 1)


def expecting(
    expected_ns: float | None, *, tasks: int | None = 1_000, prompt: bool = False, alone: bool = True
) -> DrawPlan:
    """What is drawn first of a job whose tasks are said to take so long."""
    brain = Submission(
        1, ordered=True, budget_bytes=2**30, prompt=prompt, expected_ns=expected_ns, alone=alone
    )
    brain.handle(ev.InputStarted(False, tasks, None))
    brain.handle(ev.Granted(0, 2, 4096))
    plan = brain.plan()
    assert plan is not None
    return plan


def test_units_are_as_long_as_is_expected_of_them_before_anything_was_measured() -> None:
    assert expecting(None).unit_tasks == 112  # four and more for each slot, even ones
    assert expecting(200.0).unit_tasks == 1_000
    assert expecting(5_000_000.0).unit_tasks < 20


def test_every_slot_of_a_node_has_something_to_run_before_what_may_go_elsewhere_is_begun() -> None:
    assert expecting(200.0, alone=False).unit_tasks == 500


def test_nothing_is_expected_of_results_that_are_waited_for_or_of_a_generator() -> None:
    assert expecting(200.0, prompt=True) == expecting(None, prompt=True)
    assert expecting(200.0, tasks=None) == expecting(None, tasks=None)


def test_what_was_measured_counts_for_more_than_what_was_expected() -> None:
    brain = Submission(1, ordered=True, budget_bytes=2**30, expected_ns=200.0)
    brain.handle(ev.InputStarted(False, 10_000, None))
    brain.handle(ev.Granted(0, 2, 50))
    brain.handle(ev.ParcelDrawn(0, 100, 50, 2, 1_000, 1))
    brain.handle(ev.ResultsArrived(0, 1, [(0, 100, 0, 100_000_000)], 100))
    brain.handle(ev.Granted(0, 2, 50))
    plan = brain.plan()
    assert plan is not None and plan.unit_tasks == 1
