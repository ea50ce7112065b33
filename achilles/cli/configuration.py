"""``achilles config``: show the settings and where they come from, write them, make a key."""

from __future__ import annotations

import json

import click

from achilles.cli.exits import EXIT_CODES
from achilles.cli.options import connection_options, json_option, key_from
from achilles.cli.table import render_rows
from achilles.config import genConfig, load_settings, new_secret_key

__all__ = ["config"]


@click.group(epilog=EXIT_CODES)
def config() -> None:
    """Show or write the settings.

    \b
    Examples:
      achilles config show
      achilles config write --host 10.0.0.5
      achilles config new-key > key
    """


@config.command(epilog=EXIT_CODES)
@json_option
def show(as_json: bool) -> None:
    """Show every setting and where it comes from. The secret key itself is not shown.

    \b
    Examples:
      achilles config show
      ACHILLES_HOST=10.0.0.5 achilles config show --json
    """
    settings = load_settings()
    shown = {
        "ADDRESS": settings.address,
        "HOST": settings.host,
        "PORT": settings.port,
        "USERNAME": settings.username,
        "SECRET_KEY": None if settings.secret_key is None else "(set)",
    }
    origin = {"ADDRESS": settings.sources.get("HOST", "default")}
    rows = [
        {"setting": key, "value": value, "source": origin.get(key, settings.sources.get(key, "default"))}
        for key, value in shown.items()
    ]
    if as_json:
        click.echo(json.dumps({str(row.pop("setting")): row for row in rows}, indent=2))
    else:
        click.echo(render_rows(rows))
        if settings.is_local and "HOST" not in settings.sources:
            click.echo("\nNo server is configured: the work is done on this machine's cores.")


@config.command(epilog=EXIT_CODES)
@connection_options
@click.option("--path", metavar="FILE", help="The file.  [default: the package's .env, or the user's]")
def write(
    host: str | None, port: int | None, username: str | None, secret_key_file: str | None, path: str | None
) -> None:
    """Write HOST, PORT, USERNAME and SECRET_KEY to an .env file; asks for what is not given.

    \b
    Examples:
      achilles config write
      achilles config write --host 10.0.0.5 --port 9999 --username ada --secret-key-file key --path .env
    """
    genConfig(host=host, port=port, username=username, secret_key=key_from(secret_key_file), path=path)


@config.command("new-key", epilog=EXIT_CODES)
def new_key() -> None:
    """Print a new secret key of 128 random bits.

    \b
    Example:
      (umask 077 && achilles config new-key > key)
    """
    click.echo(new_secret_key())
