"""What a job would be asked for at its beginning, so that its controller can send it before it is asked.

A server names nodes that a new job may count on (offers). A controller answers what the scheduler would
demand for them while nothing is known of the job, and says with the job for which nodes it does so. Whether
such a parcel goes where it was meant to go is for the scheduler to say, when it would have asked.

How long tasks took when the same function was mapped last is an expectation, and may be wrong by any factor.
So a node gets little at first all the same, and only the parcel that waits behind it is as long as it should
be if tasks are as expected. If they are not, it is not begun, and the job's last is drawn again, in others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from math import ceil
from typing import Protocol

from .packets import packet_length

__all__ = [
    "MAX_OFFERS",
    "MAX_PROMISED",
    "PARCELS_EACH",
    "Promised",
    "first_packets",
    "first_parcels",
    "offers_of",
]

MAX_OFFERS = 8
"""Nodes that are named."""

PARCELS_EACH = 2
"""What a node is asked for before anything is known: one parcel to run, and one that waits."""

MAX_PROMISED = MAX_OFFERS * PARCELS_EACH

# A slot gets this part of its even share of what is left at a time, while nobody knows how long tasks take
# (the idea of guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers C-36, 1987).
BLIND_SHARES = 16
# But no more than this: nodes may come that could have taken some of what is begun by then.
FIRST_SLOT_TASKS = 16
# Where tasks are expected to be short, what waits behind that may be so much work for each slot; and, where
# there are several nodes, so large a part of its even share.
EXPECTED_WINDOW_NS = 30_000_000
EXPECTED_SHARES = 4


class Node(Protocol):
    """What a scheduler knows of a node."""

    node: int
    cpu_count: int
    draining: bool


def offers_of(nodes: Iterable[Node]) -> tuple[tuple[int, int], ...]:
    """Number and slots of the first nodes of those that take work."""
    taking = (node for node in nodes if not node.draining)
    return tuple((node.node, node.cpu_count) for node in islice(taking, MAX_OFFERS))


def first_packets(
    tasks_left: int, cpu_count: int, slots: int, packet_tasks: int, expected_ns: float = 0.0
) -> int:
    """How many packets to ask a node for while nobody knows how long a task takes.

    Args:
        tasks_left: What was not sent yet, where that is known; else 0.
        cpu_count: How many of the job's tasks the node runs at once.
        slots: How many all nodes do.
        packet_tasks: Tasks in one packet.
        expected_ns: How long a task is expected to take, if others wait there to be run before; else 0.
    """
    even_tasks = tasks_left * cpu_count / slots
    most_tasks = min(even_tasks / BLIND_SHARES, cpu_count * FIRST_SLOT_TASKS)
    if expected_ns <= 0:
        return max(int(most_tasks / packet_tasks), 1)
    share_tasks = even_tasks if cpu_count >= slots else even_tasks / EXPECTED_SHARES
    most_tasks = max(most_tasks, min(share_tasks, cpu_count * EXPECTED_WINDOW_NS / expected_ns))
    return max(ceil(most_tasks / packet_tasks), 1)  # with what is left beyond whole packets


def first_parcels(
    offers: Sequence[tuple[int, int]],
    *,
    tasks: int,
    chunksize: int,
    task_slots: int,
    slots: int,
    expected_ns: float = 0.0,
) -> list[tuple[int, int, int]]:
    """The demands of a new job that need not be waited for: node, tasks that it runs at once, and packets.

    Args:
        offers: Number and slots of each node.
        tasks: How many the job has, where that is known; else 0.
        chunksize: Tasks in a slice.
        task_slots: How many slots a task takes.
        slots: How many all nodes of the cluster have.
        expected_ns: How long a task is expected to take, 0 where nothing is known of that.
    """
    demands = []
    left = tasks
    for before in range(PARCELS_EACH):
        for node, cpu_count in offers:
            at_once = cpu_count // task_slots
            if at_once and (left > 0 or not tasks):
                packet_tasks = packet_length(at_once, chunksize)
                all_at_once = max(slots // task_slots, at_once)
                behind_ns = expected_ns if before else 0.0
                packets = first_packets(left, at_once, all_at_once, packet_tasks, behind_ns)
                demands.append((node, at_once, packets))
                left -= packets * packet_tasks
    return demands


class Promised:
    """Parcels of one job that will come unasked, by the nodes that they were cut for."""

    __slots__ = ("_parcels",)

    def __init__(self, nodes: Iterable[int] = ()) -> None:
        self._parcels: dict[int, int] = {}
        for node in nodes:
            self._parcels[node] = self._parcels.get(node, 0) + 1

    def take(self, node: int) -> bool:
        """Whether a parcel for this node was promised that nobody has counted on yet; now somebody does."""
        left = self._parcels.get(node, 0)
        if left > 1:
            self._parcels[node] = left - 1
        elif left:
            del self._parcels[node]
        return left > 0
