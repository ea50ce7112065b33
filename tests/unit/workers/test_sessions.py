"""Sessions that workers import from."""

from __future__ import annotations

from achilles.workers.module_source import ModuleSource
from achilles.workers.sessions import IDLE_SESSIONS, Sessions


def test_idle_sessions_are_forgotten_the_oldest_first_with_their_modules() -> None:
    sessions = Sessions()
    module = ModuleSource(True)
    names = [f"session {number}" for number in range(IDLE_SESSIONS + 3)]
    for name in names:
        sessions.use(name, {"session 0", name})
        sessions.keep(name, "things", module)
    kept = [name for name in names if sessions.module(name, "things") is not None]
    assert "session 0" in kept and names[-1] in kept and "session 1" not in kept
    assert len(kept) <= IDLE_SESSIONS + 2


def test_a_session_keeps_its_number_and_no_other_gets_it() -> None:
    sessions = Sessions()
    numbers = []
    for name in ("here", "there", "here"):
        sessions.use(name, {name})
        numbers.append(sessions[name])
    assert numbers[0] == numbers[2] != numbers[1]


def test_a_module_of_a_session_that_was_forgotten_is_not_kept() -> None:
    sessions = Sessions()
    sessions.keep("gone", "things", ModuleSource(True))
    assert sessions.module("gone", "things") is None
