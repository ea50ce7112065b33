"""The ``.env`` files that hold settings: where they lie, how they are read and written.

What it knows: places on disk, who owns them, and the syntax of an ``.env`` file. It never knows
what a setting means (``config.py`` does) and never touches ``os.environ``: on Windows
``USERNAME`` there is the name of whoever is logged in.

Rules
    1. Files are read without interpolation: a ``$`` in a secret key is a dollar sign.
    2. A file that holds a secret is never readable by others, not even for an instant: it is made
       0600 beside its final place and renamed over it.
    3. A file found by walking up from the working directory counts only when no stranger can have
       left it there. Otherwise whoever may write to ``/tmp`` could choose the server, and the key
       that it proves itself with, for every script that is run below it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_IWOTH

from achilles.errors import ConfigError
from achilles.variables import given_variables

__all__ = [
    "config_home",
    "left_by_stranger",
    "package_env_path",
    "read_env_file",
    "search_path",
    "state_home",
    "write_config",
]

ENV_NAME = ".env"
_PACKAGE_ENV = Path(__file__).resolve().parent / ENV_NAME
# What decides where the user's configuration directory is.
_CONFIG_VARIABLES = ("APPDATA", "XDG_CONFIG_HOME", "HOME", "USERPROFILE")


def config_home() -> Path:
    """The user's configuration directory for achilles; it may not exist yet.

    ``$XDG_CONFIG_HOME/achilles`` or ``~/.config/achilles``; ``%APPDATA%\\achilles`` on Windows.

    Raises:
        ConfigError: This user has no home directory and ``XDG_CONFIG_HOME`` is not set.
    """
    if sys.platform == "win32" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "achilles"
    return _xdg_home("XDG_CONFIG_HOME", ".config")


def state_home() -> Path:
    """The directory for what achilles keeps between runs, such as a server's certificate.

    ``$XDG_STATE_HOME/achilles`` or ``~/.local/state/achilles``; ``%LOCALAPPDATA%\\achilles`` on
    Windows. It may not exist yet.

    Raises:
        ConfigError: This user has no home directory and ``XDG_STATE_HOME`` is not set.
    """
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "achilles"
    return _xdg_home("XDG_STATE_HOME", ".local/state")


def _xdg_home(variable: str, below_home: str) -> Path:
    chosen = os.environ.get(variable, "")
    # The XDG specification says that a relative path here is to be ignored.
    if chosen and os.path.isabs(chosen):
        return Path(chosen) / "achilles"
    try:
        return Path.home() / below_home / "achilles"
    except RuntimeError as error:
        raise ConfigError(
            f"This user has no home directory; set {variable} to a directory of its own.",
            key=variable,
            source="environment",
        ) from error


def package_env_path() -> Path:
    """The ``.env`` file in the package's own directory; it may not exist."""
    return _PACKAGE_ENV


def search_path() -> list[Path]:
    """The existing ``.env`` files that count, the one with the most say first."""
    nearest = _nearest_env_file()
    found = [] if nearest is None else [nearest]
    chosen = _config_env_path(tuple(given_variables(_CONFIG_VARIABLES).items()))
    for place in (chosen, str(package_env_path())):
        if place is not None and _is_file(place) and (path := Path(place)) not in found:
            found.append(path)
    return found


def _is_file(place: str) -> bool:
    # Nearly always there is none, and to be told so by an exception takes three times as long.
    return os.access(place, os.F_OK) and os.path.isfile(place)


@functools.lru_cache(maxsize=8)
def _config_env_path(_variables: tuple[tuple[str, str], ...]) -> str | None:
    """The file in the user's configuration directory, which these variables decide."""
    try:
        return str(config_home() / ENV_NAME)
    except ConfigError:
        return None


@functools.lru_cache(maxsize=8)
def _env_places(directory: str) -> tuple[str, ...]:
    """Where an ``.env`` file could lie, from this directory up."""
    # Every call of map looks there, so plain strings, which take a tenth of the time of paths.
    places = []
    below = ""
    while directory != below:
        places.append(os.path.join(directory, ENV_NAME))
        below, directory = directory, os.path.dirname(directory)
    return tuple(places)


def _nearest_env_file() -> Path | None:
    try:
        here = os.getcwd()
    except FileNotFoundError:  # the working directory was removed under our feet
        return None
    for found in _env_places(here):
        if not _is_file(found):
            continue
        place = Path(found)
        if left_by_stranger(place):
            warnings.warn(
                f"{place} was ignored: it belongs to another user, who would choose the server for you.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        return place
    return None


def left_by_stranger(place: Path) -> bool:
    """Whether a file may have been put there by somebody else than this user or root."""
    if sys.platform == "win32":
        return False  # files there carry no uid
    owner, me = place.stat().st_uid, os.getuid()
    if owner in (me, 0):
        return False
    # Root in a container works on files that are mounted from somebody's home: root takes them,
    # but not from a directory where anybody may leave things.
    return me != 0 or bool(place.parent.stat().st_mode & S_IWOTH)


def read_env_file(path: Path) -> dict[str, str]:
    """What the file sets. Keys without a value are left out; an unreadable file sets nothing.

    Not being allowed to read is no error: root's ``genConfig`` may have left a 0600 file in a
    package directory that everybody uses.

    Raises:
        ConfigError: The file is not UTF-8 text.
    """
    # Most programs have no such file, and this import takes a tenth of all that `import achilles` does.
    from dotenv import dotenv_values

    try:
        read = dotenv_values(path, interpolate=False, encoding="utf-8")
    except OSError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", key=ENV_NAME, source=str(path)) from error
    return {key: value for key, value in read.items() if value}


def write_config(values: Mapping[str, str], path: str | os.PathLike[str] | None = None) -> Path:
    """Write settings into an ``.env`` file; what else the file holds stays as it is.

    Args:
        values: Setting names, such as ``HOST``, and their values.
        path: The file. Default: ``.env`` in the package's directory, or in the user's
            configuration directory when the former can't be written.

    Returns:
        The file written, with mode 0600.

    Raises:
        ConfigError: A value can't be kept in an ``.env`` file, or no place can be written to.
    """
    last: OSError | None = None
    for place in _writable_places() if path is None else iter([Path(path)]):
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace_file(place, _merged_text(place, values))
        except OSError as error:
            last = error
        else:
            return place
    where = path if path is not None else "the package's and the user's configuration directory"
    raise ConfigError(
        f"The configuration can't be written to {where}: {last}. Name another file with path=.",
        key=ENV_NAME,
        source=str(where),
    ) from last


def _writable_places() -> Iterator[Path]:
    yield package_env_path()
    yield config_home() / ENV_NAME


def _merged_text(place: Path, values: Mapping[str, str]) -> str:
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    before = place.read_text(encoding="utf-8") if place.exists() else ""
    kept = "".join(
        line.original.string for line in parse_stream(io.StringIO(before)) if line.key not in values
    )
    if kept and not kept.endswith("\n"):
        kept += "\n"
    text = kept + "".join(f"{key}={_quoted(value)}\n" for key, value in values.items())
    # The reader's own parser is the judge of whether the quoting holds.
    read = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for key, value in values.items():
        if read.get(key) != value:
            raise ConfigError(
                f"The value of {key} can't be written to an .env file; give another value.",
                key=key,
                source=str(place),
            )
    return text


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _replace_file(place: Path, text: str) -> None:
    import tempfile  # only who writes a file needs it

    descriptor, draft = tempfile.mkstemp(prefix=".env-", dir=place.parent)  # made 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
