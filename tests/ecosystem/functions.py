"""Functions that the tests send to workers."""

from __future__ import annotations

from typing import Any

import numpy as np


def negated(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return -array


def rosenbrock(x: np.ndarray[Any, Any]) -> float:
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def log_probability(x: np.ndarray[Any, Any], widths: np.ndarray[Any, Any]) -> float:
    return float(-0.5 * np.sum(x**2 * widths))


def shares(frame: Any) -> Any:
    """What a groupby-apply makes of one group."""
    amount = frame["amount"]
    return frame.assign(share=amount / amount.sum(), rank=amount.rank(), name=frame["name"].str.upper())
