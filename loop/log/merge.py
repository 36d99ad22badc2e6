"""Merge: several logs become one."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from loopwright.errors import BadInput, LogError
from loopwright.log.balances import CARRIED
from loopwright.log.file import read_only, remedy
from loopwright.log.migrations import transaction
from loopwright.log.rewriting import unguarded
from loopwright.log.rows import readable
from loopwright.log.store import Log
from loopwright.report import Report, opened


@frozen
class Merged:
    """A run that came from another log, or has become longer, and how many `events` came."""

    run: str
    events: int

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {"run": self.run, "events": self.events}


def merge(
    log: Log | str | os.PathLike[str], *paths: str | os.PathLike[str], dry_run: bool = False
) -> Report[Merged]:
    """Bring all that the logs at `paths` hold into `log`: runs, long texts, answers and totals.

    A run that several of them hold must be the same in all, or in one the beginning of what it is
    in the other: then the longer one counts. Of two answers to one question the one that was given
    first counts, unless the run has gone on with the other. Balances are made anew, so that what
    was spent under a ceiling of the same name adds up, even beyond it. To merge the same again
    changes nothing. What stays behind is no part of a run: kept results, the index of the search,
    and tables that others have made, such as the `memories` of tools. With `dry_run` nothing is
    written.

    The other logs are copied first, and never changed; one of an older schema is migrated in the
    copy. Raises `LogError` if one cannot be read, if a run is another in two of them, or if one has
    only the beginning of a run that had come further when `vacuum` removed its events from another:
    then nothing is written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Log(f"{folder}/other.db").close()
    ...     print(merge(Log(f"{folder}/runs.db"), f"{folder}/other.db"))
    runs 0, events 0
    """
    log = opened(log)
    with TemporaryDirectory() as folder:
        copies = [_copy(log, path, Path(folder) / f"{i}.db") for i, path in enumerate(paths)]
        for other in copies[1:]:
            _merged(Log(copies[0], "process"), other)
        merged = _merged(log, copies[0], dry_run) if copies else []
    events = sum(one.events for one in merged)
    return Report(tuple(merged), {"runs": len(merged), "events": events})


def _copy(log: Log, path: str | os.PathLike[str], copy: Path) -> Path:
    """A copy of the log at `path`, of the newest schema."""
    if not Path(path).is_file():
        raise LogError(f"there is no log {os.fspath(path)}: give the paths of logs")
    if os.path.samefile(path, log.path):
        raise BadInput(f"{os.fspath(path)} is the log itself: give the paths of others")
    uri = read_only(os.fspath(path))
    try:
        with closing(sqlite3.connect(uri, uri=True)) as other, closing(sqlite3.connect(copy)) as to:
            other.backup(to)
        Log(copy, "process").close()
    except (sqlite3.Error, LogError) as error:
        said = str(error).replace(str(copy), os.fspath(path))
        more = remedy(error, os.fspath(path)) if isinstance(error, sqlite3.Error) else ""
        raise LogError(f"{os.fspath(path)} cannot be merged: {said}{more}") from None
    return copy


def _merged(log: Log, other: Path, dry_run: bool = False) -> list[Merged]:
    """Bring what the log `other` holds into `log`, in one transaction."""
    with log.writing() as connection, _attached(connection, other):
        _compare(connection)
        new = [Merged(*row) for row in connection.execute(_NEW)]
        if dry_run:
            return new
        with transaction(connection):
            _compare(connection)
            new = [Merged(*row) for row in connection.execute(_NEW)]
            with unguarded(connection):
                connection.execute(_FIRST)  # before the events come: how far has each gone on?
            for statement in (CARRIED, *_BRING):
                connection.execute(statement)
            log.rebalance(connection)
    return new


@contextmanager
def _attached(connection: sqlite3.Connection, other: Path) -> Iterator[None]:
    connection.execute("attach ? as other", (str(other),))
    try:
        connection.execute(CARRIED.replace("exists ", "exists other."))
        yield
    finally:
        connection.execute("detach other")


def _compare(connection: sqlite3.Connection) -> None:
    """Raises `LogError` if the other log is damaged, or a run is another there, or only older."""
    for query, said in _REFUSED.items():
        with readable("nothing was merged: one of the logs"):
            found = connection.execute(query).fetchone()
        if found:
            raise LogError(f"{said.format(*found)}; nothing was merged")


# Of a run whose events were removed from {0}, the other has fewer: it would go on from there anew.
_OLDER = """select t.run from {0}.run_totals t
  where not exists (select 1 from {0}.events e where e.run = t.run) and t.events > coalesce(
    nullif((select count(*) from {1}.events e where e.run = t.run), 0),
    (select events from {1}.run_totals where run = t.run))
  order by t.run limit 1"""
_LEFT = (
    "run {0} had gone on further in one of the logs, before its events were removed there, than it"
    " has in the other: leave the older log out"
)
_REFUSED = {
    "select run, seq from other.events"
    " where checksum <> checksum(run, seq, type, time, call, data) limit 1": (
        "event {1} of run {0} is damaged: `check` says what is still good"
    ),
    "select digest from other.parts o join main.parts m using (digest) where o.text <> m.text": (
        "the long text {0} is damaged in one of the logs: `check` says in which"
    ),
    "select o.run, o.seq from other.events o join main.events m on m.run = o.run and m.seq = o.seq"
    " where (o.type, o.time, o.call, o.data) is not (m.type, m.time, m.call, m.data)"
    " order by 1, 2": "run {0} went on in different ways in two of the logs, from event {1} on",
    _OLDER.format("main", "other"): _LEFT,
    _OLDER.format("other", "main"): _LEFT,
}

_NOT_THERE = """from other.events o
  where not exists (select 1 from main.events m where m.run = o.run and m.seq = o.seq)"""
_NEW = f"select run, count(*) {_NOT_THERE} group by run order by run"

# Of a run whose events were removed the totals come, unless its events are there.
_GONE = (
    "run not in (select run from main.run_totals) and run not in (select run from main.unsummed)"
)
_BRING = (
    "insert into main.parts select * from other.parts where true on conflict do nothing",
    f"insert into main.events select * {_NOT_THERE}",
    "insert into main.answers (run, call, time, text, by, note)"
    " select run, call, time, text, by, note from other.answers o where not exists"
    " (select 1 from main.answers m where m.run = o.run and m.call = o.call) order by id",
    f"insert into main.carried select * from other.carried where {_GONE}",
    f"insert into main.spend_totals select * from other.spend_totals where {_GONE}",
    f"insert into main.run_totals select * from other.run_totals where {_GONE}",
    "delete from main.carried where run in (select run from other.events)",
    "insert into main.whatif select * from other.whatif where true on conflict do nothing",
    "insert into main.exported select * from other.exported where true"
    " on conflict do update set seq = max(seq, excluded.seq)",
)
"""How far a run was exported counts where it is furthest."""

_GONE_ON = (
    "exists (select 1 from {}.events e"
    " where e.run = m.run and e.call = m.call and e.type = 'Returned')"
)
_FIRST = f"""
update main.answers as m set (time, text, by, note) = (o.time, o.text, o.by, o.note)
from other.answers o where o.run = m.run and o.call = m.call
  and not {_GONE_ON.format("main")}
  and ((o.time, o.text) < (m.time, m.text) or {_GONE_ON.format("other")})
"""
