"""What plain pickle cannot send: functions and classes by value, and where a failure lies."""

from achilles.by_value.identity import registry
from achilles.by_value.pickler import Pickler, reduce_with
from achilles.by_value.unpicklable import find_unpicklable

__all__ = ["Pickler", "find_unpicklable", "new_job", "reduce_with"]

new_job = registry.advance
