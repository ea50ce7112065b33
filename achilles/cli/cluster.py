"""``achilles server``, ``node``, ``status`` and ``kill``: start, look at and end a cluster.

Twisted is imported by the commands that need it, so that ``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import json

import click

from achilles.cli.exits import EXIT_CODES
from achilles.cli.options import connection_options, json_option, key_from, server_settings
from achilles.cli.table import render_status
from achilles.config import load_server_settings, require_strong_key

__all__ = ["kill", "node", "server", "status"]


@click.command(epilog=EXIT_CODES)
@connection_options
def server(host: str | None, port: int | None, username: str | None, secret_key_file: str | None) -> None:
    """Run a server: it hands packets of work to its nodes.

    Without a host it listens on every address of this machine. Without a secret key anywhere it
    makes one and prints the line to run on other machines. Ctrl-C stops it.

    \b
    Examples:
      achilles server
      achilles server --host 127.0.0.1 --port 9000
      ACHILLES_SECRET_KEY="$(cat key)" achilles server --username ada
      achilles server --secret-key-file ~/.config/achilles/key
    """
    settings = load_server_settings(
        host=host, port=port, username=username, secret_key=key_from(secret_key_file)
    )
    if settings.secret_key is not None:
        require_strong_key(settings)
    from achilles.lineReceiver.achilles_server import runAchillesServer

    runAchillesServer(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret_key=settings.secret_key,
    )


@click.command(epilog=EXIT_CODES)
@click.argument("address", metavar="[HOST[:PORT]]", required=False)
@connection_options
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="Cores to lend.  [default: all]")
def node(
    address: str | None,
    host: str | None,
    port: int | None,
    username: str | None,
    secret_key_file: str | None,
    cpus: int | None,
) -> None:
    """Lend this machine's cores to a server; it connects again when the server comes back.

    With no address configured it joins the server on this machine. A node of the same user on the
    server's machine needs no key.

    \b
    Examples:
      achilles node
      achilles node 10.0.0.5 --secret-key-file key
      ACHILLES_SECRET_KEY="$(cat key)" achilles node 10.0.0.5:9000 --cpus 8
    """
    if address is not None and host is not None:
        raise click.UsageError("Give the host once: HOST[:PORT] or --host.")
    settings = server_settings(host, port, username, secret_key_file, address)
    from achilles.lineReceiver.achilles_node import runAchillesNode

    runAchillesNode(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret_key=settings.secret_key,
        cpu_count=cpus,
    )


@click.command(epilog=EXIT_CODES)
@connection_options
@json_option
def status(
    host: str | None, port: int | None, username: str | None, secret_key_file: str | None, as_json: bool
) -> None:
    """Show a server, its nodes and its jobs.

    \b
    Examples:
      achilles status
      achilles status --host 10.0.0.5 --secret-key-file key
      achilles status --json | jq '.nodes | length'
    """
    server_settings(host, port, username, secret_key_file)  # refuses "local"
    from achilles.lineReceiver.achilles_main import getClusterStatus

    found = getClusterStatus(
        host=host, port=port, username=username, secret_key=key_from(secret_key_file)
    ).as_dict()
    click.echo(json.dumps(found, indent=2, default=str) if as_json else render_status(found))


@click.command(epilog=EXIT_CODES)
@connection_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--shutdown-server", is_flag=True, help="Stop the server too.")
@json_option
def kill(
    host: str | None,
    port: int | None,
    username: str | None,
    secret_key_file: str | None,
    yes: bool,
    shutdown_server: bool,
    as_json: bool,
) -> None:
    """End every node of a server, and their workers. Running jobs wait for new nodes.

    \b
    Examples:
      achilles kill
      achilles kill --yes --shutdown-server --json
    """
    settings = server_settings(host, port, username, secret_key_file)
    if not yes:
        what = "the server and every node" if shutdown_server else "every node"
        answer = click.prompt(f"This ends {what} at {settings.endpoint}. Type YES to go on", err=True)
        if answer.strip() != "YES":
            click.echo("Nothing was ended.", err=True)
            click.get_current_context().exit(1)
    from achilles.lineReceiver.achilles_main import killCluster

    ended = killCluster(
        host=host,
        port=port,
        username=username,
        secret_key=key_from(secret_key_file),
        command_verified=True,
        shutdown_server=shutdown_server,
    )
    if as_json:
        click.echo(json.dumps({"nodes_ended": ended, "server_stopped": shutdown_server}))
    else:
        click.echo(
            f"{ended} node{'' if ended == 1 else 's'} ended{', server stopped' if shutdown_server else ''}."
        )
