"""Memory of a server that holds many controllers: ``python -m benchmarks.connections``.

Opens idle authenticated connections on the local socket (each proves the key), then lets many
controllers work at once, and prints the server's memory after each step.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time

import psutil

from achilles import getClusterStatus, map
from achilles.config import load_settings
from achilles.lineReceiver.dialling import dial
from tests.integration.recovery.table import fresh_cluster

IDLE, WORKING, ITEMS = 2000, 200, 50


def task(item: int) -> int:
    time.sleep(0.001)
    return item + 1


def main() -> None:
    """Print the figures."""
    with fresh_cluster() as cluster:
        server = psutil.Process(getClusterStatus(**cluster.where).server["pid"])
        empty = server.memory_info().rss
        settings = load_settings(**cluster.where)
        links = [dial(settings) for _ in range(IDLE)]
        held = server.memory_info().rss
        per_link_kib = (held - empty) / IDLE / 1024
        print(f"{IDLE} idle connections: server {held >> 20} MiB, {per_link_kib:.1f} KiB each")
        right: list[bool] = []

        def control() -> None:
            values = [value for packet in map(task, range(ITEMS), **cluster.where) for value in packet]
            right.append(values == list(range(1, ITEMS + 1)))

        controllers = [threading.Thread(target=control) for _ in range(WORKING)]
        peak = 0
        with contextlib.redirect_stdout(io.StringIO()):
            for controller in controllers:
                controller.start()
            while any(controller.is_alive() for controller in controllers):
                peak = max(peak, server.memory_info().rss)
                time.sleep(0.02)
        print(
            f"{WORKING} working controllers, {sum(right)} with right results: server at most {peak >> 20} MiB"
        )
        for link in links:
            link.close()


if __name__ == "__main__":
    main()
