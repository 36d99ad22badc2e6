"""Commands that carry runs on, or ask how they would go: resume, cancel, fork, whatif and lint."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from loopwright.cli import out, told
from loopwright.cli.app import App, app_option, loaded
from loopwright.cli.options import (
    agreed,
    by_option,
    common,
    destructive,
    json_option,
    logged,
    named,
    run_argument,
    since_option,
    who,
)

if TYPE_CHECKING:
    from loopwright.api import Loop
    from loopwright.run import Run


@click.command()
@common
@app_option
@run_argument()
def resume(path: str | None, as_json: bool, app: str, run: str) -> None:
    """Go on with a run that waited or was broken off.

    So was one that was cancelled, or whose process has died.
    The exit status is 0 if its answer was accepted, else 1.

    \b
    Example: loopwright resume last --app shop.py
    """
    mine = loaded(app).on(path)
    run_id = named(mine.log, run)
    _carried(mine, as_json, lambda loop: loop.resume_now(run_id, mine.task))


@click.command()
@common
@app_option
@run_argument()
@click.option("--at", "step", type=click.IntRange(0), required=True, help="After this step.")
@click.option("--model", metavar="MODEL", help="Go on with another model: provider:model.")
@click.option("--answer", metavar="TEXT", help="Another answer to the question open then.")
def fork(
    path: str | None,
    as_json: bool,
    app: str,
    run: str,
    step: int,
    model: str | None,
    answer: str | None,
) -> None:
    """Go on from a step of a run in another way.

    That is a run of its own.
    What happened up to that step is shared, and nothing of it is done again. The policies are
    those of the loop in --app. The exit status is 0 if its answer was accepted, else 1.

    \b
    Example: loopwright fork last --at 3 --app shop.py --model anthropic:claude-haiku-4-5
    """
    mine = loaded(app).on(path)
    run_id = named(mine.log, run)
    _carried(
        mine,
        as_json,
        lambda loop: loop.fork_now(run_id, mine.task, at=step, model=model, answer=answer),
    )


def _carried(app: App, as_json: bool, carry: "Callable[[Loop], Run]") -> None:
    """Carry a run on, show its progress to whoever watches, and say what came of it."""
    from loopwright.outcome import Outcome
    from loopwright.show.terminal import Progress

    if app.loop.watch is None and out.on_terminal(sys.stderr):
        app.loop.watch = Progress()
    run = carry(app.loop)
    if as_json:
        out.document(told.summary(run))
    else:
        out.say(*told.brief(run), *told.output(run))
    click.get_current_context().exit(int(run.outcome is not Outcome.accepted))


@click.command()
@destructive
@by_option
@click.option("--why", metavar="TEXT", default="", help="The reason, for the log.")
@run_argument()
def cancel(
    path: str | None,
    as_json: bool,
    yes: bool,
    dry: bool,
    by: str | None,
    why: str,
    run: str,
) -> None:
    """Cancel a run, with the runs that it has begun.

    Another process that carries it on stops before it acts again. A cancelled run can be resumed.

    \b
    Example: loopwright cancel last --why "a wrong prompt"
    """
    log = logged(path)
    run_id = named(log, run)
    folded = log.run(run_id)
    if told.outcome(folded) not in ("open", "waiting"):
        raise out.Refused(f"run {run_id} is over, as {folded.outcome}: there is nothing to cancel")
    words = f"cancel run {run_id} ({told.outcome(folded)}): {folded.title}"
    if agreed(told.summary(folded), words, yes=yes, dry=dry, as_json=as_json):
        log.cancel(run_id, by=who(by), why=why)
        if as_json:
            out.document(told.summary(log.run(run_id)))
        else:
            out.say(f"cancelled {out.one_line(run_id)}")


@click.command()
@common
@since_option
@app_option
@click.option("--task", "title", metavar="TITLE", help="Only runs of this task.")
def whatif(path: str | None, as_json: bool, since: str | None, app: str, title: str | None) -> None:
    """Replay recorded runs under other policies, without a call.

    These are the policies of the loop in --app. It is about the runs of the task in --app; if there
    is none, about all.

    \b
    Example: loopwright whatif --app stricter.py --since 2026-11-01
    """
    from loopwright.whatif import whatif as replayed

    mine = loaded(app, calling=False).on(path)
    found = replayed(mine.log, mine.loop.policies, since=since, task=title or mine.named)
    out.report(found, as_json, "no such runs", _REPLAYED)


_REPLAYED = (
    *("run", "outcome", "would_be", "why", "cost_usd", "at_least_usd", "at_most_usd"),
    *("step", "policy", "decision", "task"),
)


@click.command()
@json_option
@app_option
@click.option("--input", "inputs", metavar="NAME=TEXT", multiple=True, help="An input of the task.")
def lint(as_json: bool, app: str, inputs: tuple[str, ...]) -> None:
    """Say what a run may cost, and what is wrong with it.

    Nothing is called: it is known before the run begins.
    The exit status is 1 if there are errors.

    \b
    Example: loopwright lint --app shop.py --input city=Lisbon
    """
    mine = loaded(app, calling=False)
    given = dict(_input(text) for text in inputs)
    forecast = mine.loop.lint(mine.task, **given)
    if as_json:
        found = [{"level": f.level, "policy": f.policy, "text": f.text} for f in forecast.findings]
        out.document({"findings": found, "worst": _worst(forecast.worst)})
    else:
        out.paged(out.clean(forecast).splitlines())
    click.get_current_context().exit(int(bool(forecast.errors)))


def _input(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--input {out.one_line(text)}: say NAME=TEXT")
    return name, value


def _worst(worst: Any) -> dict[str, Any]:
    """The bounds, where `None` is none; money as exact text."""
    from attrs import asdict

    held = asdict(worst)
    cost = held.pop("cost")
    return {"cost_usd": None if cost is None else f"{cost:f}", **held}
