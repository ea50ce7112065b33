"""A submission does not believe what a scheduler says, it checks."""

from __future__ import annotations

import pytest

from achilles.core import submission_events as ev
from achilles.core.packets import MAX_PACKET_TASKS
from achilles.core.submission import MAX_DEMANDS, Submission
from achilles.errors import ProtocolError


def sent(tasks: int = 4) -> Submission:
    """Parcel 0 is out: so many tasks from 0."""
    brain = Submission(2, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False))
    brain.handle(ev.Granted(0, 2, 1))
    brain.handle(ev.ParcelDrawn(0, tasks, 1, 4, 10, 100))
    return brain


@pytest.mark.parametrize(
    "segments",
    [
        [(0, 5, 0, 1)],
        [(3, 2, 0, 1)],
        [(4, 4, 0, 1)],
        [(0, 2, 0, 1), (1, 3, 0, 1)],
        [(2**62, 2**62, 2, 2**62)],
        [(0, 0, 0, 1)],
    ],
)
def test_results_lie_within_their_parcel(segments: list[ev.Segment]) -> None:
    brain = sent()
    with pytest.raises(ProtocolError, match="results of parcel 0 hold"):
        brain.handle(ev.ResultsArrived(0, 1, segments, 10))
    assert brain.parcels[0].attempts[1].missing_tasks == 4
    assert brain.handle(ev.ResultsArrived(0, 1, [(0, 4, 0, 1)], 10))


def test_results_come_once() -> None:
    brain = sent()
    brain.handle(ev.ResultsArrived(0, 1, [(1, 2, 0, 1)], 10))
    with pytest.raises(ProtocolError, match="some came before"):
        brain.handle(ev.ResultsArrived(0, 1, [(2, 2, 0, 1)], 10))
    brain.handle(ev.ResultsArrived(0, 1, [(0, 1, 0, 1), (3, 1, 0, 1)], 10))
    assert brain.parcels[0].complete


def test_results_of_what_was_never_sent_are_passed_over() -> None:
    brain = sent()
    assert brain.handle(ev.ResultsArrived(99, 1, [(0, 4, 0, 1)], 10)) == []


@pytest.mark.parametrize(("cpu_count", "packets"), [(0, 1), (2**62, 1), (1, 0)])
def test_an_absurd_demand(cpu_count: int, packets: int) -> None:
    with pytest.raises(ProtocolError, match="slots"):
        sent().handle(ev.Granted(0, cpu_count, packets))


def test_demands_do_not_pile_up_for_ever() -> None:
    brain = sent()
    for node in range(MAX_DEMANDS):
        brain.handle(ev.Granted(node, 1, 2**62))
    with pytest.raises(ProtocolError, match="demands"):
        brain.handle(ev.Granted(0, 1, 1))


def test_a_huge_chunksize_makes_no_packet_that_cannot_be_counted() -> None:
    brain = Submission(10**18, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False))
    brain.handle(ev.Granted(0, 4096, 2**62))
    plan = brain.plan()
    assert plan is not None and plan.packet_tasks == MAX_PACKET_TASKS


def test_only_what_was_sent_is_sent_again() -> None:
    brain = sent()
    with pytest.raises(ProtocolError, match="never sent"):
        brain.handle(ev.ResendAsked(1, 2, 0))


def test_each_attempt_is_asked_for_once() -> None:
    brain = sent()
    assert brain.handle(ev.ResendAsked(0, 2, 0))
    with pytest.raises(ProtocolError, match="attempt 2 again"):
        brain.handle(ev.ResendAsked(0, 2, 0))
