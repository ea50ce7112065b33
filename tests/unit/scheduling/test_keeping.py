"""Which uses of a result have it fetched, and which leave it where it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from achilles.scheduling import functional, schedule
from achilles.scheduling.calls import Handle
from tests.differential.stub_calls import StubCalls


@functional
def made(number: int) -> list[int]:
    return [number]


@functional
def joined(*parts: Any) -> list[int]:
    return [each for part in parts for each in part or ()]


@functional
def flat(parts: list[Any]) -> list[int]:
    return joined(*parts)


def zipped(count: int) -> list[int]:
    frames = [made(number) for number in range(count)]
    masks = [None] * count
    for _ in range(2):
        masks = [joined(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
    return flat(masks)


def counted(count: int) -> list[int]:
    frames = [made(number) for number in range(count)]
    shifted = [joined(frame, [place]) for place, frame in enumerate(frames, start=1)]
    return flat([joined(frame) for frame in reversed(shifted)])


def looped(count: int) -> list[int]:
    frames = [made(number) for number in range(count)]
    found = []
    for place, (frame, other) in enumerate(zip(frames, frames, strict=True), 1):
        found.append(joined(frame, other, [place]))
    for frame, other in zip(frames, found, strict=False):
        found = [joined(frame, other)]
    return flat(found)


def shadowed(count: int) -> list[int]:
    frames = [made(number) for number in range(count)]
    rows = [[[7], [8]], [[9]]]
    return flat([joined(frame) for frames in rows for frame in frames] + frames)


def looked_at(count: int) -> Any:
    frames = [made(number) for number in range(count)]
    lengths = [len(frame) for frame, _ in zip(frames, frames, strict=True)]
    return lengths, [joined(frame, [frame[0]]) for frame, _ in zip(frames, range(count), strict=True)]


def zip_of_its_own(count: int) -> Any:
    def zip(*lists: Any, strict: bool) -> Any:
        seen.extend(type(each) for each in lists[0])
        return [(each, each) for each in lists[0]]

    seen: list[type] = []
    frames = [made(number) for number in range(count)]
    found = [joined(frame, other) for frame, other in zip(frames, strict=True)]
    return found, [each.__name__ for each in seen]


@pytest.mark.parametrize(
    ("function", "fetched"),
    [(zipped, 1), (counted, 1), (shadowed, None), (looped, None), (looked_at, None), (zip_of_its_own, None)],
)
def test_values_are_fetched_where_they_are_used(
    function: Callable[[int], Any], fetched: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles: dict[int, Handle] = {}
    value = Handle.value

    def noted(handle: Handle) -> Any:
        handles[id(handle)] = handle
        return value(handle)

    monkeypatch.setattr(Handle, "value", noted)
    for seed in range(5):
        handles.clear()
        scheduled = schedule(function, calls=StubCalls(seed, keeps=True).provider)
        assert scheduled(4) == function(4)
        assert fetched is None or len(handles) == fetched
