"""Arguments are drawn as far as results are read, so endless iterables are fine and memory is bounded."""

from __future__ import annotations

import gc
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from achilles import getClusterStatus, imap, imap_unordered, map
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import PROMPT_S, Cluster, Place, run_program, wait_until

Where = dict[str, Any]
# The most that is drawn ahead of a reader who stands still: what lies unread, and what is at the nodes.
# It is counted in time, some tenths of a second of work, but 1024 tasks may always lie unread.
LEAD_TASKS = 2500


class Endless:
    """An iterable without end that tells how far it was drawn, and whether it was closed."""

    def __init__(self) -> None:
        self.drawn = 0
        self.closed = False

    def __call__(self) -> Iterator[int]:
        try:
            for number in itertools.count():
                self.drawn += 1
                yield number
        finally:
            self.closed = True

    def stands_still(self) -> bool:
        """Whether nothing was drawn while many other things could happen."""
        before = self.drawn
        until_s = time.monotonic() + 0.25
        return wait_until(lambda: time.monotonic() > until_s or self.drawn != before) and self.drawn == before


@pytest.mark.parametrize("call", [imap, imap_unordered])
@pytest.mark.parametrize("leave", ["close", "drop", "break"])
def test_a_thousand_results_of_an_endless_generator(
    where: Where, call: Callable[..., Any], leave: str
) -> None:
    endless = Endless()
    packets = call(tasks.half_a_millisecond, endless, **where)
    taken = list(itertools.islice(packets, 1000))
    values = [value for packet in taken for value in packet["RESULT"]]
    assert len(taken) == 1000 and len(values) == len(set(values))
    if leave == "close":
        packets.close()
        assert next(packets, None) is None
    elif leave == "drop":
        del packets
    else:
        for _ in packets:
            break
        del packets
    gc.collect()
    if "port" in where:
        wait_until(lambda: not getClusterStatus(**where).jobs, PROMPT_S, "for the job to be gone")
    assert map(tasks.square, [3], **where) == [[9]]
    wait_until(lambda: endless.closed, PROMPT_S, "for the generator to be closed")
    assert endless.drawn <= len(values) + LEAD_TASKS


def test_a_slow_reader_stops_the_generator(where: Where) -> None:
    endless = Endless()
    with imap(tasks.half_a_millisecond, endless, **where) as packets:
        read = 0
        for _ in range(3):
            read += len(next(packets)["RESULT"])
            wait_until(endless.stands_still)
            assert read < endless.drawn <= read + LEAD_TASKS
        before = endless.drawn
        while endless.drawn == before:
            read += len(next(packets)["RESULT"])
        assert endless.drawn <= read + LEAD_TASKS


def test_nothing_is_drawn_beyond_the_first_before_somebody_wants_it(where: Where) -> None:
    """A reader who never reads."""
    endless = Endless()
    with imap(tasks.half_a_millisecond, endless, **where):
        wait_until(lambda: endless.drawn)
        wait_until(endless.stands_still)
        assert endless.drawn <= LEAD_TASKS


FLAT = """
import itertools, json, sys, time
import psutil
from achilles import imap

def endless():
    for number in itertools.count():
        yield number.to_bytes(4, "little") * 2500

def same(item):
    time.sleep(0.0002)  # so that what is drawn ahead, counted in time, is little
    return item

if __name__ == "__main__":
    me = psutil.Process()
    sizes = []
    packets = imap(same, endless, **json.loads(sys.argv[1]))
    for count, packet in enumerate(packets):
        if count % 1000 == 999:
            sizes.append(me.memory_info().rss)
        if count == 7999:
            break
    packets.close()
    print(json.dumps(sizes))
"""


def test_memory_stays_flat(where: Where, place: Place, request: pytest.FixtureRequest) -> None:
    """8000 packets are at least 80 MB of arguments and as much of results; kept, they would show."""
    server = request.getfixturevalue("pair").server if "port" in where else None
    before = psutil.Process(server.pid).memory_info().rss if server else 0
    sizes = json.loads(run_program(place, "flat.py", FLAT, json.dumps(where))[-1])
    assert max(sizes) - sizes[0] < 60e6, [round(size / 1e6) for size in sizes]
    assert max(sizes) < 200e6
    if server:
        assert psutil.Process(server.pid).memory_info().rss - before < 60e6


def test_the_shortest_tasks_stop_as_well(where: Where) -> None:
    """A reader who never reads, of tasks that take less than a microsecond."""
    endless = Endless()
    with imap(abs, endless, **where):
        wait_until(lambda: endless.drawn)
        wait_until(endless.stands_still)


def test_an_iterable_that_turns_slow_does_not_hold_results_back(embedded: Where) -> None:
    """A backlog at full speed, then what comes in live."""
    yielded = read = most_held = 0

    def backlog_and_live() -> Iterator[int]:
        nonlocal yielded
        yield from range(100_000)
        for number in range(100_000, 100_200):
            time.sleep(0.002)
            yielded += 1
            yield number

    for packet in imap(abs, backlog_and_live, **embedded):
        read += sum(value >= 100_000 for value in packet["RESULT"])
        most_held = max(most_held, yielded - read)
    assert read == 200
    assert most_held < 100


def test_a_large_first_item_does_not_hold_the_others_back(where: Where) -> None:
    def sizes() -> Iterator[bytes]:
        yield bytes(30_000_000)
        for _ in range(20):
            yield b"small"

    lengths = [value for packet in imap(len, sizes, **where) for value in packet["RESULT"]]
    assert lengths == [30_000_000] + [5] * 20


def test_words_of_the_standard_library(where: Where) -> None:
    files = sorted(Path(json.__file__).parents[1].glob("[a-t]*.py"))[:150]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]

    def count(text: str) -> dict[str, int]:
        return Counter(text.split())

    def merge(counts: list[dict[str, int]]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for one in counts:
            total.update(one)
        return total

    total: Counter[str] = Counter()
    for packet in imap_unordered(count, lambda: iter(texts), reducer=merge, **where):
        total.update(packet["RESULT"])
    plain: Counter[str] = Counter()
    for text in texts:
        plain.update(text.split())
    assert total == plain and sum(plain.values()) > 100_000


def test_several_endless_jobs_of_one_process_take_turns(pair: Cluster) -> None:
    calls = [imap(tasks.square, Endless(), **pair.address) for _ in range(4)]
    try:
        for _ in range(50):
            for packets in calls:
                assert next(packets)["RESULT"]
    finally:
        for packets in calls:
            packets.close()
