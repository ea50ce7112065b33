"""Which way single calls go when there is a shortcut, and back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.engines import remote_calls
from achilles.engines.open_calls import RemoteCall
from achilles.engines.remote_calls import MAX_SHORTCUTS, RemoteCalls
from achilles.engines.shortcut_calls import ShortcutCalls
from achilles.errors import ProtocolError
from achilles.lineReceiver import messages as wire
from achilles.sealed import Descriptor
from achilles.workers.loop import SelectorLoop
from tests.unit.engines.test_remote_calls import Connection


class Server(Connection):
    """The connection to a server that passes sockets on."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[socket.socket] = []

    def claim(self) -> Descriptor:
        ours, theirs = socket.socketpair()
        self.others.append(theirs)
        return Descriptor(ours.detach())


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> SelectorLoop:
    """One that never runs, as far as nobody asks it to."""
    found = SelectorLoop()
    monkeypatch.setattr(remote_calls, "controller_loop", lambda: found)
    return found


Stage = tuple[RemoteCalls, Any, list[Any]]


@pytest.fixture
def stage(loop: SelectorLoop) -> Iterator[Stage]:
    """The calls of an engine with a shortcut for its job 1, its server, and what was printed."""
    printed: list[Any] = []
    server = Server()
    calls = RemoteCalls(print, lambda output, chunks: printed.append((output.job, bytes(chunks[0]))))
    calls.offered(server, wire.Shortcut(shortcut=5, job=1, there=31, opens=True))
    yield calls, server, printed
    calls.disconnect()
    loop._turn()  # closes them
    for other in server.others:
        assert not other.recv(1 << 20) or not other.recv(1)
        other.close()
    loop.stop()


def made(calls: RemoteCalls, server: Any, job: int = 1) -> RemoteCall:
    call = calls.make(server, job)
    assert call is not None
    return call


def is_short(call: RemoteCall, server: Any) -> bool:
    return call._line is not server


def shortcut_of(calls: RemoteCalls) -> ShortcutCalls:
    (found,) = calls._shortcuts.values()
    return found


def refuse(calls: RemoteCalls, call: RemoteCall, server: Any) -> None:
    answer = wire.Answer(call.number, wire.CALL_REFUSED, 0)
    (shortcut_of(calls).frame_received if is_short(call, server) else calls.came)(answer, [])
    assert call.is_over and call.answer is None


def test_calls_of_its_jobs_go_there_by_the_number_that_they_have_there(stage: Stage) -> None:
    calls, server, _ = stage
    assert not is_short(made(calls, server, 2), server)
    call = made(calls, server)
    call._line.send(wire.Call(call._there, call.number, 0))
    assert server.others[0].recv(99) == b"C 31 %d 0 0\r\n" % call.number
    shortcut_of(calls).frame_received(wire.Answer(call.number, 0, 7, 2), [b"ok"])
    assert call.answer == (0, 7_000, bytearray(b"ok"))
    calls.offered(server, wire.Shortcut(shortcut=5, job=2, there=32))
    assert is_short(made(calls, server, 2), server)


def test_an_answer_counts_only_on_the_way_that_its_call_went(stage: Stage) -> None:
    calls, server, _ = stage
    short, other = made(calls, server), made(calls, server, 2)
    assert short.number == other.number
    calls.came(wire.Answer(short.number, 0, 7), [b"of the other"])
    assert other.is_over and not short.is_over


def test_after_a_refusal_some_go_by_the_server_each_time_more(stage: Stage) -> None:
    calls, server, _ = stage
    by_server = []
    for _ in range(4):
        refuse(calls, made(calls, server), server)
        count = 0
        while not is_short(call := made(calls, server), server):
            calls.came(wire.Answer(call.number, 0, 7), [b"ok"])
            count += 1
        by_server.append(count)
        refuse(calls, call, server)
        calls._ways[1].trials._skipped = calls._ways[1].trials._skip
    assert by_server == [1, 7, 31, 127]
    call = made(calls, server)
    shortcut_of(calls).frame_received(wire.Answer(call.number, 0, 7), [b"ok"])
    assert is_short(made(calls, server), server)


def test_where_there_is_but_one_node_the_server_is_not_asked_for_a_better_one(stage: Stage) -> None:
    calls, server, _ = stage
    refuse(calls, made(calls, server), server)
    assert calls.make(server, 1, nodes=1) is None
    call = calls.make(server, 1, nodes=1)
    assert call is not None and is_short(call, server)


def test_what_calls_print_is_told_by_the_jobs_own_number(stage: Stage) -> None:
    calls, _, printed = stage
    for job in (31, 32):  # which is nobody's
        shortcut_of(calls).frame_received(wire.Output(job=job, stream=1), [b"x\n"])
    assert printed == [(1, b"x\n")]
    calls.end(1)
    shortcut_of(calls).frame_received(wire.Output(job=31, stream=1), [b"late\n"])
    assert printed == [(1, b"x\n")]


def test_the_end_of_a_job_ends_its_calls_and_no_shortcut(stage: Stage) -> None:
    calls, server, _ = stage
    calls.offered(server, wire.Shortcut(shortcut=5, job=2, there=32))
    first, second = made(calls, server, 1), made(calls, server, 2)
    calls.end(1)
    assert first.is_over and not second.is_over
    calls.end()
    assert second.is_over and not shortcut_of(calls).ended
    assert not is_short(made(calls, server, 2), server)


def test_a_shortcut_that_ends_loses_its_calls_and_the_next_go_by_the_server(stage: Stage) -> None:
    calls, server, _ = stage
    call, by_server = made(calls, server), made(calls, server, 2)
    shortcut_of(calls).close()
    assert call.is_over and call.answer is None and not by_server.is_over
    assert not is_short(made(calls, server), server)
    calls.offered(server, wire.Shortcut(shortcut=6, job=1, there=31, opens=True))
    assert is_short(made(calls, server), server)
    assert len(calls._shortcuts) == 1


def test_the_end_of_the_connection_ends_all(stage: Stage) -> None:
    calls, server, _ = stage
    both = made(calls, server), made(calls, server, 2)
    calls.disconnect()
    calls.disconnect()
    assert all(call.is_over and call.answer is None for call in both)
    assert server.others[0].recv(1) == b""


def test_a_call_that_is_given_up_is_told_to_who_runs_it(stage: Stage) -> None:
    calls, server, _ = stage
    call = made(calls, server)
    call.give_up()
    call.give_up()
    line = b'{"type":"give_up","call":%d}\r\n' % call.number
    assert server.others[0].recv(999) == line and not server.sent


def test_what_a_server_may_not_say(stage: Stage) -> None:
    calls, server, _ = stage
    calls.offered(server, wire.Shortcut(shortcut=99, job=1, there=31))  # one that has ended, perhaps
    with pytest.raises(ProtocolError, match="opened before"):
        calls.offered(server, wire.Shortcut(shortcut=5, job=1, there=31, opens=True))
    for number in range(1, MAX_SHORTCUTS):
        calls.offered(server, wire.Shortcut(shortcut=100 + number, job=1, there=31, opens=True))
    with pytest.raises(ProtocolError, match="one too many"):
        calls.offered(server, wire.Shortcut(shortcut=999, job=1, there=31, opens=True))


def test_a_forked_child_forgets_them(stage: Stage) -> None:
    calls, server, _ = stage
    made(calls, server)
    calls.abandon()
    assert not is_short(made(calls, server), server)
