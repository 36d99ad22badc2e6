"""`page`: a run and the runs below it as one HTML document, to open in any browser."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loopwright.calls import NANO
from loopwright.ceiling import window
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.run import Run
from loopwright.show.attempts import Tried, changes, tried
from loopwright.show.axis import Axis
from loopwright.show.drawn import Curve, curve, meter, timeline
from loopwright.show.figures import moment, money, span
from loopwright.show.frame import page as framed
from loopwright.show.lines import pretty
from loopwright.show.markup import badge, escaped
from loopwright.show.rows import KINDS, chunks, index, rows
from loopwright.show.story import Story, Used, bars, over_time, told

ATTEMPTS = 12
"""Answers that are shown side by side: the last ones; all of them stand in the steps."""


def page(log: Log, run_id: str) -> str:
    """A run and the runs that it has delegated, as one self-contained HTML document.

    It needs no network, and may be sent to anybody who may read the run. Whatever a model, a tool
    or a person wrote is shown, and never run. Raises `RunNotFound`.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(f"{folder}/runs.db", "process")
    ...     run = Loop(Scripted(["Hello <b>Ada</b>."]), log=log).run_now(Task("Greet Ada."))
    ...     document = page(log, run.run_id)
    ...     log.close()
    >>> document.startswith("<!doctype html>"), "<b>Ada" in document
    (True, False)
    """
    story = told(log, run_id)
    drawn = over_time(story)
    body = "".join(
        (
            _head(story.run),
            '<main id="main">',
            _money(log, story, drawn),
            _timeline(story, drawn),
            _attempts(story),
            _tools(story),
            f'<section id="steps" aria-label="Steps">{rows(story)}</section>',
            "</main>",
            _HELP,
        )
    )
    return framed(f"{story.run.title}: {_state(story.run)}", body, _data(story), "page.js")


def _data(story: Story) -> Iterator[tuple[str, Any]]:
    yield "index", index(story)
    for i, chunk in enumerate(chunks(story)):
        yield f"data-{i}", chunk


# --------------------------------------------------------------------------------------- the head


def _head(run: Run) -> str:
    output = run.output_data
    if run.open or run.outcome is Outcome.waiting or output is None:
        said = ""
    else:
        code = "" if isinstance(output, str) else " code"
        text = escaped(pretty(output))
        said = f'<div class="text output{code}"><pre tabindex="0">{text}</pre></div>'
    facts = "".join(f"<div><dt>{n}</dt><dd>{v}</dd></div>" for n, v in _facts(run))
    return (
        '<a class="skip" href="#main">To the steps</a>'
        f'<header class="top"><p class="kind">A run</p><h1>{escaped(run.title)}</h1>'
        f'<p class="state">{_ending(run)}<span class="why">{escaped(run.why)}</span></p>'
        f'<dl class="facts">{facts}</dl>{said}</header>'
    )


def _state(run: Run) -> str:
    return run.outcome.value if run.outcome else "open"


def _ending(run: Run) -> str:
    """How a run has ended, and whether checks agree."""
    checked = "verified" if run.verified else "not verified"
    return badge(_state(run)) + (f"<b>{checked}</b>" if run.outcome is Outcome.accepted else "")


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "run", _copied(run.run_id)
    if run.parent:
        yield "called by", _copied(run.parent)
    if run.base:
        yield "forked from", _copied(run.base)
    yield "began", moment(run.started)
    whole, working = span(run.time - run.started), span(run.seconds)
    yield "took", whole if whole == working else f"{whole}, {working} of them working"
    yield "models", escaped(", ".join(dict.fromkeys(run.models)))
    if run.version:
        yield "prompt version", escaped(f"{run.version} {run.label}".strip())


def _copied(text: str) -> str:
    return (
        f'<code>{escaped(text)}</code> <button class="copy" type="button" '
        f'data-copy="{escaped(text)}" aria-label="Copy {escaped(text)}">copy</button>'
    )


# ----------------------------------------------------------------------------------- what it took


def _money(log: Log, story: Story, drawn: Axis) -> str:
    run = story.run
    meters = "".join(_meter(*one) for one in (*_limits(run), *_ceilings(log, run)))
    usd = run.limits.get("usd")
    tokens = run.limits.get("tokens")
    curves = (
        Curve(
            "Money",
            [(drawn.at(u.time), u.settled / NANO, u.at_most / NANO) for u in _thin(story.used)],
            None if usd is None else float(usd),
            f"{money(run.spent.settled)} USD",
            f"{usd} USD",
        ),
        Curve(
            "Tokens",
            [(drawn.at(u.time), u.tokens, u.tokens_at_most) for u in _thin(story.used)],
            tokens,
            f"{run.spent.tokens:,}",
            f"{tokens:,}" if tokens is not None else "",
        ),
    )
    drawings = "".join(map(curve, curves))
    return (
        '<section class="spent" aria-labelledby="spent"><h2 id="spent">What it took</h2>'
        f'<div class="meters">{meters}</div><div class="curves">{drawings}</div></section>'
    )


def _thin(used: Sequence[Used]) -> Iterator[Used]:
    """Of very many every so many: some 1,000 points, which is what a screen can show."""
    every = len(used) // 1_000 + 1
    return (now for i, now in enumerate(used) if i % every == 0 or i + every >= len(used))


Meter = tuple[str, str, str, float | None]
"""A name, what is used, the limit in words, and the share that is used."""


def _limits(run: Run) -> Iterator[Meter]:
    spent, limits = run.spent, run.limits
    doubt = spent.at_most - spent.settled
    yield _of(limits, "usd", "money", f"{money(spent.settled)} USD", spent.settled / NANO)
    if doubt:
        yield "may be billed, too", f"{money(doubt)} USD", "outcomes that nobody knows", None
    yield _of(limits, "tokens", "tokens", f"{spent.tokens:,}", spent.tokens)
    yield _of(limits, "seconds", "working time", span(run.seconds), run.seconds)
    yield _of(limits, "model_calls", "model calls", f"{spent.model_calls:,}", spent.model_calls)
    yield _of(limits, "tool_calls", "tool calls", f"{spent.tool_calls:,}", spent.tool_calls)
    yield _of(limits, "steps", "steps", f"{run.step:,}", run.step)


def _of(limits: Mapping[str, Any], key: str, name: str, used: str, amount: float) -> Meter:
    limit = limits.get(key)
    if limit is None:
        return name, used, "no limit", None
    number = float(limit)
    words = {"usd": f"{limit} USD", "seconds": span(number)}.get(key) or f"{int(number):,}"
    return name, used, f"of {words}", amount / number if number else 1.0


def _ceilings(log: Log, run: Run) -> Iterator[Meter]:
    """The shared ceilings that it stood under, as they are now, in the window in which it began."""
    query = "select * from ceilings where ceiling = ? and window = ?"
    for ceiling in run.setting.ceilings:
        for row in log.asked(query, (ceiling.name, window(run.started, ceiling.per))):
            used = row["settled"] + row["reserved"] + row["presumed"]
            unit = "USD" if row["unit"] == "usd" else row["unit"]
            share = used / row["allowed"] if row["allowed"] else 1.0
            limit = f"of {row['allowed']:.9g} {unit}, all runs, {row['window']}"
            yield f"ceiling {ceiling.name}", f"{used:.9g} {unit}", limit, share


def _meter(name: str, used: str, limit: str, share: float | None) -> str:
    bar = "" if share is None else meter(share, f"{name}: {used} {limit}")
    return (
        f'<div class="meter"><span class="name">{escaped(name)}</span>'
        f'<span class="used">{escaped(used)}</span>{bar}'
        f'<span class="limit">{escaped(limit)}</span></div>'
    )


# ------------------------------------------------------------------------------------ in time


def _timeline(story: Story, drawn: Axis) -> str:
    found, heads = bars(story, drawn)
    svg = timeline(found, heads, drawn)
    there = {kind for bar in found for kind in bar.kind.split()} | (
        {"cut"} if drawn.cuts else set()
    )
    legend = "".join(
        f'<span class="key {kind}">{word}</span>' for kind, word in _LEGEND if kind in there
    )
    return (
        '<section aria-labelledby="time"><h2 id="time">In time</h2>'
        f'<p class="legend">{legend}</p><div class="scroll tall" tabindex="0" role="group" '
        f'aria-label="Timeline">{svg}</div></section>'
    )


_LEGEND = (
    ("model", "model"),
    ("tool", "tool"),
    ("person", "person"),
    ("wait", "wait"),
    ("failed", "failed or in doubt"),
    ("shared", "of the run that this one was forked from"),
    ("cut", "long wait, drawn short"),
)


# ------------------------------------------------------------------------------------- attempts


def _attempts(story: Story) -> str:
    """The answers side by side, each with what it changed of the one before."""
    answers = tried(story.run.events)
    if len(answers) < 2:
        return ""
    first = max(0, len(answers) - ATTEMPTS)
    cards = "".join(_attempt(i, answers) for i in range(first, len(answers)))
    more = f"The last {ATTEMPTS} of {len(answers)}. " if first else ""
    return (
        '<section aria-labelledby="attempts"><h2 id="attempts">Attempts</h2>'
        f'<p class="soft">{more}Words that were <del>taken out</del> and <ins>put in</ins> '
        f'since the attempt before are marked.</p><div class="attempts">{cards}</div></section>'
    )


def _attempt(i: int, answers: Sequence[Tried]) -> str:
    answer = answers[i]
    pieces = changes(answers[i - 1].text, answer.text) if i else [("same", answer.text)]
    text = "".join(_piece(kind, piece) for kind, piece in pieces)
    found = "".join(
        f"<li><b>{escaped(p.check)}</b> {escaped(p.text)}</li>" for p in answer.problems
    )
    verdict = f"<ul>{found}</ul>" if found else '<p class="good">no problem was found</p>'
    return (
        f'<article><h3><a href="#step-{answer.step}">Attempt {i + 1}</a> '
        f'<span>{escaped(answer.by)}</span></h3><div class="text"><pre tabindex="0">{text}</pre>'
        f"</div>{verdict}</article>"
    )


def _piece(kind: str, piece: str) -> str:
    tag = {"new": "ins", "gone": "del"}.get(kind)
    return f"<{tag}>{escaped(piece)}</{tag}>" if tag else escaped(piece)


# ---------------------------------------------------------------------------------- what to press


def _tools(story: Story) -> str:
    named = {e.policy for one in story.all() for s in one.steps for e in s.entries if e.policy}
    options = "".join(f"<option>{escaped(name)}</option>" for name in sorted(named))
    chips = "".join(
        f'<label class="chip"><input type="checkbox" name="kind" value="{kind}">{word}</label>'
        for kind, word in KINDS.items()
    )
    return (
        '<div class="tools" role="search" hidden><h2 id="steps-title">Steps</h2>'
        '<label class="find"><span class="hidden">Search all messages, calls and decisions</span>'
        '<input type="search" id="find" placeholder="Search  /" autocomplete="off" '
        'spellcheck="false"></label>'
        f'<fieldset><legend class="hidden">Show only steps with</legend>{chips}'
        '<label class="chip"><input type="checkbox" id="failed">failed</label></fieldset>'
        '<label class="policy"><span class="hidden">Policy</span><select id="policy">'
        f'<option value="">any policy</option>{options}</select></label>'
        '<span id="status" role="status"></span>'
        '<button id="open-all" type="button">open all</button>'
        '<button id="help-button" type="button" aria-label="Keys">?</button></div>'
    )


_HELP = (
    '<dialog id="help" aria-labelledby="help-title"><h2 id="help-title">Keys</h2><dl>'
    "<dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next and previous step; arrows, too, on a step</dd>"
    "<dt><kbd>Enter</kbd></dt><dd>open or close the step</dd>"
    "<dt><kbd>/</kbd></dt><dd>search</dd>"
    "<dt><kbd>Escape</kbd></dt><dd>clear the search and the filters</dd>"
    "<dt><kbd>?</kbd></dt><dd>this list</dd></dl>"
    "<p>Links such as <code>#step-7</code> and <code>#seq-31</code> (an event by its number in the "
    'log) lead to a place.</p><button id="help-close" type="button">Close</button></dialog>'
)
