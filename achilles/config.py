"""Settings: where a server is and what proves that we may talk to it.

Nine settings, each looked for on its own, in this order:

1. arguments (``host=…``, ``port=…``, ``username=…``, ``secret_key=…``, ``address=…``)
2. environment variables: ``ACHILLES_`` + the setting's name
3. ``.env`` in the working directory or above (the nearest)
4. ``.env`` in the user's configuration directory
5. ``.env`` in the package's directory
6. defaults: no server at all, the work is done on this machine's cores

=============== ======================================= =====================
setting         meaning                                 default
=============== ======================================= =====================
HOST            name or IP address of the server        127.0.0.1
PORT            its TCP port                            9999
USERNAME        with the key, who may connect           achilles
SECRET_KEY      the secret, the same on every machine   none
SECRET_KEY_FILE a file that holds the key               none
ADDRESS         ``local``, or HOST and PORT in one      none
NODE_USERNAME   for a server: who may be a node         achilles-node
NODE_SECRET_KEY for a server: the key of nodes alone    none
MEMORY_BUDGET   memory for payloads, in bytes or as 2G  1/16 of what there is
=============== ======================================= =====================

In an ``.env`` file a name may be written with or without ``ACHILLES_``. Where one place sets both
ADDRESS and HOST, ADDRESS wins; where it sets both keys, SECRET_KEY wins. An empty value counts as
not set. ``os.environ`` is read, never written.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from achilles.config_values import (
    LOCAL,
    check_host,
    check_node_secret_key,
    check_node_username,
    check_port,
    check_secret_key,
    check_username,
    format_address,
    is_loopback,
    parse_address,
    read_secret_key_file,
)
from achilles.env_files import (
    config_home,
    package_env_path,
    read_env_file,
    search_path,
    state_home,
    write_config,
)
from achilles.errors import ConfigError
from achilles.memory_budget import check_memory_budget, default_budget_bytes
from achilles.variables import given_variables

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "DEFAULT_USERNAME",
    "Settings",
    "config_home",
    "format_address",
    "genConfig",
    "is_loopback",
    "load_server_settings",
    "load_settings",
    "new_secret_key",
    "package_env_path",
    "parse_address",
    "read_secret_key_file",
    "require_strong_key",
    "state_home",
    "with_server",
    "write_config",
]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9999
DEFAULT_USERNAME = "achilles"
DEFAULT_NODE_USERNAME = "achilles-node"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - what `achilles server` binds; every connection must prove the key
MIN_KEY_CHARACTERS = 16

KEYS = (
    "HOST",
    "PORT",
    "USERNAME",
    "SECRET_KEY",
    "SECRET_KEY_FILE",
    "ADDRESS",
    "NODE_USERNAME",
    "NODE_SECRET_KEY",
    "MEMORY_BUDGET",
)
_PREFIX = "ACHILLES_"
_VARIABLES = {_PREFIX + key: key for key in KEYS}
_HERE = Path()
_SECRET = frozenset({"secret_key", "node_secret_key"})


class Settings(NamedTuple):
    """Everything needed to find a server and to prove oneself to it.

    Attributes:
        host: Name or IP address, an IPv6 address without brackets.
        port: TCP port; 0 lets a server take any free one.
        username: With the key, what SCRAM proves.
        secret_key: The key, or None. Hidden in ``repr``.
        address: ``"local"`` for the embedded engine, else ``"achilles://host:port"``.
        node_username: For a server with a ``node_secret_key``: the user that may be a node, and no more.
        node_secret_key: That user's key; then ``username`` may be a controller alone. Hidden in ``repr``.
        memory_budget: Bytes of payload that may be held at a time, None for the default: see
            ``memory_budget_bytes``.
        sources: For each of HOST, PORT, USERNAME and SECRET_KEY where it came from:
            ``"argument"``, a variable's name, a file's path. Keys at their default are absent.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    username: str = DEFAULT_USERNAME
    secret_key: str | None = None
    address: str = LOCAL
    node_username: str = DEFAULT_NODE_USERNAME
    node_secret_key: str | None = None
    memory_budget: int | None = None
    sources: Mapping[str, str] = MappingProxyType({})

    def __repr__(self) -> str:
        shown = ((name, value) for name, value in zip(self._fields, self, strict=True) if name not in _SECRET)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown)})"

    @property
    def memory_budget_bytes(self) -> int:
        """Payload that may be held: by a controller for each job, by a server for slow readers."""
        return default_budget_bytes() if self.memory_budget is None else self.memory_budget

    @property
    def is_local(self) -> bool:
        """Whether the work stays on this machine's cores: nothing, or "local", is configured."""
        return self.address == LOCAL

    @property
    def endpoint(self) -> str:
        """``host:port`` as people write it, IPv6 in brackets."""
        return format_address(self.host, self.port)


def load_settings(
    *,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    address: str | None = None,
    memory_budget: int | str | None = None,
) -> Settings:
    """Settings from arguments, variables and files, in the order of this module's docstring.

    Args:
        host: Server's name or IP address. None, here and below, means: look further down.
        port: Server's TCP port, 0 to 65535.
        username: Who connects.
        secret_key: The secret.
        address: One of local, host, host:port, [v6]:port, achilles://host:port.
        memory_budget: Bytes, or a text such as 512M, 2G or 10%.

    Raises:
        ConfigError: A value is wrong. Fields: ``key``, and ``source``, where the value came from.
            Values that something above them overrules are not looked at.
    """
    if address is not None and host is not None:
        raise ConfigError("Give either address= or host=, not both.", key="ADDRESS", source="argument")
    arguments = {
        "HOST": host,
        "PORT": port,
        "USERNAME": username,
        "SECRET_KEY": secret_key,
        "ADDRESS": address,
        "MEMORY_BUDGET": memory_budget,
    }
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in _layers({key: given for key, given in arguments.items() if given is not None}):
        layer.fill(values, sources)
        if len(values) == len(_CHECKS):
            break
    # A port alone means a server on this machine.
    is_local = values.get("HOST") is None if "HOST" in values else "PORT" not in values
    host_used = values.get("HOST") or DEFAULT_HOST
    port_used = values.get("PORT", DEFAULT_PORT)
    return Settings(
        host=host_used,
        port=port_used,
        username=values.get("USERNAME", DEFAULT_USERNAME),
        secret_key=values.get("SECRET_KEY"),
        address=LOCAL if is_local else f"achilles://{format_address(host_used, port_used)}",
        node_username=values.get("NODE_USERNAME", DEFAULT_NODE_USERNAME),
        node_secret_key=values.get("NODE_SECRET_KEY"),
        memory_budget=values.get("MEMORY_BUDGET"),
        sources=sources,
    )


def with_server(settings: Settings) -> Settings:
    """The same settings, for what needs a server: with none configured, the one on this machine."""
    return settings._replace(address=f"achilles://{settings.endpoint}")


def load_server_settings(
    *,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    memory_budget: int | str | None = None,
) -> Settings:
    """Like :func:`load_settings`, for a server: with no host configured it listens everywhere."""
    found = load_settings(
        host=host, port=port, username=username, secret_key=secret_key, memory_budget=memory_budget
    )
    # ADDRESS=local speaks to controllers; a server beside it stays on this machine, at DEFAULT_HOST.
    used = found.host if "HOST" in found.sources else EVERY_ADDRESS
    return found._replace(host=used, address=f"achilles://{format_address(used, found.port)}")


class _Layer(NamedTuple):
    """One place where settings are given, its names without ``ACHILLES_``."""

    given: Mapping[str, Any]
    place: str
    directory: Path

    def source(self, key: str) -> str:
        return _PREFIX + key if self.place == "environment" else self.place

    def fill(self, values: dict[str, Any], sources: dict[str, str]) -> None:
        """Add what no layer above this one has said."""
        if "ADDRESS" in self.given and "HOST" not in values:
            found = parse_address(self.given["ADDRESS"], self.source("ADDRESS"))
            pairs = {"HOST": found and found[0], "PORT": found and found[1]}
            if pairs["PORT"] is None or "PORT" in values:
                del pairs["PORT"]
            values.update(pairs)
            sources.update(dict.fromkeys(pairs, self.source("ADDRESS")))
        for key, value in self.given.items():
            check = _CHECKS.get(key)
            if check is not None and key not in values:
                source = self.source(key)
                values[key] = check(value, source)
                sources[key] = source
        if "SECRET_KEY_FILE" in self.given and "SECRET_KEY" not in values:
            place = self.directory / os.path.expanduser(self.given["SECRET_KEY_FILE"])
            values["SECRET_KEY"] = read_secret_key_file(place, self.source("SECRET_KEY_FILE"))
            sources["SECRET_KEY"] = f"{place} ({self.source('SECRET_KEY_FILE')})"


def _layers(arguments: Mapping[str, Any]) -> Iterator[_Layer]:
    if arguments:
        yield _Layer(arguments, "argument", _HERE)
    if variables := given_variables(_VARIABLES):
        named = {_VARIABLES[name]: value for name, value in variables.items()}
        yield _Layer(named, "environment", _HERE)
    for path in search_path():
        read = read_env_file(path)
        found = {key: read.get(_PREFIX + key) or read.get(key) for key in KEYS}
        yield _Layer({key: value for key, value in found.items() if value}, str(path), path.parent)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "HOST": check_host,
    "PORT": check_port,
    "USERNAME": check_username,
    "SECRET_KEY": check_secret_key,
    "NODE_USERNAME": check_node_username,
    "NODE_SECRET_KEY": check_node_secret_key,
    "MEMORY_BUDGET": check_memory_budget,
}


def new_secret_key() -> str:
    """A fresh key of 128 random bits, in letters, digits, ``-`` and ``_``."""
    import secrets  # only who makes a key needs it

    while True:
        key = secrets.token_urlsafe(16)
        if not key.startswith("-"):  # would be taken for an option on a command line
            return key


def require_strong_key(settings: Settings) -> None:
    """Refuse to serve other machines with no key, or with one that can be guessed.

    Raises:
        ConfigError: The host is not a loopback address and the key has fewer than 16 characters.
    """
    key = settings.secret_key or ""
    if len(key) >= MIN_KEY_CHARACTERS or is_loopback(settings.host):
        return
    what = f"has {len(key)} characters" if key else "is missing"
    source = settings.sources.get("SECRET_KEY", "nowhere")
    raise ConfigError(
        f"SECRET_KEY {what} (from {source}), and {settings.host} can be reached by other machines. "
        f"Use at least {MIN_KEY_CHARACTERS} random characters, such as `achilles config new-key` prints, "
        f"or serve this machine alone with host 127.0.0.1.",
        key="SECRET_KEY",
        source=source,
    )


def genConfig(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Path:
    """Write HOST, PORT, USERNAME and SECRET_KEY to an ``.env`` file; asks for what is missing.

    Args:
        host: Server's name or IP address.
        port: Server's TCP port.
        username: Who may connect.
        secret_key: The secret; asked for unseen, made when the answer is empty.
        path: The file. Default: ``.env`` in the package's directory, or in the user's
            configuration directory when the former can't be written.

    Returns:
        The file written; only this user may read it (0600).

    Raises:
        ConfigError: A value is wrong, nobody is there to answer, or the file can't be written.
    """
    values = {
        "HOST": check_host(_ask("HOST", DEFAULT_HOST) if host is None else host, "argument"),
        "PORT": str(check_port(_ask("PORT", str(DEFAULT_PORT)) if port is None else port, "argument")),
        "USERNAME": check_username(
            _ask("USERNAME", DEFAULT_USERNAME) if username is None else username, "argument"
        ),
        "SECRET_KEY": check_secret_key(_ask_key() if secret_key is None else secret_key, "argument"),
    }
    written = write_config(values, path)
    print(f"The configuration was written to {written}")
    now = load_settings()
    for key, source in now.sources.items():
        if path is None and source != str(written):
            print(f"Note: {key} is also set by {source}, which comes first.")
    return written


def _ask(key: str, default: str) -> str:
    try:
        return input(f"{key} [{default}]: ").strip() or default
    except EOFError as error:
        raise _nobody_answers(key) from error


def _ask_key() -> str:
    try:
        return getpass.getpass("SECRET_KEY (not shown; empty makes a new one): ") or new_secret_key()
    except EOFError as error:
        raise _nobody_answers("SECRET_KEY") from error


def _nobody_answers(key: str) -> ConfigError:
    return ConfigError(
        f"{key} is missing and nobody is there to ask; give it as an argument.", key=key, source="prompt"
    )
