"""What a pool puts around the user's function, and what that does in the workers.

All of this is pickled with a job's function. Where nothing is asked for, nothing is put around it, so
plain calls pay nothing for each item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Counted", "Setup", "Starred", "prepared", "run_and_keep", "run_call"]

# Of pools whose initializer has run in this process: what it raised, or None.
_begun: dict[str, BaseException | None] = {}
# How many chunks this process has run for pools that replace their workers.
_chunks_done: dict[str, float] = {}


def run_call(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    """Run one call of ``apply`` or ``submit``."""
    func, args, kwds = call
    return func(*args, **kwds)


def run_and_keep(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    """Run one call of ``keep_async``, whose result stays here if it is large."""
    from achilles.kept import stay

    return stay(run_call(call))


class _Around:
    """A function around another one; errors and bars show the inner one's name."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.__qualname__ = getattr(func, "__qualname__", type(func).__name__)


class Starred(_Around):
    """The function, given each argument's parts as arguments of their own."""

    def __call__(self, args: Any) -> Any:
        """Run it."""
        return self.func(*args)


class Counted(_Around):
    """The function, whose worker is replaced after so many chunks of a pool.

    Args:
        func: The function.
        token: Names the pool.
        chunks: How many chunks a worker runs.
        chunksize: Items in a chunk.
    """

    def __init__(self, func: Callable[..., Any], token: str, chunks: int, chunksize: int) -> None:
        super().__init__(func)
        self.token = token
        self.chunks = chunks
        self.chunksize = chunksize

    def __call__(self, item: Any) -> Any:
        """Run it."""
        try:
            return self.func(item)
        finally:
            done = _chunks_done.get(self.token, 0.0) + 1 / self.chunksize
            _chunks_done[self.token] = done
            # Rounding adds up to far less than half an item.
            if done >= self.chunks - 0.5 / self.chunksize:
                from achilles.workers.leaving import leave_after_this_item

                leave_after_this_item()


class Setup:
    """A pool's initializer, which runs once in each worker, when it is first unpickled there.

    Args:
        token: Names the pool.
        initializer: The function.
        initargs: Its arguments.
    """

    def __init__(self, token: str, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> None:
        self.token = token
        self.initializer = initializer
        self.initargs = initargs

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _begin, (self.token, self.initializer, self.initargs)


class _Prepared(_Around):
    """A function that is unpickled only after a `Setup` has run, and is then itself."""

    def __init__(self, setup: Setup, func: Callable[..., Any]) -> None:
        super().__init__(func)
        self.setup = setup

    def __call__(self, item: Any) -> Any:
        return self.func(item)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Pickle loads these in order: what the initializer does comes before the function's imports.
        return _after, (self.setup, self.func)


class _Refusing:
    """Stands for a function whose worker could not be set up."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, item: Any) -> Any:
        from achilles.initializer_error import InitializerError

        error = self._error
        raise InitializerError(
            f"the pool's initializer raised {type(error).__name__}: {error}. Nothing can run in this "
            f"worker; mend the initializer, or call it within the function to handle what it raises.",
            index=None,
        ) from error


def prepared(func: Callable[..., Any], setup: Setup | None) -> Callable[..., Any]:
    """The function, preceded by the pool's initializer if it has one."""
    return func if setup is None else _Prepared(setup, func)


def _begin(token: str, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> BaseException | None:
    if token not in _begun:
        from achilles.workers import loading

        _begun[token] = None
        is_loading = loading.end()  # but an initializer may do what it likes
        try:
            initializer(*initargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, each item reports it
            _begun[token] = error
        finally:
            if is_loading:
                loading.begin()
    return _begun[token]


def _after(failed: BaseException | None, func: Callable[..., Any]) -> Callable[..., Any]:
    return func if failed is None else _Refusing(failed)
