"""`sql`: a tool that asks questions of a database, and changes nothing in it unless allowed."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from attrs import field, frozen

from loopwright.errors import BadInput
from loopwright.log.store import Log
from loopwright.tools.sqlite import guarded
from loopwright.tools.tool import Tool, tool

Value = str | int | float | bool | None
Parameters = list[Value] | dict[str, Value]

_MOST_TEXT = 100_000
"""Characters of the cells of a result: twice what a model is shown of any."""

_WAIT = 30.0
"""Seconds for which a statement waits for others."""

_READS = ("select", "with", "values", "table", "show", "explain", "describe")
"""How a statement begins that asks something, in the dialects of SQL."""


@frozen
class Table:
    """What a query gave. `more` says that there are rows beyond those shown."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool = False


def sql(
    database: str | os.PathLike[str] | Log | Any,
    *,
    write: bool = False,
    rows: int = 100,
    seconds: float = 5.0,
    read_only: str = "set transaction read only",
    name: str = "sql",
) -> Tool:
    """A tool that runs one SQL statement, with parameters, on `database`.

    That is the path of a SQLite file, a `Log`, or a DB-API connection. At most `rows` are shown
    (as many as a model can overlook), and a statement may take so many `seconds` (what people wait
    for an answer; a DB-API connection needs a method ``cancel`` or ``interrupt`` for that).

    SQLite is held to reading by its own means: the file is opened read-only, and an authorizer
    allows nothing but reading. With `write` rows can be changed, too, but neither schema nor
    settings. A statement with ``instr``, ``replace``, ``trim`` or ``json_patch``, which nothing can
    end while they are at a value, is given none of more than 100,000 bytes.

    Any other connection is told `read_only` at the beginning of each transaction, which
    PostgreSQL, MySQL and Oracle understand, and the transaction is rolled back; an empty text says
    that its login may only read. Give it such a login in any case: a function of the database can
    do what no transaction forbids. It is for this tool alone, since it is used from other threads.

    The effect class is ``"read"``, or with `write` ``"unsafe"``. Raises `BadInput` for a database
    that is not there and for numbers that cannot work.

    >>> connection = sqlite3.connect(":memory:", check_same_thread=False)
    >>> ask = sql(connection)
    >>> ask("select ? + 1 as two", [1]).rows
    [[2]]
    >>> ask("create table t (x)")
    Traceback (most recent call last):
    sqlite3.DatabaseError: not authorized: rows can be read here, and nothing else
    >>> connection.close()
    """
    if rows < 1 or seconds <= 0:
        raise BadInput("rows= and seconds= are positive")
    if isinstance(database, Log):
        if write:
            raise BadInput("a log is written by runs alone: leave write= out")
        database = database.path
    made = (_Sqlite if _of_sqlite(database) else _Other)(database, write, rows, seconds, read_only)
    verb = "Read and change rows of" if write else "Read from"
    return tool(
        made.query,
        effect="unsafe" if write else "read",
        name=name,
        description=f"{verb} a database, by one statement of {made.dialect}",
        timeout=seconds + _WAIT,
        labels=("private",),
    )


@frozen
class _Database:
    database: Any = field(repr=False)  # a connection may show its password
    write: bool
    rows: int
    seconds: float
    read_only: str
    lock: Lock = field(factory=Lock, eq=False, repr=False)
    dialect = "SQL"

    def query(self, statement: str, parameters: Parameters = []) -> Table:  # noqa: B006
        """Run one statement.

        Args:
            statement: SQL, with placeholders for values
            parameters: the values, in order or by name
        """
        with self._open() as connection, closing(connection.cursor()) as cursor:
            self._execute(cursor, statement, parameters)
            columns = [str(column[0]) for column in cursor.description or ()]
            found = list(islice(_rows(cursor), self.rows + 1)) if columns else []
        shown = list(_short(found[: self.rows]))
        return Table(columns, shown, len(found) > len(shown))

    def _open(self) -> Any:
        raise NotImplementedError

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else uses the connection. Who waits longer than its call was given up."""
        if not self.lock.acquire(timeout=_WAIT):
            raise TimeoutError("another statement still keeps the database: try again later")
        try:
            yield
        finally:
            self.lock.release()

    def _execute(self, cursor: Any, statement: str, parameters: Parameters) -> None:
        cursor.execute(statement, parameters)


@frozen
class _Sqlite(_Database):
    dialect = "SQLite. select sql from sqlite_schema tells its tables. Placeholders: ? or :name."

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if isinstance(self.database, sqlite3.Connection):
            with self._alone(), guarded(self.database, self.write, self.seconds):
                yield self.database
            return
        mode = "rw" if self.write else "ro"
        uri = f"{Path(self.database).absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=self.seconds)) as connection:
            connection.text_factory = _text
            with guarded(connection, self.write, self.seconds):
                yield connection


@frozen
class _Other(_Database):
    @contextmanager
    def _open(self) -> Iterator[Any]:
        with self._alone(), self._begun():
            yield self.database

    @contextmanager
    def _begun(self) -> Iterator[None]:
        stop = getattr(self.database, "cancel", None) or getattr(self.database, "interrupt", None)
        timer = Timer(self.seconds, stop or (lambda: None))
        done = False
        try:
            self.database.rollback()
            if not self.write and self.read_only:
                with closing(self.database.cursor()) as cursor:
                    cursor.execute(self.read_only)
            timer.start()
            yield
            done = self.write
        finally:
            timer.cancel()
            self.database.commit() if done else self.database.rollback()

    def _execute(self, cursor: Any, statement: str, parameters: Parameters) -> None:
        """Several statements could end the transaction, so a semicolon may only stand at the end,
        and of those that begin otherwise than a question some act outside of any transaction."""
        statement = statement.strip().removesuffix(";")
        if ";" in statement:
            raise PermissionError("give one statement, and a text with a semicolon as a parameter")
        if not self.write and not statement.lower().startswith(_READS):
            raise PermissionError(f"only these may begin a statement: {', '.join(_READS)}")
        if parameters:
            cursor.execute(statement, parameters)
        else:
            cursor.execute(statement)


def _of_sqlite(database: Any) -> bool:
    if isinstance(database, str | os.PathLike):
        if not os.path.isfile(database):
            raise BadInput(f"{os.fspath(database)!r} is no file: give the path of a SQLite file")
        return True
    if not hasattr(database, "cursor"):
        raise BadInput(f"{type(database).__name__} is no connection: give a path or a connection")
    return isinstance(database, sqlite3.Connection)


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:
    while (row := cursor.fetchone()) is not None:
        yield list(row.values()) if isinstance(row, Mapping) else row


def _short(rows: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """The rows, until they hold too much; of a large cell its beginning."""
    left = _MOST_TEXT
    for row in rows:
        cells = [_cell(value) for value in row]
        left -= sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
        if left < 0:
            return
        yield cells


def _cell(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:  # JSON has no infinity
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, str) and len(value) > _MOST_TEXT // 10:
        return f"{value[: _MOST_TEXT // 10]}[… {len(value) - _MOST_TEXT // 10} characters more]"
    return value


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
