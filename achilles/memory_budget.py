"""How much memory a process may spend on payloads: what a budget looks like, and the default.

The default is a part of what the process may use at all: the machine's memory, or less where a control
group (a container, a service, a batch queue) allows less.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from achilles.errors import ConfigError

__all__ = ["check_memory_budget", "default_budget_bytes", "usable_memory_bytes"]

DEFAULT_PART = 16
# Below this, arguments of everyday size would go one by one.
LEAST_BYTES = 1024 * 1024
LEAST_DEFAULT_BYTES = 64 * 1024 * 1024
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_V1_LIMIT = "memory.limit_in_bytes"


def check_memory_budget(value: Any, source: str) -> int:
    """The bytes of a number, or of a text such as ``512M``, ``2 GiB`` or ``10%`` (of what is usable)."""
    size_bytes: float = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size_bytes = value
    elif isinstance(value, str):
        text = value.strip()
        written = _WRITTEN.fullmatch(text)
        part = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
        if written is not None:
            size_bytes = float(written[1]) * _UNITS[written[2].upper()]
        elif part is not None and float(part[1]) <= 100:
            size_bytes = usable_memory_bytes() * float(part[1]) / 100
    if size_bytes < LEAST_BYTES:
        raise ConfigError(
            f"MEMORY_BUDGET (from {source}) is {value!r}; give a number of bytes of at least 1 MiB, such as "
            f"512M or 2G, or a part of the memory, such as 10%.",
            key="MEMORY_BUDGET",
            source=source,
        )
    return int(size_bytes)


@functools.cache
def default_budget_bytes() -> int:
    """A sixteenth of the memory that this process may use, as its first call found it."""
    return max(usable_memory_bytes() // DEFAULT_PART, LEAST_DEFAULT_BYTES)


def usable_memory_bytes() -> int:
    """The machine's memory, or the least that a control group around this process allows."""
    try:
        machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        machine_bytes = 4 << 30  # nobody says
    return min([machine_bytes, *_group_limits()])


def _group_limits() -> Iterator[int]:
    """Limits of the control groups that this process is in, inner and outer, of both versions."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), _V1_LIMIT
        else:
            continue
        place = root / group.lstrip("/")
        while place != root.parent:
            try:
                text = (place / name).read_text(encoding="ascii").strip()
            except OSError:
                text = ""
            if text.isdecimal():
                yield int(text)
            place = place.parent
