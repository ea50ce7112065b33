"""What the caller's process does with lines that came in."""

from __future__ import annotations

import io

from achilles.engines.printing import WAITING_BYTES, Printing, show


def test_lines_go_to_the_stream_they_were_written_to(capsys) -> None:
    printing = Printing()
    assert not printing
    printing.add(1, b"out\n")
    printing.add(2, b"err \xff\n")
    assert printing
    show(printing.take())
    assert not printing
    assert tuple(capsys.readouterr()) == ("out\n", "err \ufffd\n")


def test_the_oldest_are_dropped_when_nobody_reads(capsys) -> None:
    printing = Printing()
    for number in range(3 * WAITING_BYTES // 1000):
        printing.add(1, b"%d" % number + b"." * 990 + b"\n")
    taken = printing.take()
    assert sum(len(lines) for _, lines in taken[1:]) <= WAITING_BYTES
    assert taken[-1][1].startswith(b"%d." % number)
    assert "bytes of output were dropped" in taken[0][1].decode()
    assert printing.take() == []


def test_an_output_that_is_gone_or_poor_does_no_harm(monkeypatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    monkeypatch.setattr("sys.stderr", None)
    show([(1, b"a\n"), (2, b"b\n")])
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show([(1, "ä\n".encode())])
    assert raw.getvalue() == b"\\xe4\n"
