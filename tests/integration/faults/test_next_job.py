"""What one job did to its worker, the next one does not find."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import achilles
from tests.integration.faults.conftest import Place, cluster_of, engine_of


@pytest.fixture(params=["embedded", "cluster"])
def single(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with one worker."""
    with engine_of(1) if request.param == "embedded" else cluster_of(tmp_path, 1) as place:
        yield place


def look(_):
    def open_as(number):
        try:
            os.fstat(number)
        except OSError:
            return None
        return os.readlink(f"/proc/self/fd/{number}")

    handlers = [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    umask = os.umask(0o22)
    os.umask(umask)
    return os.getpid(), os.getcwd(), handlers, umask, [open_as(number) for number in range(3)]


def spoil(_):
    os.chdir("/")
    os.umask(0o777)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    os.closerange(0, 3)
    return os.getpid()


def test_the_next_job_finds_its_worker_as_it_began(single, capfd) -> None:
    ((before,),) = achilles.map(look, [0], **single.call)
    assert achilles.map(spoil, [0], **single.call) == [[before[0]]]
    ((after,),) = achilles.map(look, [0], **single.call)
    assert after == before
    capfd.readouterr()
    achilles.map(lambda _: os.write(1, b"heard again\n"), [0], **single.call)
    assert "heard again" in capfd.readouterr().out
