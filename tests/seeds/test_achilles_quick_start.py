"""The document that the project grew from, run as its reader would run it.

``achilles.md`` beside this file is that document. Its code is taken from it as Markdown shows it and
run as it stands, in three programs; only the port is another one when 9999 is taken. What they print
is what it says they print. The node believes that it has the document's 8 CPUs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from achilles import getClusterStatus
from tests.integration.cluster.parties import Party, Place, wait_until
from tests.integration.forked_party import ROOT
from tests.integration.living import is_running

DOCUMENT = Path(__file__).with_name("achilles.md").read_text(encoding="utf-8")
KEY = {"username": "foo", "secret_key": "bar"}
EIGHT_CPUS = "import os\nos.sched_getaffinity = lambda pid: set(range(8))\n"


def _blocks(language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation that Markdown takes off."""
    found = []
    for fence in re.finditer(r"^( *)```(\w*)[ ]*\n(.*?)^ *```", DOCUMENT, flags=re.MULTILINE | re.DOTALL):
        if fence[2] == language:
            found.append(
                re.sub(rf"^ {{0,{len(fence[1])}}}", "", fence[3], flags=re.MULTILINE).rstrip() + "\n"
            )
    return found


SERVER, SERVER_FROM_FILE, NODE, MAP, IMAP, IMAP_UNORDERED, KILL = _blocks("python")
SERVER_SAYS, NODE_SAYS, MAP_SAYS, IMAP_SAYS, IMAP_UNORDERED_SAYS = _blocks("")


def _port() -> int:
    """The document's port, or a free one if somebody has it."""
    for wanted in (9999, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("no free port")


class Reader(NamedTuple):
    """Somebody who follows the document."""

    place: Place
    port: int
    library: Path
    server: Party
    node: Party

    def run(self, code: str, stdin: str | None = None) -> list[str]:
        script = self.place.write("controller.py", code.replace("9999", str(self.port)))
        party = Party([script], place=self.place, stdin=stdin, PYTHONPATH=str(self.library))
        assert party.wait() == 0, party.text
        return party.lines

    def says(self, text: str) -> list[str]:
        return [line.rstrip() for line in text.replace("9999", str(self.port)).splitlines()]

    def status(self) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.place.variables().items():
                patch.setenv(key, value)
            return getClusterStatus(host="127.0.0.1", port=self.port, **KEY)


def _library(place: Place) -> Path:
    """A copy of the package, where genConfig may write; what is installed is nobody's to change."""
    library = place.path / "lib"
    kept = shutil.ignore_patterns("__pycache__", ".env")
    shutil.copytree(ROOT / "achilles", library / "achilles", ignore=kept)
    return library


@pytest.fixture(scope="module", params=["arguments", "genConfig"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """The server started with arguments, controllers with a file; or all from the package's file."""
    place, port = Place(), _port()
    library = _library(place)
    eight = place.write("eight/sitecustomize.py", EIGHT_CPUS).parent
    server_code = SERVER if request.param == "arguments" else SERVER_FROM_FILE
    parties: list[Party] = []
    try:
        script = place.write("server.py", server_code.replace("9999", str(port)))
        parties.append(Party([script], place=place, PYTHONPATH=str(library)))
        parties[0].wait_for("Listening for connections...")
        if request.param == "arguments":
            (place.work / ".env").write_text(f"HOST=127.0.0.1\nPORT={port}\nUSERNAME=foo\nSECRET_KEY=bar\n")
        script = place.write("node.py", NODE.replace("9999", str(port)))
        path = os.pathsep.join([str(eight), str(library)])
        parties.append(Party([script], place=place, PYTHONPATH=path))
        parties[1].wait_for("CLIENT_ID:")
        yield Reader(place, port, library, *parties)
    finally:
        for party in reversed(parties):
            workers = party.descendants()
            party.stop()
            party.check_output()
            wait_until(lambda workers=workers: not any(map(is_running, workers)), what="for workers")
        place.remove()


def test_the_server_says_what_the_document_says(reader: Reader) -> None:
    lines = list(reader.server.lines)
    if "configuration" in lines[0]:
        # genConfig says where, beyond the document.
        written = reader.library / "achilles" / ".env"
        assert lines.pop(0) == f"The configuration was written to {written}"
        assert written.stat().st_mode & 0o777 == 0o600
    assert lines == reader.says(SERVER_SAYS)


def test_the_node_says_what_the_document_says(reader: Reader) -> None:
    assert reader.node.lines == reader.says(NODE_SAYS)
    (node,) = reader.status().nodes
    assert (node["id"], node["cpu_count"]) == (0, 8)


@pytest.mark.parametrize(("code", "said"), [(MAP, MAP_SAYS), (IMAP, IMAP_SAYS)], ids=["map", "imap"])
def test_ordered_results_are_the_documents(reader: Reader, code: str, said: str) -> None:
    assert reader.run(code) == reader.says(said)


def test_unordered_results_are_the_documents(reader: Reader) -> None:
    lines = reader.run(IMAP_UNORDERED)
    said = reader.says(IMAP_UNORDERED_SAYS)
    assert lines[:2] == said[:2]
    assert sorted(lines[2:]) == sorted(said[2:])


def test_gen_config_in_the_controller_is_enough(reader: Reader) -> None:
    call = MAP.replace(
        '__main__":\n', "__main__\":\n    genConfig('127.0.0.1', 9999, 'foo', 'bar', path='there/.env')\n"
    )
    assert call != MAP
    code = "import os\nos.makedirs('there', exist_ok=True)\n" + call.replace(
        "import map", "import map, genConfig"
    )
    assert reader.run(code)[-1] == reader.says(MAP_SAYS)[-1]
    written = reader.place.work / "there" / ".env"
    assert written.stat().st_mode & 0o777 == 0o600
    assert written.read_text().count("SECRET_KEY=") == 1


def test_status(reader: Reader) -> None:
    status = reader.status()
    assert (status.server["host"], status.server["port"]) == ("127.0.0.1", reader.port)
    (node,) = status.nodes
    expected = {"id", "host", "pid", "cpu_count", "load", "version", "python", "connected_since"}
    assert expected <= set(node) and node["pid"] == reader.node.pid
    assert status.jobs == []


@pytest.mark.parametrize("answer", ["no", "yes", "", " Y"])
def test_killing_needs_a_yes_in_capitals(reader: Reader, answer: str) -> None:
    lines = reader.run(KILL.replace("command_verified=True", ""), stdin=f"{answer}\n")
    assert lines[-1].endswith("Nothing was ended.") and "YES" in lines[0]
    assert reader.node.process.poll() is None
    assert len(reader.status().nodes) == 1


def test_killing_ends_the_node_and_its_workers(reader: Reader) -> None:
    """The last test of the module: the node does not come back."""
    workers = reader.node.descendants()
    assert len(workers) == 8
    prompted = (reader.library / "achilles" / ".env").exists()
    reader.run(KILL.replace("command_verified=True", "") if prompted else KILL, stdin="YES\n")
    assert reader.node.wait() == 0
    wait_until(lambda: not any(map(is_running, workers)), what="for workers")
    assert reader.status().nodes == []
    assert reader.server.process.poll() is None
    reader.server.send(signal.SIGINT)
    assert reader.server.wait() in (0, -signal.SIGINT, 130)
