"""Options that several commands share: which server, who we are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from achilles.config import Settings, load_settings, parse_address, read_secret_key_file
from achilles.errors import ConfigError

__all__ = ["connection_options", "json_option", "key_from", "server_settings"]

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def connection_options(command: Command) -> Command:
    """Add --host, --port, --username and --secret-key-file.

    There is no --secret-key: everybody on a machine can read the process list.
    """
    for option in (
        click.option("--secret-key-file", metavar="FILE", help="File that holds the secret key."),
        click.option("--username", metavar="NAME", help="Who connects.  [default: achilles]"),
        click.option(
            "--port", type=click.IntRange(0, 65535), metavar="PORT", help="TCP port.  [default: 9999]"
        ),
        click.option("--host", metavar="HOST", help="Server's name or IP address."),
    ):
        command = option(command)
    return command


def key_from(secret_key_file: str | None) -> str | None:
    """The key in the file that was named on the command line, if one was."""
    return None if secret_key_file is None else read_secret_key_file(secret_key_file, "--secret-key-file")


def server_settings(
    host: str | None,
    port: int | None,
    username: str | None,
    secret_key_file: str | None,
    address: str | None = None,
) -> Settings:
    """Settings to reach a server; with nothing configured, the one on this machine.

    Raises:
        ConfigError: A value is wrong, or the configuration says ``local`` on purpose.
    """
    if address is not None:
        named = parse_address(address)
        if named is not None:
            host, port = named[0], named[1] if port is None else port
    settings = load_settings(host=host, port=port, username=username, secret_key=key_from(secret_key_file))
    said_local = settings.is_local and settings.sources.get("HOST")
    if said_local or (address is not None and host is None):
        raise ConfigError(
            "The address is local, where there is no server; name one with --host.",
            key="ADDRESS",
            source=said_local or "argument",
        )
    return settings
