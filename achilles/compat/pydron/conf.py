"""Where a ``pydron.conf`` is looked for, and what it says as a whole.

The first that is there counts, the others are not looked at:

1. the file that ``$PYDRON_CONF`` names; if it isn't there, that is an error
2. ``pydron.conf`` in the working directory
3. ``pydron.conf`` in the home directory
4. ``/etc/pydron.conf``

One that a stranger may have left in the working directory doesn't count, with a warning: it would choose who
gets the program's functions and arguments. That is the rule of `achilles.env_files` for ``.env`` files, too.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import NamedTuple

from ...env_files import left_by_stranger
from ...errors import ConfigError
from .entries import ConfText, Entry
from .located_json import JsonError, parse
from .worker_types import CloudWorkers, ClusterWorkers, MulticoreWorkers, SshWorkers, Workers, read_workers

__all__ = ["CONF_VARIABLE", "Conf", "find_conf", "read_conf"]

CONF_NAME = "pydron.conf"
CONF_VARIABLE = "PYDRON_CONF"
ETC = Path("/etc")
LARGEST_FILE_BYTES = 1 << 20
# pydron's one and only.
SCHEDULERS = {"trivial"}


class Conf(NamedTuple):
    """A file that was read, all of which makes sense.

    Attributes:
        path: The file.
        workers: What its list of workers says: one `ClusterWorkers`, or some of the other types.
    """

    path: str
    workers: tuple[Workers, ...]

    @property
    def cluster(self) -> ClusterWorkers | None:
        """The server, if this is about one."""
        first = self.workers[0]
        return first if isinstance(first, ClusterWorkers) else None

    @property
    def cores(self) -> int:
        """Processes to run on this machine: those of all multicore entries."""
        return sum(workers.cores for workers in self.workers if isinstance(workers, MulticoreWorkers))

    @property
    def keep_alive_s(self) -> float:
        """For how long they wait for another call, in seconds: the longest that an entry says."""
        return max((w.keep_alive_s for w in self.workers if isinstance(w, MulticoreWorkers)), default=0.0)

    @property
    def elsewhere(self) -> SshWorkers | CloudWorkers | None:
        """The first that needs processes to be started on another machine."""
        return next((w for w in self.workers if isinstance(w, SshWorkers | CloudWorkers)), None)


def find_conf() -> Path | None:
    """The file that counts, or None.

    Raises:
        ConfigError: ``$PYDRON_CONF`` names something that is no file.
    """
    named = os.environ.get(CONF_VARIABLE)
    if named:
        path = Path(os.path.abspath(os.path.expanduser(named)))
        if path.is_file():
            return path
        what = "is a directory; name the file in it" if path.is_dir() else "is not there"
        raise ConfigError(
            f"The variable {CONF_VARIABLE} names {path}, which {what}. Name a file, or unset the variable.",
            key=CONF_VARIABLE,
            source="environment",
        )
    for directory in (_working_directory(), _home(), ETC):
        if directory is None:
            continue
        path = directory / CONF_NAME
        if not path.is_file():
            continue
        if left_by_stranger(path):
            warnings.warn(
                f"{path} was ignored: it belongs to another user, who would choose the workers for you.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        return path
    return None


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed under our feet
        return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # this user has none
        return None


def read_conf(path: Path) -> Conf:
    """What a file says.

    Raises:
        ConfigError: It can't be read, or something in it is wrong. Fields: ``key``, ``source`` (the file),
            and ``line`` and ``column``, counted from 1, where there are such.
    """
    conf = ConfText(str(path), _read_text(path))
    wrong: JsonError
    try:
        node = parse(conf.text)
    except JsonError as error:
        wrong = error
    else:
        return _checked(conf, Entry(conf, node, "the file"))
    raise conf.error(wrong.offset, str(wrong), CONF_NAME)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
        reason = "it is longer than 1 MiB" if len(content) > LARGEST_FILE_BYTES else ""
    except OSError as error:
        reason = error.strerror or str(error)
    if not reason:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
    raise ConfigError(f"{path} can't be read: {reason}.", key=CONF_NAME, source=str(path))


def _checked(conf: ConfText, entry: Entry) -> Conf:
    scheduler = entry.text("scheduler", default="trivial")
    if scheduler not in SCHEDULERS:
        raise entry.error("scheduler", f"there is no scheduler {scheduler!r}; remove the line")
    # For all workers that pydron itself would start; each entry may have its own.
    entry.ports("data_ports")
    elements = entry.elements("workers")
    entry.finish()
    if not elements:
        raise entry.error("workers", 'this list has no workers; one is {"type": "multicore", "cores": 4}')
    workers = []
    for number, element in enumerate(elements, start=1):
        each = Entry(conf, element, f"worker {number} of the list")
        workers.append(read_workers(each))
        if number > 1 and any(isinstance(w, ClusterWorkers) for w in (workers[0], workers[-1])):
            raise each.error(
                "type",
                "the nodes of a server can't be mixed with other workers; make the worker of type cluster "
                "the only one, and start `achilles node` on each machine that is to work",
            )
    return Conf(conf.path, tuple(workers))
