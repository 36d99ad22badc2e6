"""Commands that look at a log: runs, show, tail, spend, search and diff."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from loopwright.cli import out, told
from loopwright.cli.options import (
    common,
    logged,
    named,
    newest,
    run_argument,
    save_option,
    since_option,
)
from loopwright.outcome import Outcome

if TYPE_CHECKING:
    from loopwright.events import Event
    from loopwright.log.store import Log
    from loopwright.run import Run

SHOWN = 20
"""Runs and messages that are listed by default: one screen."""

OUTCOMES = (*map(str, Outcome), "open")


@click.command()
@common
@since_option
@click.option("--task", metavar="TITLE", help="Only runs of this task.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs that came to this.")
@click.option("--limit", "-n", type=click.IntRange(1), default=SHOWN, show_default=True)
def runs(
    path: str | None,
    as_json: bool,
    since: str | None,
    task: str | None,
    outcome: str | None,
    limit: int,
) -> None:
    """List the runs of a log, the newest first.

    \b
    Example: loopwright runs --outcome rejected --since 2026-11-01
    """
    found = logged(path).runs(task=task, since=since, outcome=outcome, limit=limit)
    out.report(found, as_json, "no such runs", _RUN)


_RUN = ("run", "outcome", "cost_usd", "task", "started", "seconds", "model_calls", "tool_calls")


@click.command()
@common
@run_argument()
@click.option("--text", is_flag=True, help="In the terminal, step by step.")
@click.option("--web", is_flag=True, help="In the browser, even if no display is seen.")
@save_option
def show(
    path: str | None, as_json: bool, run: str, text: bool, web: bool, save: str | None
) -> None:
    """Show a run: as a page in the browser, or in the terminal.

    RUN is an id, the beginning or end of one, or "last". Where there is no display, or the output
    goes into a pipe, it is shown as text. The page holds all that was said: it is written for you
    alone, and loads nothing.

    \b
    Examples: loopwright show last
              loopwright show 06AB --save run.html
              loopwright show last --json | jq .cost_usd
    """
    log = logged(path)
    run = named(log, run)
    if save:
        out.saved(_page(log, run), save)
    if as_json and save != "-":
        out.document(_whole(log, run))
    elif not save and (text or not _opened(log, run, web)):
        if web and not text:
            raise out.Refused("no browser can be opened here: leave --web out, or say --save FILE")
        out.paged(told.view(log.run(run)))


def _opened(log: "Log", run: str, surely: bool) -> bool:
    """Whether a browser shows it."""
    return (surely or out.on_terminal(sys.stdout)) and out.opened(_page(log, run), surely)


def _page(log: "Log", run: str) -> str:
    from loopwright.show.page import page

    return page(log, run)


def _whole(log: "Log", run: str) -> dict[str, Any]:
    """A run with its steps and questions."""
    from loopwright.show.lines import lines

    folded = log.run(run)
    asked = [told.question(folded, question) for question in log.questions(run)]
    return told.summary(folded) | {
        "steps": [told.data(line) for line in lines(folded.events)],
        "questions": asked,
    }


@click.command()
@common
@run_argument(required=False)
@click.option("--all", "every", is_flag=True, help="All runs, from now on, until interrupted.")
@click.option("--last", "-n", type=click.IntRange(0), help="Of what was there only so many events.")
@click.option("--wait", is_flag=True, help="Go on while the run waits for a person.")
def tail(
    path: str | None, as_json: bool, run: str | None, every: bool, last: int | None, wait: bool
) -> None:
    """Follow a run of another process, event by event.

    Without RUN the newest one. It ends when the run has ended or waits for a person. With --json
    each line is an event as `export` writes it.

    \b
    Example: loopwright tail --last 5
    """
    from loopwright.log.follow import follow_all, followed

    log = logged(path)
    if every:
        _told(follow_all(log), as_json, several=True)
        return
    run = named(log, run) if run else newest(log)
    skipped = max(0, len(log.events(run)) - last) if last is not None else 0
    pairs = followed(log, run, until="ended" if wait else "waiting")
    _told((pair for pair in pairs if pair[0].seq > skipped), as_json)


def _told(pairs: "Iterable[tuple[Run, Event]]", as_json: bool, several: bool = False) -> None:
    """Print each event as it comes; of several runs the end of its id stands before it."""
    from loopwright.log.jsonl import line

    for run, event in pairs:
        if as_json:
            out.say(line(run.run_id, run.seq, event))
        else:
            mark = f"{out.one_line(run.run_id[-6:])}  " if several else ""
            out.say(f"{mark}{told.event(run, event)}")


@click.command()
@common
@since_option
@click.option(
    "--by",
    type=click.Choice(["day", "task", "version", "model", "policy", "purpose", "root"]),
    default="day",
    show_default=True,
    help="What the money is summed up by; root is the run at the top of a tree.",
)
def spend(path: str | None, as_json: bool, since: str | None, by: Any) -> None:
    """Show what was spent.

    \b
    Example: loopwright spend --by model --since 2026-11-01
    """
    found = logged(path).spend(by=by, since=since)
    out.report(found, as_json, "nothing was spent", (by, *_SPENT, *_WORKED))


_SPENT = ("cost_usd", "possibly_billed_usd")
_WORKED = ("model_calls", "failed", "input_tokens", "output_tokens")


@click.command()
@common
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", "-n", type=click.IntRange(1), default=SHOWN, show_default=True)
def search(path: str | None, as_json: bool, words: tuple[str, ...], limit: int) -> None:
    """Find the messages that have all WORDS in them.

    A word is found by its beginning.

    \b
    Example: loopwright search refund broken
    """
    found = logged(path).search(" ".join(words), limit=limit)
    rows = [{"run": f.run, "seq": f.seq, "piece": f.piece, "role": f.role} for f in found]
    if not rows:
        out.nothing("no message has all of these words", as_json, rows)
    if as_json:
        out.document(rows)
    else:
        out.paged(out.table(rows))


@click.command()
@common
@run_argument("a")
@run_argument("b")
def diff(path: str | None, as_json: bool, a: str, b: str) -> None:
    """Name the first difference between two runs, and what followed.

    The exit status is 1 if they differ.

    \b
    Example: loopwright diff last 06ABCD
    """
    from loopwright.diff import diff as compare

    log = logged(path)
    one, other = named(log, a), named(log, b)
    found = compare(log.run(one), log.run(other))
    if as_json:
        followed = [[told.data(line) if line else None for line in pair] for pair in found.followed]
        parted = {"step": found.step, "what": found.what, "followed": followed}
        out.document({"a": one, "b": other, "differ": bool(found), **parted})
    else:
        out.paged(out.clean(found).splitlines())
    click.get_current_context().exit(int(bool(found)))
