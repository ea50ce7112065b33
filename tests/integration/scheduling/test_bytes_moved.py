"""The pipeline of examples/ccd_calibration: no frame goes from one process to another more than once.

Frames have 9 MiB here; how often one moves doesn't depend on that, once it is large enough to stay where it
is made.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import achilles
from achilles import Pool, kept
from achilles.pool import call_sources, stream
from achilles.scheduling import schedule
from tests.integration.cluster.conftest import nothing_left, place
from tests.integration.cluster.kept_values import Two
from tests.integration.cluster.parties import Place
from tests.integration.forked_party import ROOT

__all__ = ["nothing_left", "place"]

COUNT, SIZE = 4, 1536
FRAME_BYTES = 4 * SIZE**2


class Traffic:
    """What this process sends, gets and fetches, in bytes.

    Attributes:
        sent: In messages: functions and arguments.
        got: In messages: results.
        fetched: The sizes of kept values that came here.
        kept: The sizes of values that stayed where they were made.
        needed: Values that a node needs and another one keeps, with their sizes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = self.got = 0
        self.fetched: list[int] = []
        self.kept: list[int] = []
        self.needed: set[tuple[int, kept.Reference]] = set()
        add, items_of = call_sources.Calls._add, stream.items_of
        made, value = kept.Kept.__init__, kept.Kept.value

        def counted_add(calls: Any, more: Any, draw: Any) -> None:
            before = draw.size_bytes
            add(calls, more, draw)
            self.sent += draw.size_bytes - before
            for call, sent in more:
                if sent._lies_at is not None:  # where it runs
                    at = sent._lies_at.holder
                    handles = kept.kept_in(call)
                    self.needed.update((at, each.reference) for each in handles if each.holder != at)

        def counted_items_of(parcel: Any) -> Any:
            self.got += sum(memoryview(segment[4]).nbytes for segment in parcel.segments)
            return items_of(parcel)

        def counted_made(handle: kept.Kept, reference: kept.Reference, keeper: Any) -> None:
            made(handle, reference, keeper)
            self.kept.append(handle.size_bytes)

        def counted_value(handle: kept.Kept) -> Any:
            self.fetched.append(handle.size_bytes)
            return value(handle)

        monkeypatch.setattr(call_sources.Calls, "_add", counted_add)
        monkeypatch.setattr(stream, "items_of", counted_items_of)
        monkeypatch.setattr(kept.Kept, "__init__", counted_made)
        monkeypatch.setattr(kept.Kept, "value", counted_value)

    def needed_at(self, node: int) -> int:
        """How many bytes go to a node when each value that it needs goes there once."""
        return sum(reference.size_bytes for at, reference in self.needed if at == node)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(monkeypatch)


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """The example as a module, as if it were imported."""
    spec = importlib.util.spec_from_file_location(
        "ccd_calibration", ROOT / "examples/ccd_calibration/ccd_calibration.py"
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["ccd_calibration"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ccd_calibration"]


def _check(example: ModuleType, pool: Pool, traffic: Traffic) -> None:
    """Run the pipeline; it gives what it gives in this process, and only the image comes here."""
    plain, *counts = example.reduce_night.__wrapped__(COUNT, SIZE)
    image, *others = schedule(example.reduce_night.__wrapped__, pool=pool)(COUNT, SIZE)
    assert image.tobytes() == plain.tobytes() and others == counts
    # Four raw frames of each kind, what is made of them, the means, and an image and masks for each round.
    assert sum(traffic.kept) > (5 * COUNT + 3) * FRAME_BYTES
    assert traffic.sent + traffic.got < FRAME_BYTES / 4
    assert len(traffic.fetched) == 1 and FRAME_BYTES < traffic.fetched[0] < FRAME_BYTES + 4096


def test_on_this_machine_only_the_image_comes_here(
    example: ModuleType, traffic: Traffic, nothing_left: None
) -> None:
    with achilles.Pool(2, address="local") as pool:
        _check(example, pool, traffic)


@pytest.mark.parametrize("near", [True, False], ids=["near", "far"])
def test_on_two_nodes_each_frame_goes_to_the_other_at_most_once(
    example: ModuleType, traffic: Traffic, place: Place, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not near:
        monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    two = Two(place, near=near)
    try:
        with two.pool() as pool:
            _check(example, pool, traffic)
            to_first, to_second, here = two.moved()
            # Frames are made on both nodes, and each mean is made on one of them.
            assert to_first + to_second > 0
            assert to_first <= traffic.needed_at(0) and to_second <= traffic.needed_at(1)
            assert here == traffic.fetched[0]
    finally:
        two.cluster.close()
