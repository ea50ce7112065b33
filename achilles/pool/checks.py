"""Arguments of a pool's methods, refused by name where they cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .options import Options

__all__ = [
    "arguments_of",
    "check_callback",
    "check_count",
    "check_pool",
    "check_seconds",
    "checked_iterable",
    "options_of",
]


def check_pool(processes: Any, initializer: Any, maxtasksperchild: Any, startup_timeout: Any) -> None:
    """The standard library's conditions, and its exceptions."""
    for name, value in (("processes", processes), ("maxtasksperchild", maxtasksperchild)):
        if value is not None:
            check_count(name, value)
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be a callable or None, not {type(initializer).__name__}")
    check_seconds("startup_timeout", startup_timeout)
    if startup_timeout is not None and startup_timeout < 0:
        raise ValueError(f"startup_timeout must be at least 0, not {startup_timeout}")


def check_count(name: str, value: Any) -> None:
    """Raise unless it is an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def check_seconds(name: str, value: Any) -> None:
    """Raise TypeError unless it is a number, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}")


def check_callback(name: str, value: Callable[..., Any] | None) -> None:
    """Raise TypeError unless it can be called, or is None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, not {type(value).__name__}")


def checked_iterable(name: str, value: Any) -> Iterable[Any]:
    """The value, if it can be iterated over."""
    try:
        iter(value)
    except TypeError:
        raise TypeError(f"{name} must be an iterable, not {type(value).__name__}") from None
    found: Iterable[Any] = value
    return found


def arguments_of(
    args: Iterable[Any], kwds: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keyword arguments of a call."""
    if kwds is not None and not isinstance(kwds, Mapping):
        raise TypeError(f"kwds must be a mapping or None, not {type(kwds).__name__}")
    return tuple(args if type(args) is tuple else checked_iterable("args", args)), dict(kwds or {})


def options_of(named: dict[str, Any]) -> Options:
    """The options that a call was given, checked."""
    if not named:
        return Options()
    unknown = [name for name in named if name not in Options.__match_args__]
    if unknown:
        raise TypeError(
            f"unexpected keyword argument {unknown[0]!r}; beyond the standard library's there are "
            f"{', '.join(Options.__match_args__)}"
        )
    options = Options(**named)
    options.check()
    return options
