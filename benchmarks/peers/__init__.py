"""Who is measured: one adapter for each, in a file of its own, imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from benchmarks.peers.peer import Peer

__all__ = ["ADAPTERS", "OURS", "Peer", "missing", "open_peer"]

OURS = ("achilles", "cluster", "tls")

# name: (adapter's module, its class, the package it needs)
ADAPTERS = {
    "stdlib": ("pools", "StdlibPool", None),
    "multiprocess": ("pools", "MultiprocessPool", "multiprocess"),
    "futures": ("executors", "Futures", None),
    "loky": ("executors", "Loky", "loky"),
    "joblib": ("joblib_parallel", "Joblib", "joblib"),
    "mpire": ("mpire_pool", "Mpire", "mpire"),
    "dask": ("dask_client", "Dask", "distributed"),
    "ray": ("ray_pool", "RayPool", "ray"),
    "ipyparallel": ("ipyparallel_view", "Ipyparallel", "ipyparallel"),
    "achilles": ("achilles_embedded", "Embedded", None),
    "cluster": ("achilles_cluster", "Cluster", None),
    "tls": ("achilles_cluster", "ClusterOverTls", None),
    "bounds": ("nobody", "Nobody", None),
}


def missing(name: str) -> str | None:
    """The package that this peer needs and that isn't installed."""
    package = ADAPTERS[name][2]
    return package if package is not None and find_spec(package) is None else None


def open_peer(name: str, workers: int) -> Peer:
    """The peer, not yet started."""
    module, adapter, _ = ADAPTERS[name]
    peer: Peer = getattr(import_module(f"benchmarks.peers.{module}"), adapter)(workers)
    return peer
