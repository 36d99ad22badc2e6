"""The schema of the log, as numbered steps that are applied in order and never changed."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files

from loopwright.errors import LogError
from loopwright.log.rows import checksum

STEPS = ("0001_events.sql", "0002_ledger.sql", "0003_totals.sql")
"""Each step brings a log from the version before it to its own number."""

VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the log to the newest schema, and refuse, untouched, what is newer still."""
    version = found(connection, path)
    connection.create_function("checksum", 6, checksum, deterministic=True)
    for number in range(version + 1, VERSION + 1):
        _apply(connection, STEPS[number - 1], number)
    if _views(connection) != _wanted():
        _view(connection)


def current(connection: sqlite3.Connection, path: str) -> None:
    """Have a connection that only reads see the log as it is now. Raises `LogError` if only a
    migration could do that."""
    version = found(connection, path)
    if version != VERSION:
        raise LogError(
            f"{path} is of the older schema {version}, and may only be read: open a copy of it, "
            "which is then brought up to date"
        )
    if _views(connection) != _wanted():
        connection.execute("pragma temp_store = memory")
        _script(connection, _text("views.sql").replace("create view", "create temp view"))


def found(connection: sqlite3.Connection, path: str) -> int:
    """The schema version of the log. Raises `LogError` if it is no log, or a newer one."""
    # The tables first: a log that another process makes has its version together with them.
    tables = {name for (name,) in connection.execute("select name from sqlite_master")}
    version = int(connection.execute("pragma user_version").fetchone()[0])
    if version > VERSION:
        raise LogError(
            f"{path} was written by a newer loopwright (schema {version}, this one knows "
            f"{VERSION}): upgrade loopwright; the file was not touched"
        )
    if version == 0 and tables:
        raise LogError(f"{path} is a database, but no log of loopwright: choose another file")
    return version


def _views(connection: sqlite3.Connection) -> dict[str, str]:
    """What the log's own views say in the file, by their names; those of others are left alone."""
    views = connection.execute("select name, sql from sqlite_master where type = 'view'")
    return {name: _bare(text) for name, text in views if name.lower() in _wanted()}


@cache
def _wanted() -> dict[str, str]:
    """What they are to say."""
    return {name: _bare(text) for name, text in _VIEW.findall(_text("views.sql"))}


_VIEW = re.compile(r"^create view (\w+)( as\b.*?);$", re.DOTALL | re.MULTILINE)


def _bare(text: str) -> str:
    """A view's text without its beginning, which SQLite writes in its own way."""
    return text.partition(" as")[2].strip()


def _view(connection: sqlite3.Connection) -> None:
    """Make the log's views anew, unless another process has done so meanwhile."""
    with transaction(connection):
        if _views(connection) == _wanted():
            return
        for name in _views(connection):
            connection.execute(f'drop view "{name}"')
        _script(connection, _text("views.sql"))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes, and is taken back if anything goes wrong."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def _apply(connection: sqlite3.Connection, step: str, number: int) -> None:
    """One step, unless another process has applied it meanwhile."""
    with transaction(connection):
        if connection.execute("pragma user_version").fetchone()[0] < number:
            _script(connection, _text(step))
            connection.execute(f"pragma user_version = {number}")


def _script(connection: sqlite3.Connection, script: str) -> None:
    """Run the statements one by one: `executescript` would commit the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _text(name: str) -> str:
    return (files("loopwright.log") / name).read_text("utf-8")
