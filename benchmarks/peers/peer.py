"""What a workload may ask of any peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any


class Peer:
    """Some worker processes that apply a function to arguments.

    Results come in *pieces*: single results, or lists of them where the peer (or a user who cuts the
    arguments for it) works so. Pieces are only counted: unpacking them is not what is measured.

    Args:
        workers: Number of worker processes.
    """

    # Whether a piece of `map` or `stream` is a list of results. May be set per call.
    in_lists = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def start(self) -> None:
        """Start the workers; returns when they can be used, or before that."""

    def stop(self) -> None:
        """End all that was started."""

    def goes_cold(self) -> bool:
        """Give up what is kept between calls; False if that is nothing but the workers."""
        return False

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        """All pieces. ``chunksize=None`` is what the peer does by default."""
        raise NotImplementedError

    def one(self, function: Callable[[Any], Any], arg: Any) -> Any:
        """The result of one call, by a ``map`` of one item in warm workers."""
        (result,) = self.results(self.map(function, [arg], None))
        return result

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        """Pieces as they are done, in any order if the peer can, from arguments that are drawn lazily."""
        raise NotImplementedError

    def results(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """The single results within pieces."""
        for piece in pieces:
            if self.in_lists:
                yield from piece
            else:
                yield piece

    def results_in(self, piece: Any) -> int:
        """Number of results in a piece."""
        return len(piece) if self.in_lists else 1

    def worker_pids(self) -> list[int]:
        """The worker processes, where it is known which these are."""
        return []

    def other_pids(self) -> dict[str, int]:
        """Processes between caller and workers whose memory is of interest, by name."""
        return {}

    def __enter__(self) -> Peer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def chunks_of(args: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of neighbouring arguments, for peers without chunks of their own."""
    source = iter(args)
    while chunk := list(islice(source, size)):
        yield chunk


class Sealed:
    """A list that a peer takes as one thing. Dask walks plain lists item by item."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class EachOf:
    """A function of one argument, made one of a list of them."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, chunk: list[Any] | Sealed) -> list[Any] | Sealed:
        results = [self.function(item) for item in chunk]
        return Sealed(results) if isinstance(chunk, Sealed) else results
