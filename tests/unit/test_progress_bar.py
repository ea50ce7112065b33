"""What a caller's progress function is told the total is."""

from __future__ import annotations

from typing import Any

from achilles.progress_bar import bar_for


def _total(args: Any, **how: Any) -> int | None:
    told: list[int | None] = []
    bar = bar_for(lambda done, total: told.append(total), args, **how)
    assert bar is not None
    bar.update(1)
    return told[0]


def test_lists_are_packets_for_calls_by_packets_and_items_for_others() -> None:
    lists = [[1, 2, 3], [4, 5, 6]]
    assert _total(lists) == 6
    assert _total(lists, flat=True) == 2
    assert _total(iter([1, 2]), flat=True) == 2
    assert _total((n for n in lists), flat=True) is None
