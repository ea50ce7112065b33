"""What is measured: a module for each workload, with the figures that it gives."""

from __future__ import annotations

from importlib import import_module

from benchmarks.workloads.workload import Effort, Figure, Workload

__all__ = ["WORKLOADS", "Effort", "Figure", "Workload"]

_MODULES = (
    "no_op_tasks",
    "many_ints",
    "one_item",
    "arrays",
    "lazy_input",
    "short_tasks",
    "whole_program",
    "skewed",
    "large_function",
    "far_nodes",
    "scheduler_alone",
    "server_alone",
    "idle_workers",
    "growth",
    "bounds",
)

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for module in _MODULES
    for workload in import_module(f"benchmarks.workloads.{module}").WORKLOADS
}
