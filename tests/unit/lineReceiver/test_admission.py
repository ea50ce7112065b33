"""Who may try to log in: failures, their window, and crowds; on a clock that is a number."""

from __future__ import annotations

import logging

import pytest

from achilles.lineReceiver.admission import Admission


class Peer:
    gone = False

    def make_room(self) -> None:
        self.gone = True


def test_an_address_is_shut_out_and_let_in_again() -> None:
    admission = Admission(failures=3, window_s=60)
    for now_s in (0.0, 10.0, 20.0):
        assert admission.admits("a", now_s)
        assert admission.failed("a", now_s)
    assert not admission.admits("a", 20.0)
    assert not admission.admits("a", 59.9)
    assert admission.admits("b", 20.0)
    assert admission.admits("a", 60.0)
    admission.failed("a", 61.0)
    assert not admission.admits("a", 69.0)
    assert admission.admits("a", 121.0)


def test_only_failures_that_count_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(failures=2)
    with caplog.at_level(logging.WARNING):
        worth = [admission.failed("a", now_s) for now_s in (0.0, 1.0, 2.0, 3.0)]
    assert worth == [True, True, False, False]
    assert [record.getMessage() for record in caplog.records] == ["a failed 2 times and is shut out for 60 s"]


def test_few_addresses_are_remembered() -> None:
    admission = Admission(failures=1, addresses=10)
    for number in range(10_000):
        admission.failed(str(number), 0.0)
    assert len(admission._failed) == 10
    assert not admission.admits("9999", 1.0)
    assert admission.admits("0", 1.0)


def test_the_oldest_of_a_crowd_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(max_waiting=100)
    crowd = [Peer() for _ in range(1000)]
    with caplog.at_level(logging.WARNING):
        for peer in crowd:
            admission.arrived(peer, "a")
    assert admission.waiting == 100
    assert [peer.gone for peer in crowd] == [True] * 900 + [False] * 100
    assert len(caplog.records) == 9
    admission.left(crowd[-1])
    admission.left(crowd[-1])
    assert admission.waiting == 99


def test_a_crowd_pushes_out_nobody_elsewhere() -> None:
    admission = Admission(max_waiting=100)
    honest, crowd = Peer(), [Peer() for _ in range(1000)]
    for number, peer in enumerate(crowd):
        if number == 50:
            admission.arrived(honest, "b")
        admission.arrived(peer, "a")
    assert not honest.gone
    assert [peer.gone for peer in crowd] == [True] * 901 + [False] * 99
    admission.left(honest)
    admission.arrived(Peer(), "a")
    assert not crowd[901].gone


def test_among_single_connections_the_oldest_makes_room() -> None:
    admission = Admission(max_waiting=3)
    peers = [Peer() for _ in range(5)]
    for number, peer in enumerate(peers):
        admission.arrived(peer, str(number))
    assert [peer.gone for peer in peers] == [True, True, False, False, False]
