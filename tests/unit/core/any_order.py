"""How far the tests of a brain in any order of events go, and how they see that nothing was changed."""

from __future__ import annotations

import os
import pickle
from typing import Any

from hypothesis import HealthCheck, settings

# `make simulate` asks for more, and for other orders every time.
_more = int(os.environ.get("ACHILLES_STATEFUL_EXAMPLES") or 0)

ANY_ORDER = settings(
    max_examples=_more or 120,
    stateful_step_count=50,
    derandomize=not _more,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def memory_of(brain: Any) -> bytes:
    """All that a brain remembers, but for the time and what it just said."""
    return pickle.dumps(
        {name: value for name, value in vars(brain).items() if name not in ("_now_ns", "_out")}
    )
