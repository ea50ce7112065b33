"""A cluster under random kills: ``python -m tests.soak --minutes 30`` (or ``make soak``).

Every few seconds a worker, a node, a controller or the server is killed, or a node is frozen for a
while, and started again. Controllers check that every index of every job comes back exactly once.
At the end the memory of the long-lived processes is compared with what it was after the first
minute. Exit code 0 when nothing was wrong. Prints its seed; the kills of a seed repeat, their timing
against the cluster's doings does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
NODES, CONTROLLERS = 3, 3
START = "from achilles.lineReceiver.achilles_{0} import {1}; {1}(host='127.0.0.1', port={2}{3})"


class Cluster:
    """The processes, and who replaces them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.port = _free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ACHILLES_")},
            "PYTHONPATH": str(REPOSITORY),
        }
        for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            own = directory / variable
            own.mkdir(mode=0o700)
            self.environment[variable] = str(own)
        self.jobs: list[dict[str, object]] = []
        self.done = Counter[str]()
        self.listeners: list[threading.Thread] = []
        self.seeds = 0
        self.log = (directory / "log").open("ab")
        self.server = self.start_server()
        self.nodes = [self.start_node(cpus) for cpus in (1, 2, 2)]
        self.controllers = [self.start_controller() for _ in range(CONTROLLERS)]

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.directory,
            stderr=self.log,
            **{"stdout": self.log, "stdin": subprocess.DEVNULL, **options},
        )

    def start_server(self) -> subprocess.Popen[bytes]:
        key = ", username='u', secret_key='a key for the soak'"
        return self.start("-c", START.format("server", "runAchillesServer", self.port, key))

    def start_node(self, cpus: int) -> subprocess.Popen[bytes]:
        return self.start("-c", START.format("node", "runAchillesNode", self.port, f", cpu_count={cpus}"))

    def start_controller(self) -> subprocess.Popen[bytes]:
        self.seeds += 1_000_000
        script = str(Path(__file__).with_name("controller.py"))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = self.start(script, "127.0.0.1", str(self.port), str(self.seeds), **pipes)
        listener = threading.Thread(target=self.listen, args=(process,), daemon=True)
        self.listeners.append(listener)
        listener.start()
        return process

    def listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.jobs.append(json.loads(line))

    def disturb(self) -> None:
        """Do one bad thing."""
        deed = self.chance.choice(["worker", "worker", "node", "freeze", "controller", "server", "politely"])
        self.done[deed] += 1
        place = self.chance.randrange(NODES)
        node = self.nodes[place]
        if deed == "worker":
            workers = psutil.Process(node.pid).children() if node.poll() is None else []
            if workers:
                _signal(self.chance.choice(workers).pid, signal.SIGKILL)
        elif deed in ("node", "politely"):
            _end(node, signal.SIGKILL if deed == "node" else signal.SIGTERM)
            self.nodes[place] = self.start_node(1 + place % 2)
        elif deed == "freeze":
            os.kill(node.pid, signal.SIGSTOP)
            threading.Timer(self.chance.choice([1.0, 20.0]), _signal, (node.pid, signal.SIGCONT)).start()
        elif deed == "controller":
            _end(self.controllers[place], signal.SIGKILL)
            self.controllers[place] = self.start_controller()
        else:
            _end(self.server, signal.SIGKILL)
            self.server = self.start_server()

    def rss_mib(self) -> dict[str, int]:
        """Memory of the server and the largest controller, MiB."""
        sizes = [psutil.Process(process.pid).memory_info().rss >> 20 for process in self.controllers]
        return {"server": psutil.Process(self.server.pid).memory_info().rss >> 20, "controller": max(sizes)}

    def end(self) -> None:
        for controller in self.controllers:
            assert controller.stdin is not None
            controller.stdin.close()
        deadline_s = time.monotonic() + 60
        for controller in self.controllers:
            controller.wait(max(deadline_s - time.monotonic(), 1))
        for listener in self.listeners:
            listener.join(5)

    def kill(self) -> None:
        for process in [*self.controllers, *self.nodes, self.server]:
            _signal(process.pid, signal.SIGCONT)
            _end(process, signal.SIGKILL)
        self.log.close()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    """End a child of ours, and reap it."""
    if process.poll() is None:
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
    process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Run the soak; the exit code."""
    parser = argparse.ArgumentParser(description="A cluster under random kills.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        cluster = Cluster(Path(directory), arguments.seed)
        failed = True
        try:
            failed = _watch(cluster, arguments.minutes * 60)
        finally:
            cluster.kill()
            if failed:
                kept = Path(tempfile.gettempdir()) / "achilles-soak.log"
                kept.write_bytes((Path(directory) / "log").read_bytes())
                print(f"log: {kept}")
    return int(failed)


def _watch(cluster: Cluster, duration_s: float) -> bool:
    end_s = time.monotonic() + duration_s
    next_report_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        time.sleep(cluster.chance.uniform(1.0, 4.0))
        cluster.disturb()
        if time.monotonic() > next_report_s:
            next_report_s += 30
            print(f"{len(cluster.jobs)} jobs, {dict(cluster.done)}, MiB {cluster.rss_mib()}", flush=True)
    memory = cluster.rss_mib()
    cluster.end()
    jobs = [job for job in cluster.jobs if "items" in job]
    wrong = [job for job in jobs if job["wrong"]]
    items = sum(int(str(job["items"])) for job in jobs)
    died = sum(sum(job["errors"].values()) for job in jobs)
    refused = len(cluster.jobs) - len(jobs)
    slowest_s = max((float(str(job["wall_s"])) for job in jobs), default=0.0)
    print(f"{len(jobs)} jobs of {items} items complete, {refused} calls refused while the server was away")
    print(f"disturbances {dict(cluster.done)}; {died} items ended as WorkerDiedError; slowest {slowest_s} s")
    print(f"memory at the end, MiB: {memory}")
    for job in wrong[:10]:
        print("WRONG", job)
    return bool(wrong) or not jobs


if __name__ == "__main__":
    sys.exit(main())
