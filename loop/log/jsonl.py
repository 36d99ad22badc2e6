"""JSON lines: the log as text that any program reads, without loss.

One line is one event: an object with the columns of the table ``events``, in which `data` is an
object and long texts stand in their places. All of it is printable ASCII, whatever was said. What
JSON cannot hold is written as in the log: ``{"$float": "nan"}``.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from loopwright.codec import decode, encode
from loopwright.errors import LogError
from loopwright.events import Event, Started
from loopwright.log.rows import read, written
from loopwright.log.store import Log

COLUMNS = ("run", "seq", "type", "time", "call", "data")
"""The keys of a line, in their order."""


def lines(log: Log, run: str | None = None) -> Iterator[str]:
    """Every event of one `run`, or of all runs of `log`, as one JSON line, without a line end.

    Runs stand one after the other, in the order of their ids. Before the events of one fork stand
    those of its base that it shares; where all runs are wanted, they stand in their base only.
    Raises `RunNotFound`.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> with TemporaryDirectory() as folder:
    ...     loop = Loop(Scripted(["Hello Ada."]), log=f"{folder}/runs.db")
    ...     run = loop.run_now(Task("Greet Ada."))
    ...     told = list(lines(loop.log, run.run_id))
    ...     [event for _, _, event in events(told)] == loop.log.events(run.run_id)
    True
    """
    if run is None:
        for one in log.ids():
            yield from _own(log, one)
        return
    begun = _begun(log.events(run))
    base, shared = getattr(begun, "base", ""), getattr(begun, "shared", 0)
    if base:
        yield from islice(lines(log, base), shared)
    yield from _own(log, run)


def _own(log: Log, run: str) -> Iterator[str]:
    """The events of a run without those that it shares with its base."""
    told = log.events(run)
    shared = getattr(_begun(told), "shared", 0)
    for seq, event in enumerate(told[shared:], shared + 1):
        yield line(run, seq, event)


def _begun(told: list[Event]) -> Started:
    """How the run itself began: a fork begins after the events of its base."""
    return [event for event in told if isinstance(event, Started)][-1]


def line(run: str, seq: int, event: Event) -> str:
    """One event as one JSON line."""
    (row, *_), parts = written(run, seq - 1, [event])
    held = dict(zip(COLUMNS, row[: len(COLUMNS)], strict=True))
    held["data"] = decode(held["data"], parts.__getitem__)
    return ascii_json(held)


def ascii_json(data: Any) -> str:
    """JSON in which each character is printable ASCII: no reader and no terminal stumbles on it."""
    return json.dumps(json.loads(encode(data))).replace("\x7f", "\\u007f")


def events(told: Iterable[str]) -> Iterator[tuple[str, int, Event]]:
    """The events of such lines, each with its run and its place there. Raises `LogError`."""
    for number, text in enumerate(told, 1):
        try:
            run, seq, kind, time, call, data = map(decode(text).__getitem__, COLUMNS)
            event = read(kind, time, call, encode(data), {})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LogError(f"line {number} is no event: {type(error).__name__}: {error}") from None
        yield run, seq, event
