"""The totals of the runs that rest: made once, so that questions about a whole log are fast."""

import sqlite3
import time
from itertools import islice

from loopwright.log.file import Writing
from loopwright.log.migrations import transaction

AT_ONCE = 50
"""Runs in one transaction: some 20 milliseconds, which others who write have to wait at most."""

SILENT = 3_600.0
"""Seconds after which a run that neither ended nor waits counts as left by its process: the longest
timeout of a call is 10 minutes by default, and if it does go on, its totals are dropped again."""

# A child follows its parent, so that the run at the top of the tree is known for good.
_RESTING = """
select u.run from unsummed u where (
    select e.type in ('Ended', 'Paused') or e.time < ? from events e
    where e.run = u.run and e.type <> 'Reconciled' order by e.seq desc limit 1
  ) and (
    select coalesce(json_extract(s.data, '$.parent'), '') = '' or json_extract(s.data, '$.parent')
      in (select run from run_totals) from events s where s.run = u.run and s.type = 'Started'
  )
"""

_SUM = (
    "insert or replace into run_totals select * from unsummed_runs where run = ?",
    "insert or replace into spend_totals select * from unsummed_spend where run = ?",
    "delete from unsummed where run = ?",
)


def sum_up(writing: Writing) -> int:
    """Make the totals of all runs that rest; how many these were.

    Short transactions: whoever else writes waits for milliseconds only, and several processes may
    do this at once.
    """
    summed = 0
    while runs := _resting(writing):
        summed += len(runs)
        left = iter(runs)
        while some := list(islice(left, AT_ONCE)):
            with writing as connection, transaction(connection):
                for run in some:
                    _sum(connection, run)
    return summed


def _resting(writing: Writing) -> list[str]:
    with writing.lock:
        found = writing.connection.execute(_RESTING, (time.time() - SILENT,))
        return [run for (run,) in found]


def _sum(connection: sqlite3.Connection, run: str) -> None:
    for statement in _SUM:
        connection.execute(statement, (run,))
