"""Vacuum: the events of old runs are removed, and what they add up to stays."""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from loopwright.errors import BadInput
from loopwright.log.balances import CARRIED, Balances, posted, summed
from loopwright.log.migrations import transaction
from loopwright.log.rewriting import forgotten, shrunk, swept, unguarded
from loopwright.log.rows import whole
from loopwright.log.store import Log
from loopwright.report import Report, Since, opened, seconds

AT_ONCE = 100
"""Runs that are removed in one transaction, if their families are not larger: others wait for
milliseconds."""


@frozen
class Removed:
    """A run whose events were removed; it `ended` in seconds since 1970."""

    run: str
    task: str
    events: int
    ended: float

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {"run": self.run, "task": self.task, "events": self.events, "ended": self.ended}


def vacuum(
    log: Log | str | os.PathLike[str], *, before: Since, dry_run: bool = False
) -> Report[Removed]:
    """Remove the events of runs that ended `before`, an ISO date (in UTC where it names no zone) or
    seconds since 1970, and give back their space.

    A run goes only together with its family: the runs that its tools began, the run whose tool
    began it, its forks, and the run that it forked from; all must be over and old. A run that waits
    or is open stays, with its whole family. Totals and balances stay, so that the views `runs`,
    `tasks` and `spend` add up to the same as before, and the ceilings hold. What was said is gone:
    messages, decisions, answers, results of `whatif`; and the index of the search is made anew when
    somebody searches. What was presumed spent can be reconciled no more. With `dry_run` nothing is
    removed.

    Others may write meanwhile; they wait while the file is made smaller. A crash leaves a good log,
    and what is left is removed the next time. Raises `BadInput` for a date that is none, `LogError`
    if the log cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     print(vacuum(Log(f"{folder}/runs.db"), before="2026-01-01", dry_run=True))
    runs 0, events 0
    """
    if before is None:
        raise BadInput("before=None: give an ISO date such as '2026-06-15', or seconds since 1970")
    end = seconds(before, "before")
    log = opened(log)
    log.sum_up()
    if dry_run:
        return _report([one for family in _old(log, end)[0] for one in family], {})
    removed = list(_removed(log, end))
    with log.writing() as connection, transaction(connection), unguarded(connection):
        parts = swept(connection)
    return _report(removed, {"texts": parts, "bytes": shrunk(log)})


def _report(removed: list[Removed], more: dict[str, Any]) -> Report[Removed]:
    events = sum(one.events for one in removed)
    return Report(tuple(removed), {"runs": len(removed), "events": events, **more})


# ------------------------------------------------------------------------------ which runs may go

_LAST = """
select s.run, coalesce(json_extract(s.data, '$.parent'), ''),
  coalesce(json_extract(s.data, '$.base'), ''), json_extract(s.data, '$.task'),
  (select count(*) from events where run = s.run), last.time,
  (? or exists (select 1 from run_totals where run = s.run))
    and (select type = 'Ended' from events where run = s.run and type <> 'Reconciled'
      order by seq desc limit 1)
from events s join events last on last.run = s.run
  and last.seq = (select max(seq) from events where run = s.run)
where s.type = 'Started' order by s.run
"""

_IDS = "select run from events where type = 'Started'"
_KIN = (
    "select json_extract(data, '$.parent'), json_extract(data, '$.base')"
    " from events where run = ? and type = 'Started'"
)

Family = list[Removed]


def _old(log: Log, end: float) -> tuple[list[Family], set[str]]:
    """The families all of whose runs ended before, and the ids of all runs that there are."""
    with log.reading() as connection:
        rows = connection.execute(_LAST, (log.read_only,)).fetchall()
    head = {run: run for run, *_ in rows}
    for run, *others in ((run, parent, base) for run, parent, base, *_ in rows):
        for other in others:
            if other in head:
                head[_head(head, run)] = _head(head, other)
    families: dict[str, Family] = defaultdict(list)
    staying = set()
    for run, _, _, task, events, time, over in rows:
        families[_head(head, run)].append(Removed(run, task, events, time))
        if not over or time >= end:
            staying.add(_head(head, run))
    return [families[name] for name in families if name not in staying], set(head)


def _head(head: dict[str, str], run: str) -> str:
    """Who stands for the family of a run."""
    while head[run] != run:
        head[run] = run = head[head[run]]
    return run


# --------------------------------------------------------------------------------- their removal


def _removed(log: Log, end: float) -> Iterator[Removed]:
    """Remove what may go, a few families at a time. Where another process has gone on with one of
    them meanwhile, it is looked anew."""
    families, known = _old(log, end)
    while families:
        some: Family = []
        while families and len(some) < AT_ONCE:
            some += families.pop()
        if _taken(log, some, known):
            yield from some
        else:
            log.sum_up()
            families, known = _old(log, end)


def _carried(log: Log, run: str) -> Balances:
    events = log.events(run)
    with whole(run):
        return summed(posted(run, events))


def _taken(log: Log, some: Family, known: set[str]) -> bool:
    """Remove these runs, unless anything about them has changed."""
    carried = {one.run: _carried(log, one.run) for one in some}
    with log.writing() as connection, transaction(connection):
        if _changed(connection, some, known):
            return False
        connection.execute(CARRIED)
        forgotten(connection)
        with unguarded(connection):
            for one in some:
                _delete(connection, one.run)
        rows = [(run, "", "", 0, 0, 0) for run in carried]  # says that it was removed, not lost
        rows += [(run, *at, *sums) for run in carried for at, sums in carried[run].items()]
        connection.executemany("insert into carried values (?, ?, ?, ?, ?, ?)", rows)
    return True


def _changed(connection: sqlite3.Connection, some: Family, known: set[str]) -> bool:
    """Whether one of these runs was gone on with, or has a child or a fork that is not known."""
    count = "select count(*) from events where run = ?"
    if any(connection.execute(count, (one.run,)).fetchone()[0] != one.events for one in some):
        return True
    new = {run for (run,) in connection.execute(_IDS)} - known
    kin = {one for run in new for one in connection.execute(_KIN, (run,)).fetchone()}
    return not kin.isdisjoint(one.run for one in some)


def _delete(connection: sqlite3.Connection, run: str) -> None:
    for table in ("events", "answers", "whatif", "exported"):
        connection.execute(f"delete from {table} where run = ?", (run,))
