"""A cut network between a node and the server, in network namespaces of this test's own."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.programs import Program, clean_environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need Linux, root and iproute2",
)

SERVER_ADDRESS, NODE_ADDRESS, PORT = "10.213.0.1", "10.213.0.2", 9999
KEY = "username='foo', secret_key='a key of some length'"
SERVER = f"from achilles import *; runAchillesServer('{SERVER_ADDRESS}', {PORT}, {KEY}, heartbeat_s=0.5)"
NODE = f"from achilles import *; runAchillesNode('{SERVER_ADDRESS}', {PORT}, {KEY}, cpu_count={{cpus}})"
CONTROLLER = f"""
import time
from achilles import imap

def slow(item):
    time.sleep(0.02)
    return item + 1

values = []
for packet in imap(slow, range(600), host='{SERVER_ADDRESS}', port={PORT}, {KEY}):
    values += packet['RESULT']
    if len(values) == 90 or len(values) == 91:
        print('under way', flush=True)
print('right' if values == [item + 1 for item in range(600)] else values, flush=True)
"""
_numbers = itertools.count()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Two hosts joined by a cable: the server's, with a node and the controller, and a node's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.programs: list[Program] = []
        name = f"ach{os.getpid()}x{next(_numbers)}"
        self.near, self.far = f"{name}s", f"{name}n"
        for namespace in (self.near, self.far):
            ip("netns", "add", namespace)
        ip("link", "add", "cable", "netns", self.near, "type", "veth", "peer", "cable", "netns", self.far)
        for namespace, address in ((self.near, SERVER_ADDRESS), (self.far, NODE_ADDRESS)):
            self.within(namespace, "addr", "add", f"{address}/24", "dev", "cable")
            self.within(namespace, "link", "set", "cable", "up")
            self.within(namespace, "link", "set", "lo", "up")

    def within(self, namespace: str, *arguments: str) -> None:
        ip("-n", namespace, *arguments)

    def run(self, namespace: str, text: str) -> Program:
        """Start a program on one of the hosts. Only TCP joins them: each has files of its own."""
        directory = self.home / f"{len(self.programs)}"
        directory.mkdir()
        path = directory / "program.py"
        path.write_text(text)
        environment = {**clean_environment(directory), "ACHILLES_LOCAL_SOCKET": "off"}
        launcher = directory / "python"
        launcher.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {sys.executable} "$@"\n')
        launcher.chmod(0o700)
        program = Program(path, cwd=directory, environment=environment, python=launcher)
        self.programs.append(program)
        return program

    def close(self) -> None:
        for program in reversed(self.programs):
            program.signal(signal.SIGTERM)
            program.stop()
        for namespace in (self.near, self.far):
            ip("netns", "del", namespace)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    joined = Hosts(tmp_path)
    try:
        yield joined
    finally:
        joined.close()


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_cut_cable_moves_the_work_and_heals(hosts: Hosts, both_ways: bool) -> None:
    server = hosts.run(hosts.near, SERVER)
    server.wait_for("Listening")
    hosts.run(hosts.near, NODE.format(cpus=1)).wait_for("CLIENT_ID: 0")
    cut_off = hosts.run(hosts.far, NODE.format(cpus=2))
    cut_off.wait_for("CLIENT_ID: 1")
    controller = hosts.run(hosts.near, CONTROLLER)
    controller.wait_for("under way")
    if both_ways:
        hosts.within(hosts.far, "link", "set", "cable", "down")
    else:
        # What the node says is lost; what it is told still arrives.
        hosts.within(hosts.far, "route", "replace", "blackhole", f"{SERVER_ADDRESS}/32")
    server.wait_for("node 1 at")  # ... has been silent for 1.5 s: dropped
    time_of_cut_s = time.monotonic()
    if both_ways:
        hosts.within(hosts.far, "link", "set", "cable", "up")
    else:
        hosts.within(hosts.far, "route", "del", "blackhole", f"{SERVER_ADDRESS}/32")
    cut_off.wait_for("CLIENT_ID: 2")
    assert time.monotonic() - time_of_cut_s < 30
    controller.wait_for("right")
    assert controller.wait_for_end() == 0
