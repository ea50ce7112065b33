"""Single calls over a socket to the node itself (`achilles.engines.shortcut_calls`), and every way out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import achilles
from achilles.engines.cluster import close_idle_connections
from achilles.engines.remote_calls import RemoteCall
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.controller_shortcut import ControllerShortcut
from tests.integration.cluster.parties import (
    NODE,
    PROMPT_S,
    Cluster,
    Party,
    Place,
    in_session,
    wait_until,
)
from tests.integration.cluster.test_single_calls import (
    Caller,
    Gate,
    die_until,
    fail,
    gone,
    say,
    touch_and_wait,
    zeros,
)

pytestmark = pytest.mark.usefixtures("none_is_long")
OLD_NODE = """
from achilles.lineReceiver import node_connection
node_connection.available = lambda: False
"""


class Made:
    """The calls that were sent past the queues, and which of them past the server."""

    def __init__(self) -> None:
        self.calls: list[RemoteCall] = []

    @property
    def shortest(self) -> list[RemoteCall]:
        return [call for call in self.calls if isinstance(call._line, ControllerShortcut)]

    def ends_short(self) -> bool:
        """Whether the last one went past the server."""
        return bool(self.calls) and isinstance(self.calls[-1]._line, ControllerShortcut)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    found = Made()
    send = RemoteCall.call

    def call(one: RemoteCall, *args: Any) -> None:
        found.calls.append(one)
        send(one, *args)

    monkeypatch.setattr(RemoteCall, "call", call)
    yield found
    found.calls.clear()  # they refer to results


def led(cluster: Cluster, made: Made) -> achilles.Pool:
    """A pool whose next single call goes straight to a node."""
    pool = achilles.Pool(**cluster.address)
    made.calls.clear()
    # Some go another way, as long as workers are about to start.
    wait_until(lambda: pool.apply(abs, (-1,)) and made.ends_short())
    made.calls.clear()
    return pool


@pytest.fixture
def pool(pair: Cluster, made: Made) -> Iterator[achilles.Pool]:
    with led(pair, made) as found:
        yield found
    found.join()


def test_the_first_call_goes_by_the_server_and_the_next_do_not(pair: Cluster, made: Made) -> None:
    with achilles.Pool(**pair.address) as pool:
        wait_until(lambda: pool.apply(abs, (-1,)) and made.ends_short())
        made.calls.clear()
        assert [pool.apply(abs, (-x,)) for x in range(50)] == list(range(50))
        assert len(made.shortest) == 50
    pool.join()
    made.calls.clear()
    with achilles.Pool(**pair.address) as pool:  # on the same connection
        wait_until(lambda: pool.map(abs, [-1]) and made.ends_short())
        made.calls.clear()
        assert [pool.map(abs, [-x]) for x in range(50)] == [[x] for x in range(50)]
        assert len(made.shortest) == 50
    pool.join()


def test_results_and_errors_are_as_ever(pool: achilles.Pool, made: Made) -> None:
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(lambda x: x + 1, (1,)) == 2
    with pytest.raises(ValueError, match="no good") as caught:
        pool.apply(fail, ("no good",))
    assert "in fail" in str(caught.value.__cause__)
    assert len(made.shortest) == 3 and all(call.answer is not None for call in made.calls)
    assert pool.status()["open_calls"] == 0


def test_what_it_prints_is_there_before_its_result(
    pool: achilles.Pool, capfd: pytest.CaptureFixture[str], made: Made
) -> None:
    for number in range(20):
        assert pool.apply(say, (f"call {number}",)) == len(f"call {number}")
        out, err = capfd.readouterr()
        assert " item " in out and out.endswith(f"] call {number}\n")
        assert err.endswith(f"] call {number}\n")
    assert len(made.shortest) == 20


def test_large_results(pool: achilles.Pool, made: Made) -> None:
    for size_bytes in (300, 70_000, 8 << 20, 8 << 20):
        result = pool.apply(zeros, (size_bytes,))
        assert result.nbytes == size_bytes and not result.any()
        result[0] = 1  # it may be written to
    assert pool.apply(len, (bytes(60_000),)) == 60_000
    assert len(made.shortest) == 5 and all(call.answer is not None for call in made.calls)


def test_many_large_results_leave_no_descriptors(pool: achilles.Pool, made: Made) -> None:
    before = psutil.Process().num_fds()
    for _ in range(200):
        assert pool.apply(zeros, (200_000,)).nbytes == 200_000
        assert made.ends_short()
        made.calls.clear()  # they refer to results
    assert psutil.Process().num_fds() <= before + 2


def test_a_call_that_takes_long_holds_nobody_up(pool: achilles.Pool, tmp_path: Path, made: Made) -> None:
    gate = Gate(tmp_path)
    caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
    gate.begun()
    assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
    assert [pool.apply(abs, (-x,)) for x in range(20)] == list(range(20))
    gate.gate.touch()
    assert caller.ended().result == "passed" and made.shortest


def test_calls_from_many_threads_and_pools(pair: Cluster, made: Made) -> None:
    with led(pair, made) as first, led(pair, made) as second:

        def calls(number: int) -> list[int]:
            pool = (first, second)[number % 2]
            return [pool.apply(abs, (-x,)) for x in range(number, 800, 8)]

        callers = [Caller(lambda number=number: calls(number)) for number in range(8)]
        found = [caller.ended().result for caller in callers]
        assert sorted(x for part in found for x in part) == list(range(800))
        assert len({call._line for call in made.shortest}) >= 2
    first.join()
    second.join()


def test_a_worker_that_dies_of_it_once_is_replaced_and_the_call_is_made_again(
    pool: achilles.Pool, tmp_path: Path, made: Made
) -> None:
    assert pool.apply(die_until, (str(tmp_path / "tries"), 1)) == 2
    assert len(made.shortest) == 1 and made.calls[0].answer is None
    assert pool.apply(abs, (-3,)) == 3


def test_a_node_that_is_busy_refuses_and_another_has_it(moving: Cluster, tmp_path: Path, made: Made) -> None:
    for _ in range(2):
        moving.start_node(1)
    gate = Gate(tmp_path)
    with led(moving, made) as pool, led(moving, made) as other:
        caller = Caller(lambda: other.apply(touch_and_wait, gate.arguments))
        gate.begun()
        begun = len(made.calls)
        assert [pool.apply(abs, (-x,)) for x in range(40)] == list(range(40))
        late = made.calls[begun:]
        assert sum(call.answer is not None for call in late) > 20
        assert made.ends_short()  # at the other one
        gate.gate.touch()
        assert caller.ended().result == "passed"
    pool.join()
    other.join()


LONG_CALLS = """
import sys, time
from achilles import Pool

if __name__ == "__main__":
    with Pool(host="127.0.0.1", port=int(sys.argv[1])) as pool:
        for _ in range(5):
            pool.apply(abs, (-1,))
        print("at it", flush=True)
        while True:
            pool.apply(time.sleep, (0.3,))
"""


def test_others_get_their_turn_beside_long_calls_without_end(moving: Cluster, place: Place) -> None:
    for _ in range(2):
        moving.start_node(1)
    script = place.write("long_calls.py", LONG_CALLS)
    callers = [Party([script, moving.port], place=place) for _ in range(2)]
    try:
        for caller in callers:
            caller.wait_for("at it")
        for _ in range(6):
            began_s = time.monotonic()
            assert achilles.map(abs, range(-20, 0), **moving.address) == [[20 - n] for n in range(20)]
            assert time.monotonic() - began_s < PROMPT_S
    finally:
        for caller in callers:
            caller.stop(signal.SIGKILL)


def test_the_node_is_lost_during_the_call(moving: Cluster, tmp_path: Path, made: Made) -> None:
    node = moving.start_node(1)
    gate = Gate(tmp_path)
    with led(moving, made) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        pid = gate.begun()
        moving.end_node(node, signal.SIGKILL)
        moving.start_node(1)
        assert gate.begun(2) != pid
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert len(made.shortest) == 1 and made.calls[0].answer is None
        assert [pool.apply(abs, (-x,)) for x in range(5)] == list(range(5))
        assert made.ends_short()
    pool.join()


def test_a_node_that_drains_finishes_it(moving: Cluster, tmp_path: Path, made: Made) -> None:
    node = moving.start_node(1)
    gate = Gate(tmp_path)
    with led(moving, made) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        gate.begun()
        node.send(signal.SIGTERM)
        moving.start_node(1)
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        gate.gate.touch()
        assert caller.ended().result == "passed" and gate.pids()[1:] == []
        assert moving.end_node(node, 0) == 0
        assert made.shortest == made.calls[:1] and made.calls[0].answer is not None
    pool.join()


def test_the_server_is_lost_during_the_call(moving: Cluster, tmp_path: Path, made: Made) -> None:
    moving.start_node(1)
    gate = Gate(tmp_path)
    with led(moving, made) as pool:
        caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
        gate.begun()
        moving.restart_server(signal.SIGKILL)
        gate.begun(2)
        gate.gate.touch()
        assert caller.ended().result == "passed"
        assert len(made.shortest) == 1 and made.calls[0].answer is None
        assert [pool.apply(abs, (-x,)) for x in range(5)] == list(range(5))
        assert made.ends_short()
    pool.join()


def test_terminating_the_pool_ends_the_wait_and_the_call(pair: Cluster, tmp_path: Path, made: Made) -> None:
    pool = led(pair, made)
    gate = Gate(tmp_path)
    caller = Caller(lambda: pool.apply(touch_and_wait, gate.arguments))
    pid = gate.begun()
    pool.terminate()
    assert isinstance(caller.ended().error, achilles.TaskCancelled | ValueError)
    pool.join()
    wait_until(lambda: gone(pid))
    assert made.shortest == made.calls


INTERRUPTED = """
import sys
from achilles import Pool
from tests.integration.cluster.test_single_calls import touch_and_wait

if __name__ == "__main__":
    with Pool(host="127.0.0.1", port=int(sys.argv[1])) as pool:
        for _ in range(20):
            pool.apply(abs, (-1,))
        try:
            pool.apply(touch_and_wait, (sys.argv[2], sys.argv[3]))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(pool.apply(abs, (-3,)), flush=True)
        sys.stdin.read()
"""


def test_ctrl_c_ends_the_wait_and_then_the_call(pair: Cluster, place: Place, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    script = place.write("interrupted_shortcut.py", INTERRUPTED)
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
    before = [party.descriptors() for party in (pair.server, *pair.nodes)]
    gate = Gate(tmp_path)
    script = place.write("dying_shortcut.py", INTERRUPTED)
    party = Party([script, pair.port, *gate.arguments], place=place, own_group=True)
    pid = gate.begun()
    party.stop(signal.SIGKILL)
    wait_until(lambda: gone(pid))

    def no_more() -> bool:
        now = [party.descriptors() for party in (pair.server, *pair.nodes)]
        return all(here <= most for here, most in zip(now, before, strict=True))

    wait_until(no_more, what="for descriptors of server and nodes")


def sockets(pid: int) -> int:
    """How many sockets a process has."""
    found = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:")
        except FileNotFoundError:
            pass
    return found


def test_a_shortcut_costs_each_party_a_socket_until_the_connection_is_closed(
    moving: Cluster, made: Made
) -> None:
    node = moving.start_node(1)
    with achilles.Pool(**moving.address) as pool:
        pool.apply(abs, (-1,))
        parties = (moving.server.pid, node.pid, os.getpid())
        before = [sockets(pid) for pid in parties]
        for _ in range(10):
            pool.apply(abs, (-1,))
        assert made.shortest
        assert [sockets(pid) for pid in parties] == [count + 1 for count in before]
    pool.join()
    close_idle_connections()
    for pid, count in zip(parties, before, strict=True):
        wait_until(lambda pid=pid, count=count: sockets(pid) <= count, what="for sockets")


def test_one_that_ends_while_nobody_calls_is_closed(moving: Cluster, made: Made) -> None:
    node = moving.start_node(1)
    with led(moving, made) as pool:
        before = sockets(os.getpid())
        moving.end_node(node, signal.SIGKILL)
        wait_until(lambda: sockets(os.getpid()) == before - 1)
        moving.start_node(1)
        wait_until(lambda: pool.apply(abs, (-1,)) and made.ends_short())
    pool.join()


def test_a_forked_child_leaves_the_parents_shortcut_alone(pool: achilles.Pool, made: Made) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [pool.apply(abs, (-x,)) for x in range(5)] == list(range(5))
    assert made.shortest == made.calls and all(call.answer is not None for call in made.calls)


def test_a_node_that_does_not_know_shortcuts(moving: Cluster, made: Made) -> None:
    code = OLD_NODE + NODE.format(port=moving.port, cpu_count=1, more="")
    node = Party(["-c", code], place=moving.place)
    moving.nodes.append(node)
    node.wait_for("CLIENT_ID:")
    ordinary_calls(moving, made)


def test_a_controller_that_does_not_know_shortcuts(
    pair: Cluster, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = wire.Hello

    def old(**fields: Any) -> wire.Hello:
        return new(**{**fields, "shortcuts": False})

    monkeypatch.setattr(wire, "Hello", old)
    ordinary_calls(pair, made)


def test_a_controller_that_comes_as_from_another_machine(
    pair: Cluster, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    with achilles.Pool(**pair.with_key) as pool:
        assert [pool.apply(abs, (-x,)) for x in range(10)] == list(range(10))
    pool.join()
    assert made.calls and not made.shortest


def test_a_node_that_comes_as_from_another_machine(moving: Cluster, made: Made) -> None:
    key = ", username='foo', secret_key='bar-of-the-tests'"
    moving.start_node(1, more=key, ACHILLES_LOCAL_SOCKET="off")
    ordinary_calls(moving, made)


def ordinary_calls(cluster: Cluster, made: Made) -> None:
    close_idle_connections()
    with achilles.Pool(**cluster.address) as pool:
        assert [pool.apply(abs, (-x,)) for x in range(10)] == list(range(10))
    pool.join()
    close_idle_connections()
    assert made.calls and not made.shortest
    assert any(call.answer is not None for call in made.calls)
