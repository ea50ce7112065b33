"""`Pool`, `Executor` and their kin: the standard library's faces, on this machine or a server's nodes.

The names below are imported when they are first asked for: workers need none of them, and import
`achilles.pool.wrapping` with nearly every call of a pool.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from achilles.pool.executor import Executor
    from achilles.pool.pool import Pool
    from achilles.pool.results import AsyncResult, MapResult

__all__ = ["AsyncResult", "Executor", "MapResult", "Pool"]

_HOMES = {"AsyncResult": "results", "Executor": "executor", "MapResult": "results", "Pool": "pool"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
