"""What commands have in common: the log, how runs are named, and asking before anything is lost."""

import getpass
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loopwright.cli.out import BadNews, NotFound, Refused, clean, document, on_terminal, say

if TYPE_CHECKING:
    from loopwright.log.store import Log

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT = "runs.db"
"""The name that the README and the examples give a log."""

_NAME_ONE = "name one with --log FILE, or LOOPWRIGHT_LOG"

_PLAIN = re.compile(r"[\w.-]+", re.ASCII)

LAST = "last"

FILE = click.Path(readable=False)
"""The path of a file: shells complete it."""

log_option = click.option(
    "--log",
    "path",
    type=FILE,
    metavar="FILE",
    envvar="LOOPWRIGHT_LOG",
    show_envvar=True,
    help=f"The log; by default {DEFAULT} in this folder.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON in place of words.")

since_option = click.option(
    "--since", metavar="DATE", help="Leave out what began earlier: an ISO date, in UTC."
)

save_option = click.option(
    "--save", type=FILE, metavar="FILE", help="Write it to this file; - is the standard output."
)

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

dry_option = click.option("--dry-run", "dry", is_flag=True, help="Only say what would be done.")

by_option = click.option("--by", metavar="NAME", help="Who says so; by default your user name.")


def common(function: Function) -> Function:
    """The options of every command that reads a log."""
    return log_option(json_option(function))


def destructive(function: Function) -> Function:
    """The options of a command after which something is gone."""
    return common(dry_option(yes_option(function)))


# --------------------------------------------------------------------------------- logs and runs


def logged(path: str | None) -> "Log":
    """The log that is there, to be read only if it may not be written."""
    from loopwright.report import opened

    path = there(path)
    if not Path(path).stat().st_size:  # it would become one
        raise NotFound(f"{path} is empty, and holds no log: {_NAME_ONE}")
    return opened(path)


def there(path: str | None, advice: str = _NAME_ONE) -> str:
    """The path of the log, if there is a file; the advice is for where there is none."""
    path = path or DEFAULT
    if not Path(path).exists():
        raise NotFound(f"there is no log {path}: {advice}")
    return path


def named(log: "Log", text: str) -> str:
    """The id of the run that `text` means: an id, the beginning or end of one, or ``last``."""
    ids = log.ids()
    if text in ids:
        return text
    if text == LAST:
        return newest(log)
    fits = [run for run in ids if text and (run.startswith(text) or run.endswith(text))]
    if not fits:
        raise NotFound(_unknown(log, text))
    if len(fits) > 1 and not all(run.startswith(f"{fits[0]}.") for run in fits[1:]):
        some = ", ".join(fits[:5]) + (", ..." if len(fits) > 5 else "")
        raise click.UsageError(clean(f"{text} may be any of {len(fits)} runs: {some}"))
    return fits[0]


def _unknown(log: "Log", text: str) -> str:
    rows = log.asked("select run from run_totals where run = ?", (text,))
    if any(rows):
        return f"the events of run {text} were removed: `loopwright runs` has what they added up to"
    return f"{log.path} holds no run {text}: `loopwright runs` lists them"


_NEWEST = """
select run from events where type = 'Started' and coalesce(json_extract(data, '$.parent'), '') = ''
order by time desc, run desc limit 1
"""


def newest(log: "Log") -> str:
    """The run that began last, of those that no other run began."""
    for row in log.asked(_NEWEST):
        return str(row["run"])
    raise NotFound(f"{log.path} holds no run")


def _completed(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids for the shell, the newest first; none that a shell could take for anything else.

    The runs that others have begun, whose ids go on after a dot, come once it is typed.
    """
    from loopwright.log.follow import reader

    query = (
        "select run from events where type = 'Started' and substr(run, 1, ?) = ? "
        "and (coalesce(json_extract(data, '$.parent'), '') = '' or instr(?, '.')) "
        "order by run desc limit 50"
    )
    try:
        with closing(reader(there(context.params.get("path")))) as connection:
            found = connection.execute(query, (len(incomplete), incomplete, incomplete)).fetchall()
    except (NotFound, sqlite3.Error):
        return []
    return [run for (run,) in found if _PLAIN.fullmatch(run)]


def run_argument(name: str = "run", **more: Any) -> Callable[[Function], Function]:
    """A run that the user names."""
    shown = name.upper() if more.get("required", True) else f"[{name.upper()}]"
    return click.argument(name, metavar=shown, shell_complete=_completed, **more)


# ------------------------------------------------------------------------------------- asking


def who(by: str | None) -> str:
    """Who says so."""
    try:
        return by or getpass.getuser()
    except (ImportError, KeyError, OSError):  # in a container a user is often but a number
        raise Refused("your user has no name here: say --by NAME") from None


def agreed(plan: dict[str, Any], words: str, *, yes: bool, dry: bool, as_json: bool) -> bool:
    """Whether to go on with what `words` say; a dry run prints them, or the `plan` as JSON."""
    if dry:
        if as_json:
            document({"dry_run": True, **plan})
        else:
            say(f"Would {clean(words)}")
        return False
    click.echo(f"This will {clean(words)}", err=True)
    if not yes:
        sure("Go on?")
    return True


def sure(question: str) -> None:
    """Ask the user, and end the command unless they say yes."""
    if not on_terminal(sys.stdin):
        raise click.UsageError("nobody is there to say yes: add --yes, or try --dry-run first")
    if not click.confirm(question, err=True):
        raise BadNews("nothing was changed")
