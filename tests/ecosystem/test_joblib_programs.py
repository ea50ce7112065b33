"""joblib on achilles in programs of their own: interrupted, ending, and with no nodes."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.integration.cluster.parties import Cluster, Party, Place, in_session, run_program, wait_until

pytest.importorskip("joblib")

INTERRUPTED = """
import sys, time
import achilles.joblib
from joblib import Parallel, delayed, parallel_config


def wait(number):
    print("started", number, flush=True)
    time.sleep(600)


with parallel_config(backend="achilles", address=sys.argv[1]):
    try:
        Parallel(n_jobs=2)(delayed(wait)(number) for number in range(4))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(Parallel(n_jobs=2)(delayed(abs)(-number) for number in range(4)), flush=True)
"""


def test_ctrl_c_ends_a_call_and_harms_no_later_one(place: Place, where: dict[str, Any]) -> None:
    party = Party([place.write("interrupted.py", INTERRUPTED), where["address"]], place=place, own_group=True)
    try:
        wait_until(lambda: party.text.count("started") >= 2, what="for two tasks")
        party.send(signal.SIGINT)
        party.wait_for("interrupted")
        assert party.wait() == 0
        assert party.lines[-1] == "[0, 1, 2, 3]"
        party.check_output()
    finally:
        if party.process.poll() is None:
            party.stop(signal.SIGKILL)
    wait_until(lambda: not in_session(party.pid), what="for processes that a program left behind")


ENDING = """
import sys
import achilles.joblib
from joblib import Parallel, delayed, parallel_config

parallel_config(backend="achilles", address=sys.argv[1])  # for the whole program
print(sum(Parallel()(delayed(abs)(-number) for number in range(100))))
left = Parallel(return_as="generator")(delayed(abs)(-number) for number in range(100))
print(next(left))
"""


def test_a_program_ends_by_itself(place: Place, where: dict[str, Any]) -> None:
    lines = run_program(place, "ending.py", ENDING, where["address"])
    assert [line for line in lines if line.isdecimal()] == ["4950", "0"]


@pytest.fixture
def nodeless(place: Place) -> Any:
    cluster = Cluster(place)
    yield cluster
    cluster.close()


def test_a_server_without_nodes(nodeless: Cluster) -> None:
    from joblib import effective_n_jobs, parallel_config

    import achilles.joblib

    address = f"127.0.0.1:{nodeless.port}"
    with parallel_config(backend="achilles", address=address, startup_timeout=0.1):
        with pytest.raises(achilles.NoNodesError, match="has no nodes"):
            effective_n_jobs(-1)
        nodeless.start_node(3)
        assert effective_n_jobs(-1) == 3
        assert effective_n_jobs(-2) == 2
        assert effective_n_jobs(7) == 7
