"""Environment variables that are asked for together."""

from __future__ import annotations

import os

import pytest

from achilles.variables import given_variables

NAMES = ("ACHILLES_A", "ACHILLES_B", "ACHILLES_C")


def test_those_that_are_set_and_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert given_variables(NAMES) == {}
    monkeypatch.setenv("ACHILLES_B", "é")
    monkeypatch.setenv("ACHILLES_C", "")
    assert given_variables(NAMES) == {"ACHILLES_B": "é"}
    monkeypatch.delenv("ACHILLES_B")
    assert given_variables(NAMES) == {}


def test_an_environment_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"ACHILLES_A": "1", "ACHILLES_C": ""})
    assert given_variables(NAMES) == {"ACHILLES_A": "1"}
