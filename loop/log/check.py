"""Check: whether a log is whole, and if it is not, what is still good."""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any

from attrs import field, frozen

from loopwright.errors import LogError
from loopwright.events import Event, Started
from loopwright.fold import blank, fold
from loopwright.log.balances import Balances, added, posted, summed
from loopwright.log.migrations import STEPS, found
from loopwright.log.rows import checksum, read
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.report import Report
from loopwright.run import Run

Row = tuple[Any, ...]

UNREADABLE = (sqlite3.Error, UnicodeError)
"""What is raised for a damaged file; the latter where SQLite's message quotes damaged text."""


@frozen
class Finding:
    """Something that is wrong with a log.

    `run` and `seq` say where, as far as it is about a run and one of its events; `what` is wrong,
    and `holds` says what is still good.
    """

    run: str
    seq: int | None
    what: str
    holds: str = ""

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {"run": self.run, "seq": self.seq, "what": self.what, "holds": self.holds}


def check(log: Log | str | os.PathLike[str]) -> Report[Finding]:
    """What is wrong with a log, which is a `Log` or its path; nothing is, if the report is empty.

    Every event is compared with its checksum, every long text with its digest, the balances of the
    ceilings and the totals with the events that they come from; every run is folded, and SQLite
    checks its own file. A damaged file is read as far as it can be. Nothing is changed, and others
    may write meanwhile. The summary says how much is whole.

    Raises `LogError` if there is no such file, if it is no log, or one of a newer schema.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     print(check(Log(f"{folder}/runs.db")))
    runs 0, whole 0, events 0, good 0, texts 0, findings 0
    """
    path = log.path if isinstance(log, Log) else os.path.abspath(log)
    if not Path(path).is_file():
        raise LogError(f"there is no log {path}: give the path of one, or a Log")
    alone = not _beside(path)
    report = _checked(path, alone)
    return _checked(path, False) if alone and _beside(path) else report


def _beside(path: str) -> bool:
    """Whether there is a file beside the log, as there is while somebody has it open."""
    return Path(f"{path}-wal").exists()


def _checked(path: str, alone: bool) -> Report[Finding]:
    with closing(_reading(path, alone)) as connection:
        try:
            found(connection, path)
            connection.executescript(_views())
            connection.execute("begin")  # all that follows is of one moment
        except UNREADABLE as error:
            lost = Finding("", None, f"SQLite cannot read the file: {error}", "nothing can be read")
            return Report((lost,), {"runs": 0, "whole": 0, "findings": 1})
        return _report(_File(connection, _refused(path, alone)))


def _refused(path: str, alone: bool) -> str:
    """What SQLite says to all who do not pass over a damaged schema."""
    with closing(_connected(path, alone)) as connection:
        try:
            connection.execute("select name, sql from sqlite_master").fetchall()
        except UNREADABLE as error:
            return str(error).partition("\n")[0]  # it may quote all of a view
    return ""


def _reading(path: str, alone: bool) -> sqlite3.Connection:
    """A connection that reads a damaged file as far as it can be."""
    connection = _connected(path, alone)
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    connection.execute("pragma writable_schema = on")  # also one that is shorter than it says
    return connection


def _connected(path: str, alone: bool) -> sqlite3.Connection:
    """A connection that changes nothing. `alone`, it needs no files beside the log, which it would
    have to leave there."""
    uri = f"{Path(path).as_uri()}?{'immutable=1' if alone else 'mode=ro'}"
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise LogError(f"{path} cannot be opened: {error}: may you read it?") from None


def _views() -> str:
    """The views, for this connection alone: those of the file may be damaged, or older. They are to
    tell of the runs in a table of its own."""
    text = (files("loopwright.log") / "views.sql").read_text("utf-8")
    views = re.sub("^create view", "create temp view", text, flags=re.MULTILINE)
    return f"create temp table unsummed (run text primary key);\n{views}"


def _report(file: "_File") -> Report[Finding]:
    runs = [_examined(file, run) for run in sorted(file.runs())]
    whole = {one.run for one in runs if not one.findings}
    findings = [
        *(finding for one in runs for finding in one.findings),
        *_texts(file, runs),
        *_answers(file, whole),
        *_balances(file, runs),
        *_ledger(file, runs),
        *_totals(file, {one.run: one.events for one in runs if one.run in whole}),
        *_lost(file, {one.run for one in runs}),
        *_schema(file),
        *_pages(file),
    ]
    good = sum(one.good for one in runs)
    summary = {
        "runs": len(runs),
        "whole": len(whole - {finding.run for finding in findings}),
        "events": sum(one.events for one in runs),
        "good": good,
        "texts": len(file.texts),
        "findings": len(findings),
    }
    return Report(tuple(findings), summary)


def _fitting(rows: Sequence[Row], *kinds: Any) -> list[Row]:
    """The rows whose first columns are of these kinds: SQLite's own check tells of the others."""
    return [row for row in rows if all(map(isinstance, row, kinds))]


class _File:
    """What can be read of a log; `refused` is why others cannot open it."""

    def __init__(self, connection: sqlite3.Connection, refused: str) -> None:
        self.connection = connection
        self.refused = refused
        self.tables = {name for (name,) in self.salvaged("select name from sqlite_master")[0]}
        self.version = int(connection.execute("pragma user_version").fetchone()[0])
        columns, _ = self.salvaged("select name from pragma_table_info('events')")
        self.checksums = ("checksum",) in columns
        texts, _ = self.both_ways("select digest, text from parts", "digest")
        self.texts: dict[str, str] = dict(_fitting(texts, str, str))
        self.used: dict[str, list[tuple[str, int]]] = {}

    def salvaged(self, query: str, *values: Any) -> tuple[list[Row], str]:
        """The rows, as far as they can be read, and what is wrong with the rest."""
        rows: list[Row] = []
        try:
            rows.extend(iter(self.connection.execute(query, values)))
        except UNREADABLE as error:
            return rows, str(error)
        return rows, ""

    def both_ways(self, query: str, order: str, *values: Any) -> tuple[list[Row], str]:
        """The same, and where the middle cannot be read, also what stands behind it."""
        rows, wrong = self.salvaged(f"{query} order by {order}", *values)
        if wrong:
            behind, _ = self.salvaged(f"{query} order by {order} desc", *values)
            rows += [row for row in reversed(behind) if row not in rows]
        return rows, wrong

    def runs(self) -> set[str]:
        """The ids of all runs, wherever they can still be read."""
        rows, _ = self.both_ways("select distinct run from events", "run")
        started, _ = self.salvaged("select run from events where type = 'Started'")
        unsummed, _ = self.salvaged("select run from unsummed")
        return {run for (run,) in _fitting([*rows, *started, *unsummed], str)}

    def rows(self, run: str) -> tuple[list[Row], str]:
        """The rows of a run, with their checksums."""
        columns = "checksum" if self.checksums else "null"
        query = f"select run, seq, type, time, call, data, {columns} from events where run = ?"
        rows, wrong = self.both_ways(query, "seq", run)
        return _fitting(rows, str, int), wrong

    def posts(self, table: str) -> Balances:
        """The balances that a table holds, or those that it adds up to."""
        query = f"select ceiling, window, settled, reserved, presumed from {table}"
        rows, _ = self.salvaged(query)
        fitting = _fitting(rows, str, str, int, int, int)
        return added(*({(name, at): (a, b, c)} for name, at, a, b, c in fitting))

    def names(self, table: str) -> set[str]:
        """The runs that stand in a table."""
        return {run for (run,) in _fitting(self.salvaged(f"select run from {table}")[0], str)}

    def event(self, row: Row) -> Event:
        """The event of a row. Raises whatever the damage leads to."""
        run, seq, kind, time, call, data, _ = row
        return read(kind, time, call, data, _Texts(self, (run, seq)))


class _Texts(dict[str, str]):
    """The long texts by their digest; who asks for them is noted."""

    def __init__(self, file: _File, place: tuple[str, int]) -> None:
        super().__init__()
        self.file = file
        self.place = place

    def __missing__(self, digest: str) -> str:
        self.file.used.setdefault(digest, []).append(self.place)
        if digest not in self.file.texts:
            raise LogError(f"the long text {digest} is missing")
        return self.file.texts[digest]


# ---------------------------------------------------------------------------------- of each run


@frozen
class _Examined:
    """A run, folded as far as it goes; how many events it has, and how many of them are good."""

    run: str
    events: int
    good: int
    findings: tuple[Finding, ...]
    folded: Run
    posts: Balances = field(factory=dict)


@frozen
class _Seen:
    """An event as its row tells it, or what is wrong with the row."""

    seq: int
    event: Event | None
    wrong: str = ""


Wrong = list[tuple[int | None, str]]


def _examined(file: _File, run: str) -> _Examined:
    rows, unread = file.rows(run)
    seen = [_seen(file, row) for row in rows]
    base, sound = _base(file, seen), _sound(seen)
    folded, misfit = _folded(run, base, sound)
    wrong = [*((one.seq, one.wrong) for one in seen if one.wrong), *_gaps(seen), *misfit]
    wrong += _lacking(seen, base)
    if unread:
        wrong.append((None, f"some of its events cannot be read: {unread}"))
    good = sum(not one.wrong for one in seen)
    holds = f"{good} of its events are whole; it folds up to step {folded.step}"
    findings = tuple(Finding(run, seq, what, holds) for seq, what in wrong)
    posts = {} if findings else summed(posted(run, [*base, *sound]))
    return _Examined(run, len(rows), good, findings, folded, posts)


def _seen(file: _File, row: Row) -> _Seen:
    *columns, said = row
    sum_ = int if file.checksums else NoneType
    if not _fitting([row], str, int, str, float, str | None, str, sum_):
        return _Seen(row[1], None, "it is not what was written: a column is of another kind")
    with suppress(UnicodeError):
        if file.checksums and checksum(*columns) != said:
            return _Seen(row[1], None, "it is not what was written: its checksum does not fit")
    try:
        return _Seen(row[1], file.event(row))
    except LogError as error:
        return _Seen(row[1], None, str(error))
    except Exception as error:  # JSON that is none, a field that there is not, a text of no kind
        return _Seen(row[1], None, f"it cannot be read: {type(error).__name__}: {error}")


def _gaps(seen: Sequence[_Seen]) -> Wrong:
    """What is missing between events, or before the first one, which is a Started."""
    if not seen:
        return [(None, "all of its events are missing")]
    first, wrong = seen[0], Wrong()
    if first.event and first.seq != _begins(first.event):
        wrong.append((first.seq, "it does not begin with Started"))
    for before, after in pairwise(seen):
        if after.seq != before.seq + 1:
            wrong.append((before.seq + 1, f"{after.seq - before.seq - 1} events are missing here"))
    return wrong


def _begins(event: Event) -> int:
    """The number that the first event of a run has; a fork shares those before."""
    return event.shared + 1 if isinstance(event, Started) else 0


def _sound(seen: Sequence[_Seen]) -> list[Event]:
    """The events before the first one that is damaged or missing."""
    sound: list[Event] = []
    for i, one in enumerate(seen):
        if one.event is None or one.seq != seen[0].seq + i:
            break
        sound.append(one.event)
    return sound


def _base(file: _File, seen: Sequence[_Seen]) -> list[Event]:
    """The events that a fork shares with the run that it forked from, as far as they are good."""
    first = seen[0].event if seen else None
    if not isinstance(first, Started) or not first.base:
        return []
    theirs = [_seen(file, row) for row in file.rows(first.base)[0]]
    before = _base(file, theirs)
    return before if _lacking(theirs, before) else [*before, *_sound(theirs)][: first.shared]


def _lacking(seen: Sequence[_Seen], base: Sequence[Event]) -> Wrong:
    first = seen[0].event if seen else None
    if not isinstance(first, Started) or len(base) == first.shared:
        return []
    return [(None, f"of the events that it shares with {first.base} only {len(base)} are good")]


def _folded(run: str, base: Sequence[Event], own: Sequence[Event]) -> tuple[Run, Wrong]:
    """The run, as far as its events follow on one another."""
    state = blank(run)
    try:
        for event in (*base, *own):
            state = fold(state, event)
    except Exception as error:
        what = f"it does not follow on the events before it: {type(error).__name__}: {error}"
        return state, [(state.seq + 1, what)]
    return state, []


# ------------------------------------------------------------------------------ beside the runs


def _texts(file: _File, runs: Sequence[_Examined]) -> Iterator[Finding]:
    """Long texts that are not what their digest says."""
    for digest, text in file.texts.items():
        if hashlib.sha256(text.encode()).hexdigest()[:32] != digest:
            (run, seq), *more = dict.fromkeys(file.used.get(digest, [("", None)]))
            places = f", nor in {len(more)} other events" if more else ""
            what = f"the long text {digest} is not what was written{places}"
            yield Finding(run, seq, what, "the rest of the event is whole")


def _answers(file: _File, whole: set[str]) -> Iterator[Finding]:
    """Answers of people that nobody asked for, and second ones."""
    for run, call, times in _fitting(file.salvaged(_ANSWERS)[0], str, str):
        if times > 1:
            what = f"the question {call} was answered {times} times"
            yield Finding(run, None, what, "the first answer counts")
        if run in whole and not file.salvaged(_ASKED, run, call)[0]:
            what = f"{call} was answered, which the run has not asked"
            yield Finding(run, None, what, "the run itself is whole")


_ANSWERS = "select run, call, count(*) from answers group by run, call"
_ASKED = "select 1 from events where run = ? and call = ? and type = 'Intended'"


def _balances(file: _File, runs: Sequence[_Examined]) -> Iterator[Finding]:
    """Balances that are not what the events have posted, where all of these can be read."""
    if "balances" not in file.tables or any(one.findings for one in runs):
        return
    held, made = file.posts("balances"), added(file.posts("carried"), *(one.posts for one in runs))
    for name, at in sorted({*held, *made}):
        has, should = held.get((name, at), (0, 0, 0)), made.get((name, at), (0, 0, 0))
        if has != should:
            where = f"the ceiling {name!r}" + (f" in {at}" if at else "")
            what = f"{where} has settled, reserved and presumed {has}, but its events say {should}"
            yield Finding("", None, what, "the events are whole: `Log.rebuild` makes it anew")


def _ledger(file: _File, runs: Sequence[_Examined]) -> Iterator[Finding]:
    """Runs that are over and still have something reserved, as the view `ledger` tells it."""
    over = {one.run for one in runs if not one.findings and one.folded.outcome is not None}
    for run, left in file.salvaged(_LEFT)[0]:
        if run in over - _waiting(runs):
            what = f"it is over, but {left} nano-dollars are reserved"
            yield Finding(run, None, what, "its events are whole")


_LEFT = "select run, sum(reserved_nano) as sum from ledger group by run having sum <> 0"


def _waiting(runs: Sequence[_Examined]) -> set[str]:
    return {one.run for one in runs if one.folded.outcome is Outcome.waiting}


def _totals(file: _File, events: dict[str, int]) -> Iterator[Finding]:
    """Totals that are not what the events of a run add up to; each run stands in one of two tables.

    A run that has more events there than here has lost its last ones.
    """
    if "run_totals" not in file.tables:
        return
    whole = set(events)
    summed_, due = file.names("main.run_totals"), file.names("main.unsummed")
    for run in whole & summed_:
        file.salvaged("insert into temp.unsummed values (?)", run)
    wrong = {run for query in _WRONG for (run, *_) in file.salvaged(query)[0]}
    counted = _fitting(file.salvaged(_COUNTED)[0], str, int)
    cut = {r: n - events[r] for r, n in counted if n > events.get(r, n)}
    for run, lacking in sorted(cut.items()):
        what = f"its last events are missing: {lacking}, says its total"
        yield Finding(run, None, what, f"{events[run]} of its events are whole")
    holds = "its events are whole; once its totals are dropped, `Log.sum_up` makes them anew"
    for run in sorted(wrong - cut.keys()):
        yield Finding(run, None, "its totals are not what its events add up to", holds)
    for run in sorted(whole & (summed_ & due)):
        yield Finding(run, None, "it counts twice: its totals are made, and due", holds)
    for run in sorted(whole - summed_ - due):
        yield Finding(run, None, "it counts nowhere: its totals are neither made nor due", holds)


_COUNTED = "select run, events from main.run_totals"
_PAIRS = (("main.run_totals", "unsummed_runs"), ("main.spend_totals", "unsummed_spend"))
_WRONG = [
    f"select * from {one} where run in temp.unsummed"
    f" except select * from {other} where run in temp.unsummed"
    for pair in _PAIRS
    for one, other in (pair, reversed(pair))
]


def _lost(file: _File, runs: set[str]) -> Iterator[Finding]:
    """Runs that have totals and no event at all, and that no vacuum has removed."""
    for run in sorted(file.names("main.run_totals") - file.names("carried") - runs):
        yield Finding(run, None, "all of its events are missing", "its totals, in the view `runs`")


def _schema(file: _File) -> Iterator[Finding]:
    """Tables that are missing, and triggers, without which what was written can be changed; and
    whether it can be opened at all."""
    if file.refused:
        what = f"it cannot be opened: SQLite: {file.refused}"
        yield Finding("", None, what, "what is not named here can be read")
    made = "".join((files("loopwright.log") / s).read_text("utf-8") for s in STEPS[: file.version])
    for kind, name in dict.fromkeys(re.findall(r"(?m)^create (table|trigger) (\w+)", made)):
        if name not in file.tables:
            yield Finding("", None, f"the {kind} {name} is missing", "what is not named here")


def _pages(file: _File) -> Iterator[Finding]:
    """What SQLite finds in the file itself."""
    said, error = file.salvaged("pragma integrity_check(20)")
    told = [line for (what,) in said for line in what.splitlines() if what != "ok"]
    for what in dict.fromkeys([*told, *filter(None, [error])]):
        if what.startswith("***"):  # the name of the database, which is the only one
            continue
        yield Finding("", None, f"SQLite: {what}", "what is not named here can be read")
