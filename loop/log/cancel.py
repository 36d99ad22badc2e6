"""Cancel: which runs are over when one is cancelled, and how that is written down."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence

from loopwright.errors import BadInput
from loopwright.events import Ended, Event
from loopwright.fold import folded
from loopwright.log.rows import whole
from loopwright.outcome import Outcome
from loopwright.run import Run

_CHILDREN = (
    "select run from events"
    " where type = 'Started' and json_extract(data, '$.parent') = ? order by run"
)

_NAMED = "select 1 from events where run between ? and ? limit 1"

Read = Callable[[str], Sequence[Event]]
"""The events of a run."""


def cancelled(
    connection: sqlite3.Connection, read: Read, run_id: str, by: str, why: str
) -> Iterator[tuple[Run, Ended]]:
    """The run and those that its tools have begun, as far as they go on, each with its end.

    Raises `BadInput` if the run is over.
    """
    with whole(run_id):
        run = folded(read(run_id))
    if not _goes_on(run):
        raise BadInput(f"run {run_id} is over, as {run.outcome}: there is nothing to cancel")
    words = ": ".join(filter(None, (f"cancelled by {by}" if by else "cancelled", why)))
    yield run, _end(run, words)
    yield from _ends_below(connection, read, run_id, f"run {run_id} was {words}")


def left(connection: sqlite3.Connection, read: Read, run: Run) -> Iterator[tuple[Run, Ended]]:
    """The runs that the tools of one that is over have begun, as far as they go on, with their end.

    It is asked at many an end: where no run has an id as delegates give it, none is looked for.
    """
    if connection.execute(_NAMED, (f"{run.run_id}.", f"{run.run_id}/")).fetchone():
        why = f"run {run.run_id} ended as {run.outcome}"
        yield from _ends_below(connection, read, run.run_id, why)


def _ends_below(
    connection: sqlite3.Connection, read: Read, run_id: str, why: str
) -> Iterator[tuple[Run, Ended]]:
    for name in _below(connection, run_id):
        with whole(name):
            child = folded(read(name))
        if _goes_on(child):
            yield child, _end(child, why)


def _below(connection: sqlite3.Connection, run: str) -> Iterator[str]:
    for (child,) in connection.execute(_CHILDREN, (run,)).fetchall():
        yield child
        yield from _below(connection, child)


def _goes_on(run: Run) -> bool:
    return run.outcome in (None, Outcome.waiting)


def _end(run: Run, why: str) -> Ended:
    return Ended(max(run.time, time.time()), Outcome.cancelled, why)
