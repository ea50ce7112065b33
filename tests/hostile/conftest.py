"""A live server as the victim, and what must hold after each attack on it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from achilles import getClusterStatus
from tests.integration.cluster.parties import SECRET_KEY, Cluster, Place, wait_until

# Failures shut nobody out here, since all attacks come from one address; few may wait, and not for long.
SERVER = """
import logging, sys
sys.addaudithook(lambda event, args: print('UNPICKLED', args) if event == 'pickle.find_class' else None)
from twisted.internet import reactor
from twisted.python import log
from achilles.config import load_server_settings
from achilles.lineReceiver.achilles_server import ServerService
from achilles.lineReceiver.admission import Admission
proof = dict(username={username!r}, secret_key={secret_key!r})
settings = load_server_settings(host='127.0.0.1', port={port}, memory_budget='32M', **proof)
service = ServerService(settings, reactor, admission=Admission(failures=10**6, max_waiting=64), login_s=1.0)
service.startService()
reactor.addSystemEventTrigger('before', 'shutdown', service.stopService)
print('at 127.0.0.1:%d' % service.settings.port)
print('Listening for connections...', flush=True)
logging.basicConfig(level=logging.INFO)
log.PythonLoggingObserver().start()
reactor.run()
"""
MOST_GROWTH_BYTES = 48 * 1024 * 1024
CANARY = "c4n4ry-in-a-payload"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    found = Place()
    with pytest.MonkeyPatch.context() as patch:
        for key in list(os.environ):
            if key.startswith("ACHILLES_"):
                patch.delenv(key)
        for key, value in found.variables().items():
            patch.setenv(key, value)
        patch.chdir(found.work)
        yield found
    found.remove()


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Cluster]:
    # So that its memory is what it holds, and not what the allocator keeps of what it gave back.
    cluster = Cluster(place, server_code=SERVER, fresh=True, MALLOC_MMAP_THRESHOLD_="1048576")
    yield cluster
    cluster.close()


@pytest.fixture
def victim(server: Cluster) -> Iterator[Cluster]:
    """The server; after the test it serves the next honest client, and has kept and told nothing."""
    process = psutil.Process(server.server.pid)
    assert getClusterStatus(**server.address).nodes == []
    before_bytes, lines = process.memory_info().rss, len(server.server.lines)
    yield server

    def calm() -> bool:
        status = getClusterStatus(**server.address)
        return not status.nodes and not status.jobs and status.server["controllers"] == 1

    wait_until(calm, what="for the server to be as before")
    assert process.memory_info().rss - before_bytes < MOST_GROWTH_BYTES
    said = "\n".join(server.server.lines[lines:])
    for never in (SECRET_KEY, CANARY, "UNPICKLED", "Traceback", "Unhandled"):
        assert never not in said, said


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that must not go off."""
    mark = tmp_path / "unpickled"
    yield CANARY.encode() + pickle.dumps(Canary(mark))
    assert not mark.exists()
