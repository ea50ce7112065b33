"""Single calls whose caller waits, on a cluster (`achilles.engines.remote_calls`), and every way out."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import achilles
from achilles.engines.remote_calls import RemoteCall
from achilles.engines.shortcut_calls import ShortcutCalls
from achilles.lineReceiver import messages as wire
from tests.integration.cluster.parties import NODE, Cluster, Party, Place, in_session, wait_until
from tests.integration.living import is_running

pytestmark = pytest.mark.usefixtures("none_is_long")
OLD_NODE = """
from achilles.lineReceiver.node import AchillesNode
hello = AchillesNode.hello
def old_hello(self):
    said = hello(self)
    said.calls = False
    return said
AchillesNode.hello = old_hello
"""


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RemoteCall]]:
    """The calls that were sent past the queues."""
    made: list[RemoteCall] = []
    send = RemoteCall.call

    def call(one: RemoteCall, *args: Any) -> None:
        made.append(one)
        send(one, *args)

    monkeypatch.setattr(RemoteCall, "call", call)
    yield made
    made.clear()  # they refer to results


@pytest.fixture
def pool(pair: Cluster) -> Iterator[achilles.Pool]:
    """A pool on the shared cluster whose next single call is made directly."""
    with warmed(pair) as made:
        yield made
    made.join()


def warmed(cluster: Cluster) -> achilles.Pool:
    pool = achilles.Pool(**cluster.address)
    pool.apply(abs, (-1,))
    return pool


def fail(text: str) -> None:
    raise ValueError(text)


def say(text: str) -> int:
    print(text)
    print(text, file=sys.stderr)
    return len(text)


def touch_and_wait(mark: str, gate: str) -> str:
    with open(mark, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(gate).exists():
        time.sleep(0.002)
    return "passed"


def die_until(path: str, times: int) -> int:
    with open(path, "a", encoding="ascii") as file:
        file.write("x")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.getsize(path)


def zeros(size_bytes: int) -> np.ndarray[Any, Any]:
    return np.zeros(size_bytes, np.uint8)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return not is_running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


class Caller(threading.Thread):
    """Makes a call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error

    def ended(self) -> Caller:
        self.join(60)
        assert not self.is_alive()
        return self


class Gate:
    """A task that waits until it is let go."""

    def __init__(self, path: Path) -> None:
        self.mark, self.gate = path / "mark", path / "gate"
        self.arguments = str(self.mark), str(self.gate)

    def pids(self) -> list[int]:
        return [int(line) for line in self.mark.read_text().split()] if self.mark.exists() else []

    def begun(self, times: int = 1) -> int:
        return int(wait_until(lambda: len(self.pids()) >= times and self.pids()[-1]))


def test_results_and_errors_are_as_ever(pool: achilles.Pool, direct: list[RemoteCall]) -> None:
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.map(abs, [-5]) == [5]
    assert pool.apply(lambda x: x + 1, (1,)) == 2
    with pytest.raises(ValueError, match="no good") as caught:
        pool.apply(fail, ("no good",))
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(Exception, match="cannot be sent"):
        pool.apply(abs, ((x for x in ()),))
    assert len(direct) == 5 and all(call.answer is not None for call in direct)
    assert pool.status()["open_calls"] == 0


def test_what_it_prints_is_there_before_its_result(
    pool: achilles.Pool, capfd: pytest.CaptureFixture[str], direct: list[RemoteCall]
) -> None:
    for number in range(20):
        assert pool.apply(say, (f"call {number}",)) == len(f"call {number}")
        out, err = capfd.readouterr()
        assert " item " in out and out.endswith(f"] call {number}\n")
        assert err.endswith(f"] call {number}\n")
    assert len(direct) == 20


def test_large_arguments_and_results(pool: achilles.Pool, direct: list[RemoteCall]) -> None:
    assert pool.apply(len, (bytes(200_000),)) == 200_000
    assert not direct  # nobody waits to write so much
    for size_bytes in (300, 70_000, 8 << 20, 8 << 20):
        result = pool.apply(zeros, (size_bytes,))
        assert result.nbytes == size_bytes and not result.any()
        result[0] = 1  # it may be written to
    assert len(direct) == 4 and all(call.answer is not None for call in direct)


def test_a_large_result_without_descriptors(moving: Cluster, direct: list[RemoteCall]) -> None:
    key = ", username='foo', secret_key='bar-of-the-tests'"
    moving.start_node(1, more=key, ACHILLES_LOCAL_SOCKET="off")
    with achilles.Pool(**moving.with_key) as pool:
        pool.apply(abs, (-1,))
        assert pool.apply(zeros, (8 << 20,)).nbytes == 8 << 20
        assert len(direct) == 1 and direct[0].answer is not None
    pool.join()


def test_a_call_that_takes_long_holds_nobody_up(
    pool: achilles.Pool, tmp_path: Path, direct: list[RemoteCall]
) -> None:
    gate = Gate(tmp_path)
    caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
    gate.begun()
    assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
    assert [pool.apply(abs, (-x,)) for x in range(20)] == list(range(20))
    gate.gate.touch()
    assert caller.ended().result == "passed" and len(direct) > 1


def test_calls_from_many_threads_and_pools(pair: Cluster) -> None:
    with warmed(pair) as first, warmed(pair) as second:

        def calls(number: int) -> list[int]:
            pool = (first, second)[number % 2]
            return [pool.apply(abs, (-x,)) for x in range(number, 800, 8)]

        callers = [Caller(lambda number=number: calls(number)) for number in range(8)]
        found = [caller.ended().result for caller in callers]
        assert sorted(x for part in found for x in part) == list(range(800))
    first.join()
    second.join()


def test_a_worker_that_dies_of_it_once_is_replaced_and_the_call_is_made_again(
    pool: achilles.Pool, tmp_path: Path, direct: list[RemoteCall]
) -> None:
    assert pool.apply(die_until, (str(tmp_path / "tries"), 1)) == 2
    assert len(direct) == 1 and direct[0].answer is None
    assert pool.apply(abs, (-3,)) == 3


def test_a_call_that_kills_workers_fails_in_the_end(pool: achilles.Pool, tmp_path: Path) -> None:
    path = tmp_path / "tries"
    with pytest.raises(achilles.WorkerDiedError):
        pool.apply(die_until, (str(path), 100))
    # Once directly, and three times as all items are tried.
    assert path.stat().st_size == 4


def test_a_node_that_is_busy_refuses_and_another_has_it(
    moving: Cluster, tmp_path: Path, direct: list[RemoteCall]
) -> None:
    for _ in range(2):
        moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool, warmed(moving) as other:
        caller = Caller(lambda: other.apply(touch_and_wait, gate.arguments))
        gate.begun()
        begun = len(direct)
        assert [pool.apply(abs, (-x,)) for x in range(20)] == list(range(20))
        assert sum(call.answer is not None for call in direct[begun:]) > 10
        gate.gate.touch()
        assert caller.ended().result == "passed"
    pool.join()
    other.join()


def test_ways_out_when_all_workers_are_busy(
    moving: Cluster, tmp_path: Path, direct: list[RemoteCall]
) -> None:
    moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool, warmed(moving) as other:
        caller = Caller(lambda: other.apply(touch_and_wait, gate.arguments))
        gate.begun()
        waiting = Caller(lambda: pool.apply(abs, (-5,)))
        wait_until(lambda: len(direct) == 2 and direct[1].is_over)
        assert direct[1].answer is None and waiting.is_alive()  # refused, and waits as any item
        gate.gate.touch()
        assert (caller.ended().result, waiting.ended().result) == ("passed", 5)
    pool.join()
    other.join()


def test_the_node_is_lost_during_the_call(moving: Cluster, tmp_path: Path, direct: list[RemoteCall]) -> None:
    node = moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        pid = gate.begun()
        moving.end_node(node, signal.SIGKILL)
        moving.start_node(1)
        assert gate.begun(2) != pid
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert len(direct) == 1 and direct[0].answer is None
        assert pool.apply(abs, (-3,)) == 3
    pool.join()


def test_a_node_that_drains_finishes_it(moving: Cluster, tmp_path: Path, direct: list[RemoteCall]) -> None:
    node = moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        gate.begun()
        node.send(signal.SIGTERM)
        moving.start_node(1)
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        gate.gate.touch()
        assert caller.ended().result == "passed" and gate.pids()[1:] == []
        assert moving.end_node(node, 0) == 0
        assert direct[0].answer is not None
    pool.join()


def test_the_server_is_lost_during_the_call(
    moving: Cluster, tmp_path: Path, direct: list[RemoteCall]
) -> None:
    moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        gate.begun()
        moving.restart_server(signal.SIGKILL)
        gate.begun(2)
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert len(direct) == 1 and direct[0].answer is None
        assert pool.apply(abs, (-3,)) == 3
        assert len(direct) == 2 and direct[1].answer is not None
    pool.join()


def test_terminating_the_pool_ends_the_wait_and_the_call(pair: Cluster, tmp_path: Path) -> None:
    pool = warmed(pair)
    gate = Gate(tmp_path)
    caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
    pid = gate.begun()
    pool.terminate()
    assert isinstance(caller.ended().error, achilles.TaskCancelled | ValueError)
    pool.join()
    wait_until(lambda: gone(pid))


def test_closing_the_pool_waits_for_it(pair: Cluster, tmp_path: Path) -> None:
    pool = warmed(pair)
    gate = Gate(tmp_path)
    caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
    gate.begun()
    pool.close()
    joiner = Caller(pool.join)
    joiner.join(0.2)
    assert joiner.is_alive()
    gate.gate.touch()
    assert caller.ended().result == "passed"
    joiner.ended()


INTERRUPTED = """
import sys
from achilles import Pool
from tests.integration.cluster.test_single_calls import touch_and_wait

if __name__ == "__main__":
    with Pool(host="127.0.0.1", port=int(sys.argv[1])) as pool:
        pool.apply(abs, (-1,))
        try:
            pool.apply(touch_and_wait, (sys.argv[2], sys.argv[3]))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(pool.apply(abs, (-3,)), flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("short", [False, True], ids=["by the server", "past the server"])
def test_nothing_waits_for_a_long_call_while_another_node_could_run_it(
    moving: Cluster, tmp_path: Path, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not short:
        monkeypatch.setattr(ShortcutCalls, "take", lambda *_: None)
    for _ in range(2):
        moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool, warmed(moving) as other:
        caller = Caller(lambda: other.apply(touch_and_wait, gate.arguments))
        gate.begun()
        for _ in range(3):
            # Parts of these go to either node.
            assert pool.map(abs, range(-50, 0), chunksize=1) == list(range(50, 0, -1))
            calls = [pool.apply_async(abs, (-x,)) for x in range(20)]
            assert [call.get(30) for call in calls] == list(range(20))
            assert achilles.map(abs, range(-4, 0), **moving.address) == [[4], [3], [2], [1]]
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert pool.map(abs, [-1, -2], chunksize=1) == [1, 2]
    pool.join()
    other.join()


def test_what_only_a_node_could_run_whose_workers_have_calls_waits_for_these(
    moving: Cluster, tmp_path: Path
) -> None:
    moving.start_node(1)
    gate = Gate(tmp_path)
    with warmed(moving) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        gate.begun()
        waits = pool.map_async(abs, range(-50, 0))
        waits.wait(0.3)
        assert not waits.ready()
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert waits.get(30) == list(range(50, 0, -1))
    pool.join()


def test_ctrl_c_ends_the_wait_and_then_the_call(pair: Cluster, place: Place, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    script = place.write("interrupted_call.py", INTERRUPTED)
    party = Party([script, pair.port, *gate.arguments], place=place, own_group=True)
    try:
        pid = gate.begun()
        sent_s = time.monotonic()
        party.send(signal.SIGINT)
        party.wait_for("interrupted")
        assert time.monotonic() - sent_s < 5
        # Its worker is stopped, since nobody waits for it.
        wait_until(lambda: gone(pid))
        party.wait_for("3")
        assert party.wait() == 0
    finally:
        party.stop(signal.SIGKILL)
    wait_until(lambda: not in_session(party.pid))


def test_a_caller_that_dies_leaves_nothing(pair: Cluster, place: Place, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    script = place.write("dying_caller.py", INTERRUPTED)
    party = Party([script, pair.port, *gate.arguments], place=place, own_group=True)
    pid = gate.begun()
    party.stop(signal.SIGKILL)
    wait_until(lambda: gone(pid))


def test_nodes_that_do_not_know_such_calls(moving: Cluster, direct: list[RemoteCall]) -> None:
    old = old_node(moving)
    with warmed(moving) as pool:
        assert [pool.apply(abs, (-x,)) for x in range(40)] == list(range(40))
        assert direct and all(call.answer is None for call in direct)
        assert len(direct) < 8  # it was not tried each time
    pool.join()
    moving.end_node(old)


def old_node(cluster: Cluster) -> Party:
    """A node of the version before this."""
    code = OLD_NODE + NODE.format(port=cluster.port, cpu_count=1, more="")
    node = Party(["-c", code], place=cluster.place)
    cluster.nodes.append(node)
    node.wait_for("CLIENT_ID:")
    return node


def test_a_server_that_does_not_know_such_calls(
    pair: Cluster, direct: list[RemoteCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire.Welcome, "calls", property(lambda _: False), raising=False)
    with warmed(pair) as pool:
        assert [pool.apply(abs, (-x,)) for x in range(5)] == list(range(5))
        assert not direct
    pool.join()
