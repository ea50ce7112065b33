"""What every call of a pool may be told beyond the standard library, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.record import Record
from ..engines.retrying import check_retries
from ..engines.spec import JobSpec, check_limit
from ..progress_bar import ProgressChoice, check_progress

__all__ = ["Options"]


class Options(Record):
    """How items of a call are run, and what becomes of failures.

    ``timeout``: seconds that one item may run. ``retries``: how often an item is run again that raised one
    of ``retry_on``. ``on_error``: ``"raise"``, ``"return"`` (the exception in place of the result) or
    ``"skip"``. ``progress``: see `achilles.progress_bar`. ``output``: show what functions print.
    ``speculate``: see `achilles.map`. ``reducer``: replaces the results of each chunk.

    ``priority``: jobs of a higher one are served before others. ``nodes``: names or addresses of nodes that
    may run it, or shell patterns of them. ``slots``: how many of its node's slots a task takes.
    """

    timeout: float | None = None
    retries: int = 0
    retry_on: Any = Exception  # a class, or a tuple of them
    on_error: str = "raise"
    progress: ProgressChoice = False
    output: bool = True
    speculate: bool = False
    reducer: Callable[[list[Any]], Any] | None = None
    error_callback: Callable[[BaseException], Any] | None = None
    priority: int = 0
    nodes: str | Sequence[str] = ()
    slots: int = 1

    def check(self) -> None:
        """Raise a clear error for what cannot work; the rest is checked with the job (`JobSpec.check`)."""
        check_progress(self.progress)
        if self.timeout is not None:
            check_limit(self.timeout)
        check_retries(self.retries, self.retry_on)
        nodes = (self.nodes,) if isinstance(self.nodes, str) else self.nodes
        if not isinstance(nodes, list | tuple) or not all(isinstance(node, str) for node in nodes):
            raise TypeError(
                f"nodes must be a name, an address or a pattern, or a list of them, not {nodes!r}"
            )
        if self.error_callback is not None and not callable(self.error_callback):
            raise TypeError(
                f"error_callback must be callable or None, not {type(self.error_callback).__name__}"
            )

    def check_for_one(self) -> None:
        """Raise TypeError for what makes no sense for a single call."""
        for name, value, default in (
            ("reducer", self.reducer, None),
            ("progress", self.progress, False),
            ("on_error", self.on_error, "raise"),
        ):
            if value is not default and value != default:
                raise TypeError(f"{name} is for calls with many items; a single call has no use for it")

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The exceptions after which an item is tried again."""
        return self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)

    @property
    def key(self) -> tuple[Any, ...]:
        """Calls with the same key may share a job."""
        kinds = self.kinds if self.retries else ()
        where = self.priority, self.patterns, self.slots
        return self.timeout, self.retries, kinds, self.output, self.speculate, where

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the nodes that may run it."""
        return (self.nodes,) if isinstance(self.nodes, str) else tuple(self.nodes)

    def spec(self, func: Callable[[Any], Any], args: Any, **more: Any) -> JobSpec:
        """The job of a call, checked."""
        spec = JobSpec(
            func,
            args,
            reducer=self.reducer,
            on_error=self.on_error,
            output=bool(self.output),
            timeout_s=self.timeout,
            speculate=bool(self.speculate),
            flat=True,
            priority=self.priority,
            nodes=self.patterns,
            slots=self.slots,
            **more,
        )
        spec.check()
        return spec
