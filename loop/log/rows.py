"""Events as rows of the log, and back."""

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
    rows = [
        (run, i, type(event).__name__, event.time, _about(event), _text(event, parts))
        for i, event in enumerate(events, seq + 1)
    ]
    return rows, parts


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
