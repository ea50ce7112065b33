"""What a memory budget may look like, and where its default comes from."""

from __future__ import annotations

import pytest

from achilles import map, memory_budget
from achilles.config import load_server_settings, load_settings
from achilles.errors import ConfigError
from achilles.memory_budget import check_memory_budget, default_budget_bytes, usable_memory_bytes

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        (2 * MIB, 2 * MIB),
        ("1048576", MIB),
        ("512M", 512 * MIB),
        ("512 MiB", 512 * MIB),
        ("0.5g", 512 * MIB),
        ("2GB", 2048 * MIB),
        ("1T", 1024 * 1024 * MIB),
    ],
)
def test_sizes(value: int | str, size_bytes: int) -> None:
    assert check_memory_budget(value, "argument") == size_bytes


def test_a_part_of_the_memory() -> None:
    assert check_memory_budget("10 %", "argument") == usable_memory_bytes() // 10


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "", "much", "12X", "-3G", "101%", "1K", None])
def test_what_is_none(value: object) -> None:
    with pytest.raises(ConfigError, match=r"MEMORY_BUDGET \(from here\)") as caught:
        check_memory_budget(value, "here")
    assert (caught.value.key, caught.value.source) == ("MEMORY_BUDGET", "here")


def test_the_default_is_a_part_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_budget, "default_budget_bytes", default_budget_bytes.__wrapped__)
    assert memory_budget.default_budget_bytes() == usable_memory_bytes() // 16
    monkeypatch.setattr(memory_budget, "_group_limits", lambda: iter([4096 * MIB, 2048 * MIB]))
    assert usable_memory_bytes() == 2048 * MIB
    assert memory_budget.default_budget_bytes() == 128 * MIB
    monkeypatch.setattr(memory_budget, "_group_limits", lambda: iter([100 * MIB]))
    assert memory_budget.default_budget_bytes() == 64 * MIB


def test_argument_variable_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().memory_budget_bytes == default_budget_bytes()
    monkeypatch.setenv("ACHILLES_MEMORY_BUDGET", "32M")
    assert load_settings().memory_budget_bytes == 32 * MIB
    assert load_server_settings().memory_budget_bytes == 32 * MIB
    assert load_server_settings(memory_budget="48M").memory_budget_bytes == 48 * MIB
    assert load_settings(memory_budget=64 * MIB).memory_budget_bytes == 64 * MIB


def test_a_call_with_a_budget_that_is_none() -> None:
    with pytest.raises(ConfigError, match="MEMORY_BUDGET"):
        map(abs, [1], memory_budget="lots", address="local")
