"""What a scheduled function's functional calls need of each other, and what keeps them from overlapping."""

from __future__ import annotations

from .explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
