"""A pool without processes, whose nodes keep every result, and are lost at times with all that they keep."""

from __future__ import annotations

import io
import pickle
import random
import threading
from typing import Any

from achilles.kept import Kept, Reference, lost
from achilles.serialization import deserialize, join, serialize

__all__ = ["LosingPool"]

GONE = "its node is gone"


class Shelf:
    """What the nodes keep, by name; the `Keeper` of its handles."""

    origin: object = "nowhere"

    def __init__(self) -> None:
        self.payloads: dict[str, bytes] = {}
        self._named = 0

    def keep(self, value: Any, node: int) -> Kept:
        self._named += 1
        payload = bytes(join(serialize(value, "a result")))
        reference = Reference(f"{node} {self._named}", len(payload), node, f"node {node}")
        self.payloads[reference.name] = payload
        return Kept(reference, self)

    def payload(self, reference: Reference) -> bytes:
        try:
            return self.payloads[reference.name]
        except KeyError:
            raise lost(reference, GONE) from None

    def release(self, reference: Reference) -> None:
        self.payloads.pop(reference.name, None)

    def lose(self, node: int) -> None:
        for name in [name for name in self.payloads if name.startswith(f"{node} ")]:
            self.payloads.pop(name, None)


class _Writer(pickle.Pickler):
    """Notes handles, which are loaded as their values."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.handles: list[Kept] = []

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Kept:
            return NotImplemented
        self.handles.append(obj)
        return _loaded, (bytearray(obj.payload()), "a result")


def _loaded(payload: bytearray, subject: str) -> Any:
    return deserialize(payload, subject)


class _Sent:
    def give_up(self) -> None:
        """It is asked when it is its turn."""


class LosingPool:
    """As much of a `Pool` on a cluster as `PoolCalls` asks for; calls are run in a thread, in a random order.

    Args:
        seed: Decides the order and the losses.
        chance: That a node is lost before a call.

    Attributes:
        shelf: What is kept.
        losses: How many nodes were lost.
    """

    place = "nowhere:9999"

    def __init__(self, seed: int, chance: float) -> None:
        self.shelf = Shelf()
        self.losses = 0
        self._random = random.Random(seed)
        self._chance = chance
        self._nodes = [0, 1]
        self._calls: list[tuple[bytes, list[Kept], Any]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="losing-pool")
        self._thread.start()

    def facts(self) -> dict[str, Any]:
        return {"workers": 4}

    def submit_kept(self, call: Any, promise: Any) -> _Sent | None:
        file = io.BytesIO()
        writer = _Writer(file)
        try:
            writer.dump(call)
        except Exception as error:  # noqa: BLE001 - of what can't be pickled, and of handles that are lost
            promise.settle(None, error)
            return None
        with self._changed:
            self._calls.append((file.getvalue(), writer.handles, promise))
            self._changed.notify()
        return _Sent()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls and not self._ended:
                    self._changed.wait()
                if not self._calls:
                    return
                place = self._random.randrange(len(self._calls))
                written, handles, promise = self._calls.pop(place)
            if promise.begin():
                promise.settle(*self._made(written, handles))
            handles = promise = None  # or they would stay until the next call

    def _made(self, written: bytes, handles: list[Kept]) -> tuple[Any, BaseException | None]:
        if self._random.random() < self._chance:
            which = self._random.randrange(2)
            self.shelf.lose(self._nodes[which])
            self.losses += 1
            self._nodes[which] = 1 + self.losses
        for handle in handles:
            if handle.reference.name not in self.shelf.payloads:
                return None, lost(handle.reference, GONE)
        try:
            function, args, kwargs = pickle.loads(written)
            value = function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the function's own
            return None, pickle.loads(pickle.dumps(error))
        if self._random.random() < 0.1:
            return pickle.loads(pickle.dumps(value)), None  # there was no room for it
        return self.shelf.keep(value, self._random.choice(self._nodes)), None
