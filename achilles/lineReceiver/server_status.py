"""What a server says of its cluster when it is asked."""

from __future__ import annotations

import os
import platform
import socket
import sys
from typing import TYPE_CHECKING, Any

from .. import __version__

if TYPE_CHECKING:
    from .server import AchillesServer

__all__ = ["status_of"]


def status_of(server: AchillesServer) -> dict[str, Any]:
    """The cluster as one JSON object; `getClusterStatus` returns it."""
    host, _, port = server.endpoint.rpartition(":")
    nodes = []
    for number, connection in sorted(server.nodes.items()):
        state = server.scheduler.nodes[number]
        hello = connection.hello
        assert hello is not None
        nodes.append(
            {
                "id": number,
                "host": hello.host,
                "pid": hello.pid,
                "cpu_count": state.cpu_count,
                "load": connection.load,
                "tasks_running": sum(parcel.missing_tasks for parcel in state.parcels.values()),
                "tasks_done": state.tasks_done,
                "version": hello.version,
                "python": f"{hello.python[0]}.{hello.python[1]}",
                "draining": state.draining,
                "kept_fetched_bytes": connection.kept_fetched_bytes,
                "connected_since": connection.connected_s,
            }
        )
    jobs = []
    for job_number, job in sorted(server.jobs.live.items()):
        scheduled = server.scheduler.jobs.get(job_number)
        if scheduled is None:
            continue
        lost = set(scheduled.lost)
        running = sum(p.missing_tasks for p in scheduled.parcels.values() if p.parcel not in lost)
        waiting = sum(p.missing_tasks for p in scheduled.parcels.values() if p.parcel in lost)
        jobs.append(
            {
                "id": job_number,
                "name": job.name,
                "controller": job.controller,
                "done": scheduled.tasks_done,
                "running": running,
                "waiting": waiting,
                "failed": scheduled.tasks_failed,
                "input_ended": scheduled.input_ended,
                "submitted": job.submitted_s,
            }
        )
    return {
        "server": {
            "host": host,
            "port": int(port),
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "version": __version__,
            "python": platform.python_version(),
            "started": server.started_s,
            "controllers": len(server.controllers),
            "kept_fetched_bytes": sum(each.kept_fetched_bytes for each in server.controllers.values()),
            "jobs_finished": server.jobs.finished,
            "platform": sys.platform,
        },
        "nodes": nodes,
        "jobs": jobs,
    }
