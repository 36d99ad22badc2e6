"""Overviews of a log: its runs one by one, and what was spent, by whatever one asks for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from attrs import frozen

from loopwright.codec import decode, encode
from loopwright.errors import BadInput
from loopwright.log.rows import readable
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.report import Report, Since, seconds, usd
from loopwright.show.plots import Column, Plot
from loopwright.show.table import cell
from loopwright.task import Task

By = Literal["day", "task", "version", "model", "policy", "purpose", "root"]
"""What money can be summed up by."""

LATEST = 1_000
"""Runs that `Log.runs` gives where nobody says how many: read in a tenth of a second."""

_KINDS = {"accepted": "ok", "waiting": "wait", "open": "wait"}


@frozen
class RunTotals:
    """A run in figures: what the view `runs` tells of it. `cost` is in nano-dollars.

    `outcome` is ``"open"`` while the run goes on, or if its process has died. `started` is an ISO
    date in UTC, `seconds` is from the first event to the last.
    """

    run: str
    task: str
    version: str
    parent: str
    model: str
    outcome: str
    verified: bool
    started: str
    seconds: float
    model_calls: int
    tool_calls: int
    attempts: int
    cost: int

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {
            "run": self.run,
            "task": self.task,
            "outcome": self.outcome,
            "verified": int(self.verified),
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "attempts": self.attempts,
            "cost_nano": self.cost,
            "cost_usd": usd(self.cost),
            "model": self.model,
            "version": self.version,
            "parent": self.parent,
        }


@frozen
class SpendTotals:
    """What was spent for one day, task, ...: `name` says for which. `cost` is in nano-dollars.

    `possibly_billed` (USD) is what calls without a known cost may have cost at most, besides.
    """

    by: By
    name: str
    model_calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: int
    possibly_billed: float

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values; the first is called what was asked for."""
        return {
            self.by: self.name,
            "model_calls": self.model_calls,
            "failed": self.failed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_nano": self.cost,
            "cost_usd": usd(self.cost),
            "possibly_billed_usd": self.possibly_billed,
        }


# ------------------------------------------------------------------------------------------ runs

_RUNS = """
select run, task, version, parent, model, outcome, coalesce(verified, 0) as verified, started,
  seconds, model_calls, tool_calls, attempts, cost_nano
from runs
where started >= strftime('%Y-%m-%dT%H:%M:%fZ', :since, 'unixepoch')
  and case when :parent is not null then parent = :parent
    when :task is not null then task = :task else parent = '' end
  and (:task is null or task = :task)
  and (:outcome is null or outcome = :outcome)
order by started desc, run desc limit :limit
"""


def runs(
    log: Log,
    *,
    task: Task | str | None = None,
    since: Since = None,
    outcome: str | None = None,
    parent: str | None = None,
    limit: int | None = LATEST,
) -> Report[RunTotals]:
    """The runs of `log`, newest first.

    `task` (a `Task` or its title), `outcome` (also ``"open"``) and `parent` (the run that has begun
    them, by a tool) leave out others. `since` leaves out runs that began earlier: an ISO date, in
    UTC where it names no zone, or seconds since 1970. Runs that a tool began are part of another
    run, and are left out where neither `task` nor `parent` is given. `limit` is how many at most,
    `None` for all. Raises `BadInput` for what cannot be asked for.
    """
    given = {
        "task": task.title if isinstance(task, Task) else task,
        "since": seconds(since),
        "outcome": _outcome(outcome),
        "parent": parent,
        "limit": _limit(limit),
    }
    if not isinstance(given["task"], str | None):
        raise BadInput(f"task={task!r}: give a Task, its title, or None for all tasks")
    if not isinstance(parent, str | None):
        raise BadInput(f"parent={parent!r:.80}: give the id of a run, or None for all")
    given["task"] = given["task"] and _in_views(given["task"])
    rows = tuple(RunTotals(*_values(log, row)) for row in _asked(log, _RUNS, given))
    return Report(rows, _counted(rows), plot=_by_time(rows))


def _asked(log: Log, query: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    with readable(log.path):
        return log.asked(query, given)


def _values(log: Log, row: dict[str, Any]) -> Iterator[Any]:
    held = as_said(log, row)
    return (bool(value) if name == "verified" else value for name, value in held.items())


def _in_views(text: str) -> str:
    """`text` as the views have it: JSON that stands for a text is no more than JSON to them."""
    stored = encode(text, {})
    return stored if stored.startswith(_TAGGED) else text


def as_said(log: Log, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a view with the texts that are stored in another form: long ones, and with NUL."""
    return {
        name: _text(log, value) if isinstance(value, str) and value.startswith(_TAGGED) else value
        for name, value in row.items()
    }


def _text(log: Log, stored: str) -> str:
    """The text that is stored so; somebody's own text may look the same, and is what it is."""
    with suppress(ValueError, LookupError, TypeError):
        text = decode(stored, lambda part: str(log.asked(_PART, (str(part),))[0]["text"]))
        if isinstance(text, str) and encode(text, {}) == stored:
            return text
    return stored


_TAGGED = ('{"$text":"', '{"$part":"')
_PART = "select text from parts where digest = ?"


def _outcome(outcome: str | None) -> str | None:
    known = ("open", *(one.value for one in Outcome))
    if outcome is None or str(outcome) in known:
        return None if outcome is None else str(outcome)
    raise BadInput(f"outcome={outcome!r}: say one of {', '.join(known)}, or None for all")


def _limit(limit: int | None) -> int:
    if limit is None:
        return -1  # which is no limit to SQLite
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise BadInput(f"limit={limit!r}: give a whole number of runs, or None for all")
    return limit


def _counted(rows: Sequence[RunTotals]) -> dict[str, Any]:
    counts = Counter(row.outcome for row in rows)
    cost = sum(row.cost for row in rows)
    return {"runs": len(rows), **dict(counts.most_common()), "cost_usd": usd(cost)}


def _by_time(rows: Sequence[RunTotals]) -> Plot | None:
    """How runs ended, day by day, or hour by hour where all began on one day."""
    if not rows:
        return None
    days = {row.started[:10] for row in rows}
    unit, length = ("day", 10) if len(days) > 1 else ("hour", 13)
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.started[:length], Counter())[row.outcome] += 1
    columns = [_outcomes(at, found.get(at, Counter())) for at in _without_gaps(found, unit)]
    most = max(counts.total() for counts in found.values())
    return Plot(f"runs by {unit} and outcome (UTC)", columns, str(most))


def _outcomes(at: str, counts: Counter[str]) -> Column:
    parts: dict[str, float] = {"ok": 0.0, "wait": 0.0, "bad": 0.0}
    for outcome, count in counts.items():
        parts[_KINDS.get(outcome, "bad")] += count
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    return Column(at.replace("T", " ") + (":00" if "T" in at else ""), parts, told or "none")


MOST = 366
"""Columns with gaps filled in: a year by day. What lies further apart is shown side by side."""


def _without_gaps(found: Iterable[str], unit: str) -> list[str]:
    """Every day or hour from the first to the last, so that time goes by evenly in a plot."""
    there = sorted(found)
    form, each = ("%Y-%m-%d", timedelta(days=1)) if unit == "day" else ("%Y-%m-%dT%H", _HOUR)
    first, last = (datetime.strptime(at, form).replace(tzinfo=UTC) for at in (there[0], there[-1]))
    count = (last - first) // each + 1
    return [(first + i * each).strftime(form) for i in range(count)] if count <= MOST else there


_HOUR = timedelta(hours=1)

# ----------------------------------------------------------------------------------------- spend

_SPEND = """
select {by} as name, sum(model_calls) as model_calls, sum(failed) as failed,
  sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
  sum(cost_nano) as cost_nano, sum(possibly_billed_usd) as possibly_billed_usd
from spend where day >= date(:since, 'unixepoch')
group by 1 order by {order}
"""


def spend(log: Log, by: By = "day", *, since: Since = None) -> Report[SpendTotals]:
    """What the runs of `log` have cost, summed up.

    `by` is ``"day"`` (in UTC, the oldest first), or, the dearest first, ``"task"``, ``"version"``
    of a prompt, ``"model"``, ``"policy"`` that made the calls necessary, ``"purpose"`` of a call,
    or ``"root"`` of a tree of runs. `since` leaves out earlier days: an ISO date, or seconds since
    1970; its own day counts. Raises `BadInput` for what cannot be asked for.
    """
    if by not in get_args(By):
        raise BadInput(f"by={by!r}: say one of {', '.join(get_args(By))}")
    query = _SPEND.format(by=by, order="1" if by == "day" else "cost_nano desc, 1")
    found = _asked(log, query, {"since": seconds(since)})
    rows = tuple(SpendTotals(by, *_values(log, row)) for row in found)
    plot = _costs(rows) if by == "day" and rows else None
    return Report(rows, _summed(rows), plot=plot, bar="cost_usd")


def _summed(rows: Sequence[SpendTotals]) -> dict[str, Any]:
    return {
        "cost_usd": usd(sum(row.cost for row in rows)),
        "model_calls": sum(row.model_calls for row in rows),
        "failed": sum(row.failed for row in rows),
        "tokens": sum(row.input_tokens + row.output_tokens for row in rows),
        "possibly_billed_usd": sum(row.possibly_billed for row in rows),
    }


def _costs(rows: Sequence[SpendTotals]) -> Plot:
    costs = {row.name: row.cost / 1e9 for row in rows}
    told = {day: f"{cell('_usd', cost)} USD" for day, cost in costs.items()}
    columns = [
        Column(day, {"accent": costs.get(day, 0.0)}, told.get(day, "nothing"))
        for day in _without_gaps(costs, "day")
    ]
    return Plot("USD by day (UTC)", columns, max(told.items(), key=lambda one: costs[one[0]])[1])
