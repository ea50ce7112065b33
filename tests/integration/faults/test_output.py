"""What functions print appears at the caller, tagged, in order and within bounds."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time

import psutil
import pytest

import achilles


def tag(place, index: int) -> str:
    node = "local" if place.name == "local" else f"node {socket.gethostname()}"
    return f"[{node} item {index}] "


def printed_by(place, index: int, text: str) -> list[str]:
    start = tag(place, index)
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def test_prints_of_each_item_come_in_order_and_before_its_result(place, capsys) -> None:
    def chat(x):
        print("first", x)
        print("complaint", x, file=sys.stderr)
        print("second", x, end="")
        return x

    out = err = ""
    for packet in achilles.imap(chat, range(20), **place.call):
        captured = capsys.readouterr()
        out += captured.out
        err += captured.err
        for number, x in enumerate(packet["RESULT"]):
            index = packet["ARGS_COUNTER"] + number
            assert printed_by(place, index, out) == [f"first {x}", f"second {x}"]
            assert printed_by(place, index, err) == [f"complaint {x}"]


def test_writes_to_descriptors_and_of_children_are_shown(place, capfd) -> None:
    def write(x):
        os.write(1, b"to one\n")
        os.write(2, b"to two\n")
        subprocess.run([sys.executable, "-S", "-c", "print('a child')"], check=True)

    achilles.map(write, [0], **place.call)
    out, err = capfd.readouterr()
    assert printed_by(place, 0, out) == ["to one", "a child"]
    assert printed_by(place, 0, err) == ["to two"]


def test_a_long_item_is_heard_while_it_runs(place, capsys, tmp_path) -> None:
    gate = tmp_path / "gate"

    def talk_then_wait(x):
        print("waiting")
        while not gate.exists():
            time.sleep(0.01)

    class Open:
        """Stands for standard output, and opens the gate when it hears of it."""

        encoding = "utf-8"

        def write(self, text):
            if "waiting" in text:
                gate.touch()

        def flush(self):
            pass

    standard, sys.stdout = sys.stdout, Open()
    try:
        achilles.map(talk_then_wait, [0], **place.call)
    finally:
        sys.stdout = standard


def test_nothing_is_shown_when_the_caller_wants_nothing(place, capfd) -> None:
    def chat(x):
        print("chat", x)
        os.write(2, b"raw chat\n")

    achilles.map(chat, range(5), output=False, **place.call)
    list(achilles.imap(chat, range(5), output=False, **place.call))
    list(achilles.imap_unordered(chat, range(5), output=False, **place.call))
    out, err = capfd.readouterr()
    assert "chat" not in out + err


@pytest.mark.parametrize("how", ["print", "write"])
def test_a_flood_of_100_mb_blocks_nobody_and_is_told_in_a_line(place, capfd, how) -> None:
    def flood(x):
        began_s = time.monotonic()
        if x == "print":
            line = "x" * 99
            for _ in range(1_000_000):
                print(line)
        else:
            block = b"x" * 999_999 + b"\n"
            for _ in range(100):
                rest = block
                while rest:  # a process that is stopped meanwhile writes some of it
                    rest = rest[os.write(1, rest) :]
        return time.monotonic() - began_s

    agent_bytes = place.agent.memory_info().rss
    mine_bytes = psutil.Process().memory_info().rss
    ((took_s,),) = achilles.map(flood, [how], **place.call)
    out, err = capfd.readouterr()
    assert took_s < 60
    seconds = took_s + 1
    assert 100_000 < len(out) < 2_000_000 * seconds
    dropped = [int(number) for number in re.findall(r"(\d+) bytes of output were dropped", err)]
    assert 0 < len(dropped) <= seconds + 1
    assert 100_000_000 <= sum(dropped) + len(out) < 102_000_000 + len(out)
    assert sum(dropped) < 100_000_000
    assert place.agent.memory_info().rss - agent_bytes < 20e6
    assert psutil.Process().memory_info().rss - mine_bytes < 30e6
