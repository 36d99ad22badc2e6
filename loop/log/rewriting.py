"""Rewriting: what the few who may take something out of a log do. All others only append."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loopwright.errors import LogError

if TYPE_CHECKING:
    from loopwright.log.store import Log

_GUARDS = (
    "select name, sql from sqlite_master"
    " where type = 'trigger' and sql like '%the log is append-only%'"
)

PART = re.compile(r'"\$part":"([0-9a-f]{32})"')
"""How an event names a long text. In a text of its own the quotes would be escaped."""


@contextmanager
def unguarded(connection: sqlite3.Connection) -> Iterator[None]:
    """Within a transaction: what was appended may be changed, by this connection alone."""
    guards = connection.execute(_GUARDS).fetchall()
    for name, _ in guards:
        connection.execute(f'drop trigger "{name}"')
    yield
    for _, said in guards:
        connection.execute(said)


def forgotten(connection: sqlite3.Connection) -> None:
    """Drop the index of the search, which is made again when somebody searches."""
    connection.execute("drop table if exists said")
    connection.execute("drop table if exists searched")


def swept(connection: sqlite3.Connection) -> int:
    """Remove the long texts that no event names any more; how many these were."""
    used: set[str] = set()
    for (data,) in connection.execute("select data from events where instr(data, '\"$part\"')"):
        used.update(PART.findall(data))
    unused = [row for row in connection.execute("select digest from parts") if row[0] not in used]
    connection.executemany("delete from parts where digest = ?", unused)
    return len(unused)


def shrunk(log: "Log") -> int:
    """Give back the space of what was removed; how many bytes these were.

    Raises `LogError` while others read the log: then the file has not become smaller yet, and what
    was removed may still stand in the file beside it, whose name ends in ``-wal``.
    """
    before = _size(log.path)
    with log.writing() as connection:
        connection.execute("vacuum")
        (busy, *_) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    if busy:
        raise LogError(
            f"{log.path} is being read, so that what was removed still stands in {log.path}-wal: "
            "let the others close it, and do the same again"
        )
    return before - _size(log.path)


def _size(path: str) -> int:
    return sum(os.path.getsize(p) for p in (path, f"{path}-wal") if os.path.exists(p))
