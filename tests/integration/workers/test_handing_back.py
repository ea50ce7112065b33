"""Workers that are told to give back what they have not begun."""

from __future__ import annotations

import time

import pytest

from achilles.serialization import deserialize
from achilles.workers import channel
from tests.integration.workers import tasks


def wait_for(path):
    while not path.exists():
        time.sleep(0.001)
    return path.name


def read_later(path):
    wait_for(path)
    while not (found := path.read_bytes()):
        time.sleep(0.001)
    return found


def test_a_worker_stops_after_the_item_it_runs(parent, wait, tmp_path) -> None:
    worker = parent.worker()
    files = [tmp_path / str(number) for number in range(50)]
    parent.function(worker, wait_for)
    parent.unit(worker, files, first=7, skip=2)
    wait(lambda: worker.progress() == 10)
    worker.hand_back(1)
    # When it hears that is its own affair: so one item after the other.
    for number, file in enumerate(files[2:], 10):
        file.touch()
        wait(lambda number=number: worker.progress() > number or not parent.said.empty())
        if not parent.said.empty():
            break
    # While it is still at an item it says how far it will go; all files up to there and no others are there.
    _, unit, promised = parent.next()
    assert unit == 1 and 1 <= promised < 48
    for file in files[2 : 2 + promised]:
        file.touch()
    _, _, status, job, first, done, _, _ = parent.next()
    assert (status, job, first) == (channel.OK, 1, 9)
    assert done == promised
    parent.unit(worker, files[:1] * 3, first=70)
    files[0].touch()
    assert parent.result() == (channel.OK, ["0"] * 3)


def test_a_note_of_what_is_over_does_nothing(parent) -> None:
    worker = parent.worker()
    assert parent.run(worker, tasks.square, [1, 2, 3]) == (channel.OK, [1, 4, 9])
    worker.hand_back(1)
    parent.unit(worker, [5])
    assert parent.result() == (channel.OK, [25])


def test_what_waits_behind_a_long_item_is_given_back_at_once_and_never_run(parent, wait, tmp_path) -> None:
    worker = parent.worker()
    gate, witness = tmp_path / "gate", tmp_path / "witness"
    parent.function(worker, wait_for)
    parent.unit(worker, [gate], first=0)
    wait(lambda: worker.progress() == 1)
    parent.unit(worker, [witness], first=1)
    parent.unit(worker, [gate] * 2, first=2)
    for _ in range(2):
        worker.hand_back(2)
    assert parent.next() == ("unbegun", 2, 0)
    gate.touch()
    assert parent.result() == (channel.OK, ["gate"])
    # The witness never came, so whoever waited for it would still do so.
    assert parent.result() == (channel.OK, ["gate"] * 2)
    assert parent.said.empty()


@pytest.mark.parametrize(("function", "units"), [(tasks.square, 400), (tasks.square_slowly, 60)])
def test_whenever_a_note_comes_each_unit_is_answered_once_and_in_its_turn(parent, function, units) -> None:
    worker = parent.worker()
    parent.function(worker, function)
    answers: list[tuple[int, int]] = []  # unit, items done
    promised: dict[int, int] = {}

    def take(answer) -> None:
        if answer[0] != "unbegun":
            unit = answer[4] // 1000
            answers.append((unit, answer[5]))
            assert answer[5] == promised.get(unit, answer[5])
        elif answer[2]:
            promised[answer[1]] = answer[2]
        else:
            answers.append((answer[1], 0))

    unit = 0
    # More, if this process had no core whenever one could have been cut.
    while unit < units or (function is not tasks.square and not promised and unit < 20 * units):
        unit += 1
        parent.unit(worker, list(range(300)), first=1000 * unit)
        # What waits, or what runs; at any moment.
        runs = min(set(range(1, unit + 1)) - {answered for answered, _ in answers})
        worker.hand_back(runs if unit % 2 else unit)
        while unit - len(answers) > 3:
            take(parent.next())
    while len(answers) < unit:
        take(parent.next())
    assert sorted(unit for unit, _ in answers) == list(range(1, unit + 1))
    ran = [unit for unit, done in answers if done]
    assert ran == sorted(ran)
    # Of what is not run that is said before anything later is answered.
    latest = 0
    for unit, done in answers:
        assert done or unit > latest, (unit, latest)
        latest = unit if done else latest
    assert all(0 <= done <= 300 for _, done in answers)
    assert promised or function is tasks.square, "no unit was cut while it ran"


def test_a_worker_that_leaves_answers_what_it_ran_and_ends_by_itself(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.leave_at_two)
    parent.unit(worker, [0, 1, 2, 3, 4], first=10)
    parent.unit(worker, [5], first=15)  # which it does not read
    said, _, status, job, first, done, _, _ = parent.next()
    assert (said, status, job, first, done) == ("last result", channel.OK, 1, 10, 3)
    assert parent.next() == ("died", worker, 0)
    assert worker.progress() == 0
    assert parent.said.empty()


@pytest.mark.parametrize("size_bytes", [1, 1 << 20])
def test_who_is_long_at_an_item_answers_for_those_before(parent, wait, tmp_path, size_bytes) -> None:
    worker = parent.worker()
    files = [tmp_path / str(number) for number in range(9)]
    for file in files[:4]:
        file.write_bytes(b"." * size_bytes)
    parent.function(worker, read_later)
    parent.unit(worker, files, first=10, skip=1)
    wait(lambda: worker.progress() == 15)
    worker.hand_back(1)
    assert parent.next() == ("unbegun", 1, 4)
    said, _, status, job, first, done, _, payload = parent.next()
    assert (said, status, job, first, done) == ("early result", channel.OK, 1, 11, 3)
    assert deserialize(payload, "results") == [b"." * size_bytes] * 3
    worker.hand_back(1)
    worker.hand_back(1, within=True)
    files[4].write_bytes(b"late")
    _, _, status, _, first, done, _, payload = parent.next()
    assert (status, first, done, deserialize(payload, "results")) == (channel.OK, 14, 1, [b"late"])
    parent.unit(worker, files[4:5], first=70)
    assert parent.result() == (channel.OK, [b"late"])
    assert parent.said.empty()


def test_slices_are_answered_whole(parent, wait, tmp_path) -> None:
    worker = parent.worker()
    files = [tmp_path / str(number) for number in range(12)]
    for file in files[:8]:
        file.touch()
    parent.function(worker, wait_for)
    parent.unit(worker, files, packet_tasks=3)
    wait(lambda: worker.progress() == 9)
    worker.hand_back(1)
    assert parent.next() == ("unbegun", 1, 9)
    assert parent.next()[4:6] == (0, 6)
    files[8].touch()
    assert parent.next()[4:6] == (6, 3)


def test_who_dies_after_an_early_answer_was_at_the_item_after_it(parent, wait, tmp_path) -> None:
    worker = parent.worker()
    files = [tmp_path / str(number) for number in range(4)]
    files[0].touch()
    parent.function(worker, wait_for)
    parent.unit(worker, files)
    wait(lambda: worker.progress() == 2)
    worker.hand_back(1)
    assert parent.next() == ("unbegun", 1, 2)
    assert parent.next()[4:6] == (0, 1)
    worker.kill()
    assert parent.next()[0] == "died"
    assert worker.progress() == 2
