"""A virtual clock, lives of the server, and the run of a scenario."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.simulation.controller_body import ControllerBody
from tests.simulation.invariants import Violation, check_end, check_full, check_touched
from tests.simulation.node_body import NodeBody
from tests.simulation.scenario import Restart, Scenario
from tests.simulation.server_body import ServerBody

# Of the server of a small world all books are checked after every event of its own, of a larger one
# only those of the node where it was, and all now and then.
SMALL_NODES = 12
SMALL_JOBS = 12
WHOLE_CHECK_EVENTS = 2_000
EVENT_LIMIT = 3_000_000


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
        self.touched: list[Any] = []
        self.early = 0  # answers for the first items of what still runs
        self.kills: Counter[tuple[int, int]] = Counter()  # (job, item) -> workers that died at it
        for plan in scenario.jobs:
            self.at(plan.submit_ns, self.controllers[plan.controller].submit, plan)
        for restart in scenario.restarts:
            self.at(restart.at_ns, self._server_dies, restart)

    def _server_dies(self, restart: Restart) -> None:
        if self.server.alive:
            self.server.die()
            self.after(restart.down_ns, self._server_starts)

    def _server_starts(self) -> None:
        self.server = ServerBody(self, self.scenario.max_attempts)

    def at(self, at_ns: float, call: Callable[..., None], *args: Any) -> None:
        """Call something at a time."""
        heapq.heappush(self._queue, (max(int(at_ns), self.now_ns), next(self._order), call, args))

    def after(self, delay_ns: float, call: Callable[..., None], *args: Any) -> None:
        """Call something later."""
        self.at(self.now_ns + delay_ns, call, *args)

    def chance(self, share: float) -> bool:
        """Whether something that happens now and then happens now."""
        return self.rng.random() < share

    def touch(self, brain: Any) -> None:
        """Note that a brain has just heard something."""
        self.touched.append(brain)

    def run(self) -> World:
        """Play until nothing is left to happen; raises `Violation` at the first broken promise."""
        small = len(self.nodes) <= SMALL_NODES and len(self.scenario.jobs) <= SMALL_JOBS
        whole_check_events = max(WHOLE_CHECK_EVENTS, 10 * len(self.nodes))
        try:
            while self._queue:
                self.now_ns, _, call, args = heapq.heappop(self._queue)
                self.events += 1
                call(*args)
                check_touched(self, small)
                if self.events % whole_check_events == 0:
                    check_full(self)
                self.touched.clear()
                if self.events > EVENT_LIMIT:
                    raise Violation("the run does not end")
            check_end(self)
        except Exception as error:
            error.add_note(f"at {self.now_ns / 1e6:.3f} ms, event {self.events}")
            raise
        return self
