"""Which nodes have fetched what another one keeps: they are told when nobody needs it any more."""

from __future__ import annotations

__all__ = ["KeptCopies"]


class KeptCopies:
    """Numbers of nodes, by session and name of the value."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, set[int]]] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._nodes

    def add(self, session: str, name: str, node: int) -> None:
        """A node was sent some of a value."""
        self._nodes.setdefault(session, {}).setdefault(name, set()).add(node)

    def take(self, session: str, name: str) -> set[int]:
        """Those that have some of it; they are not remembered further."""
        return self._nodes.get(session, {}).pop(name, set())

    def forget(self, session: str) -> None:
        """The session has no job any more; its nodes drop all by themselves."""
        self._nodes.pop(session, None)
