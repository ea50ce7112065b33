"""What a worker is given at once goes out with the last of it."""

from __future__ import annotations

import pytest

from achilles.core import slots_events as ev
from achilles.workers.together import together


def run(worker: int, piece: int) -> ev.RunPiece:
    return ev.RunPiece(worker, piece, (1, 0, 1), 0, 0, 0, 1, 0, False)


@pytest.mark.parametrize(
    ("workers", "more"),
    [
        ([], []),
        ([0], [False]),
        ([0, 1, 0, 1, 0], [True, True, True, False, False]),
        ([0, 1, 2], [False, False, False]),
    ],
)
def test_all_but_the_last_piece_of_each_worker_wait_for_it(workers: list[int], more: list[bool]) -> None:
    commands: list[ev.Command] = [run(worker, piece) for piece, worker in enumerate(workers)]
    assert list(together(commands)) == list(zip(commands, more, strict=True))


def test_what_is_no_piece_never_waits() -> None:
    commands: list[ev.Command] = [ev.TeachJob(0, 1), run(0, 1), ev.WakeAt(5), run(0, 2)]
    assert [waits for _, waits in together(commands)] == [False, True, False, False]
