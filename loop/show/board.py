"""`board`: a whole log as one HTML document: what was spent, what was accepted, what went wrong."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loopwright.log.store import Log
from loopwright.report import Since, seconds
from loopwright.show.figures import money
from loopwright.show.frame import page as framed
from loopwright.show.grid import (
    Column,
    Row,
    badges,
    commands,
    counts,
    grid,
    shares,
    texts,
    times,
    usd,
)
from loopwright.show.markup import escaped
from loopwright.show.overview import By, as_said, spend

TOP = 15
"""Runs, checks and failures that are listed: a screen of each; the views have all."""


def board(log: Log, since: Since = None) -> str:
    """A log as one self-contained HTML document: spend, acceptance, what is slow, dear or waiting.

    `since` leaves out runs that began earlier, and money of earlier days: an ISO date (in UTC where
    it names no zone), or seconds since 1970. By default all of the log counts. Raises `BadInput`
    for what is no date.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(f"{folder}/runs.db", "process")
    ...     document = board(log)
    ...     log.close()
    >>> "No run" in document
    True
    """
    asked = _Asked(log, since)
    totals = asked.one(_TOTALS)
    body = _head(log, since, totals)
    if totals["runs"]:
        body += f'<main id="main">{"".join(_sections(asked))}</main>'
    return framed(f"The log {Path(log.path).name}", body, (), "board.js")


class _Asked:
    """Asks a log about the runs that began at `since` or later."""

    def __init__(self, log: Log, since: Since) -> None:
        self.log, self.since = log, since
        self.at = datetime.fromtimestamp(seconds(since), UTC).isoformat(timespec="milliseconds")

    def all(self, query: str) -> list[dict[str, Any]]:
        found = self.log.asked(query, {"since": self.at[:23] + "Z", "top": TOP})
        return [as_said(self.log, row) for row in found]

    def one(self, query: str) -> dict[str, Any]:
        return self.all(query)[0]

    def spent(self, by: By) -> list[dict[str, Any]]:
        return [{"name": row.name, **row.row()} for row in spend(self.log, by, since=self.since)]


def _head(log: Log, since: Since, totals: Mapping[str, Any]) -> str:
    if not totals["runs"]:
        told = "No run has begun yet." if since is None else "No run has begun since then."
        figures = f'<p class="none">{told}</p>'
    else:
        figures = "".join(f"<div><dt>{n}</dt><dd>{v}</dd></div>" for n, v in _figures(totals))
        figures = f'<dl class="big">{figures}</dl>'
    span = f"{totals['first'][:10]} to {totals['last'][:10]}, UTC" if totals["runs"] else ""
    return (
        f'<header class="top"><p class="kind">A log</p><h1>{escaped(Path(log.path).name)}</h1>'
        f'<p class="soft">{span}</p>{figures}</header>'
    )


def _figures(totals: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "runs", f"{totals['runs']:,}"
    accepted = totals["accepted"] / totals["ended"] if totals["ended"] else 0
    yield "accepted, of those that ended", f"{100 * accepted:.0f} %"
    yield "USD", money(totals["cost_nano"])
    yield "waiting for a person", f"{totals['waiting']:,}"
    yield "open", f"{totals['open']:,}"


def _sections(asked: _Asked) -> Iterator[str]:
    days = spend(asked.log, "day", since=asked.since)
    plot = days.plot.svg() if days.plot else ""
    table = grid("Spend by day", _spent("day"), asked.spent("day"), bar="cost_nano")
    folded = f"<details><summary>as a table</summary>{table}</details>"
    yield _section("Spend by day", plot + folded)
    by_task, by_model = (
        grid(f"Spend by {by}", _spent(by), asked.spent(by), bar="cost_nano")
        for by in ("task", "model")
    )
    yield _pair(_section("Spend by task", by_task), _section("Spend by model", by_model))
    yield _section("Prompt versions", grid("Prompt versions", _VERSIONS, asked.all(_TASKS)))
    waiting = asked.all(_WAITING)
    yield _section("Waiting for a person", grid("Waiting", _WAITS, waiting))
    yield _section("Dearest runs", grid("Dearest runs", _RUN, asked.all(_DEAREST), bar="cost_nano"))
    yield _section("Slowest runs", grid("Slowest runs", _RUN, asked.all(_SLOWEST), bar="seconds"))
    policies = asked.spent("policy")
    tried = [row for row in policies if row["name"]]
    yield _pair(
        _section("What trying again cost", _again(policies, tried)),
        _section("How runs ended", grid("Outcomes", _ENDED, asked.all(_OUTCOMES), bar="runs")),
    )
    yield _pair(
        _section(
            "What checks reject", grid("Checks", _CHECKS, asked.all(_REJECTED), bar="problems")
        ),
        _section("Failures", grid("Failures", _FAILED, asked.all(_FAILURES), bar="calls")),
    )


def _again(policies: Sequence[Row], tried: Sequence[Row]) -> str:
    """What policies had done once more, and its share of all that was spent."""
    cost, whole = (sum(row["cost_nano"] for row in rows) for rows in (tried, policies))
    share = f", {100 * cost / whole:.0f} % of the spend" if whole else ""
    told = f'<p class="soft">{money(cost)} USD{share}: the calls that a policy made necessary.</p>'
    return told + grid("By policy", _spent("policy"), tried, bar="cost_nano")


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{title}</h2>{inner}</section>"


def _pair(one: str, other: str) -> str:
    return f'<div class="pair">{one}{other}</div>'


# ------------------------------------------------------------------------------------ the columns


def _spent(by: str) -> list[Column]:
    return [texts(by, "name"), counts("model calls", "model_calls"), usd("USD")]


_VERSIONS = [
    texts("task", "task"),
    texts("label", "label"),
    texts("version", "version"),
    counts("runs", "runs"),
    shares("accepted", "acceptance"),
    shares("at once", "at_once_acceptance"),
    Column("attempts", "attempts", lambda value: f"{value:.2f}"),
    times("seconds", "seconds"),
    usd("USD"),
    usd("USD, each accepted", "nano_per_accepted"),
]
_RUN = [
    commands("run", "run"),
    texts("task", "task"),
    badges("outcome", "outcome"),
    texts("began", "started"),
    times("took", "seconds"),
    usd("USD"),
]
_WAITS = [
    commands("run", "run"),
    texts("task", "task"),
    texts("asked", "time"),
    texts("question", "question"),
]
_CHECKS = [texts("check", "check"), counts("problems", "problems"), counts("runs", "runs")]
_FAILED = [texts("of", "what"), texts("failure", "failure"), counts("calls", "calls")]
_ENDED = [badges("outcome", "outcome"), counts("runs", "runs"), usd("USD")]

# ---------------------------------------------------------------------------------- the questions
# Of runs, those are counted that nobody delegated: their cost is with that of the runs below them.

_TOTALS = """
select count(*) as runs, min(started) as first, max(started) as last,
  coalesce(sum(outcome not in ('waiting', 'open')), 0) as ended,
  coalesce(sum(outcome = 'accepted'), 0) as accepted,
  coalesce(sum(outcome = 'waiting'), 0) as waiting, coalesce(sum(outcome = 'open'), 0) as open,
  coalesce(sum(cost_nano), 0) as cost_nano
from runs where started >= :since and parent = ''
"""

_TASKS = """
select task, label, version, count(*) as runs,
  1.0 * sum(outcome = 'accepted') / nullif(sum(over), 0) as acceptance,
  1.0 * sum(outcome = 'accepted' and attempts = 1) / nullif(sum(over), 0) as at_once_acceptance,
  avg(attempts) as attempts, avg(case when over then seconds end) as seconds,
  sum(cost_nano) as cost_nano,
  sum(cost_nano) / nullif(sum(outcome = 'accepted'), 0) as nano_per_accepted
from (select *, outcome not in ('waiting', 'open') as over from runs where started >= :since)
group by task, version, label order by task, min(started)
"""

_LISTED = """
select run, task, outcome, replace(substr(started, 1, 16), 'T', ' ') as started, seconds, cost_nano
from runs where started >= :since and parent = '' order by
"""
_DEAREST = f"{_LISTED} cost_nano desc, run limit :top"
_SLOWEST = f"{_LISTED} seconds desc, run limit :top"

_WAITING = """
select r.run, r.task, a.question, replace(substr(a.time, 1, 16), 'T', ' ') as time
from runs r join approvals a on a.run = r.run and a.answer is null and not a.withdrawn
where r.outcome = 'waiting' and r.started >= :since order by a.time limit :top
"""

_OUTCOMES = """
select outcome, count(*) as runs, sum(cost_nano) as cost_nano
from runs where started >= :since and parent = '' group by 1 order by 2 desc
"""

# These two ask the events themselves: the views number the steps of all runs first, which takes
# seconds in a log of a million events.

_REJECTED = """
select json_extract(found.value, '$.check') as "check", count(*) as problems,
  count(distinct e.run) as runs
from events e, json_each(e.data, '$.problems') as found
where e.type = 'Inspected' and e.run in (select run from runs where started >= :since)
group by 1 order by 2 desc limit :top
"""

_FAILURES = """
select what, failure, count(*) as calls from (
  select json_extract(e.data, '$.failure.kind') as failure,
    (select iif(json_extract(i.data, '$.call.is') = 'ToolCall', 'a tool call', 'a model call')
      from events i where i.run = e.run and i.seq < e.seq and i.call = e.call
        and i.type = 'Intended' order by i.seq desc limit 1) as what
  from events e
  where e.type = 'Failed' and e.run in (select run from runs where started >= :since)
) group by 1, 2 order by 3 desc limit :top
"""
