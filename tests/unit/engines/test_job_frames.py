"""A job's options as they travel to a server, and what a server's refusal becomes."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.engines.job_frames import failure_from, too_old_for
from achilles.engines.spec import JobSpec
from achilles.errors import ClusterError, NoNodesError, VersionMismatch
from achilles.limits import MAX_PATTERNS, MAX_PATTERNS_CHARACTERS, MAX_PRIORITY, MAX_SLOTS
from achilles.lineReceiver import messages as wire

NEW, OLD = wire.Welcome(job_options=wire.JOB_OPTIONS), wire.Welcome(version="0.0.9")


@pytest.mark.parametrize("needs", [{"nodes": ("gpu*",)}, {"slots": 2}])
def test_a_server_that_would_ignore_what_a_job_needs_is_not_asked(needs: dict[str, Any]) -> None:
    spec = JobSpec(abs, [], **needs)
    assert too_old_for(spec, NEW, "lab:9999") is None
    error = too_old_for(spec, OLD, "lab:9999")
    assert isinstance(error, VersionMismatch)
    assert "lab:9999 (version 0.0.9)" in str(error) and "update it" in str(error)


def test_a_server_that_would_ignore_a_priority_is_good_enough() -> None:
    assert too_old_for(JobSpec(abs, [], priority=5), OLD, "lab:9999") is None


@pytest.mark.parametrize(
    ("code", "kind"), [("nodes", NoNodesError), ("version", VersionMismatch), ("later", ClusterError)]
)
def test_a_refusal_is_an_error_of_its_kind(code: str, kind: type) -> None:
    error = failure_from(wire.Failed(1, code, "no node's name matches"))
    assert type(error) is kind
    assert "no node's name matches" in str(error)


def test_the_longest_options_fit_into_a_header() -> None:
    longest = '"' * (MAX_PATTERNS_CHARACTERS // MAX_PATTERNS)
    submit = wire.Submit(2**63 - 1, "f" * 64, "s" * 32, 2**31 - 1, name="\U0001f600" * 200)
    submit.nodes = (longest,) * MAX_PATTERNS
    submit.priority, submit.slots = -MAX_PRIORITY, MAX_SLOTS
    line = wire.encode(submit, 1)
    assert wire.parse_header(line.removesuffix(b"\r\n")) == submit
