"""Sequential Python, run in parallel: `schedule` and `functional`."""

from __future__ import annotations

from .functional import functional, is_functional

__all__ = ["functional", "is_functional"]
