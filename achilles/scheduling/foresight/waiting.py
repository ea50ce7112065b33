"""What waits for pending values: operations, calls, and values that others stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .interrupting import is_from_outside
from .values import Pending, Unsafe, concrete, pending_in, settled

if TYPE_CHECKING:
    from ..calls import Started
    from .ahead import Foresight

__all__ = ["Deferred", "Entry", "Forward"]


class Deferred:
    """A safe operation on values of which some are pending.

    Whether it is safe shows when they are known: it was walked past on trust. Where that was wrong, or where
    it raises, foresight takes back what it built on that.

    Attributes:
        result: The value that others go on with.
    """

    __slots__ = ("_ahead", "_function", "_missing", "_operands", "_shallow", "result")

    def __init__(
        self,
        ahead: Foresight,
        function: Callable[..., Any],
        operands: tuple[Any, ...],
        *,
        shallow: bool = False,
    ) -> None:
        """
        Args:
            ahead: Whose it is.
            function: Evaluates it, from the real objects.
            operands: Values, at least one of which is pending.
            shallow: Whether the function takes models, so that their elements may still be pending.

        Raises:
            Unsafe: One of them will never be known.
        """
        self.result = Pending()
        self._ahead = ahead
        self._function: Callable[..., Any] | None = function
        self._operands = operands
        self._shallow = shallow
        self._missing = self._await()
        ahead.outstanding += 1

    def _await(self) -> int:
        if not self._shallow:
            return _await(self, self._operands)
        missing = [each for each in map(settled, self._operands) if type(each) is Pending]
        for each in missing:
            each.waiters.append(self)
        return len(missing)

    def ready(self) -> None:
        self._missing -= 1
        if self._missing or self._function is None:
            return
        try:
            self._missing = self._await()  # what was promised may itself wait for something
            if self._missing:
                return
            function, self._function = self._function, None
            self._ahead.outstanding -= 1
            made: dict[int, Any] = {}
            operands = [settled(each) if self._shallow else concrete(each, made) for each in self._operands]
            self._operands = ()
            value = function(*operands)
        except Unsafe as reason:
            self._ahead.mistrust(str(reason))
        except Exception as error:
            self._ahead.mistrust(f"{type(error).__name__} is raised")
            if is_from_outside(error):
                raise
        else:
            self._ahead.settle(self.result, value)

    def promised_values(self) -> list[Pending]:
        return [self.result]


class Forward:
    """Passes on what a pending value turns out to be."""

    __slots__ = ("_ahead", "_source", "_target")

    def __init__(self, ahead: Foresight, source: Pending, target: Pending) -> None:
        self._ahead, self._source, self._target = ahead, source, target
        source.waiters.append(self)

    def ready(self) -> None:
        self._ahead.settle(self._target, self._source.value)

    def promised_values(self) -> list[Pending]:
        return [self._target]


class Entry:
    """A functional call that foresight has come to, until the real run takes it.

    Attributes:
        key: The place of the call, as the real run names it.
        function: What is called.
        args: Its arguments: values of foresight until it is started, the real objects from then on.
        kwargs: The same by name.
        started: The call, once its arguments were known.
        result: The value that the walk goes on with.
        lasting: Whether nothing can change the arguments, so that it stays valid whatever the real run does.
        before: What was started at the same place before a reset, until it is compared.
        bytes: About how much memory its arguments hold.
        counts: Whether it was started, or is about to be.
    """

    __slots__ = (
        "_ahead",
        "_missing",
        "args",
        "before",
        "bytes",
        "counts",
        "function",
        "key",
        "kwargs",
        "lasting",
        "result",
        "started",
    )

    def __init__(
        self, ahead: Foresight, key: Any, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._ahead = ahead
        self.key = key
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.started: Started | None = None
        self.result = Pending()
        self.lasting = False
        self.before: Entry | None = None
        self.bytes = 0
        self.counts = False
        self._missing = 0

    def begin(self) -> None:
        """Start the call, now or when its arguments are known.

        One with an argument that foresight can't see waits for the real run to start it.
        """
        try:
            self._missing = _await(self, (*self.args, *self.kwargs.values()))
            if not self._missing:
                made: dict[int, Any] = {}
                args = tuple(concrete(each, made) for each in self.args)
                kwargs = {name: concrete(each, made) for name, each in self.kwargs.items()}
                self._ahead.start(self, args, kwargs)
        except Unsafe:
            self._missing = -1

    def ready(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self.started is None and self._ahead.holds(self):
            self.begin()

    def promised_values(self) -> list[Pending]:
        return [self.result]


def _await(waiter: Any, values: tuple[Any, ...]) -> int:
    """Have a waiter told of each pending in values; how many there are."""
    pendings = pending_in(values)
    for each in pendings:
        each.waiters.append(waiter)
    return len(pendings)
