"""A reader that takes one value for a whole chunk makes room for the chunk."""

from __future__ import annotations

import itertools

import achilles


def test_reduced_chunks_within_a_buffer_are_all_read(pool: achilles.Pool) -> None:
    results = pool.imap(abs, iter(range(105)), chunksize=10, buffersize=2, reducer=sum)
    assert [results.next(30.0) for _ in range(11)] == [
        sum(range(n, min(n + 10, 105))) for n in range(0, 105, 10)
    ]
    drawn = itertools.count()
    endless = pool.imap(abs, drawn, chunksize=10, buffersize=1, reducer=len)
    assert [endless.next(30.0) for _ in range(5)] == [10] * 5
    endless.close()
    # What was taken, and one more chunk.
    assert next(drawn) <= 60
