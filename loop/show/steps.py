"""Steps: the events of a run as a page shows them, one pass of the loop after the other."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from attrs import define, field, frozen

from loopwright.calls import Failure, Question
from loopwright.codec import plain
from loopwright.events import (
    Ceiling,
    Decided,
    Declined,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Reconciled,
    Resumed,
    Returned,
    Setting,
    Started,
    Unwinding,
)
from loopwright.show.entries import Entry, Kind, cut, intended, returned, said, sent, used
from loopwright.show.figures import moment, money, span
from loopwright.show.lines import Line, Lines
from loopwright.steps import numbered


@frozen
class Step:
    """One pass of the loop: its `entries`, and the `line` that tells it in short.

    Its events are those from `first` to `last`, counted from 1. Step 0 is what came before the
    first call.
    """

    number: int
    line: Line
    entries: Sequence[Entry]
    first: int
    last: int
    start: float
    end: float


def steps(events: Sequence[Event]) -> list[Step]:
    """The steps of a run, counted as the run counts them."""
    told, begin, found = _Told(), 0, []
    for number, together in groupby(numbered(events), itemgetter(0)):
        found.append(told.step(number, begin, [event for _, event in together]))
        begin = found[-1].last
    return found


@define
class _Told:
    """Takes events in their order; `open` are the calls that wait for their outcome."""

    entries: list[Entry] = field(factory=list)
    open: dict[str, Entry] = field(factory=dict)
    asked: set[str] = field(factory=set)

    def step(self, number: int, begin: int, events: Sequence[Event]) -> Step:
        self.entries, gathered = [], Lines(number)
        for seq, event in enumerate(events, begin + 1):
            gathered.add(event)
            _TOLD[type(event)](self, seq, event)
        first, last = events[0].time, events[-1].time
        line = gathered.line
        return Step(number, line, self.entries, begin + 1, begin + len(events), first, last)

    def more(self, seq: int, kind: Kind, head: str, time: float, **fields: Any) -> Entry:
        self.entries.append(Entry([seq], kind, head, time, **fields))
        return self.entries[-1]

    def came(self, seq: int, event: Any) -> Entry:
        """The entry of the call that something has come of."""
        entry = self.open.pop(event.call, None)
        entry = entry or self.more(seq, "run", f"the call {event.call}", event.time)
        entry.end = event.time
        entry.seqs = sorted({*entry.seqs, seq})
        return entry


def _started(told: _Told, seq: int, event: Started) -> None:
    base = event.base
    head = f"forked from run {base}" if base else "the run begins"
    entry = told.more(seq, "run", head, event.time)
    entry.fact(task=event.task, label=event.label, prompt_version=event.version)
    entry.fact(parent=event.parent, at_most=f"{event.max_tokens:,} tokens out")
    entry.fact(shared=base and f"{event.shared} events of the base")
    for media in event.media:
        said(entry, media, "user")
    entry.text(system=event.system, prompt=event.prompt, inputs=event.inputs)
    options = plain(event.options)
    entry.text(options=options)
    _set(entry, event.setting)


def _set(entry: Entry, setting: Setting) -> None:
    entry.fact(model=setting.model, checks=", ".join(setting.checks))
    entry.fact(tools=", ".join(setting.tools), by=setting.by)
    entry.fact(limits=", ".join(f"{held} {name}" for name, held in setting.limits.items()))
    entry.fact(ceilings="; ".join(f"{c.name}: {_capped(c)}" for c in setting.ceilings))
    entry.text(policies="\n".join(setting.policies))


def _capped(ceiling: Ceiling) -> str:
    return f"{amount(ceiling, ceiling.limit)}{f' per {ceiling.per}' if ceiling.per else ''}"


def amount(ceiling: Ceiling, count: int) -> str:
    """A count of what a ceiling counts, with its unit."""
    return f"{money(count)} USD" if ceiling.unit == "usd" else f"{count:,} {ceiling.unit}"


def _resumed(told: _Told, seq: int, event: Resumed) -> None:
    """Questions simply stay open; of all else nobody knows."""
    cut([told.open.pop(call) for call in list(told.open) if call not in told.asked], event.time)
    _set(told.more(seq, "run", "the run is resumed", event.time), event.setting)


def _decided(told: _Told, seq: int, event: Decided) -> None:
    decision, spent = event.decision, event.spent
    head = f"{event.policy}: {type(decision).__name__}"
    entry = told.more(seq, "decision", head, event.time, policy=event.policy)
    details = plain(decision)
    entry.text(why=details.pop("why", ""))
    entry.text(feedback=details.pop("feedback", ""))
    details.pop("is", None)
    entry.fact(moment=f"{_MOMENTS[event.moment]}", about=event.about)
    entry.fact(**{name: held for name, held in details.items() if not isinstance(held, dict)})
    entry.fact(overruled=", ".join(event.others))
    entry.fact(
        spent=f"{money(spent.settled)} USD",
        reserved=f"{money(spent.reserved)} USD" if spent.reserved else "",
        presumed=f"{money(spent.presumed)} USD" if spent.presumed else "",
        calls=f"{spent.model_calls} to models, {spent.tool_calls} to tools",
        working_time=span(event.seconds),
    )
    entry.text(amended=details.get("call"), parameters=event.parameters)


_MOMENTS = {"call": "before a call", "failure": "after a failure", "answer": "after an answer"}


def _intended(told: _Told, seq: int, event: Intended) -> None:
    entry = intended(seq, event)
    if isinstance(event.call, Question):
        told.asked.add(event.call.id)
    told.open[event.call.id] = entry
    told.entries.append(entry)


def _declined(told: _Told, seq: int, event: Declined) -> None:
    ceiling, head = event.ceiling, f"the ceiling {event.ceiling.name} has no room"
    entry = told.more(seq, "decision", head, event.time, policy="ledger", failed=True)
    entry.fact(call=event.call, limit=_capped(ceiling))
    for name in ("settled", "reserved", "presumed", "asked"):
        entry.fact(**{name: amount(ceiling, getattr(event, name))})
    entry.fact(until=moment(event.until) if event.until else "")


def _returned(told: _Told, seq: int, event: Returned) -> None:
    returned(told.came(seq, event), event)


def _failed(told: _Told, seq: int, event: Failed) -> None:
    entry, failure = told.came(seq, event), event.failure
    entry.state, entry.failed = failure.kind.replace("_", " "), True
    entry.fact(took=span(event.seconds), status=failure.status, request=failure.request_id)
    _told_of(entry, failure)
    entry.text(failure=failure.message, traceback=event.traceback)


def _told_of(entry: Entry, failure: Failure) -> None:
    after = failure.retry_after
    entry.fact(retry_after=None if after is None else span(after))
    entry.fact(resend="may help" if failure.may_resend else "")
    used(entry, failure.usage)
    sent(entry, failure.sent)


def _paused(told: _Told, seq: int, event: Paused) -> None:
    entry = told.came(seq, event)
    entry.state, entry.end = "waits for a person", None
    entry.text(waits=event.why)
    told.open[event.call] = entry


def _inspected(told: _Told, seq: int, event: Inspected) -> None:
    found, unsure = len(event.problems), len(event.undecided)
    if not found and not unsure:
        asked = f"{len(event.judging)} judges are asked" if event.judging else "all checks agree"
        told.more(seq, "run", asked if event.checks else "there are no checks", event.time)
        return
    head = f"the checks found {found} problem{'s' * (found != 1)}" if found else "a check is unsure"
    entry = told.more(seq, "problem", head, event.time)
    entry.fact(checks=event.checks)
    entry.texts += [(problem.check, problem.text, False) for problem in event.problems]
    entry.texts += [(f"{p.check}, undecided", p.text, False) for p in event.undecided]


def _unwinding(told: _Told, seq: int, event: Unwinding) -> None:
    entry = told.more(seq, "run", "what the tools did is taken back", event.time)
    entry.fact(outcome=event.outcome)
    entry.text(why=event.why, traceback=event.traceback)


def _ended(told: _Told, seq: int, event: Ended) -> None:
    cut(list(told.open.values()), event.time)
    told.open.clear()
    failed = event.outcome != "accepted"
    entry = told.more(seq, "run", f"the run ends: {event.outcome}", event.time, failed=failed)
    entry.fact(verified="all checks agree" if event.verified else "")
    entry.text(why=event.why, output=event.output, traceback=event.traceback)


def _reconciled(told: _Told, seq: int, event: Reconciled) -> None:
    entry = told.more(seq, "run", f"the bill of {event.call} is known", event.time)
    entry.fact(call=event.call, cost=f"{money(event.cost)} USD", by=event.by)
    entry.fact(presumed_until_then=f"{money(event.presumed)} USD")


_TOLD: dict[type[Event], Callable[[_Told, int, Any], None]] = {
    Started: _started,
    Resumed: _resumed,
    Decided: _decided,
    Intended: _intended,
    Declined: _declined,
    Returned: _returned,
    Failed: _failed,
    Paused: _paused,
    Inspected: _inspected,
    Unwinding: _unwinding,
    Ended: _ended,
    Reconciled: _reconciled,
}
