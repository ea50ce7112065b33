"""The embedded engine as the keeper of values: they lie in memory that this very process holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kept import Reference, lost
from ..sealed import Buffer, Sealed
from ..workers.kept_store import GONE

if TYPE_CHECKING:
    from .local import LocalEngine

__all__ = ["LocalKeeper"]


class LocalKeeper:
    """An embedded engine's `achilles.kept.Keeper`."""

    origin: object = None

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    def payload(self, reference: Reference) -> Buffer | Sealed:
        """The serialized value.

        Raises:
            KeptLost: It is gone.
        """
        found = self._engine.find_kept(reference.name)
        if found is None:
            raise lost(reference, GONE)
        return found

    def release(self, reference: Reference) -> None:
        """Let go of it."""
        self._engine.release_kept(reference.name)
