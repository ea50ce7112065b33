"""The entry of the ``achilles`` command."""

from __future__ import annotations

import click

from achilles import __version__
from achilles.cli.cluster import kill, node, server, status
from achilles.cli.configuration import config
from achilles.cli.demo import demo
from achilles.cli.exits import EXIT_CODES, AchillesGroup

__all__ = ["cli", "main"]


@click.group(
    cls=AchillesGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="achilles")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """multiprocessing.Pool for every core you can reach.

    \b
    Examples:
      achilles demo                     the word count, on this machine's cores
      achilles server                   a server; prints the line that joins it
      achilles node 10.0.0.5            lend this machine's cores to a server
      achilles status --json            nodes and jobs of the server, for a script

    Settings that are not given as options come from ACHILLES_* variables and .env files; see
    `achilles config show`.
    """


for _command in (server, node, status, kill, config, demo):
    cli.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    cli.main(prog_name="achilles")
