"""Which nodes have fetched what another one keeps: they are told when nobody needs it any more."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["KeptCopies"]


class KeptCopies:
    """Numbers of nodes, by session and name of the value."""

    def __init__(self) -> None:
        # session -> name -> number of the node that keeps it, and of those that have a copy
        self._copies: dict[str, dict[str, tuple[int, set[int]]]] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._copies

    def add(self, session: str, name: str, holder: int, node: int) -> None:
        """A node was sent some of a value that another one keeps."""
        self._copies.setdefault(session, {}).setdefault(name, (holder, set()))[1].add(node)

    def take(self, session: str, name: str) -> set[int]:
        """Those that have some of a value; they are not remembered further."""
        return self._copies.get(session, {}).pop(name, (0, set()))[1]

    def take_of(self, holder: int) -> Iterator[tuple[str, str, set[int]]]:
        """Session and name of what that node kept, and those that have some of it; likewise."""
        for session, copies in self._copies.items():
            for name in [name for name, copy in copies.items() if copy[0] == holder]:
                yield session, name, copies.pop(name)[1]

    def forget(self, session: str) -> None:
        """The session has no job any more; its nodes drop all by themselves."""
        self._copies.pop(session, None)
