"""What is answered of a unit that still runs, and what is left of it."""

from __future__ import annotations

import threading
import time

import pytest

from achilles.serialization import deserialize, join, load_failure, serialize
from achilles.workers.channel import ALL_FAILED, OK, SOME_FAILED
from achilles.workers.early_results import WAIT_S, EarlyResults
from achilles.workers.running import Job, answer_unit
from achilles.workers.running_items import RunningItems

FIRST = 10


class Unit:
    """One of ten items that runs in another thread, up to an item that waits."""

    def __init__(self, waits_at: int, *, packet_tasks: int = 0, reducer=None, function=None) -> None:
        self.progress = memoryview(bytearray(32)).cast("q")
        self.running = RunningItems(self.progress)
        assert self.running.next_unit()
        self.there, self.goes_on = threading.Event(), threading.Event()
        self.sent = []
        self.early = EarlyResults(self.running, lambda *answer: self.sent.append(answer))
        self.answer = None
        job = Job(1, join(serialize((abs, None, reducer, "raise"), "function")))
        job.load(0)

        def run(item):
            if item == waits_at:
                self.there.set()
                assert self.goes_on.wait(20)
            return item if function is None else function(item)

        job.function = run
        payload = join(serialize(list(range(10)), "arguments"))

        def answer() -> None:
            self.answer = answer_unit(job, payload, FIRST, 0, 10, packet_tasks, self.progress, self.running)

        self.thread = threading.Thread(target=answer)
        self.thread.start()
        assert self.there.wait(20)

    def look(self) -> None:
        """Look as often as that is asked for, until something is sent or it never will be."""
        while (wait_ms := self.early.timeout_ms()) is not None and wait_ms <= 8 * WAIT_S * 1000:
            time.sleep(wait_ms / 1000)
            self.early.look()
        while self.early._serializes:
            time.sleep(0.001)

    def finish(self):
        """The status, values and failures of the answer in the end, and how many items it is for."""
        self.goes_on.set()
        self.thread.join()
        assert self.answer is not None
        status, segments, tasks = self.answer
        return (*opened(status, segments), tasks)


def opened(status, segments):
    payload = bytearray().join(segments)
    if status == ALL_FAILED:
        return status, None, load_failure(payload)
    loaded = deserialize(payload, "results")
    if status == OK:
        return status, loaded, []
    values, failures = loaded
    return status, deserialize(values, "results"), [index for index, _ in failures]


def fail_twice(item):
    if item in (2, 7):
        raise ValueError(item)
    return item


def total(results):
    return sum(results)


def test_the_items_before_the_one_that_runs_are_answered_and_then_the_others() -> None:
    unit = Unit(4)
    unit.early.asked(1)
    unit.look()
    ((status, first, tasks, busy_ns, segments),) = unit.sent
    assert (first, tasks, opened(status, segments)) == (FIRST, 4, (OK, [0, 1, 2, 3], []))
    assert 0 <= busy_ns == unit.running.early_busy_ns
    assert unit.finish() == (OK, [4, 5, 6, 7, 8, 9], [], 6)
    assert unit.running.early_tasks == 4


def test_each_failure_is_in_the_answer_that_its_item_is_in() -> None:
    unit = Unit(4, function=fail_twice)
    unit.early.asked(1)
    unit.look()
    ((status, _, tasks, _, segments),) = unit.sent
    assert (tasks, opened(status, segments)) == (4, (SOME_FAILED, [0, 1, None, 3], [FIRST + 2]))
    assert unit.finish() == (SOME_FAILED, [4, 5, 6, None, 8, 9], [FIRST + 7], 6)


def test_nothing_is_answered_twice_or_unasked() -> None:
    unit = Unit(4)
    unit.early.asked(2)
    assert unit.early.timeout_ms() is None
    for _ in range(2):
        unit.early.asked(1)
        unit.look()
    assert len(unit.sent) == 1
    assert unit.finish()[3] == 6


def test_who_looked_just_before_the_answer_was_sent_does_not_send_it_again() -> None:
    unit = Unit(4)
    looks = [unit.running.done_so_far(1) for _ in range(2)]
    for done in looks:
        assert done is not None
        unit.running.answer_early(1, done, lambda: unit.sent.append(()))
    assert len(unit.sent) == 1
    assert unit.finish()[3] == 6


def test_whole_slices_are_answered() -> None:
    unit = Unit(8, packet_tasks=3)
    unit.early.asked(1)
    unit.look()
    assert unit.sent[0][2] == 6
    assert unit.finish() == (OK, [6, 7, 8, 9], [], 4)


@pytest.mark.parametrize("waits_at", [0, 2])
def test_before_the_first_slice_is_done_it_looks_again_later_and_later(waits_at) -> None:
    unit = Unit(waits_at, packet_tasks=3)
    unit.early.asked(1)
    unit.look()
    assert unit.early.timeout_ms() > 8 * WAIT_S * 1000
    assert not unit.sent
    assert unit.finish()[3] == 10


def test_what_is_reduced_here_waits_for_its_reducer() -> None:
    unit = Unit(5, packet_tasks=2, reducer=total)
    unit.early.asked(1)
    unit.look()
    assert not unit.sent and unit.early.timeout_ms() is None
    assert unit.finish() == (OK, [1, 5, 9, 13, 17], [], 10)


def test_what_only_its_own_thread_can_pickle_is_answered_in_the_end() -> None:
    class Own:
        def __reduce__(self):
            assert threading.current_thread() is unit.thread
            return int, (1,)

    unit = Unit(4, function=lambda _: Own())
    unit.early.asked(1)
    unit.look()
    assert not unit.sent
    assert unit.finish() == (OK, [1] * 10, [], 10)


def test_a_unit_that_ends_while_its_first_results_are_pickled_is_answered_whole() -> None:
    pickling, may_end = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self):
            if threading.current_thread() is not unit.thread:
                pickling.set()
                assert may_end.wait(20)
            return int, (1,)

    unit = Unit(4, function=lambda _: Slow())
    unit.early.asked(1)
    time.sleep(unit.early.timeout_ms() / 1000)
    unit.early.look()
    assert pickling.wait(20)
    # Nor does another unit's look start a second thread meanwhile.
    unit.early.asked(1)
    unit.early.look()
    assert unit.finish() == (OK, [1] * 10, [], 10)
    may_end.set()
    unit.look()
    assert not unit.sent


def test_an_answer_that_cannot_be_built_is_for_what_was_not_answered(monkeypatch) -> None:
    unit = Unit(4)
    unit.early.asked(1)
    unit.look()

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("achilles.workers.running._pack", fail)
    status, _, error, tasks = unit.finish()
    assert (status, type(error), tasks) == (ALL_FAILED, MemoryError, 6)
