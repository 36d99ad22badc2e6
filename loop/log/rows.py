"""Events as rows of the log, and back."""

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import attrgetter
from typing import Any, get_args

from loopwright.calls import Call
from loopwright.codec import carefully, decode, quickly, revive
from loopwright.compiled import Write, compiled, fields
from loopwright.errors import LogError, LoopwrightError, in_words
from loopwright.events import EVENTS, Event, Intended


def written(
    run: str, seq: int, events: Sequence[Event]
) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    """The rows of events that follow the first `seq` of a run, and the long texts in them."""
    parts: dict[str, str] = {}
    rows: list[tuple[Any, ...]] = []
    for event in events:
        seq += 1
        name, about, write = _FORMS[type(event)]
        time, call = event.time, about(event)
        text = quickly(write, event, parts) or carefully(_data(event), parts)
        sum_ = checksum(run, seq, name, time, call, text)
        rows.append((run, seq, name, time, call, text, sum_))
    return rows, parts


Form = tuple[str, Callable[[Any], str | None], Write]
"""Of a kind of events: its name, the call that one is about, and how its data is written."""


class _Forms(dict[type[Event], Form]):
    """The forms by kind, each made when it is first needed."""

    def __missing__(self, kind: type[Event]) -> Form:
        self[kind] = (kind.__name__, _about(kind), _writer(kind))
        return self[kind]


_FORMS = _Forms()


def _about(kind: type[Event]) -> Callable[[Any], str | None]:
    if kind is Intended:
        return attrgetter("call.id")
    for name in ("call", "about"):
        if hasattr(kind, name):
            return attrgetter(name)
    return lambda event: None


def _writer(kind: type[Event]) -> Write:
    """What writes such an event, without what has a column of its own."""
    if kind is not Intended:
        return compiled(kind, ("time", "call"))
    calls = {call: compiled(call, ("id",)) for call in get_args(Call)}
    return lambda event: f'{{"call":{calls[type(event.call)](event.call)}}}'


def checksum(run: str, seq: int, type: str, time: float, call: str | None, data: str) -> int:
    """The CRC-32 of an event's row: it changes whenever a single character or number does.

    >>> checksum("r", 1, "Started", 1.0, None, "{}")
    3776355498
    """
    # SQLite gives whole numbers back as floats, and -0.0 as 0.0; `ascii` is the same everywhere.
    head = f"({run!a}, {seq}, {type!a}, {time + 0.0!a}, {call!a})"
    return zlib.crc32(f"{head}{data}".encode())


def _data(event: Event) -> dict[str, Any]:
    """The same as data."""
    data = fields(event)
    del data["time"]
    if isinstance(event, Intended):
        data["call"] = fields(event.call)
        del data["call"]["id"]
    elif "call" in data:
        del data["call"]
    return data


def read_all(
    run: str, rows: Iterable[tuple[str, float, str | None, str]], parts: dict[str, str]
) -> list[Event]:
    """The events of some rows of a run. Raises `LogError`, also for what damage has made of one."""
    with whole(run):
        return [read(*row, parts) for row in rows]


def whole(run: str) -> AbstractContextManager[None]:
    """Whatever damage to an event leads to becomes a `LogError`: JSON that is none, a field that
    there is not, a text of no kind, an outcome of what was never intended."""
    return readable(f"an event of run {run}", Exception)


_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite says; it quotes texts, also those that are no UTF-8."""


@contextmanager
def readable(
    what: str, damage: type[Exception] | tuple[type[Exception], ...] = _UNREADABLE
) -> Iterator[None]:
    """What SQLite says against reading, or other `damage`, becomes a `LogError`."""
    try:
        yield
    except LoopwrightError:
        raise
    except damage as error:
        hint = "`loopwright check` shows what is whole"
        raise LogError(f"{what} cannot be read: {in_words(error):.200}; {hint}") from error


def read(kind: str, time: float, call: str | None, text: str, parts: dict[str, str]) -> Event:
    """The event of a row; `parts` finds long texts by their digest. Raises `LogError` for one of an
    unknown type, and for a damaged one whatever the damage leads to."""
    if kind not in EVENTS:
        raise LogError(f"the log holds an event of the unknown type {kind!r}: upgrade loopwright")
    data = decode(text, parts.__getitem__)
    data["time"] = time
    if kind == "Intended":
        data["call"]["id"] = call
    elif call is not None and kind != "Decided":
        data["call"] = call
    event: Event = revive(EVENTS[kind], data)
    return event


class Parts(dict[str, str]):
    """Long texts by their digest, fetched when they are asked for; `lock` is held meanwhile."""

    def __init__(
        self, connection: sqlite3.Connection, lock: AbstractContextManager[object]
    ) -> None:
        super().__init__()
        self.connection = connection
        self.lock = lock

    def __missing__(self, digest: str) -> str:
        query = "select text from parts where digest = ?"
        with self.lock:
            row = self.connection.execute(query, (digest,)).fetchone()
        if row is None:
            raise LogError(f"the log lacks the text {digest}: the file is damaged")
        self[digest] = str(row[0])
        return self[digest]
