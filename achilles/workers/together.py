"""What a worker is given at once travels together: one that is woken for each part takes a core each time."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import slots_events as ev

__all__ = ["together"]


def together(commands: list[ev.Command]) -> Iterator[tuple[ev.Command, bool]]:
    """The commands in order, each with whether the same worker gets another piece by one that follows."""
    if len(commands) < 3:
        for command in commands:
            yield command, False
        return
    last = {command.worker: command for command in commands if isinstance(command, ev.RunPiece)}
    for command in commands:
        yield command, isinstance(command, ev.RunPiece) and last[command.worker] is not command
