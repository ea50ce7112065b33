"""The reactor of servers and nodes: one that was there before stays, and what fails does not end it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("twisted.internet.epollreactor")

OTHER = """
from twisted.internet.selectreactor import install
install()
from achilles.lineReceiver.quick_reactor import install_reactor
install_reactor()
from twisted.internet import reactor
print(type(reactor).__name__)
"""

FAILING = """
import socket, sys
from achilles.lineReceiver.quick_reactor import install_reactor
install_reactor()
from twisted.internet import reactor
from twisted.python import log
log.startLogging(sys.stdout, setStdout=False)

class Reader:
    def __init__(self, how):
        self.how = how
        self.end, self.other = socket.socketpair()
        reactor.addReader(self)
        self.other.send(b"x")
    def fileno(self): return self.end.fileno()
    def logPrefix(self): return "reader"
    def doRead(self):
        if self.how == "raises": raise ValueError("of doRead")
        if self.how == "says": return ConnectionError("of doRead's")
        self.end.recv(1)
        reactor.callLater(0, self.other.close)
        self.how = "says"
    def connectionLost(self, reason):
        print("lost", self.how, reason.type.__name__, flush=True)
        lost.append(self)
        if len(lost) == 4: reactor.stop()
        if self.how == "raises": raise KeyError("of connectionLost")

lost = []
readers = [Reader(how) for how in ("raises", "says", "reads", "raises")]
reactor.run()
print(type(reactor).__name__)
"""


def run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_reactor_that_was_there_before_stays() -> None:
    assert run(OTHER) == ["SelectReactor"]


def test_what_fails_is_logged_and_dropped_and_the_others_go_on() -> None:
    lines = run(FAILING)
    assert lines[-1] == "QuickReactor"
    lost = sorted(line for line in lines if line.startswith("lost"))
    assert len(lost) == 4 and lost[0].startswith("lost raises") and lost[-1].startswith("lost says")
    assert sum("of connectionLost" in line for line in lines) >= 2
