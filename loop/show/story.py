"""Stories: a run and the runs below it, with all that a page shows of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from attrs import frozen

from loopwright.calls import ModelCall
from loopwright.events import Started
from loopwright.fold import blank, fold
from loopwright.log.store import Log
from loopwright.run import Run
from loopwright.show.axis import Axis, axis
from loopwright.show.drawn import MANY, Bar
from loopwright.show.entries import Entry
from loopwright.show.figures import span
from loopwright.show.steps import Step, steps
from loopwright.show.text import short


@frozen
class Used:
    """What a run had used at a `time`: nano-dollars and tokens, for certain and at most."""

    time: float
    settled: int
    at_most: int
    tokens: int
    tokens_at_most: int


def _used(run: Run) -> Used:
    spent = run.spent
    asked = sum(c.quote.tokens for c in run.in_flight.values() if isinstance(c, ModelCall))
    return Used(run.time, spent.settled, spent.at_most, spent.tokens - asked, spent.tokens)


@frozen(eq=False)
class Story:
    """A run: its steps, and what was used by when. `number` counts the runs of the page, from 0.

    `below` are its children by their ids; the first `shared` events are those of the run that this
    one was forked from.
    """

    run: Run
    number: int
    steps: Sequence[Step]
    used: Sequence[Used]
    below: "Mapping[str, Story]"
    shared: int = 0

    @property
    def mark(self) -> str:
        """What the names of places in the page begin with that belong to this run."""
        return f"run-{self.number}-" if self.number else ""

    @property
    def calls(self) -> Iterator[Entry]:
        """The calls, in the order in which they were made."""
        return (entry for step in self.steps for entry in step.entries if entry.call)

    def all(self) -> "Iterator[Story]":
        """This one and all that are below it, in the order of the page."""
        yield self
        for story in self.below.values():
            yield from story.all()

    def led_to(self, entry: Entry) -> "Story | None":
        """The run that a tool call has led to."""
        return self.below.get(f"{self.run.run_id}.{entry.call}") if entry.kind == "tool" else None


def told(log: Log, run_id: str) -> Story:
    """The story of a run. Raises `RunNotFound`."""
    children: dict[str, list[str]] = {}
    query = "select run, parent from trees where parent <> '' order by run"
    for row in log.asked(query):
        children.setdefault(row["parent"], []).append(row["run"])
    return _told(log, run_id, children, [])


def _told(log: Log, run_id: str, children: dict[str, list[str]], seen: list[str]) -> Story:
    events = log.events(run_id)
    number = len(seen)
    seen.append(run_id)
    runs = list(accumulate(events, fold, initial=blank(run_id)))[1:]
    below = {child: _told(log, child, children, seen) for child in children.get(run_id, ())}
    shared = max(e.shared for e in events if isinstance(e, Started))
    used = [_used(run) for run in runs[shared:]]  # what was shared was paid by the other run
    return Story(runs[-1], number, steps(events), used, below, shared)


# ----------------------------------------------------------------------------------- in time


def over_time(story: Story) -> Axis:
    """The time of a run and of those below it: to scale while a model or a tool works."""
    first = story.run.events[0].time
    last = max(one.run.time for one in story.all())
    busy = [
        (call.start, call.end)
        for one in story.all()
        for call in one.calls
        if call.kind in ("model", "tool") and call.end and not one.led_to(call)
    ]
    return axis(busy, first, last)


def bars(story: Story, drawn: Axis) -> tuple[list[Bar], list[tuple[int, str]]]:
    """The calls as bars, parallel ones on rows of their own, and each run of several with a head.

    Where there are very many, each kind of call has a row instead.
    """
    stories = list(story.all())
    many = sum(1 for one in stories for _ in one.calls) > MANY
    found: list[Bar] = []
    heads: list[tuple[int, str]] = []
    row = 0
    for one in stories:
        if len(stories) > 1:
            heads.append((row, short(f"{one.run.title} · {one.run.run_id}", 90)))
            row += 1
        rows = _by_kind(one) if many else _by_time(one)
        found += [_bar(one, call, row + rows[call.seqs[0]], drawn) for call in one.calls]
        row += 1 + max(rows.values(), default=0)
    return found, heads


def _by_time(story: Story) -> dict[int, int]:
    """The row of each call, by its event: the first that is free when it is made."""
    until: list[float] = []
    rows = {}
    for call in story.calls:
        row = next((i for i, end in enumerate(until) if end <= call.start), len(until))
        until[row:] = [call.end or story.run.time, *until[row + 1 :]]
        rows[call.seqs[0]] = row
    return rows


def _by_kind(story: Story) -> dict[int, int]:
    there = list(dict.fromkeys(call.kind for call in story.calls))
    return {call.seqs[0]: there.index(call.kind) for call in story.calls}


def _bar(story: Story, call: Entry, row: int, drawn: Axis) -> Bar:
    end = call.end or story.run.time
    looks = {"failed": call.failed, "shared": call.seqs[0] <= story.shared}
    kind = " ".join([call.kind, *(name for name, holds in looks.items() if holds)])
    title = short(f"{call.head}, {span(max(0.0, end - call.start))}: {call.state or 'open'}", 90)
    to = f"{story.mark}seq-{call.seqs[0]}"
    return Bar(drawn.at(call.start), drawn.at(end), row, kind, to, title)
