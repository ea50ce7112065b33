"""The answers that running a unit gives, by shape."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from achilles.errors import SerializationError
from achilles.serialization import deserialize, join, load_failure, serialize
from achilles.workers.channel import ALL_FAILED, OK, SOME_FAILED
from achilles.workers.running import GULP_NS, MOST_IN_A_GULP, Job, answer_reduce, answer_unit
from achilles.workers.running_items import RunningItems


def make_job(function, *, callback=None, reducer=None, on_error="raise") -> Job:
    job = Job(1, join(serialize((function, callback, reducer, on_error), "function")))
    job.load(0)
    return job


def no_progress() -> memoryview:
    return memoryview(bytearray(32)).cast("q")


def answer(job, payload, first, skip, limit, packet_tasks=0, progress=None, running=None, **options):
    progress = no_progress() if progress is None else progress
    running = RunningItems(progress) if running is None else running
    status, segments, done = answer_unit(
        job, payload, first, skip, limit, packet_tasks, progress, running, **options
    )
    assert done == limit
    return status, segments


def run(job, items, *, first=0, skip=0, limit=None, packet_tasks=0, progress=None):
    limit = len(items) - skip if limit is None else limit
    payload = join(serialize(items, "arguments"))
    return opened(*answer(job, payload, first, skip, limit, packet_tasks, progress))


def opened(status, segments):
    payload = bytearray().join(segments)
    if status == OK:
        return status, deserialize(payload, "results")
    if status == ALL_FAILED:
        return status, load_failure(payload)
    values, failures = deserialize(payload, "results")
    return status, deserialize(values, "results"), {index: load_failure(blob) for index, blob in failures}


def halve(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x // 2


def total(results):
    return sum(results)


def names(results):
    return [type(result).__name__ for result in results]


def test_results_in_order_with_skip_and_limit() -> None:
    assert run(make_job(halve), [0, 2, 4, 6, 8], first=10, skip=1, limit=3) == (OK, [1, 2, 3])


def test_an_empty_unit_is_an_empty_list_or_one_empty_packet() -> None:
    assert run(make_job(halve), []) == (OK, [])
    assert run(make_job(halve, reducer=total), []) == (OK, [])
    assert run(make_job(halve, reducer=total), [], packet_tasks=4) == (OK, [0])


@pytest.mark.parametrize(("singly", "timed"), [(True, False), (False, True)])
def test_progress_names_the_item_that_runs(singly, timed) -> None:
    progress = no_progress()
    seen = []
    job = make_job(halve)
    job.timed = timed
    job.function = lambda x: seen.append(progress[0])
    payload = join(serialize(["x"] * 8, "arguments"))
    answer(job, payload, 7, 1, 7, progress=progress, singly=singly)
    assert seen == list(range(9, 16))


def test_of_short_items_progress_names_one_that_is_no_later_and_running_the_very_one() -> None:
    progress = no_progress()
    running = RunningItems(progress)
    noted, exact = [], []
    job = make_job(halve)

    def function(x):
        noted.append(progress[0])
        exact.append(running.index())

    job.function = function
    payload = join(serialize(list(range(5000)), "arguments"))
    answer(job, payload, 100, 0, 5000, progress=progress, running=running)
    assert exact == list(range(100, 5100))
    assert noted[0] == 101 and min(noted) < 0, "each was noted, which costs as much as a short item"
    assert all(
        abs(note) - 1 <= index < abs(note) + MOST_IN_A_GULP for note, index in zip(noted, exact, strict=True)
    )
    assert progress[0] == 5100


def test_items_that_take_their_time_are_each_noted() -> None:
    progress = no_progress()
    noted = []
    job = make_job(halve)

    def function(x):
        noted.append(progress[0])
        time.sleep(2 * GULP_NS / 1e9)

    job.function = function
    answer(job, join(serialize([0] * 5, "arguments")), 0, 0, 5, progress=progress)
    assert noted == [1, 2, 3, 4, 5]


class Doubled(partial):
    """A partial that does something else when it is called."""

    def __call__(self, item):
        return 2 * super().__call__(item)


def beside(first, item, third=0):
    if item == 70:
        raise StopIteration(item)
    return first, item, third


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (partial(beside, "a"), lambda item: ("a", item, 0)),
        (partial(partial(beside, "a"), third="c"), lambda item: ("a", item, "c")),
        (partial(beside, "a", "b"), lambda item: ("a", "b", item)),
        (partial(beside, third="c", item="b"), lambda item: (item, "b", "c")),
        (Doubled(beside, "a"), lambda item: ("a", item, 0) * 2),
    ],
)
def test_partials_of_all_kinds_are_called_as_they_would_be_anywhere(function, expected) -> None:
    job = make_job(halve)
    job.function = function
    _, values, *failed = opened(*answer(job, join(serialize(list(range(99)), "arguments")), 0, 0, 99))
    fails = [70] if expected(70)[1] == 70 else []
    assert values == [None if item in fails else expected(item) for item in range(99)]
    errors = {index: (type(error), error.args) for each in failed for index, error in each.items()}
    assert errors == {index: (StopIteration, (index,)) for index in fails}


def test_an_item_of_a_gulp_that_fails_is_the_one_that_failed() -> None:
    job = make_job(halve)
    job.function = lambda x: 1 // (x % 97)
    payload = join(serialize(list(range(1000)), "arguments"))
    _, values, errors = opened(*answer(job, payload, 0, 0, 1000))
    assert list(errors) == list(range(0, 1000, 97))
    assert [index for index, value in enumerate(values) if value is None] == list(errors)


def test_a_function_that_raises_stop_iteration_ends_nothing() -> None:
    job = make_job(halve)
    job.function = lambda x: next(iter(())) if x % 10 == 9 else x
    payload = join(serialize(list(range(100)), "arguments"))
    _, values, errors = opened(*answer(job, payload, 0, 0, 100))
    assert list(errors) == list(range(9, 100, 10)) and len(values) == 100
    assert {type(error) for error in errors.values()} == {StopIteration}


def test_failures_carry_global_indices_and_leave_none() -> None:
    status, values, errors = run(make_job(halve), [9, 1, 2, 3, 4], first=100, skip=1)
    assert (status, values) == (SOME_FAILED, [None, 1, None, 2])
    assert {index: str(error) for index, error in errors.items()} == {101: "1 is odd", 103: "3 is odd"}


def test_a_callback_replaces_results_and_its_failure_is_the_items() -> None:
    status, values, errors = run(make_job(halve, callback=halve), [4, 2, 8])
    assert (status, values) == (SOME_FAILED, [1, None, 2])
    assert str(errors[1]) == "1 is odd"


@pytest.mark.parametrize(
    ("on_error", "reducer", "expected"),
    [
        ("return", names, (OK, [["int", "ValueError"], ["int", "int"], ["ValueError"]])),
        ("skip", total, (OK, [0, 3, 0])),
    ],
)
def test_a_reducer_sees_failures_as_asked(on_error, reducer, expected) -> None:
    job = make_job(halve, reducer=reducer, on_error=on_error)
    assert run(job, [0, 1, 2, 4, 5], packet_tasks=2) == expected


def test_packets_with_failures_are_not_reduced_when_errors_are_raised() -> None:
    status, values, errors = run(make_job(halve, reducer=total), [2, 1, 2, 4, 5], first=10, packet_tasks=2)
    assert (status, values) == (SOME_FAILED, [None, 3, None])
    assert sorted(errors) == [11, 14]


def test_a_reducer_that_fails_is_a_failure_of_its_packets_first_item() -> None:
    def pick(results):
        return 10 / results[0]

    status, values, errors = run(make_job(halve, reducer=pick), [2, 0, 0, 2, 4], packet_tasks=2)
    assert (status, values) == (SOME_FAILED, [10.0, None, 5.0])
    assert isinstance(errors[2], ZeroDivisionError)


def test_results_that_cannot_be_pickled_cost_only_themselves() -> None:
    job = make_job(halve)
    job.function = lambda x: threading.Lock() if x == 1 else x
    status, values, errors = run(job, [0, 1, 2], first=5)
    assert (status, values) == (SOME_FAILED, [0, None, 2])
    assert isinstance(errors[6], SerializationError)
    assert "item 6" in str(errors[6])


def test_arguments_that_are_no_payload_fail_the_range() -> None:
    status, segments = answer(make_job(halve), b"junk" * 10, 3, 0, 2)
    assert status == ALL_FAILED
    assert isinstance(load_failure(segments[0]), SerializationError)


def reduced(job, parts, first=0):
    sizes = b"".join(len(part).to_bytes(8, "little") for part in parts)
    return opened(*answer_reduce(job, bytearray(sizes + b"".join(parts)), first, len(parts)))


def parts_of(job, *units):
    parts, first = [], 0
    for unit in units:
        _, segments = answer(job, join(serialize(unit, "arguments")), first, 0, len(unit))
        parts.append(b"".join(segments))
        first += len(unit)
    return parts


def test_parts_with_failures_are_reduced_as_asked() -> None:
    for on_error, reducer, expected in (
        ("return", names, (OK, [["int", "ValueError", "int"]])),
        ("skip", total, (OK, [3])),
    ):
        job = make_job(halve, reducer=reducer, on_error=on_error)
        assert reduced(job, parts_of(job, [2, 1], [4])) == expected
    job = make_job(halve, reducer=total)
    status, values, errors = reduced(job, parts_of(job, [2, 1], [4]))
    assert (status, values, list(errors)) == (SOME_FAILED, [None], [1])


def cut_at(index, *, unit=1, items=10, packet_tasks=0, reducer=None, fails=False):
    """Run items; at one of them another thread takes back the rest. How many were done, and what came."""
    said: list[tuple[int, int]] = []
    progress = no_progress()
    running = RunningItems(progress)
    assert running.next_unit()

    def say(*saying: int) -> None:
        said.append(saying)

    def function(x):
        if x == index:
            other = threading.Thread(target=running.hand_back, args=(unit, say))
            other.start()
            other.join()
            if fails:
                raise ValueError(x)
        return x

    runs = make_job(halve, reducer=reducer)
    runs.function = function
    payload = join(serialize(list(range(items)), "arguments"))
    status, segments, done = answer_unit(runs, payload, 3, 2, items - 2, packet_tasks, progress, running)
    # It is said at once, and the answer is for no more and no less.
    assert said == ([(unit, done)] if done < items - 2 else [(2, 0)] if unit == 2 else [])
    return done, opened(status, segments)


def test_what_was_not_begun_can_be_taken_back() -> None:
    assert cut_at(4) == (3, (OK, [2, 3, 4]))


def test_taking_back_what_runs_last_takes_nothing() -> None:
    assert cut_at(9) == (8, (OK, list(range(2, 10))))


def test_an_item_that_fails_while_the_rest_is_taken_back_is_answered() -> None:
    done, (status, values, errors) = cut_at(4, fails=True)
    assert (done, status, values, list(errors)) == (3, SOME_FAILED, [2, 3, None], [7])


def test_another_unit_than_the_one_named_is_left_alone() -> None:
    assert cut_at(4, unit=0)[0] == 8
    assert cut_at(4, unit=2)[0] == 8


def test_units_to_come_are_taken_back_whole_and_once() -> None:
    running = RunningItems(no_progress())
    said: list[tuple[int, int]] = []

    def say(*saying: int) -> None:
        said.append(saying)

    assert running.next_unit()
    for _ in range(2):
        running.hand_back(3, say)
    assert said == [(3, 0)]
    assert [running.next_unit() for _ in range(3)] == [True, False, True]
    for unit in (3, 4):
        running.hand_back(unit, say)
    assert said == [(3, 0)]


def test_no_later_unit_is_begun_before_it_is_said_that_one_will_not_be() -> None:
    """Else the later one's answer could come first, and be taken for the answer to this one."""
    running = RunningItems(no_progress())
    running.next_unit()
    order: list[str] = []
    threads: list[threading.Thread] = []

    def say(unit: int, tasks: int) -> None:
        threads.append(threading.Thread(target=lambda: order.append(f"begun: {running.next_unit()}")))
        threads[0].start()
        threads[0].join(0.05)
        order.append(f"said: {unit}")

    running.hand_back(2, say)
    threads[0].join()
    assert order == ["said: 2", "begun: False"]


@pytest.mark.parametrize(("packet_tasks", "done"), [(0, 1), (3, 3)])
def test_what_is_named_while_it_is_loaded_is_cut_as_it_begins(packet_tasks, done) -> None:
    progress = no_progress()
    running = RunningItems(progress)
    running.next_unit()
    said: list[tuple[int, int]] = []
    running.hand_back(1, lambda *saying: said.append(saying))
    assert said == []
    payload = join(serialize(list(range(8)), "arguments"))
    job = make_job(abs, reducer=total)
    assert answer_unit(job, payload, 5, 0, 8, packet_tasks, progress, running)[2] == done
    assert said == [(1, done)]
    running.next_unit()
    assert answer_unit(job, payload, 5, 0, 8, packet_tasks, progress, running)[2] == 8


def leave_at(*indices, gulp=False, packet_tasks=0, reducer=None):
    """Results of a unit of 10 items, and whether the process leaves."""
    running = RunningItems(progress := no_progress())
    running.next_unit()
    job = make_job(halve, reducer=reducer)
    noted = []

    def function(item):
        if item in indices:
            if gulp:
                progress[0] = -1
            running.leave()
            noted.append(progress[0])
        return item

    job.function = function
    payload = join(serialize(list(range(12)), "arguments"))
    status, segments, done = answer_unit(job, payload, 102, 2, 10, packet_tasks, progress, running)
    return done, opened(status, segments), running.leaving, noted


def test_a_worker_that_leaves_begins_no_further_item() -> None:
    assert leave_at(5, 6)[:3] == (4, (OK, [2, 3, 4, 5]), True)


def test_leaving_at_the_last_item_or_never() -> None:
    assert leave_at(11)[:3] == (10, (OK, list(range(2, 12))), True)
    assert leave_at()[2] is False


def test_a_packet_that_is_reduced_is_finished_before_leaving() -> None:
    assert leave_at(3, packet_tasks=4, reducer=total)[:2] == (4, (OK, [2 + 3 + 4 + 5]))


def test_who_gives_back_the_rest_notes_exactly_where_it_is() -> None:
    assert leave_at(5, gulp=True)[3] == [102 + 5 + 1]
    # The packet goes on, so that would be wrong for its next items.
    assert leave_at(5, gulp=True, packet_tasks=5, reducer=total)[3] == [-1]


def test_leaving_while_nothing_runs_counts_for_the_next_item() -> None:
    running = RunningItems(no_progress())
    running.leave()
    running.next_unit()
    payload = join(serialize([2, 4, 6], "arguments"))
    assert answer_unit(make_job(halve), payload, 0, 0, 3, 0, no_progress(), running)[2] == 1


def test_packets_that_are_reduced_stay_whole() -> None:
    assert cut_at(2, packet_tasks=3, reducer=total) == (3, (OK, [2 + 3 + 4]))
    assert cut_at(5, packet_tasks=3, reducer=total) == (6, (OK, [2 + 3 + 4, 5 + 6 + 7]))
    assert cut_at(8, packet_tasks=3, reducer=total)[0] == 8
