"""Sequential Python, run in parallel: `schedule` and `functional`."""

from __future__ import annotations

from .decorator import schedule, scheduled_code
from .functional import functional, is_functional

__all__ = ["functional", "is_functional", "schedule", "scheduled_code"]
