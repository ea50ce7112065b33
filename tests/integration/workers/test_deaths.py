"""How workers end: by themselves, by force, and with their parent."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import multiprocess.spawn
import pytest

from achilles.workers import channel
from achilles.workers.process import own_peak_rss_bytes
from tests.integration.workers import tasks

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("how", "exit_code"), [("exit3", 3), ("kill", -signal.SIGKILL), ("segfault", -signal.SIGSEGV)]
)
def test_a_death_names_the_item_that_ran(parent, how, exit_code) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.die)
    parent.unit(worker, ["fine"], first=5)
    parent.unit(worker, ["fine", how, "never"], first=6)
    assert parent.result() == (channel.OK, ["fine"])
    assert parent.next()[2] == exit_code
    assert worker.exit_code == exit_code
    assert worker.progress() == 7 + 1
    parent.unit(worker, ["x"])  # silent


def test_a_grandchild_does_not_hide_a_death_and_ends_too(parent, running, wait) -> None:
    worker = parent.worker()
    status, values = parent.run(worker, tasks.spawn_child_then, ["return"])
    assert status == channel.OK
    assert running(values[0])
    parent.unit(worker, ["die"])
    assert parent.next()[2] == 4
    wait(lambda: not running(values[0]))


def test_results_written_before_a_death_are_all_delivered(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.die)
    for number in range(200):
        parent.unit(worker, ["fine"] * 50, first=50 * number)
    parent.unit(worker, ["exit3"])
    for _ in range(200):
        assert parent.result() == (channel.OK, ["fine"] * 50)
    assert parent.next()[2] == 3


def test_terminate_and_kill_end_a_busy_worker(parent, wait) -> None:
    for end, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
        worker = parent.worker()
        parent.function(worker, tasks.wait_forever)
        parent.unit(worker, [0], first=41)
        wait(lambda worker=worker: worker.progress() == 42)
        getattr(worker, end)()
        assert parent.next()[2] == -number


def test_an_interrupt_from_the_terminal_does_not_reach_it(parent) -> None:
    worker = parent.worker()
    subprocess.run(["kill", "-INT", str(worker.pid)], check=True)
    assert parent.run(worker, tasks.square, [3]) == (channel.OK, [9])


def test_close_lets_a_worker_finish_and_forces_one_that_hangs(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.square)
    parent.unit(worker, [2])
    parent.loop.callFromThread(worker.close, 10.0)
    assert parent.result() == (channel.OK, [4])
    assert parent.next()[2] == 0

    worker = parent.worker()
    parent.function(worker, tasks.wait_forever)
    parent.unit(worker, [0])
    parent.loop.callFromThread(worker.close, 0.05)
    assert parent.next()[2] == -signal.SIGTERM


def test_the_peak_of_memory_is_known_after_death(parent) -> None:
    worker = parent.worker()
    # The kernel counts what this process had at its peak as the worker's, so that must be less.
    size_bytes = own_peak_rss_bytes() + 256 * 2**20
    parent.run(worker, tasks.take_memory, [size_bytes])
    worker.kill()
    assert parent.next()[2] == -signal.SIGKILL
    assert size_bytes <= worker.peak_rss_bytes < 2 * size_bytes


def test_large_arguments_are_given_back_while_idle(parent, wait) -> None:
    worker = parent.worker()
    size_bytes = 256 * 2**20
    assert parent.run(worker, len, [bytes(size_bytes)]) == (channel.OK, [size_bytes])
    wait(lambda: resident_bytes(worker.pid) < size_bytes / 2)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_deaths_are_seen_where_the_kernel_has_no_pidfd(parent, monkeypatch) -> None:
    monkeypatch.delattr("os.pidfd_open")
    worker = parent.worker()
    parent.function(worker, tasks.die)
    parent.unit(worker, ["fine"])
    parent.unit(worker, ["exit3"], first=1)
    assert parent.result() == (channel.OK, ["fine"])
    assert parent.next()[2] == 3
    assert worker.progress() == 2


def test_a_worker_whose_channel_user_code_closed_ends(parent) -> None:
    worker = parent.worker()
    parent.function(worker, tasks.close_all_descriptors)
    parent.unit(worker, [0])
    assert parent.next()[2] == -signal.SIGKILL


def test_a_process_that_cannot_be_started_leaves_nothing_open(parent, monkeypatch) -> None:
    monkeypatch.setattr(multiprocess.spawn, "get_executable", lambda: b"/nowhere/python")
    with pytest.raises(FileNotFoundError):
        parent.worker()
    parent.workers.clear()


PARENT_SCRIPT = """
import sys, os
sys.path.insert(0, {root!r})
from achilles.serialization import serialize, deserialize
from achilles.workers import channel
from achilles.workers.loop import SelectorLoop
from achilles.workers.worker import Worker
from tests.integration.workers import tasks

class Owner:
    def worker_ready(self, worker): pass
    def worker_message(self, worker, kind, status, job, a, b, c, payload):
        print(worker.pid, *deserialize(payload, "results"), flush=True)
    def worker_died(self, worker, exit_code): pass

loop = SelectorLoop()
loop.start()
worker = Worker(loop, 0, Owner(), sys.path, own_modules="local")
worker.start()
worker.send(channel.FUNCTION, 0, 1, 1, 0, 0, serialize(({function}, None, None, "raise"), "f").segments)
worker.send(channel.UNIT, 0, 1, 0, {items}, 0, serialize(["return"] * {items}, "a").segments)
if {busy}:
    function = serialize((tasks.wait_forever, None, None, "raise"), "function")
    worker.send(channel.FUNCTION, 0, 2, 1, 0, 0, function.segments)
    worker.send(channel.UNIT, 0, 2, 0, 1, 0, serialize([0], "a").segments)
if {fork}:
    # A child that holds the parent's end of the channel open.
    if os.fork() == 0:
        sys.stdin.read(1)
        os._exit(0)
sys.stdin.readline()
"""


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("fork", [False, True])
def test_a_worker_and_its_children_end_with_their_parent(busy, fork, running, wait) -> None:
    script = PARENT_SCRIPT.format(
        root=str(ROOT), function="tasks.spawn_child_then", items=1, busy=busy, fork=fork
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        worker_pid, child_pid = map(int, process.stdout.readline().split())
        assert running(worker_pid) and running(child_pid)
        process.kill()
        process.wait()
        wait(lambda: not running(worker_pid) and not running(child_pid))


def test_a_script_without_a_guard_runs_once_and_ends_by_itself(tmp_path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        'print("started", flush=True)\n'
        + PARENT_SCRIPT.format(root=str(ROOT), function="lambda x: 42", items=1, busy=False, fork=False)
        + "import subprocess\n"
        'ours = ["ps", "--ppid", str(os.getpid()), "-o", "args"]\n'
        'print(subprocess.run(ours, capture_output=True, text=True).stdout.count("resource_tracker"))\n'
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "started\n"
        assert process.stdout.readline().split()[1] == "42"
        out, _ = process.communicate("\n", timeout=20)
        assert out == "0\n"
        assert process.returncode == 0
