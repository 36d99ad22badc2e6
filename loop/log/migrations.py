"""The schema of the log, as numbered steps that are applied in order and never changed."""

import sqlite3
from importlib.resources import files

from loopwright.errors import LogError

STEPS = ("0001_events.sql", "0002_ledger.sql")
"""Each step brings a log from the version before it to its own number."""

VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the log to the newest schema, and refuse, untouched, what is newer still."""
    version = found(connection, path)
    for number in range(version + 1, VERSION + 1):
        _apply(connection, STEPS[number - 1], number)
    if version < VERSION or not _has_views(connection):
        _script(connection, _text("views.sql"))


def found(connection: sqlite3.Connection, path: str) -> int:
    """The schema version of the log. Raises `LogError` if it is no log, or a newer one."""
    version = int(connection.execute("pragma user_version").fetchone()[0])
    if version > VERSION:
        raise LogError(
            f"{path} was written by a newer loopwright (schema {version}, this one knows "
            f"{VERSION}): upgrade loopwright; the file was not touched"
        )
    tables = {name for (name,) in connection.execute("select name from sqlite_master")}
    if version == 0 and tables:
        raise LogError(f"{path} is a database, but no log of loopwright: choose another file")
    return version


def _has_views(connection: sqlite3.Connection) -> bool:
    query = "select count(*) from sqlite_master where type = 'view' and name = 'runs'"
    return bool(connection.execute(query).fetchone()[0])


def _apply(connection: sqlite3.Connection, step: str, number: int) -> None:
    """One step, unless another process has applied it meanwhile."""
    connection.execute("begin immediate")
    try:
        if connection.execute("pragma user_version").fetchone()[0] < number:
            _script(connection, _text(step))
            connection.execute(f"pragma user_version = {number}")
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def _script(connection: sqlite3.Connection, script: str) -> None:
    """Run the statements one by one: `executescript` would commit the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _text(name: str) -> str:
    return (files("loopwright.log") / name).read_text()
