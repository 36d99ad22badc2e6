"""Search: the words of all messages, found by SQLite's own full-text index.

The index is made when somebody searches, and then only of what is new: nothing is slower for
those who never do. It can be thrown away: ``drop table said; drop table searched``.
"""

import sqlite3
from contextlib import AbstractContextManager
from typing import Any

from attrs import frozen

from loopwright.errors import BadInput
from loopwright.log.migrations import transaction

_TABLES = (
    "create virtual table if not exists {}said using fts5("
    "text, run unindexed, seq unindexed, role unindexed, tokenize='unicode61 remove_diacritics 2')",
    "create table if not exists {}searched ("
    "run text primary key, seq integer not null) strict, without rowid",
)
"""In a log that may only be read they are temporary, and made anew by each process."""

AT_ONCE = 100
"""Runs that are indexed in one transaction: others wait to write for milliseconds, not seconds."""

# Of a run that rests the totals say how far it has come.
_BEHIND = """
select n.run, coalesce(d.seq, 0) as done, n.newest from (
  select run, coalesce(base_seq, 0) + events as newest from run_totals
  union all
  select run, (select max(seq) from events e where e.run = u.run) from unsummed u
) n left join searched d on d.run = n.run
where n.run > ? and n.newest > done and exists (select 1 from events e where e.run = n.run)
order by n.run limit ?
"""
_SAY = "insert into said select text, run, seq, role from messages where run = ? and seq > ?"
_DONE = "insert into searched values (?, ?) on conflict do update set seq = excluded.seq"
_FIND = """
select run, seq, role, snippet(said, 0, '[', ']', '…', 16) from said where said match ?
order by rank, run, seq limit ?
"""


@frozen
class Found:
    """A message: where it stands, whose it is (as in the view `messages`), and a piece of it."""

    run: str
    seq: int
    role: str
    piece: str


def search(log: Any, words: str, *, limit: int = 50) -> list[Found]:
    """The messages that have all of `words` in them, the best first, at most `limit`.

    A word is found by its beginning, without regard to case and accents; the words found stand in
    brackets. A script that puts no spaces between words is found by the beginnings of its
    sentences only. There are at most 50 by default: two screens.

    Afterwards the table `said` can be asked by any SQLite, with all that its ``match`` knows.
    Raises `BadInput` if there is no word to look for, `LogError` if the file cannot be used.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Log, Loop, Task
    >>> from loopwright.models import Scripted
    >>> with TemporaryDirectory() as folder:
    ...     loop = Loop(Scripted(["Take an umbrella."]), log=f"{folder}/runs.db")
    ...     run = loop.run_now(Task("What do I need in the rain?"))
    ...     [(found.role, found.piece) for found in search(loop.log, "Umbrell")]
    [('assistant', 'Take an [umbrella].')]
    """
    words = words.encode(errors="replace").decode()
    wanted = " ".join(f'"{word}"*' for word in words.replace('"', " ").replace("\0", " ").split())
    if not any(map(str.isalnum, wanted)):
        raise BadInput(f"search({words!r}): give at least one word to look for")
    index(log)
    with _held(log) as connection:
        rows = connection.execute(_FIND, (wanted, limit)).fetchall()
    return [Found(*row) for row in rows]


def index(log: Any) -> None:
    """Bring the table `said` up to what the log holds now."""
    with _held(log) as connection, transaction(connection):
        for table in _TABLES:
            connection.execute(table.format("temp." if log.read_only else ""))
    last: str | None = ""
    while last is not None:
        with _held(log) as connection, transaction(connection):
            last = _indexed(connection, last)


def _held(log: Any) -> AbstractContextManager[sqlite3.Connection]:
    held: AbstractContextManager[sqlite3.Connection] = (
        log.reading() if log.read_only else log.writing()
    )
    return held


def _indexed(connection: sqlite3.Connection, after: str) -> str | None:
    """Index the next runs that come `after`; the last of them, or `None` at the end."""
    behind = connection.execute(_BEHIND, (after, AT_ONCE)).fetchall()
    for run, done, newest in behind:
        connection.execute(_SAY, (run, done))
        connection.execute(_DONE, (run, newest))
    return behind[-1][0] if behind else None
