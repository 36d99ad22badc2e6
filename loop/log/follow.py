"""Follow: the events of runs while they are appended, by whatever process."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from typing import Any, Literal, TypeVar

from attrs import frozen

from loopwright.errors import LogError, RunNotFound
from loopwright.events import Event, Reconciled, Resumed, Started
from loopwright.fold import blank, fold
from loopwright.log.file import BUSY, Stamp, changed, how_read, read_only, twice
from loopwright.log.rows import Parts, read_all, readable, whole
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.run import Run

LOOK = 0.05
"""Seconds between two looks at whether anything was written: people take a tenth of a second for
at once, and a look takes some microseconds."""

Until = Literal["waiting", "ended", "never"]

Told = TypeVar("Told")

LATE = 60.0
"""Seconds that an event may be older than the look which could see it first, at most: it is written
within milliseconds, but by a computer whose clock may be slow."""

_BEGUN = "select run, seq from events where type in ('Started', 'Resumed') and time >= ?"
_NEW = "select type, time, call, data from events where run = ? and seq > ? order by seq"


def follow(log: Log, run: str, *, until: Until = "waiting") -> Iterator[Event]:
    """The events of a run from its first, and then as they are appended, also by another process.

    It ends when the run has ended or, by default, waits for a person; with ``until="ended"`` it
    outlasts the wait, with ``"never"`` it outlasts the end too, since a run may be resumed. It
    reads through a connection of its own, and holds nobody up. Raises `RunNotFound`.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> with TemporaryDirectory() as folder:
    ...     loop = Loop(Scripted(["Hello Ada."]), log=f"{folder}/runs.db")
    ...     run = loop.run_now(Task("Greet Ada."))
    ...     [type(event).__name__ for event in follow(loop.log, run.run_id)]
    ['Started', 'Intended', 'Returned', 'Inspected', 'Decided', 'Ended']
    """
    for _, event in followed(log, run, until=until):
        yield event


def followed(log: Log, run: str, *, until: Until = "waiting") -> Iterator[tuple[Run, Event]]:
    """The same, each event with the run after it: what a `watch` of a `Loop` is called with."""
    state = blank(run)
    for event in log.events(run):
        state = _after(state, event)
        yield state, event

    def new(connection: sqlite3.Connection) -> list[Event]:
        return _appended(connection, run, state.seq)

    for events in found(log.path, new):
        for event in events:
            state = _after(state, event)
            yield state, event
        if _over(state, until):
            return


def _over(run: Run, until: Until) -> bool:
    if until == "never" or run.outcome is None:
        return False
    return until == "waiting" or _ended(run)


def follow_all(log: Log) -> Iterator[tuple[Run, Event]]:
    """What is appended to any run of the log from now on, each event with its run; for ever.

    A run that is resumed is shown from there on, a run that begins is shown as a whole.
    """
    log.sum_up()
    seen: _Seen | None = None

    def look(connection: sqlite3.Connection) -> tuple[_Seen, list[tuple[Run, Event]]]:
        return _next(log, connection, seen) if seen else (_first(log, connection), [])

    for now, news in found(log.path, look):
        seen = now
        yield from news


@frozen
class _Seen:
    """How far all runs were seen: those that may go on, and where others have `begun` `since`."""

    since: float
    begun: set[tuple[str, int]]
    states: dict[str, Run]


def _first(log: Log, connection: sqlite3.Connection) -> _Seen:
    since = time.time() - LATE
    begun = _begun(connection, since)
    told = _told(log, sorted(_unsettled(connection)))
    return _Seen(since, begun, {run: _after(blank(run), *events) for run, events in told})


def _next(
    log: Log, connection: sqlite3.Connection, seen: _Seen
) -> tuple[_Seen, list[tuple[Run, Event]]]:
    """What is new, taken as a whole before any of it is shown: who is shown it may take long, and
    others remove runs meanwhile."""
    since, begun = max(seen.since, time.time() - LATE), _begun(connection, seen.since)
    there = _unsettled(connection)
    first = dict(sorted(begun - seen.begun, reverse=True))
    runs = sorted(seen.states.keys() | there | first.keys())
    told = _told(log, [run for run in runs if run not in seen.states])
    states = {**seen.states, **{run: _before(run, events, first.get(run)) for run, events in told}}
    news: list[tuple[Run, Event]] = []
    for run in filter(states.__contains__, runs):
        for event in _appended(connection, run, states[run].seq):
            states[run] = _after(states[run], event)
            news.append((states[run], event))
    held = {run: state for run, state in states.items() if run in there or not _ended(state)}
    return _Seen(since, begun, held), news


def _begun(connection: sqlite3.Connection, since: float) -> set[tuple[str, int]]:
    """Where runs were begun or taken up: one that has ended since may be summed up by now."""
    return set(_rows(connection, _BEGUN, since))


def _told(log: Log, runs: Sequence[str]) -> Iterator[tuple[str, list[Event]]]:
    """The events of runs, but for those that `vacuum` has removed meanwhile. A log that is read as
    what does not change has to be opened again, once for all of them, to see what is new."""
    if not runs:
        return
    with closing(Log(log.path, read_only=True)) if log.read_only else nullcontext(log) as now:
        for run in runs:
            with suppress(RunNotFound):
                yield run, now.events(run)


def _before(run: str, told: list[Event], first: int | None) -> Run:
    """A run as it was before the `first` time that it was begun or taken up since the last look."""
    with whole(run):
        return fold(blank(run), *(told[: first - 1] if first else _known(told)))


def _known(told: list[Event]) -> list[Event]:
    """What had happened to a run before it was taken up, last: of a new one nothing."""
    taken_up = [i for i, e in enumerate(told) if isinstance(e, Started | Resumed | Reconciled)]
    return told[: taken_up[-1]]


def _ended(run: Run) -> bool:
    return run.outcome not in (None, Outcome.waiting)


# --------------------------------------------------------------------------------- small pieces


def reader(path: str) -> sqlite3.Connection:
    """A connection that can only read."""
    try:
        return sqlite3.connect(
            read_only(path), uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise LogError(f"{path} cannot be read: {error}") from None


def found(path: str, ask: Callable[[sqlite3.Connection], Told]) -> Iterator[Told]:
    """What `ask` finds: at once, and then each time that somebody has written.

    What it finds while a file is written that SQLite was told does not change counts for nothing.
    """
    for connection, stamp in looks(path):
        try:
            told = ask(connection)
        except LogError:
            if not changed(path, stamp):
                raise
        else:
            if not changed(path, stamp):
                yield told


def looks(path: str) -> Iterator[tuple[sqlite3.Connection, Stamp | None]]:
    """A connection that reads: at once, and then each time that somebody has written.

    It is another one where SQLite was told that the file does not change, and it did: then the
    stamp tells so.
    """
    state, seen = how_read(path), None
    connection = _ready(path)
    try:
        while True:
            if state != (state := how_read(path)):
                connection.close()
                connection, seen = _ready(path), None
            now = _rows(connection, "pragma data_version")
            if now == seen:
                time.sleep(LOOK)
                continue
            seen = now
            yield connection, state[1]
    finally:
        connection.close()


def _ready(path: str) -> sqlite3.Connection:
    """A connection that can only read, and has done so once: SQLite opens no file before."""

    def ready() -> sqlite3.Connection:
        connection = reader(path)
        try:
            _rows(connection, "pragma data_version")
        except LogError:
            connection.close()
            raise
        return connection

    return twice(ready)


def _unsettled(connection: sqlite3.Connection) -> set[str]:
    """The runs that still go on, or have gone on since somebody summed up."""
    return {run for (run,) in _rows(connection, "select run from unsummed")}


def _appended(connection: sqlite3.Connection, run: str, seq: int) -> list[Event]:
    return read_all(run, _rows(connection, _NEW, run, seq), Parts(connection, nullcontext()))


def _rows(connection: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    with readable("the log"):
        return connection.execute(query, values).fetchall()


def _after(run: Run, *events: Event) -> Run:
    with whole(run.run_id):
        return fold(run, *events)
