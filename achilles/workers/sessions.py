"""The processes whose modules workers import, by the numbers that workers know them by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set

from .module_source import ModuleSource

__all__ = ["IDLE_SESSIONS", "Sessions"]

# Sessions whose modules are remembered although no job of theirs runs.
IDLE_SESSIONS = 8


class Sessions:
    """Sessions that were used lately, and the modules that came from them."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._serial = 0
        self._modules: dict[tuple[str, str], ModuleSource] = {}

    def __getitem__(self, session: str) -> int:
        return self._numbers[session]

    def __contains__(self, session: str) -> bool:
        return session in self._numbers

    def use(self, session: str, busy: Set[str]) -> None:
        """A job of a session came; of those without a job only the latest are kept."""
        if session not in self._numbers:
            self._serial += 1
            self._numbers[session] = self._serial
        self._numbers.move_to_end(session)
        for idle in list(self._numbers):
            if len(self._numbers) <= IDLE_SESSIONS + len(busy):
                break
            if idle not in busy:
                del self._numbers[idle]
                self._modules = {key: kept for key, kept in self._modules.items() if key[0] != idle}

    def keep(self, session: str, name: str, module: ModuleSource) -> None:
        """Remember a module of a session, if that is still known."""
        if session in self._numbers:
            self._modules[session, name] = module

    def module(self, session: str, name: str) -> ModuleSource | None:
        """A module of a session, if it came before."""
        return self._modules.get((session, name))
