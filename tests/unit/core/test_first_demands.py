"""How much the first demand of a job asks for."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler


def first_packets(*, alone: bool) -> int:
    brain = Scheduler()
    brain.handle(ev.NodeJoined(0, 1, 2, (3, 11), alone=alone))
    commands = brain.handle(ev.JobSubmitted(0, 5, 0, 1))
    return next(command.packets for command in commands if isinstance(command, ev.Demand))


@pytest.mark.parametrize(("alone", "least", "most"), [(False, 1, 1), (True, 1000, 2**20)])
def test_only_who_is_alone_is_given_much_before_anything_is_known(alone: bool, least: int, most: int) -> None:
    assert least <= first_packets(alone=alone) <= most
