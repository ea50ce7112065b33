"""What a caller may ask of the nodes that run a job, checked before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.engines.spec import JobSpec
from achilles.limits import MAX_PATTERNS, MAX_PATTERNS_CHARACTERS, MAX_PRIORITY, MAX_SLOTS


def checked(**options: Any) -> JobSpec:
    spec = JobSpec(abs, [], **options)
    spec.check()
    return spec


def test_what_is_right_passes() -> None:
    checked()
    checked(priority=-MAX_PRIORITY, slots=MAX_SLOTS, nodes=("gpu*", "10.0.0.?", "[ab]lice"))
    checked(priority=MAX_PRIORITY, nodes=tuple("x" * 64 for _ in range(MAX_PATTERNS)))
    assert checked(nodes=["alice"]).nodes == ("alice",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": True}, "priority must be an int, not bool"),
        ({"priority": 1.5}, "priority must be an int, not float"),
        ({"priority": None}, "priority must be an int, not NoneType"),
        ({"slots": "2"}, "slots must be an int, not str"),
        ({"slots": True}, "slots must be an int, not bool"),
        ({"nodes": "gpu*"}, "nodes must be a tuple of strings, not str"),
        ({"nodes": {"gpu*"}}, "nodes must be a tuple of strings, not set"),
        ({"nodes": ("a", 3)}, "nodes must be strings, not int"),
    ],
)
def test_another_type_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        checked(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": MAX_PRIORITY + 1}, "priority must be from -1000 to 1000, not 1001"),
        ({"priority": -MAX_PRIORITY - 1}, "priority must be from"),
        ({"slots": 0}, "slots must be from 1 to 4096, not 0"),
        ({"slots": MAX_SLOTS + 1}, "slots must be from"),
        ({"nodes": ("",)}, "printable ASCII"),
        ({"nodes": ("gpu\n",)}, "printable ASCII"),
        ({"nodes": ("gp\xfc*",)}, "printable ASCII"),
        ({"nodes": ("x" * 256,)}, "at most 255 characters"),
        ({"nodes": ("x",) * (MAX_PATTERNS + 1)}, "use patterns"),
        ({"nodes": ("x" * 250,) * (MAX_PATTERNS_CHARACTERS // 250 + 1)}, "use patterns"),
    ],
)
def test_an_impossible_value_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(**options)
