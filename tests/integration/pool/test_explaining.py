"""`Pool.status` and `Pool.explain`: what a pool says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import achilles
from achilles.pool.explaining import Figures, explain
from tests.integration.cluster.parties import wait_until


def _figures(**more: Any) -> Figures:
    known: dict[str, Any] = {
        "name": "f",
        "elapsed_s": 10.0,
        "tasks": 1000,
        "slots": 2,
        "busy_s": 4.0,
        "longest_s": 0.1,
        "drawing_s": 0.1,
        "serializing_s": 0.1,
        "reading_s": 0.1,
        "sent_bytes": 1000,
        "received_bytes": 1000,
        "chunksize": None,
        "is_local": True,
        "done": True,
    }
    return Figures(**{**known, **more})


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ({"busy_s": 19.0}, "slots"),
        ({"tasks": 1}, "imbalance"),
        ({"longest_s": 7.0}, "imbalance"),
        ({"drawing_s": 6.0}, "iterable"),
        ({"serializing_s": 6.0}, "serialization"),
        ({"reading_s": 6.0}, "results"),
        ({"tasks": 1_000_000}, "small tasks"),
        ({"tasks": 40_000, "chunksize": 1}, "small tasks"),
        ({}, "network"),
        ({"tasks": 0}, "nothing"),
    ],
)
def test_what_limits_is_told_by_the_figures(more: dict[str, Any], limit: str) -> None:
    explanation = explain(_figures(**more))
    assert explanation.limit == limit
    assert explanation.suggestion in str(explanation)
    assert explanation.suggestion in explanation._repr_html_().replace("&#x27;", "'")


def _slowly(items: range) -> Iterator[int]:
    for item in items:
        time.sleep(0.02)
        yield item


def test_explains_the_last_job(pool: achilles.Pool) -> None:
    assert pool.explain().limit == "nothing"
    pool.map(time.sleep, [0.05] * 40)
    figures = pool.explain().figures
    assert figures is not None
    assert (figures.tasks, figures.done, figures.name) == (40, True, "sleep")
    assert figures.busy_s >= 40 * 0.05
    assert figures.longest_s >= 0.05
    assert list(pool.imap(abs, _slowly(range(40)))) == list(range(40))
    assert pool.explain().limit == "iterable"


def test_explains_single_calls(pool: achilles.Pool) -> None:
    assert [pool.apply(abs, (-1,)) for _ in range(3)] == [1, 1, 1]
    figures = pool.explain().figures
    assert figures is not None
    assert figures.tasks == 3


def test_status(pools: Callable[..., achilles.Pool]) -> None:
    with pools(2) as pool:
        status = pool.status()
        assert (status["state"], status["jobs"], status["open_calls"]) == ("RUN", [], 0)
        if status["where"] == "local":
            assert len(status["workers"]) == 2
        else:
            assert sorted(node["cpu_count"] for node in status["nodes"]) == [1, 3]
        results = pool.imap(time.sleep, [0, 0, 60])
        next(results)
        wait_until(lambda: pool.status()["jobs"][0]["tasks_done"] == 2)
        assert pool.status()["jobs"][0]["name"] == "sleep"
        pool.apply_async(time.sleep, (60,))
        assert pool.status()["open_calls"] == 1
    pool.join()
    assert pool.status()["jobs"] == []
