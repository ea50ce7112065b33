"""How a worker imports the user's own modules: from the controller, and kept apart by session.

A *session* is one controller process. Its modules are in ``sys.modules`` only while its units run, so
that two controllers with different versions of ``helpers.py`` each see their own on one worker.

Which names are asked for (everything else is none of this finder's business):

- top-level names that are not the standard library's, not ``achilles``, and not found in the worker's
  site-packages or dist-packages;
- submodules of packages that the controller sent.

Rules:

- Installed first (a node), the controller's version wins over a file that happens to lie on the node;
  what the controller does not have is looked for locally. Installed last (an embedded engine, whose
  workers share the caller's path), only what is not found locally is asked for.
- Names that were asked for belong to the session even if found locally: another session asks anew.
- A failed question is remembered until the session's next job.
- Extension modules do not travel: importing one raises ImportError that says what to do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from achilles.workers.frames import Message

#: Sessions whose modules are kept although no job of theirs is live.
IDLE_SESSIONS = 4

_INSTALLED_DIRECTORIES = frozenset({"site-packages", "dist-packages"})

#: Top-level name -> why the controller did not send it; told to who fails to import it.
_reasons: dict[str, str] = {}


class Session:
    """The modules of one controller process."""

    __slots__ = ("fetched", "jobs", "lines", "missing", "modules", "names", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.jobs = 0
        self.names: set[str] = set()  # top-level names asked for, wherever they were found
        self.fetched: set[str] = set()  # full names that came from the controller
        self.missing: set[str] = set()
        self.modules: dict[str, ModuleType] = {}  # kept here while another session runs
        self.lines: dict[str, Any] = {}  # linecache entries of what was fetched


class OwnModules:
    """A finder for ``sys.meta_path`` that asks the controller, session by session.

    Args:
        ask: ``ask(job, name)`` blocks and returns a MODULE message, or None if nobody answers.
    """

    def __init__(self, ask: Callable[[int, str], Message | None]) -> None:
        self._ask = ask
        self._sessions: dict[int, Session] = {}
        self._session: Session | None = None
        self._job = 0

    def install(self, *, first: bool) -> None:
        if first:
            sys.meta_path.insert(0, self)
        else:
            sys.meta_path.append(self)

    # -- sessions

    def job_began(self, number: int) -> None:
        session = self._sessions.pop(number, None) or Session(number)
        self._sessions[number] = session  # at the end: the one used last
        session.jobs += 1
        session.missing.clear()

    def job_ended(self, number: int) -> None:
        session = self._sessions.get(number)
        if session is None:
            return
        session.jobs -= 1
        idle = [each for each in self._sessions.values() if each.jobs <= 0]
        for each in idle[:-IDLE_SESSIONS]:
            if each is self._session:
                self._leave()
            del self._sessions[each.number]

    def enter(self, number: int, job: int) -> None:
        """Make this session's modules the visible ones; its questions go out under ``job``."""
        self._job = job
        if self._session is not None and self._session.number == number:
            return
        self._leave()
        session = self._sessions.get(number)
        if session is None:
            session = self._sessions[number] = Session(number)
        sys.modules.update(session.modules)
        session.modules = {}
        if session.lines:
            import linecache

            linecache.cache.update(session.lines)
        self._session = session

    def whose(self) -> tuple[int, int]:
        """The session and the job that the worker is at."""
        return (0 if self._session is None else self._session.number), self._job

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is None or not session.names:
            return
        for name in list(sys.modules):
            if name.partition(".")[0] in session.names:
                session.modules[name] = sys.modules.pop(name)

    # -- the finder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        session = self._session
        if session is None:
            return None
        top, _, rest = name.partition(".")
        if rest:
            if name.rpartition(".")[0] not in session.fetched:
                return None
        elif _is_standard(top) or _is_installed(top):
            return None
        if name in session.missing:
            return None
        session.names.add(top)
        message = self._ask(self._job, name)
        if message is None:
            return None
        import json

        payload, header_bytes = message[6], message[4]
        answer = json.loads(payload[:header_bytes]) if header_bytes else {}
        if answer.get("found"):
            return self._spec_of(session, name, answer, bytes(payload[header_bytes:]))
        session.missing.add(name)
        reason = answer.get("reason", "")
        if answer.get("is_extension"):
            return self._find_elsewhere(name, path) or ModuleSpec(name, _Refusal(reason))  # type: ignore[arg-type]
        if reason and not rest:
            _reasons[top] = reason
        return None

    def _spec_of(self, session: Session, name: str, answer: dict[str, Any], source: bytes) -> ModuleSpec:
        session.fetched.add(name)
        origin, is_package = answer.get("origin"), bool(answer.get("is_package"))
        if origin is None:
            # A namespace package: nothing to run, only a place for submodules.
            return ModuleSpec(name, None, is_package=True)
        loader = FetchedLoader(origin, source, is_package, session.lines)
        spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package and spec.submodule_search_locations is not None:
            # Files beside the package are found this way where both machines share a disk.
            spec.submodule_search_locations.append(origin.replace("\\", "/").rpartition("/")[0])
        return spec

    def _find_elsewhere(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path)
                if spec is not None:
                    return spec
        return None


class FetchedLoader:
    """Runs a module's source that came from the controller, and shows its lines in tracebacks."""

    def __init__(self, origin: str, source: bytes, is_package: bool, lines: dict[str, Any]) -> None:
        self._origin = origin
        self._source = source
        self._is_package = is_package
        self._lines = lines

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        import linecache

        text = self.get_source(module.__name__)
        # No modification time: linecache then never looks for such a file here.
        entry = (len(self._source), None, text.splitlines(keepends=True), self._origin)
        self._lines[self._origin] = entry
        linecache.cache[self._origin] = entry
        exec(compile(self._source, self._origin, "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    def get_source(self, name: str) -> str:
        from importlib.util import decode_source

        return decode_source(self._source)

    def get_filename(self, name: str) -> str:
        return self._origin

    def is_package(self, name: str) -> bool:
        return self._is_package


class _Refusal:
    """The loader of a module that exists and cannot travel."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def create_module(self, spec: ModuleSpec) -> None:
        raise ImportError(self._reason, name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError(self._reason, name=module.__name__)


def explain(error: BaseException) -> None:
    """Add the controller's reason to an error that comes from a module it did not send."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        if isinstance(seen, ModuleNotFoundError) and seen.name:
            reason = _reasons.get(seen.name.partition(".")[0])
            if reason and reason not in getattr(error, "__notes__", ()):
                error.add_note(reason)
            return
        seen = seen.__cause__ or seen.__context__


def _is_standard(name: str) -> bool:
    return name in sys.stdlib_module_names or name in sys.builtin_module_names or name == "achilles"


def _is_installed(name: str) -> bool:
    directories = [
        path for path in sys.path if not _INSTALLED_DIRECTORIES.isdisjoint(path.replace("\\", "/").split("/"))
    ]
    return bool(directories) and PathFinder.find_spec(name, directories) is not None
