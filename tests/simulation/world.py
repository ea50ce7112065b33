"""A virtual clock, links that keep their order, and the run of a scenario."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from tests.simulation.controller_body import ControllerBody
from tests.simulation.invariants import Violation, check_end, check_full, check_touched
from tests.simulation.node_body import NodeBody
from tests.simulation.scenario import Scenario
from tests.simulation.server_body import ServerBody

# A world with few machines is checked whole after every event, one with many only where the event
# was, and whole now and then.
WHOLE_CHECK_NODES = 12
WHOLE_CHECK_EVENTS = 2_000
EVENT_LIMIT = 3_000_000


class Link:
    """One direction of a connection: delayed, in order, and able to break."""

    def __init__(self, world: World, latency_ns: int) -> None:
        self._world = world
        self._latency_ns = latency_ns
        self._last_ns = 0
        self.cut = False

    def post(self, receive: Callable[..., None], *args: Any) -> None:
        """Have ``receive`` called at the other end."""
        if self.cut:
            return
        jitter_ns = int(self._latency_ns * self._world.rng.random())
        self._last_ns = max(self._last_ns, self._world.now_ns + self._latency_ns + jitter_ns)
        self._world.at(self._last_ns, self._arrive, receive, args)

    def _arrive(self, receive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.cut:
            receive(*args)


class World:
    """One run: bodies around the three brains, and the queue of what happens next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.now_ns = 0
        self.events = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self.server = ServerBody(self, scenario.max_attempts)
        self.controllers = {plan.controller: ControllerBody(self, plan) for plan in scenario.controllers}
        self.nodes = {plan.node: NodeBody(self, plan, scenario.max_attempts) for plan in scenario.nodes}
        self.jobs = {plan.job: plan for plan in scenario.jobs}
        self.touched: list[tuple[str, Any]] = []
        for plan in scenario.jobs:
            self.at(plan.submit_ns, self.controllers[plan.controller].submit, plan)

    def at(self, at_ns: float, call: Callable[..., None], *args: Any) -> None:
        """Call something at a time."""
        heapq.heappush(self._queue, (max(int(at_ns), self.now_ns), next(self._order), call, args))

    def after(self, delay_ns: float, call: Callable[..., None], *args: Any) -> None:
        """Call something later."""
        self.at(self.now_ns + delay_ns, call, *args)

    def touch(self, brain: Any) -> None:
        """Note that a brain has just heard something."""
        self.touched.append(brain)

    def run(self) -> World:
        """Play until nothing is left to happen; raises `Violation` at the first broken promise."""
        whole = len(self.nodes) <= WHOLE_CHECK_NODES
        try:
            while self._queue:
                self.now_ns, _, call, args = heapq.heappop(self._queue)
                self.events += 1
                call(*args)
                if whole or self.events % WHOLE_CHECK_EVENTS == 0:
                    check_full(self)
                else:
                    check_touched(self)
                self.touched.clear()
                if self.events > EVENT_LIMIT:
                    raise Violation("the run does not end")
            check_end(self)
        except Exception as error:
            error.add_note(f"at {self.now_ns / 1e6:.3f} ms, event {self.events}")
            raise
        return self
