"""Functions that the contract's tests run in workers, who fetch this module from the test's process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


class Odd(Exception):
    """Its constructor is not what naive pickling calls it with."""

    def __init__(self, item: int, *, reason: str) -> None:
        super().__init__(f"item {item}: {reason}")
        self.item = item


class OneWay(Exception):
    """It cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("one way")
        self.lock = threading.Lock()


class Unsendable:
    """Cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise LookupError("cannot be sent")


class Unloadable:
    """Can be pickled, and not be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse_to_load, ()


def _refuse_to_load() -> NoReturn:
    raise LookupError("cannot be loaded")


def square(number: int) -> int:
    return number * number


def identity(item: Any) -> Any:
    return item


def describe(item: Any) -> str:
    return type(item).__name__


def add_up(results: list[int]) -> int:
    return sum(results)


def fail_at(item: tuple[int, Any]) -> int:
    """Raise, if the item says what."""
    number, error = item
    if error is not None:
        raise error
    return number


def raise_odd(number: int) -> NoReturn:
    raise Odd(number, reason="odd")


def raise_one_way(number: int) -> NoReturn:
    raise OneWay


def exit_with(code: int) -> NoReturn:
    sys.exit(code)


def interrupt(number: int) -> NoReturn:
    raise KeyboardInterrupt(number)


def stop(number: int) -> int:
    if number == 2:
        raise StopIteration(number)
    return number


def unloadable_at_three(number: int) -> Any:
    return Unloadable() if number == 3 else number


def unsendable_at_three(number: int) -> Any:
    return Unsendable() if number == 3 else number


def length_and_more(blob: bytes) -> tuple[int, bytes]:
    return len(blob), blob


def pid_of(_: Any) -> int:
    return os.getpid()


def modules(*_: Any) -> set[str]:
    """What the worker has imported."""
    return set(sys.modules)


def nothing() -> None: ...


def speak(item: Any) -> Any:
    print(f"spoken {item}")
    return item


def mark(item: tuple[str, int]) -> int:
    """Leave a file that says that it was run."""
    folder, number = item
    Path(folder, str(number)).touch()
    return number


def fail_first(item: tuple[str, int]) -> int:
    """Fail when it is run for the first time."""
    folder, number = item
    path = Path(folder, str(number))
    if not path.exists():
        path.touch()
        raise ConnectionError(f"item {number} the first time")
    return number


def after_file(item: tuple[str, int]) -> int:
    """Return once a file is there."""
    gate, number = item
    until_s = time.monotonic() + 60
    while not os.path.exists(gate) and time.monotonic() < until_s:
        time.sleep(0.005)
    return number


def wait_at(gate: str) -> int:
    """Say who waits there, and wait until it is opened."""
    Path(f"{gate}.{os.getpid()}").touch()
    while not os.path.exists(gate):
        time.sleep(0.005)
    return os.getpid()


def sleep_long(item: Any) -> None:
    time.sleep(300)


def sleep_if(number: int) -> int:
    if number:
        time.sleep(300)
    return number


def die_if(number: int) -> int:
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def squares_within(pool: Any, count: int) -> list[int]:
    """Use a pool within a task."""
    found: list[int] = pool.map(square, range(count))
    return found


def squares_within_executor(executor: Any, count: int) -> list[int]:
    """Use an executor within a task."""
    return list(executor.map(square, range(count)))


def own_pool_within(count: int) -> list[int]:
    """Make a pool within a task."""
    import achilles

    with achilles.Pool(2, address="local") as pool:
        return pool.map(square, range(count))


_set_up: list[str] = []


def set_up(folder: str) -> None:
    """An initializer."""
    _set_up.append(folder)
    Path(folder, str(os.getpid())).touch()


def times_set_up(folder: str) -> tuple[int, int]:
    return os.getpid(), _set_up.count(folder)


def fail_to_set_up() -> NoReturn:
    raise LookupError("not set up")


def remember(value: Any) -> list[Any]:
    """What this worker was told so far."""
    _remembered.append(value)
    return _remembered


_remembered: list[Any] = []
