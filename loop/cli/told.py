"""A run, a question and an event, as plain data for JSON and as words for a terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from loopwright.cli.out import one_line, wrapped

if TYPE_CHECKING:
    from loopwright.calls import Question
    from loopwright.events import Event
    from loopwright.run import Run
    from loopwright.show.lines import Line

_COLOURS = {"accepted": "green", "waiting": "yellow", "open": "yellow"}


def summary(run: "Run") -> dict[str, Any]:
    """What a run is and has come to; money in USD as exact text, and in nano-dollars."""
    return {
        "run": run.run_id,
        "parent": run.parent,
        "task": run.title,
        "version": run.version,
        "label": run.label,
        "model": run.model,
        "outcome": outcome(run),
        "verified": run.verified,
        "why": run.why,
        "output": run.output_data,
        "started": _utc(run.started),
        "seconds": round(run.seconds, 3),
        "step": run.step,
        "events": run.seq,
        "cost_usd": f"{run.cost:f}",
        "cost_nano": run.spent.settled,
        "possible_cost_nano": run.spent.at_most,
        "limits": dict(run.limits),
    }


def outcome(run: "Run") -> str:
    """The outcome, or that the run is open."""
    return run.outcome.value if run.outcome else "open"


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


# ----------------------------------------------------------------------------------------- runs


def brief(run: "Run") -> list[str]:
    """How a run stands, in a few lines."""
    head = click.style(outcome(run), fg=_COLOURS.get(outcome(run), "red"), bold=True)
    verified = " (verified)" if run.verified else ""
    why = wrapped(run.why, "  ") if run.why else []
    first = f"{one_line(run.title)}: {head}{verified}"
    return [first, *why, one_line(f"run {run.run_id}, {run.model}"), _used(run)]


def _used(run: "Run") -> str:
    """Money, time and steps, each against its limit."""
    limits = run.limits
    usd = f" of {limits['usd']}" if "usd" in limits else ""
    seconds = f" of {limits['seconds']:g}" if "seconds" in limits else ""
    return one_line(f"{run.cost:.6f}{usd} USD, {run.seconds:.1f}{seconds} s, {run.step} steps")


def output(run: "Run") -> list[str]:
    """The answer, or the best attempt."""
    from loopwright.codec import encode

    said = run.output_data
    text = said if isinstance(said, str) else encode(said)
    return [] if said is None else ["", *wrapped(text, "")]


def view(run: "Run") -> Iterator[str]:
    """A whole run, step by step."""
    from loopwright.show.lines import lines

    yield from brief(run)
    yield ""
    for line in lines(run.events):
        yield from _step(line)
    yield from output(run)


def _step(line: "Line") -> Iterator[str]:
    paid = f"  {line.tokens} tokens, {line.nano / 1e9:.6f} USD" if line.tokens else ""
    number = click.style(f"{line.step:>4}", dim=True)
    yield f"{number}  {one_line(line.what)}{click.style(paid, dim=True)}"
    for came in filter(None, line.came):
        yield from wrapped(came, "      ")
    for said in line.said:
        yield from (click.style(text, fg="cyan") for text in wrapped(said, "      "))


def data(line: "Line") -> dict[str, Any]:
    """A step, for JSON."""
    return {
        "step": line.step,
        "calls": [_call(call) for call in line.calls.values()],
        "came": list(line.came),
        "decided": list(line.said),
        "tokens": line.tokens,
        "cost_nano": line.nano,
    }


def _call(call: Any) -> dict[str, Any]:
    """What a call is: for a model its name, for a tool its name and arguments."""
    named = {"id": call.id, "kind": type(call).__name__}
    known = ("model", "purpose", "name", "arguments", "text", "seconds")
    return named | {name: getattr(call, name) for name in known if hasattr(call, name)}


# ------------------------------------------------------------------------------------- questions


def question(run: "Run", asked: "Question") -> dict[str, Any]:
    """What waits for a person: the words, and exactly what would be done."""
    call = run.held.get(asked.id)
    return {
        "run": run.run_id,
        "task": run.title,
        "question": asked.id,
        "purpose": asked.purpose,
        "text": asked.text,
        "why": _unreached(run, asked),
        "choices": list(asked.choices),
        "digest": asked.digest,
        "call": _call(call) if call else None,
        "effect": getattr(call, "effect", None),
    }


def _unreached(run: "Run", asked: "Question") -> str:
    """Why the `ask` of a loop reached nobody; nothing where there was none."""
    from loopwright.events import Paused

    whys = [e.why for e in run.events if isinstance(e, Paused) and e.call == asked.id]
    return whys[-1] if whys else ""


def asking(held: dict[str, Any]) -> Iterator[str]:
    """A question in words, with all that would be done; what others wrote cannot pass for more."""
    from loopwright.fold import waits_for

    mark = click.style(one_line(held["question"]), bold=True)
    yield f"{one_line(held['run'])} {mark}  {one_line(held['task'])}"
    yield from wrapped(waits_for(held["text"], held["why"]), "  > ")
    call = held["call"] or {}
    if "arguments" in call:
        effect = f" ({held['effect']})" if held["effect"] else ""
        yield one_line(f"  would call {call['name']}{effect}")
        yield from (_argument(name, value) for name, value in call["arguments"].items())
    if held["choices"]:
        yield one_line(f"  say one of: {', '.join(held['choices'])}")


def _argument(name: str, value: Any) -> str:
    """In full and as JSON, in which no text can begin another line: who agrees sees it all."""
    from loopwright.codec import encode

    return one_line(f"    {name} = {encode(value)}")


# ---------------------------------------------------------------------------------------- events


def event(run: "Run", happened: "Event") -> str:
    """An event on one line, with the run after it."""
    at = datetime.fromtimestamp(happened.time).strftime("%H:%M:%S")
    kind = type(happened).__name__
    shown = click.style(f"{kind:<10}", fg=_KINDS.get(kind), bold=kind in _KINDS or None)
    head = f"{click.style(at, dim=True)} {run.seq:>4}  {shown}"
    return f"{head}  {one_line(_what(run, happened))}".rstrip()


_KINDS = {"Failed": "red", "Declined": "red", "Paused": "yellow", "Ended": "green"}


def _what(run: "Run", happened: Any) -> str:
    """What an event says, in the words of the lines that show a step."""
    from loopwright.show.lines import Lines
    from loopwright.show.text import short

    gathered = Lines()
    gathered.add(happened)
    line = gathered.line
    came = [] if type(happened).__name__ == "Paused" else line.came
    told = [line.what, *came, *line.said, *_more(run, happened)]
    return short(" | ".join(filter(None, told)), 300)


def _more(run: "Run", happened: Any) -> Iterator[str]:
    """What no line of a step tells."""
    match type(happened).__name__:
        case "Paused":
            yield f"waiting: {run.why or 'for another run, or a person'}"
        case "Started":
            yield f"{happened.task} on {happened.setting.model}"
        case "Declined":
            yield f"the ceiling {happened.ceiling.name} declines the call {happened.call}"
        case "Inspected" if not happened.problems and not happened.undecided:
            yield "no problems"
        case "Reconciled":
            yield f"{happened.call} has cost {happened.cost / 1e9:.6f} USD"
        case "Unwinding" | "Ended":
            yield f"{happened.outcome}{f': {happened.why}' if happened.why else ''}"
