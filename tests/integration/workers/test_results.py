"""What a worker answers to what it is asked to run."""

from __future__ import annotations

import multiprocessing.pool
import os

import numpy as np
import pytest

from achilles.errors import SerializationError
from achilles.serialization import deserialize, join, serialize
from achilles.workers import channel
from tests.integration.workers import tasks


def test_a_unit_comes_back_as_the_list_of_its_results(parent) -> None:
    worker = parent.worker()
    assert parent.run(worker, tasks.square, [1, 2, 3]) == (channel.OK, [1, 4, 9])
    assert worker.progress() == 0


def test_the_answer_names_its_range_and_its_time(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.square)
    parent.unit(worker, [1, 2, 3, 4, 5], first=100, skip=1, limit=3)
    said = parent.next()
    assert said[2:6] == (channel.OK, 1, 101, 3)
    assert said[6] > 0
    assert deserialize(said[7], "results") == [4, 9, 16]


def test_one_bad_item_costs_only_itself(parent) -> None:
    worker = parent.worker()
    status, values, errors = parent.run(worker, tasks.fail_at_two, [0, 1, 2, 3], first=10)
    assert status == channel.SOME_FAILED
    assert values == [0, 1, None, 3]
    assert list(errors) == [12]
    assert isinstance(errors[12], ValueError)
    assert isinstance(errors[12].__cause__, multiprocessing.pool.RemoteTraceback)
    assert "fail_at_two" in str(errors[12].__cause__)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("exit", SystemExit),
        ("interrupt", KeyboardInterrupt),
        ("recurse", RecursionError),
        ("lock", SerializationError),
    ],
)
def test_whatever_the_function_does_the_worker_lives_on(parent, how, expected) -> None:
    worker = parent.worker()
    status, values, errors = parent.run(worker, tasks.misbehave, ["fine", how, "fine too"])
    assert status == channel.SOME_FAILED
    assert values == ["fine", None, "fine too"]
    assert isinstance(errors[1], expected)
    assert parent.run(worker, tasks.square, [4]) == (channel.OK, [16])


def test_arguments_that_cannot_be_loaded_fail_the_unit_alone(parent) -> None:
    worker = parent.worker()
    status, error = parent.run(worker, tasks.identity, [tasks.Unloadable()])
    assert status == channel.ALL_FAILED
    assert "cannot be loaded" in str(error) + str(error.__cause__)
    assert parent.run(worker, tasks.square, [3]) == (channel.OK, [9])


def test_a_function_that_cannot_be_loaded_fails_each_unit(parent) -> None:
    worker = parent.worker()
    worker.send(
        channel.FUNCTION, 0, 1, 1, 0, 0, serialize((tasks.Unloadable(), None, None, "raise"), "f").segments
    )
    for _ in range(2):
        parent.unit(worker, [1])
        assert parent.result()[0] == channel.ALL_FAILED


def test_units_of_a_forgotten_job_are_not_run(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.square, job=1)
    parent.function(worker, tasks.add_one, job=2)
    worker.send(channel.FORGET, 0, 1)
    parent.unit(worker, [5], job=1)
    parent.unit(worker, [5], job=2)
    assert parent.result() == (channel.OK, [6])


def test_packets_are_reduced_where_they_were_computed(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.square, callback=tasks.add_one, reducer=tasks.total)
    parent.unit(worker, [1, 2, 3, 4, 5], packet_tasks=2)
    assert parent.result() == (channel.OK, [7, 27, 26])


def test_parts_of_a_packet_are_reduced_together(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.square, reducer=tasks.total)
    parts = [join(serialize(values, "results")) for values in ([1, 2], [3], [])]
    sizes = b"".join(len(part).to_bytes(8, "little") for part in parts)
    worker.send(channel.REDUCE, 0, 1, 10, 3, len(parts), [sizes, *parts])
    said = parent.next()
    assert said[2:6] == (channel.OK, 1, 10, 3)
    assert deserialize(said[7], "results") == [6]


def test_arrays_arrive_writable(parent) -> None:
    worker = parent.worker()
    status, values = parent.run(worker, tasks.identity, [np.arange(100_000)])
    assert status == channel.OK
    values[0][0] = 7
    assert values[0].sum() == np.arange(100_000).sum() + 7


def test_sixty_four_mebibytes_travel_both_ways(parent, wait) -> None:
    worker = parent.worker()
    sent = np.arange(1 << 23)
    status, values = parent.run(worker, tasks.identity, [sent])
    assert status == channel.OK
    assert np.array_equal(values[0], sent)
    wait(lambda: worker.queued_bytes == 0)


def test_many_small_units_keep_their_order(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.identity)
    for number in range(3000):
        parent.unit(worker, [number], first=number)
    for number in range(3000):
        assert parent.result() == (channel.OK, [number])


def test_user_code_that_prints_and_closes_standard_descriptors_harms_nobody(parent, capfd) -> None:
    worker = parent.worker()
    assert parent.run(worker, tasks.print_and_close, [1]) == (channel.OK, [1])
    assert parent.run(worker, tasks.square, [5]) == (channel.OK, [25])
    assert "printed by 1" in capfd.readouterr().out


def test_a_forked_child_of_user_code_cannot_speak_for_the_worker(parent, running, wait) -> None:
    worker = parent.worker()
    status, values = parent.run(worker, tasks.fork_and_return, [1])
    assert status == channel.OK
    (_, child_pid) = values[0]
    assert child_pid > 0, "the answer came from the child"
    wait(lambda: not running(child_pid))
    assert parent.run(worker, tasks.square, [6]) == (channel.OK, [36])
    assert parent.said.empty()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_user_code_may_have_processes_of_its_own(parent, method) -> None:
    worker = parent.worker()
    assert parent.run(worker, tasks.use_pool, [method]) == (channel.OK, [[1, 4, 9]])


def test_the_process_is_set_up_for_user_code(parent) -> None:
    worker = parent.worker(slots=10_000)
    _, values = parent.run(worker, tasks.describe, [None])
    facts = values[0]
    assert facts["pid"] == facts["group"] == worker.pid
    assert facts["threads"] == "1"
    assert facts["stdin"] == ""
    assert facts["main"] is None
    assert not {"twisted", "dill", "multiprocess"} & set(facts["modules"])
    # 0-2 and copies of two, the channel, the notes, the parent's pidfd, what lists the directory, the mapping
    assert len(facts["fds"]) <= 10


def test_a_function_is_forgotten_soon_though_nothing_else_is_said(parent, wait, tmp_path) -> None:
    worker = parent.worker()
    gone = tmp_path / "gone"
    assert parent.run(worker, tasks.Mourned(str(gone)), [1]) == (channel.OK, [1])
    assert not gone.exists()
    worker.forget(1)
    wait(gone.exists)
    assert parent.run(worker, tasks.square, [3]) == (channel.OK, [9])


def test_what_is_held_back_goes_before_what_comes_next(parent, tmp_path) -> None:
    worker = parent.worker()
    gone = tmp_path / "gone"
    assert parent.run(worker, tasks.Mourned(str(gone)), [1]) == (channel.OK, [1])
    worker.forget(1)
    parent.function(worker, os.path.exists, job=2)
    parent.unit(worker, [str(gone)], job=2)
    assert parent.result() == (channel.OK, [True])
