"""`Pool`, `Executor` and their kin: the standard library's faces, on this machine or a server's nodes."""

from __future__ import annotations

from achilles.pool.executor import Executor
from achilles.pool.pool import Pool
from achilles.pool.results import AsyncResult, MapResult

__all__ = ["AsyncResult", "Executor", "MapResult", "Pool"]
