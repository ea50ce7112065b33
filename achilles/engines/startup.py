"""How long a call waits while there is no node, and what it says meanwhile."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

from ..errors import NoNodesError

__all__ = ["WaitForNodes"]

# How long a job waits for a first node before it says so.
NO_NODES_WARNING_S = 3.0


class WaitForNodes:
    """Counts the time without nodes; warns once, then gives up.

    Args:
        limit_s: For how long to wait; None for ever.
        reason: What to tell a caller who waits: the address and what to do.

    Attributes:
        nodes: How many there are; None while nobody has said.
    """

    def __init__(self, limit_s: float | None, reason: Callable[[], str]) -> None:
        self.nodes: int | None = None
        self._limit_s = limit_s
        self._reason = reason
        self._since_s = time.monotonic()
        self._warned = False

    def changed(self, nodes: int) -> None:
        """So many nodes are there now."""
        if not nodes and self.nodes:
            self._since_s = time.monotonic()
            self._warned = False
        self.nodes = nodes

    def look(self) -> float | None:
        """Warn when it is time.

        Returns:
            In how many seconds to look again; None: no more.

        Raises:
            NoNodesError: It took too long.
        """
        waited_s = time.monotonic() - self._since_s
        limit_s = self._limit_s
        if not self._warned and waited_s >= NO_NODES_WARNING_S:
            self._warned = True
            patience = "for as long as it takes" if limit_s is None else f"up to {limit_s:g} s"
            warnings.warn(f"{self._reason()} Waiting {patience}.", RuntimeWarning, stacklevel=3)
        if limit_s is not None and waited_s >= limit_s:
            raise NoNodesError(f"{self._reason()} Gave up after {limit_s:g} s.", waited_s=waited_s)
        if self._warned and limit_s is None:
            return None
        next_s = limit_s if limit_s is not None and self._warned else NO_NODES_WARNING_S
        return max(next_s - waited_s, 0.01)
