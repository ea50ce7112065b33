"""Endless input, slow readers, and iterators that are left."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from achilles import imap, imap_unordered, map
from tests.cluster.conftest import Cluster


def endless() -> Iterator[int]:
    yield from itertools.count()


def double(item: int) -> int:
    return item * 2


def test_a_thousand_of_an_endless_stream_then_the_next_job(cluster: Cluster) -> None:
    cluster.add_node(2)
    map(double, range(10), **cluster.where)
    gc.collect()
    before = psutil.Process().memory_info().rss
    results = imap(double, endless, **cluster.where)
    for expected, packet in enumerate(itertools.islice(results, 1000)):
        assert packet == {"ARGS_COUNTER": 2 * expected, "RESULT": [4 * expected, 4 * expected + 2]}
    assert psutil.Process().memory_info().rss - before < 16 * 1024 * 1024
    del results
    assert cluster.wait_for(lambda status: not status.jobs) < 2
    assert map(double, [1, 2, 3], **cluster.where) == [[2, 4], [6]]


@pytest.mark.parametrize("address", ["local", "cluster"])
def test_a_reader_that_stands_still_stops_the_generator(cluster: Cluster, address: str) -> None:
    cluster.add_node(2)
    drawn = 0
    moved = threading.Event()

    def counted() -> Iterator[int]:
        nonlocal drawn
        for item in itertools.count():
            drawn = item
            moved.set()
            yield item

    where = {"address": "local"} if address == "local" else cluster.where
    with imap_unordered(double, counted, **where) as results:
        for _ in range(50):
            next(results)
        # Within its window the generator goes on for a moment, then it must rest.
        while True:
            moved.clear()
            if not moved.wait(1.0):
                break
            assert drawn < 20_000_000
        next(results)


def leave_by_exception(where: dict[str, Any]) -> None:
    for packet in imap(double, endless, **where):
        if packet["ARGS_COUNTER"] > 10:
            raise RuntimeError("enough")


def test_an_exception_in_the_callers_loop_cancels_the_job(cluster: Cluster) -> None:
    cluster.add_node(1)
    with pytest.raises(RuntimeError, match="enough"):
        leave_by_exception(cluster.where)
    assert cluster.wait_for(lambda status: not status.jobs) < 2


def test_a_generator_that_raises_still_gives_what_came_before(cluster: Cluster) -> None:
    cluster.add_node(2)

    def ends_badly() -> Iterator[int]:
        yield from range(5)
        raise LookupError("item 5 is nowhere")

    results = imap(double, ends_badly, **cluster.where)
    assert [next(results)["RESULT"] for _ in range(3)] == [[0, 2], [4, 6], [8]]
    with pytest.raises(LookupError, match="item 5 is nowhere"):
        next(results)


def test_modules_beside_the_script_reach_nodes_that_lack_them(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_node(1)
    own = tmp_path / "own"
    (own / "shapes").mkdir(parents=True)
    (own / "shapes" / "__init__.py").write_text("from .sides import count\n")
    (own / "shapes" / "sides.py").write_text(
        "SIDES = {'triangle': 3}\ndef count(name):\n    return SIDES[name]\n"
    )
    script = own / "script.py"
    script.write_text(
        "import shapes\nfrom achilles import map\n"
        f"print(map(shapes.count, ['triangle'], **{cluster.where!r}))\n"
        f"print(map(lambda name: shapes.count(name) + 1, ['triangle'], **{cluster.where!r}))\n"
    )
    program = cluster.run("script", script.read_text(), PYTHONPATH=_path(cluster, own))
    program.wait_for("[[3]]")
    program.wait_for("[[4]]")
    assert program.wait_for_end() == 0


def _path(cluster: Cluster, own: Path) -> str:
    return f"{cluster.environment['PYTHONPATH']}:{own}"
