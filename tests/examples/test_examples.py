"""Every example runs, and gives what its README says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.programs import (
    EXAMPLES,
    Program,
    clean_environment,
    copy_with_port,
    free_port,
    quick_start,
    run_python,
)

SQUARES_OF_SQUARES = [1, 16, 81, 256, 625, 1296, 2401, 4096, 6561, 10000]
FILES = 60  # of the standard library; enough for several packets


class Started:
    """The quick start's three files, running."""

    def __init__(self, directory: Path, environment: dict[str, str], port: int) -> None:
        self.directory = directory
        self.environment = environment
        self.port = port
        self.server: Program
        self.node: Program

    def run(self, name: str) -> str:
        copy = copy_with_port(EXAMPLES / "README_examples", self.directory, self.port)[name]
        return run_python(copy, cwd=self.directory, environment=self.environment)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    directory = tmp_path_factory.mktemp("quick-start")
    found = Started(directory, clean_environment(directory), free_port())
    with quick_start(directory, found.environment, found.port) as (server, nodes):
        found.server, found.node = server, nodes[0]
        yield found


def test_quick_start_prints_the_documented_lines(started: Started) -> None:
    where = f"127.0.0.1:{started.port}"
    assert started.server.lines == [
        f"ALERT: achilles_server initiated at {where}",
        "Listening for connections...",
    ]
    assert started.node.lines == [
        "GREETING: Welcome! There are currently 1 open connections.",
        "",
        f"Connected to achilles_server running at {where}",
        "CLIENT_ID: 0",
    ]


def test_quick_start_map_gives_the_documented_packets(started: Started) -> None:
    alert, blank, *rest = started.run("run_map.py").splitlines()
    where = f"127.0.0.1:{started.port}"
    assert alert == f"ALERT: Connection to achilles_server at {where} and authentication successful."
    assert (blank, rest) == ("", ["[[1, 16, 81, 256, 625, 1296, 2401, 4096], [6561, 10000]]"])


@pytest.mark.parametrize("name", ["run_imap.py", "run_imap_unordered.py"])
def test_quick_start_imap_gives_the_documented_dictionaries(started: Started, name: str) -> None:
    packets = [ast.literal_eval(line) for line in started.run(name).splitlines()[2:]]
    if name == "run_imap_unordered.py":
        packets.sort(key=lambda packet: packet["ARGS_COUNTER"])
    assert packets == [
        {"ARGS_COUNTER": 0, "RESULT": SQUARES_OF_SQUARES[:8]},
        {"ARGS_COUNTER": 8, "RESULT": SQUARES_OF_SQUARES[8:]},
    ]


def test_word_count_on_nodes_of_different_sizes_equals_counter(tmp_path: Path) -> None:
    environment, port = clean_environment(tmp_path), free_port()
    with quick_start(tmp_path, environment, port, cpu_counts=(1, 3)):
        out = run_python(
            EXAMPLES / "word_count/word_count.py",
            *("--files", 4 * FILES, "--host", "127.0.0.1", "--port", port),
            cwd=tmp_path,
            environment=environment,
        )
    assert out.splitlines()[-1] == "equal to a plain Counter"


def test_word_count_on_this_machine_equals_counter(tmp_path: Path) -> None:
    out = run_python(
        EXAMPLES / "word_count/word_count.py",
        *("--files", FILES),
        cwd=tmp_path,
        environment=clean_environment(tmp_path),
    )
    assert out.splitlines()[-1] == "equal to a plain Counter"


def _calibrated(out: str) -> str:
    """What it says of the image, if both ways gave the same."""
    lines = [line for line in out.splitlines() if line and not line.startswith("ALERT")]
    sequential, said, start, scheduled, speed_up, equal = lines
    assert start.startswith("start: ")
    assert re.fullmatch(r"sequential: +[0-9.]+ s", sequential) and re.fullmatch(
        r"scheduled: +[0-9.]+ s", scheduled
    )
    assert re.fullmatch(r"speed-up: +[0-9.]+", speed_up) and equal == "equal to the last bit"
    return said


CALIBRATION = EXAMPLES / "ccd_calibration/ccd_calibration.py"
SMALL_NIGHT = ("--size", 300, "--count", 6)


def test_ccd_calibration_is_equal_on_this_machine_and_on_two_nodes(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    environment, port = clean_environment(tmp_path), free_port()
    alone = run_python(CALIBRATION, *SMALL_NIGHT, "--sequential", cwd=tmp_path, environment=environment)
    _, said = alone.splitlines()
    assert re.fullmatch(r"\d+ pixels rejected in [2-9] rounds, image [0-9a-f]{16}", said)
    assert _calibrated(run_python(CALIBRATION, *SMALL_NIGHT, cwd=tmp_path, environment=environment)) == said
    with quick_start(tmp_path, environment, port, cpu_counts=(1, 1)):
        address = f"127.0.0.1:{port}"
        out = run_python(
            CALIBRATION, *SMALL_NIGHT, "--address", address, cwd=tmp_path, environment=environment
        )
    assert _calibrated(out) == said


def test_square_numbers_runs_jobs_one_after_the_other(tmp_path: Path) -> None:
    environment, port = clean_environment(tmp_path), free_port()
    source = EXAMPLES / "square_numbers"
    server = Program(source / "server.py", port, cwd=tmp_path, environment=environment)
    node = None
    try:
        server.wait_for("Listening for connections...")
        node = Program(source / "node.py", port, 2, cwd=tmp_path, environment=environment)
        node.wait_for("CLIENT_ID:")
        out = run_python(source / "controller.py", port, cwd=tmp_path, environment=environment)
    finally:
        for program in (node, server):
            if program is not None:
                program.stop()
    said = [line for line in out.splitlines() if line and not line.startswith("ALERT")]
    assert said == [
        f"map: {[number**2 for number in range(1, 11)]}",
        f"imap: {[number**4 / 2 for number in range(1, 11)]}",
        f"imap_unordered: {sum(number**2 for number in range(1, 1001))}",
        "imap of lists: {'ARGS_COUNTER': 0, 'RESULT': [1, 4, 9]}",
        "imap of lists: {'ARGS_COUNTER': 1, 'RESULT': [16, 25]}",
        "imap of lists: {'ARGS_COUNTER': 2, 'RESULT': [36]}",
    ]


def test_kill_cluster_ends_the_node_and_not_the_server(tmp_path: Path) -> None:
    environment, port = clean_environment(tmp_path), free_port()
    with quick_start(tmp_path, environment, port, cpu_counts=(1,)) as (server, nodes):
        out = run_python(tmp_path / "kill_cluster.py", cwd=tmp_path, environment=environment)
        assert out.splitlines()[-1] == "1"
        assert nodes[0].wait_for_end() == 0
        again = run_python(tmp_path / "kill_cluster.py", cwd=tmp_path, environment=environment)
        assert again.splitlines()[-1] == "0"
        assert server.lines[-1] == "Listening for connections..."


def test_every_example_program_is_run_by_a_test() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.rglob("*.py"):
        assert re.search(rf"\b{path.name}\b", here) or path.name in ("run_server.py", "run_node.py"), path
