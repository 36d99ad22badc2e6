"""Commands for people who are asked: pending, approve, deny and answer."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from loopwright.cli import out, told
from loopwright.cli.options import (
    Function,
    by_option,
    common,
    logged,
    named,
    run_argument,
    sure,
    who,
    yes_option,
)

if TYPE_CHECKING:
    from loopwright.log.store import Log

_WAITING = "select run from runs where outcome = 'waiting' order by run"


@click.command()
@common
@run_argument(required=False)
def pending(path: str | None, as_json: bool, run: str | None) -> None:
    """List the questions that wait for a person.

    Each is shown with exactly what would be done.

    \b
    Example: loopwright pending
    """
    log = logged(path)
    asked = [*_asked(log, named(log, run) if run else None)]
    if not asked:
        out.nothing("nothing waits for a person", as_json, [])
    if as_json:
        out.document(asked)
    else:
        out.paged(line for held in asked for line in (*told.asking(held), *_ways(held), ""))


def _asked(log: "Log", run: str | None) -> Iterator[dict[str, Any]]:
    """The open questions of one run, or of all."""
    waiting = [row["run"] for row in log.asked(_WAITING)] if run is None else [run]
    for one in waiting:
        folded = log.run(one)
        yield from (told.question(folded, question) for question in log.questions(one))


def _ways(held: dict[str, Any]) -> list[str]:
    """How it is answered, to be copied; only where the id is safe to type."""
    run, question = held["run"], held["question"]
    if not run.replace(".", "").replace("-", "").isalnum():
        return []
    if "approve" in held["choices"]:
        return [f"  loopwright approve {run} {question}", f"  loopwright deny {run} {question}"]
    return [f"  loopwright answer {run} TEXT --question {question}"]


def _answering(function: Function) -> Function:
    """The options of an answer."""
    note = click.option("--note", metavar="TEXT", default="", help="Why; the model reads it.")
    return common(yes_option(by_option(note(function))))


def _verdict(verb: str, choice: str) -> click.Command:
    """The command that answers a question with one of its choices."""

    @click.command(verb)
    @_answering
    @run_argument()
    @click.argument("question", metavar="[QUESTION]", required=False)
    def command(run: str, question: str | None, **said: Any) -> None:
        _answer(run, choice, question, **said)

    command.help = _HELP.format(
        verb=verb, title=verb.capitalize(), what="not be made" if verb == "deny" else "be made"
    )
    return command


_HELP = """{title} the call that waits.

    It will {what} when the run is resumed.
    The question is shown with all arguments of the call, and then you are asked whether you are
    sure. The answer is to this very question, and to no other that the run may ask meanwhile.
    Where nobody can be asked, in a script, give QUESTION, as `pending` names it.

    \b
    Example: loopwright {verb} last --note "I have called them."
    """

approve = _verdict("approve", "approve")
deny = _verdict("deny", "deny")


@click.command()
@_answering
@run_argument()
@click.argument("text")
@click.option("--question", metavar="QUESTION", help="Which one, as `pending` names it.")
def answer(run: str, text: str, question: str | None, **said: Any) -> None:
    """Answer what a run asks, in words or with one of the choices.

    \b
    Example: loopwright answer last "The second offer."
    """
    _answer(run, text, question, **said)


def _answer(
    run: str,
    text: str,
    question: str | None,
    *,
    path: str | None,
    as_json: bool,
    yes: bool,
    by: str | None,
    note: str,
) -> None:
    """Show the one question that is meant, ask whether this is the answer, and write it down."""
    log = logged(path)
    run = named(log, run)
    held = _meant(run, question, [*_asked(log, run)])
    there = out.on_terminal(sys.stdin)
    if question is None and not there:
        raise click.UsageError("say which question: `loopwright pending` shows them")
    for line in told.asking(held):
        click.echo(line, err=True)
    if there and not yes:
        sure(f"Answer {out.one_line(text)!r} as {out.one_line(who(by))}?")
    log.answer(run, text, by=who(by), note=note, question=held["question"])
    top = _top(log, run)
    if as_json:
        out.document({**held, "answer": text, "by": who(by), "note": note, "resume": top})
    else:
        out.say(f"answered; to go on: loopwright resume {out.one_line(top)} --app FILE")


def _meant(run: str, question: str | None, asked: list[dict[str, Any]]) -> dict[str, Any]:
    meant = [held for held in asked if question in (None, held["question"])]
    if not meant:
        raise out.NotFound(_not_waiting(run, question, asked))
    if len(meant) > 1:
        names = ", ".join(held["question"] for held in meant)
        raise click.UsageError(
            f"run {out.one_line(run)} asks several questions: say which: {names}"
        )
    return meant[0]


def _not_waiting(run: str, question: str | None, asked: list[dict[str, Any]]) -> str:
    which = f" to {question}" if question else ""
    others = f", but to {', '.join(held['question'] for held in asked)}" if asked else ""
    return f"run {run} waits for no answer{which}{others}: `loopwright pending` shows what waits"


def _top(log: "Log", run: str) -> str:
    """The run that is resumed: the one at the top of the tree."""
    (row,) = log.asked("select root from trees where run = ?", (run,))
    return str(row["root"])
