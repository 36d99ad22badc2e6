"""The group of all commands, and how they end."""

import os
import sqlite3
import sys
from io import TextIOWrapper
from typing import Any

import click

from loopwright.cli.carrying import cancel, fork, lint, resume, whatif
from loopwright.cli.exporting import (
    board,
    completion,
    datasette_metadata,
    export,
    export_otlp,
    export_test,
)
from loopwright.cli.keeping import check, merge, redact, vacuum
from loopwright.cli.out import BadNews, NotFound, Refused
from loopwright.cli.people import answer, approve, deny, pending
from loopwright.cli.reading import diff, runs, search, show, spend, tail
from loopwright.errors import BadInput, LoopwrightError, RunNotFound

INTERRUPTED = 130
"""What shells say of a command that Ctrl-C has ended: 128 and the number of the signal."""

COMMANDS = {
    "Look": (runs, show, tail, spend, search, diff, board),
    "Answer": (pending, approve, deny, answer),
    "Carry on": (resume, cancel, fork, whatif, lint),
    "Export": (export, export_test, export_otlp, datasette_metadata),
    "Keep": (check, vacuum, merge, redact),
    "Shell": (completion,),
}

STATUS = """Exit status: 0 done; 1 bad news: damage (check), a difference (diff), an error (lint), a
run that was not accepted, a log that cannot be used; 2 what was asked for cannot work; 3 nothing
found; 130 interrupted."""


class Group(click.Group):
    """All commands by what they are for; what goes wrong ends them with a message and a status."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _check(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = "options stand behind the command: loopwright runs --log FILE"
            raise click.UsageError(f"{error.format_message()} All {said}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # nobody reads on, which click ends without a word
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(INTERRUPTED)
        except RunNotFound as error:
            raise NotFound(str(error)) from None
        except BadInput as error:
            raise Refused(str(error)) from None
        except LoopwrightError as error:
            raise BadNews(str(error)) from None
        except sqlite3.DatabaseError as error:
            said = f"the log cannot be read: {error}; `loopwright check` says what still holds"
            raise BadNews(said) from None
        except OSError as error:
            raise Refused(f"{error.filename or 'a file'}: {error.strerror or error}") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(str(command.name), command.get_short_help_str(70)) for command in commands]
                )


def _check(args: list[str]) -> None:
    """What the shell gave in another encoding is found nowhere, and no JSON can hold it."""
    for arg in args:
        if not arg.isascii() and any("\ud800" <= char <= "\udfff" for char in arg):
            raise Refused(f"{arg} is no UTF-8: write it so, or set PYTHONUTF8=1")


@click.group(
    cls=Group,
    commands=[command for commands in COMMANDS.values() for command in commands],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=STATUS,
)
@click.version_option(package_name="loopwright")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look at the log of a loop, answer its questions, and carry its runs on.

    A RUN may be named by its id, by the beginning or the end of it, or as "last". Every command
    takes --json, and gives one JSON document, or JSON lines where there is no end (tail) or none
    in sight (export).

    \b
    Examples: loopwright runs
              loopwright show last
              loopwright spend --by model --json
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    if isinstance(sys.stdout, TextIOWrapper):  # what the terminal has no letter for is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
