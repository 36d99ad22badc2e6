"""Rows: the steps of a page, each a line that opens; what is in it stands beside, as data."""

from collections.abc import Iterator
from typing import Any

from loopwright.show.entries import Entry, Kind
from loopwright.show.figures import money, shown, span
from loopwright.show.markup import badge, escaped
from loopwright.show.steps import Step
from loopwright.show.story import Story
from loopwright.show.text import short

GROUP = 50
"""Rows that a browser lays out together, and data that it reads at once: a screen or two."""

UNSCRIPTED = 600
"""Characters of a text that are shown where no script runs: the page has all of it once only."""

KINDS: dict[Kind, str] = {
    "model": "models",
    "tool": "tools",
    "decision": "decisions",
    "problem": "problems",
    "person": "people",
}
"""What can be chosen, and the word for it."""

Row = tuple[Story, Step]


def in_order(story: Story) -> Iterator[Row]:
    """All rows of a page: the steps of a run, each followed by those of the runs below it."""
    left = dict(story.below)
    for step in story.steps:
        yield story, step
        for child in _taken(story, step, left):
            yield from in_order(child)
    for child in left.values():
        yield from in_order(child)


def _taken(story: Story, step: Step, left: dict[str, Story]) -> list[Story]:
    """The runs that the step has led to, taken out of those that are `left`."""
    led = [story.led_to(entry) for entry in step.entries]
    return [left.pop(one.run.run_id) for one in led if one and one.run.run_id in left]


# ----------------------------------------------------------------------------------------- markup


def rows(story: Story) -> str:
    """The steps of a run as rows, in groups, and those of the runs below it where they belong."""
    out: list[str] = []
    left = dict(story.below)
    for step in story.steps:
        if step.number % GROUP == 0:
            full = " full" if step.number + GROUP <= len(story.steps) else ""
            out.append(f'{"</div>" if out else ""}<div class="group{full}">')
        out.append(_row(story, step))
        out += map(_child, _taken(story, step, left))
    return "".join([*out, "</div>", *map(_child, left.values())])


def _child(story: Story) -> str:
    run, name = story.run, f"run-{story.number}"
    return (
        f'<section class="child" id="{name}" aria-labelledby="{name}-title">'
        f'<h3 id="{name}-title">{escaped(run.title)} {badge(run.outcome or "open")} '
        f"<span>{money(run.spent.settled)} USD, {span(run.seconds)}, run "
        f"<code>{escaped(run.run_id)}</code></span></h3>{rows(story)}</section>"
    )


def _row(story: Story, step: Step) -> str:
    line = step.line
    began = step.number == 0
    came = short(story.run.prompt if began else " | ".join(filter(None, line.came)), 160)
    said = short("; ".join(line.said), 200)
    what = "the task" if began else line.what
    cells = [_cell("n", str(step.number)), _cell("w", short(what, 90)), _cell("c", came)]
    cells += [_cell("d", said)] if said else []
    cells += _figures(step)
    inner = "".join(cells)
    return (
        f'<details class="{_looks(story, step)}" id="{story.mark}step-{step.number}">'
        f"<summary>{inner}</summary><noscript>{_unscripted(step)}</noscript></details>"
    )


def _cell(kind: str, text: str) -> str:
    return f'<span class="{kind}">{escaped(text)}</span>'


def _figures(step: Step) -> Iterator[str]:
    line = step.line
    if step.number:
        yield _cell("s", span(max(0.0, step.end - step.start)))
    if line.tokens:
        yield _cell("t", f"{line.tokens:,} tokens")
    if line.nano:
        yield _cell("u", f"{money(line.nano, 6)} USD")


def _looks(story: Story, step: Step) -> str:
    kinds = {entry.kind for entry in step.entries}
    failed = any(entry.failed for entry in step.entries)
    looks = {"bad": failed, "doubt": "problem" in kinds, "shared": step.last <= story.shared}
    return " ".join(["step", *(name for name, holds in looks.items() if holds)])


def _unscripted(step: Step) -> str:
    return "".join(map(_unscripted_entry, step.entries))


def _unscripted_entry(entry: Entry) -> str:
    facts = "; ".join(f"{name}: {value}" for name, value in entry.facts)
    texts = "".join(
        f"<p>{escaped(name)}</p><pre>{escaped(_beginning(text))}</pre>"
        for name, text, _ in entry.texts
    )
    head = escaped(f"{entry.head} {entry.state}")
    return f"<h4>{head}</h4><p>{escaped(facts)}</p>{texts}"


def _beginning(text: str) -> str:
    left = len(text) - UNSCRIPTED
    return f"{text[:UNSCRIPTED]} … and {left:,} characters more" if left > 0 else text


# ------------------------------------------------------------------------------------------- data


def index(story: Story) -> dict[str, Any]:
    """What the rows are found and filtered by: kinds, policies, whether something failed, and the
    first and last event, of the run of this number."""
    found = list(in_order(story))
    return {
        "group": GROUP,
        "rows": [_indexed(story, step) for story, step in found],
    }


def _indexed(story: Story, step: Step) -> list[Any]:
    kinds = sorted({entry.kind for entry in step.entries})
    policies = sorted({shown(entry.policy) for entry in step.entries if entry.policy})
    failed = any(entry.failed for entry in step.entries)
    return [story.number, step.first, step.last, kinds, policies, int(failed)]


def chunks(story: Story) -> Iterator[list[Any]]:
    """The entries of all rows, so many rows at a time."""
    found = list(in_order(story))
    for i in range(0, len(found), GROUP):
        yield [[_entry(one, step, e) for e in step.entries] for one, step in found[i : i + GROUP]]


def _entry(story: Story, step: Step, entry: Entry) -> dict[str, Any]:
    child = story.led_to(entry)
    return {
        "seqs": entry.seqs,
        "kind": entry.kind,
        "head": shown(entry.head),
        "state": shown(entry.state),
        "failed": entry.failed,
        "call": bool(entry.call),
        "at": span(max(0.0, entry.start - story.run.started)),
        "child": child.number if child else 0,
        "facts": [[shown(name), shown(value)] for name, value in entry.facts],
        "texts": [[shown(name), shown(text), int(code)] for name, text, code in entry.texts],
    }
