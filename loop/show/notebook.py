"""What a notebook shows of a run, of a step of it, of two runs side by side, and of a forecast."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from loopwright.calls import NANO, Question
from loopwright.run import Run
from loopwright.show.attempts import Tried, changes, tried
from loopwright.show.lines import DECISION, Line, lines, named, pretty, whole
from loopwright.show.markup import (
    LONGEST,
    SUMMARY,
    badge,
    block,
    escaped,
    folded,
    markdown,
    markdown_table,
    pre,
)
from loopwright.show.text import short

if TYPE_CHECKING:
    from loopwright.diff import Difference
    from loopwright.lint import Forecast

SHOWN = 100
"""Steps that a notebook shows of a run, the default limit of a run; of more, the first and the last
half of so many. `run.steps` has all."""

BRIEF = 1_000
"""Characters that are not folded away: half a screen."""

HEAD = ("", "called", "what came of it", "decided, and why", "tokens", "USD", "s")


# ---------------------------------------------------------------------------------------- a run


def html(run: Run, children: Sequence[Run] = ()) -> str:
    """The run for a notebook: step by step, with its messages folded away, and its `children`."""
    return block(_told(run, children))


def _told(run: Run, children: Sequence[Run] = ()) -> str:
    parts = (_header(run), _questions(run), _prompt(run), _table(lines(run.events)))
    after = (_between(tried(run.events)), _output(run), *map(_child, children))
    return "".join((*parts, *after))


def title(run: Run) -> str:
    """What the run is about, and its outcome."""
    return f"<bdi>{escaped(short(run.title, SUMMARY))}</bdi> {badge(run.outcome or 'open')}"


def _header(run: Run) -> str:
    verified = " (verified)" if run.verified else ""
    why = folded(run.why, "", "call") if run.why else ""
    facts = f'<div class="lw-head lw-soft">{escaped(_facts(run))}</div>'
    return f'<div class="lw-head">{title(run)}{verified}</div>{why}{facts}'


def _facts(run: Run) -> str:
    spent = run.spent
    counts = (
        f"{run.cost:.6f} USD{_of(run, 'usd')}",
        f"{run.possible_cost:.6f} USD at most" if run.possible_cost > run.cost else "",
        f"{run.seconds:.1f}{_of(run, 'seconds')} s",
        f"{spent.model_calls}{_of(run, 'model_calls')} model calls",
        f"{spent.tool_calls}{_of(run, 'tool_calls')} tool calls",
        f"{spent.tokens} tokens",
        f"run {run.run_id}",
    )
    return " · ".join(filter(None, counts))


def _of(run: Run, limit: str) -> str:
    held = run.limits.get(limit)
    if held is None:
        return ""
    return f" of {held:g}" if isinstance(held, float) else f" of {held}"


def _questions(run: Run) -> str:
    """What the run waits for, and how to answer it."""
    return "".join(map(_question, run.questions)) if run.outcome == "waiting" else ""


def _question(question: Question) -> str:
    """A question to a person, with its choices."""
    choices = f" ({' / '.join(question.choices)})" if question.choices else ""
    return folded(question.text + choices, "", "waiting")


def _prompt(run: Run) -> str:
    texts = [("system", run.system), ("prompt", run.prompt)]
    texts += [("inputs", pretty(dict(run.inputs)) if run.inputs else "")]
    texts += [("policies", "\n".join(run.setting.policies))]
    inner = "".join(f"<div>{name}</div>{pre(text)}" for name, text in texts if text)
    return _more("prompt and policies", inner) if inner else ""


def _more(summary: str, inner: str, unfolded: bool = False) -> str:
    """Markup that folds away; `summary` is a text, `inner` is markup."""
    state = " open" if unfolded else ""
    head = f"<summary>{escaped(summary)}</summary>"
    return f'<details class="lw-more"{state}>{head}{inner}</details>'


def _output(run: Run) -> str:
    if run.output_data is None:
        return ""
    kind = "output" if run.outcome == "accepted" else "best attempt"
    text = pretty(run.output_data)
    return _more(kind, pre(text), unfolded=len(text) < BRIEF)


def _child(run: Run) -> str:
    outcome = run.outcome or "open"
    told = short(run.title, SUMMARY)
    return _more(f"child {told}: {outcome}, {run.cost:.6f} USD", _told(run))


# ----------------------------------------------------------------------------------------- steps


def step(line: Line) -> str:
    """One step, for a notebook, with all of its messages unfolded."""
    facts = (f"{line.tokens} tokens" if line.tokens else "", _usd(line) and f"{_usd(line)} USD")
    told = " · ".join(filter(None, (*facts, f"{line.seconds:.1f} s")))
    head = f'<div class="lw-head">step {line.step}</div><div class="lw-head lw-soft">{told}</div>'
    calls = "".join(_unfolded("call", named(call), whole(call)) for call in line.calls.values())
    notes = "".join(_unfolded(n.kind, n.text, n.whole) for n in line.notes if n.text)
    return block(f"{head}{calls}{notes}")


def _unfolded(kind: str, text: str, more: str) -> str:
    """All of it; where the text is but the beginning of what there is, just that."""
    if more.startswith(text.removesuffix("…")):
        return f'<div class="lw-note {kind}">{pre(more)}</div>'
    return folded(text, "", kind) + (pre(more) if more.strip() else "")


def _table(shown: Iterable[Line]) -> str:
    head = "".join(_cell(escaped(name), "n" if i > 3 else "", "th") for i, name in enumerate(HEAD))
    rows = _shortened(list(shown), _row, _gap)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="lw-scroll"><table>{body}</table></div>'


Shown = TypeVar("Shown")


def _shortened(
    all_: list[Line], row: Callable[[Line], Shown], gap: Callable[[int], Shown]
) -> Iterator[Shown]:
    """The rows of all lines, or of the first and the last with a row for those between."""
    left, half = len(all_) - SHOWN, SHOWN // 2
    yield from map(row, all_ if left <= 0 else all_[:half])
    if left > 0:
        yield gap(left)
        yield from map(row, all_[-half:])


def _gap(left: int) -> str:
    return f'<tr><td></td><td colspan="6">… {left} steps between; run.steps has them</td></tr>'


def _row(line: Line) -> str:
    numbers = (str(line.tokens or ""), _usd(line), f"{line.seconds:.1f}")
    cells = (_cell(str(line.step)), _cell(_calls(line), "lw-steps"), *_noted(line))
    body = "".join((*cells, *(_cell(number, "n") for number in numbers)))
    return f"<tr>{body}</tr>"


def _cell(inner: str, kind: str = "", tag: str = "td") -> str:
    """A cell around markup."""
    return f'<{tag} class="{kind}">{inner}</{tag}>' if kind else f"<{tag}>{inner}</{tag}>"


def _calls(line: Line) -> str:
    return "".join(folded(named(call), whole(call), "call") for call in line.calls.values())


def _noted(line: Line) -> tuple[str, str]:
    came: list[str] = []
    said: list[str] = []
    for note in line.notes:
        markup = folded(note.text, note.whole, note.kind) if note.text else ""
        (said if note.kind == DECISION else came).append(markup)
    return _cell("".join(came), "lw-steps"), _cell("".join(said), "lw-steps")


def _usd(line: Line) -> str:
    return f"{line.nano / NANO:.6f}" if line.nano else ""


# -------------------------------------------------------------------------------------- attempts


def _between(answers: Sequence[Tried]) -> str:
    if len(answers) < 2:
        return ""
    pairs = [_changed(i, a, b) for i, (a, b) in enumerate(pairwise(answers), 2)]
    told = f"{len(answers)} attempts, and what each changed"
    brief = sum(len(one.text) for one in answers) < BRIEF
    return _more(told, "".join(pairs[-SHOWN:]), unfolded=brief)


def _changed(number: int, before: Tried, after: Tried) -> str:
    told = f"attempt {number}, step {after.step}, {after.by}, after:"
    problems = "".join(folded(problem.text, "", "problem") for problem in before.problems)
    return f"<div>{escaped(told)}</div>{problems}{words(before.text, after.text)}"


def words(old: str, new: str) -> str:
    """What changed between two texts, word by word."""
    pieces = changes(old[:LONGEST], new[:LONGEST])
    inner = "".join(f"<{_TAGS[kind]}>{escaped(text)}</{_TAGS[kind]}>" for kind, text in pieces)
    return f'<pre class="lw-words">{inner}</pre>'


_TAGS = {"same": "span", "gone": "del", "new": "ins"}


# ------------------------------------------------------------------------------- in Markdown


def run_markdown(run: Run) -> str:
    """The run in Markdown, for where a notebook shows no HTML."""
    verified = " (verified)" if run.verified else ""
    head = f"**{markdown(short(run.title, SUMMARY))}: {run.outcome or 'open'}**{verified}"
    why = f": {markdown(short(run.why, SUMMARY))}" if run.why else ""
    return f"{head}{why}\n\n{markdown(_facts(run))}\n\n{_markdown(lines(run.events))}"


def step_markdown(line: Line) -> str:
    """One step in Markdown."""
    return _markdown([line])


def _markdown(shown: Iterable[Line]) -> str:
    rows = _shortened(list(shown), _texts, lambda left: ["…", f"{left} steps between"])
    return markdown_table(("step", *HEAD[1:]), rows)


def _texts(line: Line) -> list[str]:
    texts = (line.what, "; ".join(filter(None, line.came)), "; ".join(line.said))
    numbers = (str(line.tokens or ""), _usd(line), f"{line.seconds:.1f}")
    return [str(line.step), *(short(text, SUMMARY) for text in texts), *numbers]


# ----------------------------------------------------------------------------- two runs, a forecast


def compared(difference: "Difference") -> str:
    """Two runs side by side: the first difference between them, and what followed."""
    at = f"the first difference, in step {difference.step}" if difference.step else "the difference"
    head = at if difference else "no difference"
    what = pre(difference.what) if difference.what else ""
    runs = "".join(_cell(_header(run)) for run in (difference.a, difference.b))
    rows = "".join(map(_pair, difference.followed))
    table = f"<table><tbody><tr>{_cell('')}{runs}</tr>{rows}</tbody></table>"
    return block(f'<div class="lw-head">{head}</div>{what}<div class="lw-scroll">{table}</div>')


def _pair(pair: tuple[Line | None, Line | None]) -> str:
    number = next(str(line.step) for line in pair if line)
    return f"<tr>{_cell(number)}{_side(pair[0])}{_side(pair[1])}</tr>"


def _side(line: Line | None) -> str:
    if line is None:
        return _cell("")
    notes = "".join(folded(n.text, n.whole, n.kind) for n in line.notes if n.text)
    return _cell(_calls(line) + notes)


def compared_markdown(difference: "Difference") -> str:
    """Two runs side by side, in Markdown."""
    head = ("step", difference.a.run_id, difference.b.run_id)
    rows = [_pair_texts(pair) for pair in difference.followed]
    return f"**{markdown(difference.what or 'no difference')}**\n\n{markdown_table(head, rows)}"


def _pair_texts(pair: tuple[Line | None, Line | None]) -> list[str]:
    told = ["; ".join((line.what, *line.came, *line.said)) if line else "" for line in pair]
    sides = [short(text, SUMMARY) for text in told]
    return [next(str(line.step) for line in pair if line), *sides]


def forecast(found: "Forecast") -> str:
    """What is known of a run before it begins: its worst case, and the findings."""
    kinds = {"error": "problem", "warning": "undecided"}
    notes = [folded(str(one), "", kinds[one.level]) for one in found.findings]
    inner = "".join(notes) or '<div class="lw-soft">nothing found</div>'
    return block(f'<div class="lw-head">{escaped(str(found.worst))}</div>{inner}')


def forecast_markdown(found: "Forecast") -> str:
    """The same in Markdown."""
    listed: list[Any] = [found.worst, *found.findings]
    first, *rest = (markdown(str(one)) for one in listed)
    return "\n".join((f"**{first}**\n", *(f"- {one}" for one in rest))) + "\n"
