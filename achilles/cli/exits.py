"""How the command line ends: one line on stderr and an exit code that a script can branch on."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from achilles.errors import AchillesError, AuthenticationError, ConfigError, ServerUnreachable

__all__ = ["EXIT_CODES", "AchillesGroup", "exit_code"]

OK = 0
WORK_FAILED = 1
USAGE = 2
UNREACHABLE = 3
AUTHENTICATION = 4
INTERRUPTED = 130  # 128 + SIGINT, as shells count

EXIT_CODES = """\b
Exit codes:
  0    it worked
  1    the work failed
  2    wrong usage or configuration
  3    the server can't be reached
  4    the secret key was not accepted
  130  interrupted with Ctrl-C"""


def exit_code(error: BaseException) -> int:
    """The exit code that stands for an error."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, AuthenticationError):
        return AUTHENTICATION
    if isinstance(error, ServerUnreachable):
        return UNREACHABLE
    return WORK_FAILED


class AchillesGroup(click.Group):
    """A group of commands that ends as this module says, whichever command raised.

    ``--debug`` on the group lets everything but click's own exceptions through, so that the
    interpreter prints the traceback (and its exit code is 1).
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except BrokenPipeError:
            # `achilles status | head -1`: whoever read us has had enough. Python would complain
            # once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(WORK_FAILED)
        except (KeyboardInterrupt, click.Abort) as error:
            click.echo("Interrupted.", err=True)
            ctx.exit(exit_code(error))
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"achilles: {_one_line(error)}", err=True)
            ctx.exit(exit_code(error))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, AchillesError) and text:
        return text
    # Not one of ours, so nobody wrote a sentence for it.
    return f"{type(error).__name__}: {text} (achilles --debug shows where)"
