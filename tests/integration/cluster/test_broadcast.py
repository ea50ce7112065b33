"""Broadcast objects on real workers: one crossing and one copy for each machine, wherever handles stand."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import achilles
from achilles import Broadcast, BroadcastLost, sealed
from achilles.engines import cluster as cluster_engine
from achilles.lineReceiver import messages as wire
from tests.integration.cluster.parties import (
    SECRET_KEY,
    USERNAME,
    Cluster,
    Place,
    own_children,
    run_program,
    wait_until,
)
from tests.integration.cluster.proxies import Proxy

Where = dict[str, Any]
MEBIBYTE = 1 << 20
SIZE = 9 * MEBIBYTE
WITH_KEY = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}"

shared_memory = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")


@pytest.fixture(autouse=True)
def collected(nothing_left: None) -> Iterator[None]:
    """Tracebacks of expected errors hold handles, in cycles."""
    yield
    gc.collect()


@pytest.fixture(params=["cluster", "embedded", "tls"])
def where(request: pytest.FixtureRequest, reach: Callable[[str], Where]) -> Where:
    """As elsewhere, and as from another machine."""
    return reach(request.param)


def numbers(first: float = 0.0) -> np.ndarray[Any, Any]:
    return np.arange(SIZE // 8, dtype=np.float64) + first


def flat(packets: Any) -> list[Any]:
    return [result for packet in packets for result in packet]


def look_up(handle: Broadcast[Any], index: int) -> float:
    return float(handle.value[index])


def together(directory: str, count: int, handle: Broadcast[Any] | None, index: int) -> tuple[int, int, float]:
    """Waits until so many processes are at it, so that each of them has to do one."""
    Path(directory, f"{os.getpid()}").touch()
    deadline_s = time.monotonic() + 30
    while len(os.listdir(directory)) < count and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return os.getppid(), os.getpid(), -1.0 if handle is None else float(handle.value[index])


def mappings(handle: Broadcast[Any]) -> tuple[int, bool]:
    """The file that the array lies in, and whether it can be written to."""
    array = handle.value
    address = array.__array_interface__["data"][0]
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            place, _, _, _, inode, *_ = line.split()
            begin, end = (int(part, 16) for part in place.split("-"))
            if begin <= address < end:
                return int(inode), bool(array.flags.writeable)
    raise AssertionError("it lies nowhere")


def at(directory: str, count: int, handle: Broadcast[Any], index: int) -> tuple[int, int, tuple[int, bool]]:
    node, worker, _ = together(directory, count, None, index)
    return node, worker, mappings(handle)


def test_values_everywhere_a_handle_may_stand(where: Where) -> None:
    array = numbers()
    handle = Broadcast(array)
    everywhere = {
        "argument": achilles.map(lambda pair: look_up(*pair), [(handle, 5), (handle, 6)], **where),
        "partial": achilles.map(partial(look_up, handle), [5, 6], **where),
        "closure": achilles.map(lambda index: float(handle.value[index]), [5, 6], **where),
    }
    for place, found in everywhere.items():
        assert flat(found) == [5.0, 6.0], place
    (came,) = flat(achilles.map(lambda index: handle, [0], **where))
    assert came.value is array


@pytest.mark.parametrize("size", [3, MEBIBYTE])
def test_any_object(where: Where, size: int) -> None:
    handle = Broadcast({"table": list(range(size)), "text": "x" * size})
    found = achilles.map(
        lambda index: (handle.value["table"][index], len(handle.value["text"])), [2], **where
    )
    assert flat(found) == [(2, size)]


@shared_memory
def test_one_copy_for_the_workers_of_a_machine(where: Where, tmp_path: Path) -> None:
    count = 2 if where.get("address") == "local" else 4
    handle = Broadcast(numbers())
    found = flat(
        achilles.map(partial(at, str(tmp_path), count, handle), range(2 * count), chunksize=1, **where)
    )
    workers = {worker for _, worker, _ in found}
    assert len(workers) >= count
    for node in {node for node, _, _ in found}:
        assert len({place for its, _, place in found if its == node}) == 1
    assert {place[1] for _, _, place in found} == {False}


def write(handle: Broadcast[Any], index: int) -> tuple[int, float, float]:
    before, array = float(handle.value[0]), handle.value
    array[0] -= 1
    return os.getpid(), before, float(array[0])


def test_copy_on_write_stays_within_a_worker(where: Where) -> None:
    array = numbers()
    handle = Broadcast(array, copy_on_write=True)
    seen: dict[int, list[float]] = {}
    for worker, before, after in flat(achilles.map(partial(write, handle), range(12), **where)):
        assert after == before - 1
        seen.setdefault(worker, []).append(-before)
    for found in seen.values():  # its own writes alone, in whatever order it ran them
        assert sorted(found) == list(range(len(found)))
    assert array[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        achilles.map(partial(write, Broadcast(array)), [0], **where)


def load_and_look(pickled: bytes) -> float:
    return float(pickle.loads(pickled).value[0])


def test_one_that_is_gone_is_an_error_that_says_what_to_do(where: Where) -> None:
    handle = Broadcast(numbers(0.25))
    pickled = pickle.dumps(handle)
    handle.release()
    with pytest.raises(BroadcastLost, match=r"was released.*Keep the Broadcast") as caught:
        achilles.map(load_and_look, [pickled], **where)
    assert caught.value.size_bytes == handle.size_bytes


def test_a_handle_that_only_the_job_keeps(where: Where) -> None:
    def arguments() -> Iterator[tuple[Broadcast[Any], int]]:
        for number in range(12):
            yield Broadcast(numbers(number)), 1

    found = flat(achilles.map(lambda pair: look_up(*pair), arguments, **where))
    assert found == [1.0 + number for number in range(12)]


def test_released_memory_is_given_back(reach: Callable[[str], Where]) -> None:
    where = reach("embedded")
    handle = Broadcast(numbers(0.5))
    achilles.map(partial(look_up, handle), range(8), **where)
    (inode, _), *_ = flat(achilles.map(mappings, [handle], **where))
    del handle
    gc.collect()

    def none_has_it() -> bool:
        achilles.map(abs, range(8), **where)  # between two units they let go
        return not any(
            f" {inode} " in Path(f"/proc/{pid}/maps").read_text(encoding="ascii")
            for pid in own_children()[0]
            if Path(f"/proc/{pid}/maps").exists()
        )

    wait_until(none_has_it, what="for workers to let go of it")


def in_a_child(handle: Broadcast[Any], used: bool, index: int) -> str:
    if used:
        look_up(handle, index)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            said = str(look_up(handle, index))
        except BroadcastLost as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading, encoding="utf-8") as end:
        return end.read()


def test_tasks_that_fork(where: Where) -> None:
    handle = Broadcast(numbers(0.75))
    assert flat(achilles.map(partial(in_a_child, handle, True), [1], **where)) == ["1.75"]
    other = Broadcast(numbers(0.875))
    (said,) = flat(achilles.map(partial(in_a_child, other, False), [1], **where))
    assert "use its value before the fork" in said


def test_several_jobs_at_once(where: Where) -> None:
    handle = Broadcast(numbers(2.0))
    found: dict[int, list[float]] = {}

    def call(number: int) -> None:
        found[number] = flat(achilles.map(partial(look_up, handle), range(number, number + 6), **where))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [2.0 + index for index in range(number, number + 6)] for number in range(3)}


@pytest.mark.parametrize("near", [True, False])
def test_each_nodes_connection_is_crossed_once(
    counted: tuple[Cluster, list[Proxy]], tmp_path: Path, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, proxies = counted
    if not near:
        monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    where = cluster.address if near else cluster.with_key
    handle = Broadcast(numbers())
    before = [len(proxy.from_server) for proxy in proxies]

    def crossed() -> list[int]:
        return [len(proxy.from_server) - start for proxy, start in zip(proxies, before, strict=True)]

    for call in range(3):
        directory = tmp_path / str(call)
        directory.mkdir()
        work = partial(together, str(directory), 4, handle)
        found = flat(achilles.map(work, range(8), chunksize=1, **where))
        assert [value for *_, value in found] == list(range(8))
        assert len({worker for _, worker, _ in found}) == 4
        for bytes_ in crossed():
            assert SIZE < bytes_ < 1.2 * SIZE


def first_then_wait(handle: Broadcast[Any], directory: str, index: int) -> float:
    Path(directory, f"began-{index}-{os.getpid()}").touch()
    while not Path(directory, "go").exists():
        time.sleep(0.005)
    return float(handle.value[index])


def test_asked_again_after_a_restart_of_the_server(moving: Cluster, tmp_path: Path) -> None:
    moving.start_node(2)
    handle = Broadcast(numbers())
    found: list[Any] = []
    call = threading.Thread(
        target=lambda: found.extend(
            flat(achilles.map(partial(first_then_wait, handle, str(tmp_path)), [0, 1], **moving.address))
        )
    )
    call.start()
    wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 2, what="for the tasks to begin")
    moving.restart_server(signal.SIGKILL)
    moving.nodes[0].wait_for("CLIENT_ID: 0", after=len(moving.nodes[0].lines))
    (tmp_path / "go").touch()
    call.join(60)
    assert found == [0.0, 1.0]


SCRIPT = """
import os, sys
import numpy as np
import achilles

table = achilles.Broadcast(np.arange(500_000.0))

def look_up(index):
    return table.value[index]

if __name__ == "__main__":
    print([float(x) for packet in achilles.map(look_up, [1, 2], **WHERE) for x in packet], flush=True)
    pid = os.fork()
    found = achilles.map(look_up, [3], **WHERE)
    # In one piece: both write to one pipe.
    os.write(1, f"{'parent' if pid else 'child'} {float(found[0][0])}\\n".encode())
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    table.release()
"""


@pytest.mark.parametrize("how", ["cluster", "embedded"])
def test_globals_of_a_script_that_forks(place: Place, reach: Callable[[str], Where], how: str) -> None:
    code = SCRIPT.replace("WHERE", repr(reach(how)))
    lines = run_program(place, "broadcasts.py", code)
    assert "[1.0, 2.0]" in lines
    assert {"child 3.0", "parent 3.0"} <= set(lines), lines


def test_a_node_with_a_small_budget(moving: Cluster) -> None:
    moving.start_node(1, ACHILLES_MEMORY_BUDGET="4M")
    large = Broadcast(numbers())
    assert flat(achilles.map(partial(look_up, large), [1], **moving.address)) == [1.0]
    small = [Broadcast(np.full(2 * MEBIBYTE // 8, float(number))) for number in range(4)]
    found = flat(achilles.map(lambda number: look_up(small[number % 4], 0), range(8), **moving.address))
    assert found == [0.0, 1.0, 2.0, 3.0] * 2


class Interrupted:
    """Answers questions for a blob up to one of them; none from then on, until it begins anew."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.reached = threading.Event()
        self._after = after
        self._serve = cluster_engine.serve
        monkeypatch.setattr(cluster_engine, "serve", self.serve)

    def serve(self, controller: Any, fetch: Any) -> None:
        if isinstance(fetch, wire.FetchBlob):
            if self.reached.is_set() and fetch.start == 0:
                self._after = 10**9
            self._after -= 1
            if self._after < 0:
                self.reached.set()
                return
        self._serve(controller, fetch)

    def call(self, handle: Broadcast[Any], where: Where) -> Callable[[], list[float]]:
        """Start a call; the result waits for its values."""
        found: list[float] = []
        call = threading.Thread(
            target=lambda: found.extend(
                flat(achilles.map(partial(look_up, handle), range(4), chunksize=1, **where))
            )
        )
        call.start()

        def wait() -> list[float]:
            call.join(60)
            return found

        return wait


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")  # so that it goes in pieces
    return Interrupted(monkeypatch, after=4)


@pytest.mark.parametrize("lost", ["server", "node", "worker"])
def test_whoever_is_lost_on_the_way(moving: Cluster, interrupted: Interrupted, lost: str) -> None:
    first = moving.start_node(1)
    handle = Broadcast(numbers(3.0))
    wait = interrupted.call(handle, moving.with_key)
    assert interrupted.reached.wait(30)
    if lost == "server":
        moving.restart_server(signal.SIGKILL)
    elif lost == "node":
        moving.end_node(first, signal.SIGKILL)
        moving.start_node(1)
    else:
        (worker,) = first.descendants()
        worker.kill()
    assert wait() == [3.0, 4.0, 5.0, 6.0]


def test_a_call_that_is_given_up_on_the_way(moving: Cluster, interrupted: Interrupted) -> None:
    moving.start_node(1)
    handle = Broadcast(numbers(4.0))
    packets = achilles.imap(partial(look_up, handle), range(4), **moving.with_key)
    assert interrupted.reached.wait(30)
    packets.close()
    assert flat(achilles.map(partial(look_up, handle), [1], **moving.with_key)) == [5.0]
