"""achilles as a cluster on this machine: a server and a node, each a process of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import psutil

from benchmarks.peers.achilles_embedded import Embedded
from benchmarks.processes import ROOT, Service, free_port

SERVER = "from achilles import runAchillesServer; runAchillesServer('127.0.0.1', {port})"
NODE = "from achilles import runAchillesNode; runAchillesNode('127.0.0.1', {port}, cpu_count={workers})"


class Cluster(Embedded):
    """A server and nodes with directories of their own; by default all talk over the local socket.

    Args:
        workers: Worker processes of each node.
        nodes: Number of nodes.
    """

    local_socket = ""

    def __init__(self, workers: int, nodes: int = 1) -> None:
        super().__init__(workers)
        self.nodes = nodes
        self._services: dict[str, Service] = {}

    def start(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="achilles-bench-"))
        for name in ("RUNTIME_DIR", "STATE_HOME", "CONFIG_HOME"):
            (self._home / name).mkdir(mode=0o700)
            os.environ[f"XDG_{name}"] = str(self._home / name)
        os.environ["ACHILLES_SECRET_KEY"] = secrets.token_hex(32)
        os.environ["ACHILLES_LOCAL_SOCKET"] = self.local_socket
        os.environ["PYTHONPATH"] = str(ROOT)
        port = free_port()
        self._start_service("server", SERVER.format(port=port), "Listening for")
        node_port = self.port_for_nodes(port)
        for number in range(self.nodes):
            name = "node" if self.nodes == 1 else f"node {number}"
            self._start_service(name, NODE.format(port=node_port, workers=self.workers), "CLIENT_ID:")
        self.address = f"127.0.0.1:{port}"
        super().start()

    def _start_service(self, name: str, program: str, ready: str) -> None:
        self._services[name] = service = Service(program, cwd=self._home)
        service.wait_for(ready)

    def port_for_nodes(self, port: int) -> int:
        """Where nodes find the server."""
        return port

    def stop(self) -> None:
        super().stop()
        for name in reversed(self._services):
            self._services[name].stop()
        self._services = {}
        shutil.rmtree(self._home, ignore_errors=True)

    def worker_pids(self) -> list[int]:
        nodes = [service.pid for name, service in self._services.items() if name.startswith("node")]
        return [child.pid for pid in nodes for child in psutil.Process(pid).children()]

    def goes_cold(self) -> bool:
        from achilles.engines.cluster import close_idle_connections

        close_idle_connections()
        return True

    def other_pids(self) -> dict[str, int]:
        return {name: service.pid for name, service in self._services.items()}


class ClusterOverTls(Cluster):
    """The same over TCP and TLS 1.3, as between machines."""

    local_socket = "off"
