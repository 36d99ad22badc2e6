"""Redact: a text is taken out of a log, wherever it stands."""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Any

import attrs
from attrs import frozen

from loopwright import calls, decisions, events
from loopwright.calls import Media
from loopwright.errors import BadInput, LogError
from loopwright.events import Event, Setting
from loopwright.fold import folded
from loopwright.log import rows
from loopwright.log.migrations import transaction
from loopwright.log.redaction import MASK, escapable
from loopwright.log.rewriting import PART, forgotten, shrunk, swept, unguarded
from loopwright.log.store import Log
from loopwright.report import Report, opened

SHORTEST = 4
"""Characters; the bytes of a shorter text may stand anywhere by chance."""


@frozen
class Redacted:
    """An event in which the text stood, at so many `places`."""

    run: str
    seq: int
    places: int

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {"run": self.run, "seq": self.seq, "places": self.places}


def redact(
    log: Log | str | os.PathLike[str], text: str, *, dry_run: bool = False
) -> Report[Redacted]:
    """Take `text` out of a log: wherever it was said, given, returned or decided stands
    ``[redacted]``.

    It is also found as JSON and Python escape it; upper and lower case are different. Events get
    new checksums and long texts new digests, runs fold as before, and no byte of it is left in the
    file, which is written anew, so that others who write wait. A model that signs what it thinks
    may refuse to go on where its own words were changed. With `dry_run` nothing is written.

    It is also taken out of what stands beside the events: answers, totals, what tools remember, and
    tables of your own, with their full-text indexes; the places there count in the summary alone.
    What a stored column, or an index of yours, makes of several columns is not looked at.

    The words of the log itself, and what names something, are not changed: a text that stands in
    the name of a tool, a model, a policy, a ceiling or a run, or in a figure, is refused. To do the
    same again changes nothing.

    Raises `BadInput`, having changed nothing, for such a text, for one of fewer than 4 characters,
    and if a run in which it stands is still open; `LogError` if the log cannot be written, a row in
    it not be changed, as it has to be unique or a trigger of yours keeps it, or an index not be
    made anew, and while others read it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     print(redact(Log(f"{folder}/runs.db"), "Ada Lovelace"))
    runs 0, events 0, places 0
    """
    log = opened(log)
    found = re.compile(escapable(_fit(log, text)))
    changed, beside = _looked(log, found) if dry_run else _taken(log, found)
    redacted = tuple(Redacted(one.run, one.seq, one.places) for one in changed)
    summary = {
        "runs": len({one.run for one in redacted}),
        "events": len(redacted),
        "places": sum(one.places for one in redacted) + beside,
    }
    return Report(redacted, summary)


# ------------------------------------------------------------------------------------- the text


def _fit(log: Log, text: str) -> str:
    if not isinstance(text, str) or len(text.strip()) < SHORTEST:
        raise BadInput(f"give a text of at least {SHORTEST} characters")
    with log.reading() as connection:
        schema = connection.execute("select name || ' ' || coalesce(sql, '') from sqlite_master")
        words = [*_words(), *(said for (said,) in schema)]
    if any(text in word for word in words):
        raise BadInput("this is a word of the log itself, which it cannot do without: say more")
    return text


def _words() -> Iterator[str]:
    """The names that stand in every event."""
    yield MASK
    for module in (calls, decisions, events):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and attrs.has(kind):
                yield name
                yield from (one.name for one in attrs.fields(kind))


# ----------------------------------------------------------------------------------- the events


@frozen
class _Changed:
    """An event without the text, and at how many places it stood there."""

    run: str
    seq: int
    event: Event
    places: int


def _looked(log: Log, found: re.Pattern[str]) -> tuple[list[_Changed], int]:
    """The events as they would be, and at how many places beside them the text stands."""
    with log.reading() as connection:
        return _found(log, connection, found), _beside(connection, found, dry_run=True)


def _taken(log: Log, found: re.Pattern[str]) -> tuple[list[_Changed], int]:
    """The same, and it is done."""
    with log.writing() as connection:
        connection.execute("pragma secure_delete = on")
        with transaction(connection):
            changed = _found(log, connection, found)
            with unguarded(connection):
                forgotten(connection)
                for one in changed:
                    _write(connection, one, found)
                swept(connection)
                places = _beside(connection, found)
                _indexed(connection)
            for run in {one.run for one in changed}:
                folded(log.events_within(run))
    shrunk(log)
    return changed, places


def _found(log: Log, connection: sqlite3.Connection, found: re.Pattern[str]) -> list[_Changed]:
    stands = _stands(connection, found)
    return [one for run, seqs in stands.items() for one in _changed(log, run, seqs, found)]


def _stands(connection: sqlite3.Connection, found: re.Pattern[str]) -> dict[str, list[int]]:
    """In which events of which runs the text stands."""
    texts = {name for name, text in connection.execute("select * from parts") if found.search(text)}
    stands: dict[str, list[int]] = {}
    for run, seq, call, data in connection.execute("select run, seq, call, data from events"):
        named = texts and not texts.isdisjoint(PART.findall(data))
        if named or found.search(data) or found.search(f"{run}\n{call}"):
            stands.setdefault(run, []).append(seq)
    return stands


def _changed(log: Log, run: str, seqs: list[int], found: re.Pattern[str]) -> Iterator[_Changed]:
    """The events of a run in which the text stands, without it."""
    all_events = log.events_within(run)
    if folded(all_events).outcome is None:
        raise BadInput(f"the text stands in run {run}, which is open: let it end, or cancel it")
    for seq in seqs:
        places = _Places(found, f"event {seq} of run {run}")
        yield _Changed(run, seq, places.without(all_events[seq - 1]), places.count)


class _Places:
    """Takes the text out of values, and counts where it stood."""

    def __init__(self, found: re.Pattern[str], where: str) -> None:
        self.found = found
        self.where = where
        self.count = 0

    def without(self, value: Any) -> Any:
        """The same value without the text. Raises `BadInput` where it is a part of a name."""
        if isinstance(value, str):
            value, count = self.found.subn(MASK, value)
            self.count += count
            return value
        if attrs.has(type(value)):
            return attrs.evolve(value, **{n: self._field(value, n) for n in _fields(type(value))})
        if isinstance(value, Mapping):
            return {self.without(key): self._datum(held) for key, held in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(self._datum(held) for held in value)
        return value

    def _field(self, value: Any, name: str) -> Any:
        held = getattr(value, name)
        if attrs.has(type(held)) or not _is_name(type(value), name):
            return self.without(held)
        if any(self.found.search(text) for text in _texts(held)):
            raise BadInput(f"the text stands in `{name}` at {self.where}, which names something")
        return held

    def _datum(self, value: Any) -> Any:
        """Figures of the log's own stay, but not those that somebody gave."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and self.found.search(str(value)):
            self.count += 1
            return MASK
        return self.without(value)


def _fields(kind: Any) -> list[str]:
    return [one.name for one in attrs.fields(kind)]


_NAMES = {
    "id",
    "call",
    "run",
    "parent",
    "base",
    "doubts",
    "model",
    "version",
    "tools",
    "checks",
    "policy",
    "others",
    "about",
    "name",
    "provider",
    "mime",
    "digest",
    "to",
    "table",
    "tier",
    "tool_choice",
    "effort",
    "prefix",
    "check",
    "kind",
    "effect",
    "purpose",
    "finish",
    "moment",
    "outcome",
    "ending",
    "role",
    "unit",
    "per",
    "limits",
}
"""The fields that name something, or say one of a few words."""


def _is_name(kind: type, name: str) -> bool:
    if kind is Media and name == "name":
        return False  # what a person calls it
    return name in _NAMES or (kind is Setting and name == "output")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Enum):
        yield str(value.value)
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for one in pair for text in _texts(one))
    elif isinstance(value, tuple | list):
        yield from (text for one in value for text in _texts(one))


# ------------------------------------------------------------------------------------- the file


def _write(connection: sqlite3.Connection, one: _Changed, found: re.Pattern[str]) -> None:
    (row,), parts = rows.written(one.run, one.seq - 1, [one.event])
    if found.search(row[5]):
        raise BadInput(f"the text stands in a figure at event {one.seq} of run {one.run}: say more")
    connection.executemany("insert into parts values (?, ?) on conflict do nothing", parts.items())
    update = "update events set data = ?, checksum = ? where run = ? and seq = ?"
    connection.execute(update, (row[5], row[6], one.run, one.seq))


def _beside(connection: sqlite3.Connection, found: re.Pattern[str], dry_run: bool = False) -> int:
    """Take it out of all other tables, whoever made them; at how many places it stood there."""
    connection.create_function("redacted", 1, partial(_without, found), deterministic=True)
    connection.create_function("places", 1, partial(_places, found), deterministic=True)
    kinds = dict(connection.execute(_TABLES).fetchall())
    borrowed = {name for name in _indexes(connection) if f"{name}_content" not in kinds}
    tables = [name for name in kinds if kinds[name] != "shadow" and name not in borrowed]
    held = [name for name in tables if not _only_shows(connection, name)]
    places = sum(_in_table(connection, table, dry_run) for table in held)
    if places and not dry_run:
        _looked_again(connection, held)
    return places


def _looked_again(connection: sqlite3.Connection, tables: list[str]) -> None:
    """Take out what triggers wrote meanwhile, too; if one still keeps it, nothing is changed."""
    for _ in range(_PASSES):
        if not sum(_in_table(connection, table, dry_run=False) for table in tables):
            break
    for table in tables:
        if _in_table(connection, table, dry_run=True):
            raise _stays(f"table {table}", "a trigger keeps it")


_PASSES = 5
"""Tables in a row, each of which may keep what a trigger of the one before wrote there."""

_TABLES = """
select name, type from pragma_table_list where schema = 'main' and type <> 'view'
  and name not glob 'sqlite_*' and name not in ('events', 'parts', 'said', 'searched')
"""
"""All but those of the events, and the index of the search, which is dropped."""


def _only_shows(connection: sqlite3.Connection, table: str) -> bool:
    """Whether it is a virtual table that holds nothing, such as one of the words of an index."""
    try:
        connection.execute(f"explain delete from {_quoted(table)}")
    except sqlite3.OperationalError as error:
        return "may not be modified" in str(error)
    return False


def _without(found: re.Pattern[str], held: bytes) -> bytes:
    return found.sub(MASK, _text(held)).encode(errors="surrogateescape")


def _places(found: re.Pattern[str], held: bytes) -> int:
    return len(found.findall(_text(held)))


def _text(held: bytes) -> str:
    """Bytes as a text from which they come back as they were."""
    return held.decode(errors="surrogateescape")


def _in_table(connection: sqlite3.Connection, table: str, dry_run: bool) -> int:
    columns = connection.execute("select name from pragma_table_info(?)", (table,)).fetchall()
    return sum(_in_column(connection, table, column, dry_run) for (column,) in columns)


def _in_column(connection: sqlite3.Connection, table: str, column: str, dry_run: bool) -> int:
    """Texts are looked at as bytes, too: not all that SQLite holds as a text is UTF-8."""
    held, raw = _quoted(column), f"cast({_quoted(column)} as blob)"
    where = f"where typeof({held}) in ('text', 'blob') and places({raw})"
    count = f"select coalesce(sum(places({raw})), 0) from {_quoted(table)} {where}"
    places: int = connection.execute(count).fetchone()[0]
    if places and not dry_run:
        without = f"iif(typeof({held}) = 'text', cast(redacted({raw}) as text), redacted({raw}))"
        _replaced(connection, table, column, f"set {held} = {without} {where}")
    return places


def _replaced(connection: sqlite3.Connection, table: str, column: str, change: str) -> None:
    try:
        connection.execute(f"update {_or(connection, table)} {_quoted(table)} {change}")
    except sqlite3.IntegrityError as error:
        raise _stays(f"column {column} of the table {table}", error) from None


def _or(connection: sqlite3.Connection, table: str) -> str:
    """What is done with rows that would no longer be unique: none of yours is deleted or skipped.

    Where a table says nothing about it, nothing is said here, as it would bind its triggers, too.
    """
    if table in ("kept", "whatif", "exported"):
        return "or replace"  # the log makes them again
    query = "select sql from sqlite_master where type = 'table' and name = ?"
    (said,) = connection.execute(query, (table,)).fetchone()
    return "or abort" if _CONFLICT(said) else ""


_CONFLICT = re.compile(
    r"\bon(?:\s|/\*.*?\*/|--[^\n]*\n)+conflict\b", re.IGNORECASE | re.DOTALL
).search


def _stays(where: str, why: object) -> LogError:
    return LogError(
        f"the text in the {where} cannot be replaced: {why}; nothing was changed: "
        "change it there yourself, and do the same again"
    )


def _indexes(connection: sqlite3.Connection) -> list[str]:
    """The full-text indexes, whoever made them: FTS5 has a table for its settings, and the older
    ones have one for their segments."""
    return [name for (name,) in connection.execute(_INDEXES)]


_INDEXES = """
select name from pragma_table_list as one
where schema = 'main' and type = 'virtual' and exists (
  select 1 from pragma_table_list where schema = 'main' and type = 'shadow'
    and name in (one.name || '_config', one.name || '_segdir'))
"""


def _indexed(connection: sqlite3.Connection) -> None:
    """Make all full-text indexes anew: they hold the words of what was there."""
    for name in _indexes(connection):
        index = _quoted(name)
        try:
            connection.execute(f"insert into {index} ({index}) values ('rebuild')")
        except sqlite3.Error as error:
            raise LogError(
                f"the full-text index {name} cannot be made anew, and may hold the text: {error}; "
                "drop it, and do the same again"
            ) from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
