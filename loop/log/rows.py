"""Events as rows of the log, and back."""

import zlib
from collections.abc import Sequence
from typing import Any

from loopwright.codec import decode, encode, fields, revive
from loopwright.errors import LogError
from loopwright.events import EVENTS, Event, Intended


def written(
    run: str, seq: int, events: Sequence[Event]
) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    """The rows of events that follow the first `seq` of a run, and the long texts in them."""
    parts: dict[str, str] = {}
    rows = [_row(run, i, event, parts) for i, event in enumerate(events, seq + 1)]
    return rows, parts


def _row(run: str, seq: int, event: Event, parts: dict[str, str]) -> tuple[Any, ...]:
    row = (run, seq, type(event).__name__, event.time, _about(event), _text(event, parts))
    return *row, checksum(*row)


def checksum(run: str, seq: int, type: str, time: float, call: str | None, data: str) -> int:
    """The CRC-32 of an event's row: it changes whenever a single character or number does.

    >>> checksum("r", 1, "Started", 1.0, None, "{}")
    3776355498
    """
    # SQLite gives whole numbers back as floats, and -0.0 as 0.0; `ascii` is the same everywhere.
    head = ascii((run, seq, type, time + 0.0, call))
    return zlib.crc32(f"{head}{data}".encode())


def _text(event: Event, parts: dict[str, str] | None) -> str:
    """The JSON of an event, without what has a column of its own."""
    data = fields(event)
    del data["time"]
    if isinstance(event, Intended):
        data["call"] = fields(event.call)
        del data["call"]["id"]
    elif "call" in data:
        del data["call"]
    return encode(data, parts)


def read(kind: str, time: float, call: str | None, text: str, parts: dict[str, str]) -> Event:
    """The event of a row; `parts` finds long texts by their digest. Raises `LogError`."""
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


def _about(event: Any) -> str | None:
    """The call that an event is about, for the column `call`."""
    call = getattr(event, "call", None) or getattr(event, "about", None)
    return getattr(call, "id", call)
