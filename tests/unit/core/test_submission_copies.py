"""Two attempts of one parcel at once: the first that is complete wins, and the books stay even."""

from __future__ import annotations

import itertools

import pytest

from achilles.core import submission_events as ev
from achilles.core.submission import Submission


def copied(packet_tasks: int = 4) -> Submission:
    """A parcel of four tasks that runs on node 0, and as a copy on node 1."""
    brain = Submission(2, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False))
    brain.handle(ev.Granted(0, 2, 1))
    brain.handle(ev.ParcelDrawn(0, 4, 4 // packet_tasks, packet_tasks, 10, 100))
    brain.handle(ev.InputEnded())
    assert brain.handle(ev.ResendAsked(0, 2, 1, beside=1)) == [ev.SendParcel(0, 1, 2)]
    return brain


def came(brain: Submission, attempt: int, first: int, tasks: int) -> list[ev.Command]:
    return brain.handle(ev.ResultsArrived(0, attempt, [(first, tasks, 0, 100)], 10))


def assert_even_once_read(brain: Submission) -> None:
    brain.handle(ev.ParcelRead(0))
    assert not brain.parcels
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks) == (0, 0, 0)


@pytest.mark.parametrize("winner", [1, 2])
def test_the_first_complete_attempt_wins(winner: int) -> None:
    brain = copied()
    loser = 3 - winner
    assert came(brain, loser, 0, 3) == []
    assert came(brain, winner, 0, 2) == []
    commands = came(brain, winner, 2, 2)
    assert commands == [ev.DropResults(0, loser), ev.DropUnits(0), ev.Deliver(0, 0, 4, winner), ev.Complete()]
    assert came(brain, loser, 3, 1) == []
    assert_even_once_read(brain)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations([1, 1, 1, 2, 2, 2]))))
def test_every_order_of_results_delivers_once(order: tuple[int, ...]) -> None:
    brain = copied()
    places = {1: iter([(0, 1), (1, 2), (3, 1)]), 2: iter([(0, 2), (2, 1), (3, 1)])}
    delivered = 0
    for attempt in order:
        delivered += came(brain, attempt, *next(places[attempt])).count(ev.Deliver(0, 0, 4, attempt))
    assert delivered == 1
    assert_even_once_read(brain)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations([1, 1, 1, 2, 2, 2]))))
def test_packets_of_both_attempts_make_one_parcel(order: tuple[int, ...]) -> None:
    """What one has delivered from the start is not delivered again by the other."""
    brain = copied(packet_tasks=1)
    places = {1: iter([(0, 1), (1, 2), (3, 1)]), 2: iter([(0, 2), (2, 1), (3, 1)])}
    came_of: list[int] = []
    for attempt in order:
        for command in came(brain, attempt, *next(places[attempt])):
            if isinstance(command, ev.Deliver):
                assert command.attempt == attempt
                came_of += range(command.first, command.first + command.tasks)
    assert came_of == [0, 1, 2, 3]
    assert_even_once_read(brain)


def test_a_later_resend_ends_both_unless_one_goes_on() -> None:
    brain = copied()
    came(brain, 1, 0, 1)
    came(brain, 2, 0, 1)
    commands = brain.handle(ev.ResendAsked(0, 3, 5, beside=2))
    assert commands == [ev.DropResults(0, 1), ev.SendParcel(0, 5, 3)]
    commands = brain.handle(ev.ResendAsked(0, 4, 6))
    assert commands == [ev.DropResults(0, 2), ev.SendParcel(0, 6, 4)]
    assert came(brain, 2, 1, 3) == []
    assert ev.Deliver(0, 0, 4, 4) in came(brain, 4, 0, 4)
    assert_even_once_read(brain)


@pytest.mark.parametrize("lost", [ev.SchedulerLost(), ev.ParcelFailed(0)])
def test_both_attempts_end_with_the_scheduler_or_the_parcel(lost: ev.Event) -> None:
    brain = copied()
    came(brain, 1, 0, 1)
    came(brain, 2, 0, 2)
    commands = brain.handle(lost)
    assert [command for command in commands if isinstance(command, ev.DropResults)] == [
        ev.DropResults(0, 1),
        ev.DropResults(0, 2),
    ]
    if isinstance(lost, ev.SchedulerLost):
        assert came(brain, 2, 2, 2) == []
        brain.handle(ev.SchedulerFound())
        assert brain.handle(ev.Granted(3, 2, 1))[0] == ev.SendParcel(0, 3, 1)
        assert ev.Deliver(0, 0, 4, 1) in came(brain, 1, 0, 4)
    assert_even_once_read(brain)
