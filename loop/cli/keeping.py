"""Commands that keep a log: check, vacuum, merge and redact."""

import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from loopwright.cli import out
from loopwright.cli.options import DEFAULT, FILE, agreed, common, destructive, logged, there

if TYPE_CHECKING:
    from loopwright.report import Report


@click.command()
@common
def check(path: str | None, as_json: bool) -> None:
    """Check every event, text and balance of a log.

    The file is not changed.
    The exit status is 1 if anything is wrong. What is still good is said, too.

    \b
    Example: loopwright check --log runs.db
    """
    from loopwright.log.check import check as checked

    found = checked(there(path))
    rows = [dict(row) for row in found.rows()]
    if as_json:
        out.document({"rows": rows, "summary": dict(found.summary)})
    else:
        out.paged([*(line for row in rows for line in _finding(row)), out.clean(found)])
    click.get_current_context().exit(int(bool(rows)))


def _finding(row: Mapping[str, Any]) -> list[str]:
    """A finding: its columns one below the other, since they are sentences."""
    told = [(name, value) for name, value in row.items() if value not in (None, "")]
    return [*(f"{name}: {out.one_line(value)}" for name, value in told), ""]


@click.command()
@destructive
@click.option("--before", metavar="DATE", required=True, help="An ISO date, in UTC.")
def vacuum(path: str | None, as_json: bool, yes: bool, dry: bool, before: str) -> None:
    """Remove the events of old runs, and keep their sums.

    They are those of runs that ended before a date. Runs that wait for a person, and families that
    still go on, stay.

    \b
    Example: loopwright vacuum --before 2026-01-01 --dry-run
    """
    from loopwright.log.vacuum import vacuum as emptied

    log = logged(path)
    planned = emptied(log, before=before, dry_run=True)
    words = f"remove the events of runs that ended before {before} from {log.path}"
    if _agreed(words, planned, yes=yes, dry=dry, as_json=as_json):
        _done(emptied(log, before=before), as_json)


@click.command()
@destructive
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=FILE)
def merge(path: str | None, as_json: bool, yes: bool, dry: bool, sources: Sequence[str]) -> None:
    """Take the runs of other logs into this one.

    It is made if it is not there. The FILEs are not changed, and what is there already is not taken
    twice.

    \b
    Example: loopwright merge --log all.db monday.db tuesday.db
    """
    from loopwright.log.merge import merge as merged
    from loopwright.log.store import Log

    found = [there(source, "give the paths of logs") for source in sources]
    target = path or DEFAULT
    with TemporaryDirectory() as folder:  # a dry run makes no log
        log = Log(target if Path(target).exists() else Path(folder) / "new.db")
        planned = merged(log, *found, dry_run=True)
        log.close()
    words = f"take what is new in {', '.join(found)} into {target}"
    if _agreed(words, planned, yes=yes, dry=dry, as_json=as_json):
        _done(merged(Log(target), *found), as_json)


@click.command()
@destructive
def redact(path: str | None, as_json: bool, yes: bool, dry: bool) -> None:
    """Remove a text from a log, wherever it stands.

    The text is asked for, or read from the standard input, so that it does not stand in the history
    of your shell.

    \b
    Example: loopwright redact --yes < text.txt
    """
    from loopwright.log.redact import redact as removed

    log = logged(path)
    text = _secret()
    planned = removed(log, text, dry_run=True)
    none = f"{log.path} does not hold this text"
    if dry:
        _held(planned, none, as_json)
    words = f"remove a text of {len(text)} characters from {log.path}"
    if _agreed(words, planned, yes=yes, dry=dry, as_json=as_json):
        done = removed(log, text)  # also if it was not found: the file may still have bytes of it
        _held(done, f"{none}, and was written anew", as_json)
        _done(done, as_json)


def _held(report: "Report[Any]", none: str, as_json: bool) -> None:
    """End the command if the text stood at no place."""
    if not report.summary["places"]:
        out.nothing(none, as_json, {"rows": [], "summary": dict(report.summary)})


def _secret() -> str:
    """The text, which is never shown."""
    if out.on_terminal(sys.stdin):
        text: str = click.prompt("The text to remove", hide_input=True, err=True)
        return text
    try:
        if isinstance(sys.stdin, TextIOWrapper):  # the log is UTF-8, whatever the locale is
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
        text = sys.stdin.read().removesuffix("\n") if sys.stdin else ""
    except UnicodeError:
        raise click.UsageError("the standard input is no UTF-8: give the text so") from None
    if not text:
        raise click.UsageError("the standard input holds no text: type it, or give it there")
    return text


def _agreed(words: str, planned: "Report[Any]", *, yes: bool, dry: bool, as_json: bool) -> bool:
    """Whether to go on, now that it is known what would be done."""
    plan = {"rows": planned.rows(), "summary": dict(planned.summary)}
    return agreed(plan, f"{words}: {planned}", yes=yes, dry=dry, as_json=as_json)


def _done(report: "Report[Any]", as_json: bool) -> None:
    if as_json:
        out.document({"rows": report.rows(), "summary": dict(report.summary)})
    else:
        out.say(f"done: {out.one_line(report)}")
