"""The benchmarks run from end to end at tiny sizes; nothing is said here about how fast anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import stored
from benchmarks.bars import BARS, needed
from benchmarks.peers import ADAPTERS
from benchmarks.plots import write_plots
from benchmarks.records import Cell, Rounds
from benchmarks.rounds import Plan
from benchmarks.tables import bars_table, number, report
from benchmarks.workloads import WORKLOADS, Effort

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--seconds", "0.01", "--scale", "0.01", "--workers", "1")


def run_benchmarks(*arguments: str, program: str = "benchmarks") -> str:
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cell(round_number: int, workload: str, peer: str, **figures: float) -> Cell:
    return Cell(round_number, workload, peer, figures, None, 1.0, 0.1)


@pytest.fixture
def rounds() -> Rounds:
    measured = Rounds(None)
    for number_, (ours, theirs) in enumerate([(40.0, 2.0), (30.0, 2.0), (10.0, 1.0)]):
        measured.add(cell(number_, "W1", "achilles", tasks_per_s=ours, one_ms_efficiency=0.96))
        measured.add(cell(number_, "W1", "stdlib", tasks_per_s=theirs, one_ms_efficiency=0.8))
        measured.add(cell(number_, "W3", "achilles", median_us=100.0, p99_us=200.0))
        measured.add(cell(number_, "W3", "stdlib", median_us=50.0, p99_us=100.0))
    measured.add(Cell(0, "W1", "ray", {}, "not done after 60 s", 60.0, 0.1))
    return measured


@pytest.mark.parametrize("peer", ["stdlib", "achilles", "cluster"])
def test_all_workloads_run_with(peer: str, tmp_path: Path) -> None:
    only = [name for name in WORKLOADS if name in ("W1", "W3", "W5", "W8")]
    arguments = ("--only", ",".join(only), "--peers", peer, "--rounds", "1", "--out", str(tmp_path), *TINY)
    said = run_benchmarks(*arguments)
    cells = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert [(one["workload"], one["failure"]) for one in cells] == [(name, None) for name in only]
    for one in cells:
        assert one["figures"].keys() <= {figure.key for figure in WORKLOADS[one["workload"]].figures}
    assert "W3 median, µs" in said
    assert (tmp_path / "tables.md").is_file() and (tmp_path / "W1.svg").is_file()
    assert json.loads((tmp_path / "figures.json").read_text())["rounds"] == 1


def test_a_run_goes_on_where_it_stopped_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    arguments = ("--only", "W6", "--peers", "stdlib,futures", "--out", str(tmp_path), *TINY)
    run_benchmarks(*arguments, "--rounds", "1")
    with (tmp_path / "cells.jsonl").open("a") as file:
        file.write('{"round": 1, "work')  # as when the machine was switched off
    said = run_benchmarks(*arguments, "--rounds", "2", "--resume")
    assert "[1/2] round 2 W6 futures" in said and "[2/2] round 2 W6 stdlib" in said
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 4
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def test_what_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    said = run_benchmarks(
        "--only", "W6", "--peers", "cluster", "--rounds", "1", "--out", str(tmp_path), "--cell-timeout", "0.2"
    )
    assert "W6 cluster: not done after 0.2 s" in said
    working_in = [str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in working_in if str(tmp_path) in line]


def test_what_a_short_call_is_made_of() -> None:
    said = run_benchmarks("1", program="benchmarks.short_calls")
    for line in (
        "stdlib",
        "by hand, two workers",
        "no core\ncaller",
        "worker 1",
        "results taken in",
        "the end",
    ):
        assert line in said
    at_us = [int(line.split()[0]) for line in said.partition("in µs\n")[2].splitlines()]
    assert at_us == sorted(at_us)


def test_unknown_names_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "W77"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "unknown workload W77" in done.stderr


def test_ratios_are_medians_of_ratios_within_a_round(rounds: Rounds) -> None:
    assert rounds.median("W1", "achilles", "tasks_per_s") == 30.0
    assert rounds.ratio("W1", "tasks_per_s", "achilles", "stdlib") == 15.0
    assert rounds.ratio("W1", "tasks_per_s", "achilles", "ray") is None


def test_bars_hold_or_not(rounds: Rounds) -> None:
    said = {" ".join(line.split()) for line in bars_table(rounds).splitlines()}
    assert "| W1 no-op tasks/s | achilles | ≥ 15 × stdlib | 15 | yes |" in said
    assert "| W1 1 ms tasks, efficiency | achilles | ≥ 1.4 × stdlib, or ≥ 0.95 | 1.2; 0.96 | yes |" in said
    assert "| W3 median, µs | achilles | ≤ 1 × stdlib | 2 | no |" in said
    assert "W1 ray: not done after 60 s" in report(rounds)


def test_a_bar_may_be_a_distance(rounds: Rounds) -> None:
    rounds.add(cell(0, "S3", "achilles", worker_pss_mib=11.0))
    assert "worker" not in bars_table(rounds)
    rounds.add(cell(0, "S3", "stdlib", worker_pss_mib=5.0))
    said = {" ".join(line.split()) for line in bars_table(rounds).splitlines()}
    assert "| S3 proportional, MiB | achilles | ≤ 15 beyond stdlib | 6 | yes |" in said


@pytest.mark.parametrize(("workload", "peer"), [("S1", "achilles"), ("S2", "tls"), ("S3", "cluster")])
def test_what_peers_cannot_do_is_measured_as_well(workload: str, peer: str, tmp_path: Path) -> None:
    run_benchmarks("--only", workload, "--peers", peer, "--rounds", "1", "--out", str(tmp_path), *TINY)
    (one,) = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert one["failure"] is None
    assert one["figures"].keys() == {figure.key for figure in WORKLOADS[workload].figures}


def test_bars_name_figures_and_peers_that_exist() -> None:
    for bar in BARS:
        keys = {figure.key for figure in WORKLOADS[bar.workload].figures}
        assert bar.figure in keys and (bar.their_figure or bar.figure) in keys
        assert bar.ours in ADAPTERS and (bar.peer or "stdlib") in ADAPTERS
        assert (bar.least is None) != (bar.most is None)


def test_rounds_are_interleaved() -> None:
    plan = Plan(("W1", "W10"), ("stdlib", "tls", "bounds"), 2, 1, Effort(0.01, 0.01), 1.0)
    assert plan.cells() == [
        (0, "W1", "stdlib"),
        (0, "W1", "tls"),
        (0, "W10", "tls"),
        (1, "W1", "tls"),
        (1, "W1", "stdlib"),
        (1, "W10", "tls"),
    ]


def test_bars_need_no_more_than_they_name() -> None:
    plan = Plan(
        tuple(WORKLOADS), tuple(ADAPTERS), 2, 1, Effort(0.01, 0.01), 1.0, only=needed(), fewer={"ray": 1}
    )
    cells = plan.cells()
    assert (0, "W4", "ray") in cells and (1, "W4", "ray") not in cells
    assert (1, "W4", "stdlib") in cells
    assert {peer for _, workload, peer in cells if workload == "W6"} == {"stdlib", "achilles", "cluster"}
    assert not [workload for _, workload, _ in cells if workload.startswith(("B", "G"))]


def test_stored_ratios_are_compared(rounds: Rounds, tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    assert "new" in stored.comparison(rounds, path)
    path.write_text(
        '{"W1 tasks_per_s achilles": [20, 30, 40], "W1 one_ms_efficiency achilles": [1.3, 2, 3],'
        ' "W3 median_us achilles": [0.1, 0.2, 0.3]}'
    )
    lines = stored.comparison(rounds, path).splitlines()

    def word(key: str) -> str:
        return next(line for line in lines if key in line).split()[-2]

    # 15, 1.2 and 0.5 now: only what lies well beyond all rounds that were stored means something.
    assert (word("W1 tasks_per_s"), word("W1 one_ms"), word("W3 median")) == ("worse", "same", "better")
    stored.store(rounds, path)
    assert json.loads(path.read_text())["W1 tasks_per_s achilles"] == [10.0, 15.0, 20.0]
    assert "worse" not in stored.comparison(rounds, path)


def test_no_round_is_begun_when_enough_time_has_passed(tmp_path: Path) -> None:
    arguments = ("--only", "W6", "--peers", "stdlib", "--rounds", "3", "--out", str(tmp_path), *TINY)
    said = run_benchmarks(*arguments, "--enough", "0")
    assert "1 rounds are enough" in said
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 1


def test_plots_are_well_formed(rounds: Rounds, tmp_path: Path) -> None:
    from xml.etree import ElementTree as ET

    rounds.add(cell(0, "G1", "achilles", of_1_us=379.0, of_100_us=16.0, of_10000_us=1.9))
    rounds.add(cell(0, "G1", "stdlib", of_1_us=153.0))
    written = write_plots(rounds, tmp_path)
    assert [path.name for path in written] == ["W1.svg", "W3.svg", "G1.svg"]
    assert written[-1].read_text().count("<circle") == 4
    for path in written:
        ET.parse(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0.9712, "0.971"), (54_812, "54,800"), (1_234, "1,230"), (5_712_345, "5.71 M"), (0, "0")],
)
def test_numbers_are_said_with_three_digits(value: float | None, said: str) -> None:
    assert number(value) == said
