"""A SQLite connection on which a model may work: what its statements may do, and how much."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loopwright.errors import BadInput

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}

_DENIED = {"load_extension", "fts3_tokenizer", "edit", "readfile", "writefile", "lsmode", "eval"}
"""Functions that load code, follow pointers, start programs or open files, where they exist:
sqlite.org/security.html and the extensions of its shell."""

_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info"} | {
    "index_xinfo",
    "foreign_key_list",
    "data_version",
    "user_version",
    "compile_options",
}
"""Pragmas that only tell. Where they take an argument, it names a table or an index, except
`user_version`, which would be set by it."""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 10_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 1_000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
"""sqlite.org/security.html advises low limits for the statements of strangers: a value of 10 MB
holds whatever a log has, the rest is a tenth of the defaults or less. A pattern of 100 characters
is sought in such a value for a second."""

_SLOW = {"instr", "replace", "trim", "ltrim", "rtrim", "json_patch"}
"""Functions that take as long as one argument times the other, in which SQLite does not look at the
clock: with values of 10 MB, hours."""

_SHORT = 100_000
"""Bytes of a value in a statement that uses one of these: it takes a second at most."""

_STEPS = 2_000
"""Steps of SQLite's machine between two looks at the clock: some 50 µs."""


@contextmanager
def guarded(connection: sqlite3.Connection, write: bool, seconds: float) -> Iterator[None]:
    """As long as this is open, statements on `connection` can only read, or also `write` rows.

    No statement can attach a file, change a setting or the schema, load an extension or run longer
    than `seconds`. All that is written is one transaction, which an error takes back.
    """
    if connection.in_transaction:  # the next line would commit it
        raise BadInput("the connection is in a transaction of its owner: give the tool its own")
    limits = _limited(connection)
    isolation, connection.isolation_level = connection.isolation_level, None
    factory, connection.row_factory = connection.row_factory, None
    (query_only,) = connection.execute("pragma query_only").fetchone()
    done = False
    try:
        _guard(connection, write, time.monotonic() + seconds)
        yield
        done = True
    except sqlite3.DatabaseError as error:
        raise _clear(error, write, seconds) from None
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:  # a statement may say that an error ends it
            connection.execute("commit" if done else "rollback")
        connection.execute(f"pragma query_only = {query_only}")
        connection.isolation_level, connection.row_factory = isolation, factory
        for kind, most in limits:
            connection.setlimit(kind, most)


def _clear(error: sqlite3.DatabaseError, write: bool, seconds: float) -> Exception:
    """What SQLite says, in words that a model can act on."""
    said = str(error)
    if "interrupted" in said:
        return TimeoutError(f"the query took longer than {seconds:g} s")
    if "authorized" in said or "prohibited" in said:
        allowed = "read and changed" if write else "read"
        return sqlite3.DatabaseError(f"{said}: rows can be {allowed} here, and nothing else")
    if "too big" in said:
        slow = ", ".join(sorted(_SLOW))
        return sqlite3.DataError(f"{said}: in a statement with {slow}, {_SHORT} bytes are the most")
    return error


def _limited(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Set the limits; what they were before."""
    try:
        return [(kind, connection.setlimit(kind, most)) for kind, most in _LIMITS.items()]
    except sqlite3.ProgrammingError:
        raise BadInput(
            "the connection belongs to another thread: open it with check_same_thread=False, or "
            "give the path of the file"
        ) from None


def _guard(connection: sqlite3.Connection, write: bool, deadline: float) -> None:
    connection.execute(f"pragma query_only = {'off' if write else 'on'}")
    _connect(connection)
    connection.execute("begin immediate" if write else "begin")
    connection.set_authorizer(_shortened(connection, _writer if write else _reader))
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)


def _shortened(connection: sqlite3.Connection, allowed: Callable[..., int]) -> Callable[..., int]:
    """The same authorizer, and a statement that it sees use a slow function gets no long values."""

    def authorizer(action: int, one: str | None, two: str | None, *rest: Any) -> int:
        if action == sqlite3.SQLITE_FUNCTION and two in _SLOW:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _SHORT)
        return allowed(action, one, two, *rest)

    return authorizer


def _connect(connection: sqlite3.Connection) -> None:
    """Connect the virtual tables, full-text ones and the like, while nothing is guarded: in doing
    so SQLite itself asks to change the schema, which is not distinguished from a statement."""
    query = "select name from sqlite_schema where type = 'table' and rootpage = 0"
    for (name,) in connection.execute(query).fetchall():
        connection.execute("select count(*) from pragma_table_info(?)", (name,)).fetchall()


def _reader(action: int, one: str | None, two: str | None, *_: Any) -> int:
    if action in _READS or (action == sqlite3.SQLITE_FUNCTION and two not in _DENIED):
        return sqlite3.SQLITE_OK
    tells = one in _PRAGMAS and (two is None or one != "user_version")
    return sqlite3.SQLITE_OK if action == sqlite3.SQLITE_PRAGMA and tells else sqlite3.SQLITE_DENY


def _writer(action: int, one: str | None, two: str | None, *rest: Any) -> int:
    """Rows of any table but those in which SQLite keeps the schema."""
    if action in _WRITES and not (one or "").startswith("sqlite_"):
        return sqlite3.SQLITE_OK
    return _reader(action, one, two, *rest)
