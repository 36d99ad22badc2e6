"""`Log`: the append-only SQLite file of events."""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from loopwright import steps
from loopwright.calls import Answer, Question
from loopwright.ceiling import LARGEST, nano
from loopwright.codec import plain, revive
from loopwright.errors import BadInput, RunNotFound
from loopwright.events import (
    Event,
    Reconciled,
    Resumed,
    Started,
)
from loopwright.fold import blank, fold, folded
from loopwright.log import rows as row
from loopwright.log.balances import carry, posted
from loopwright.log.cancel import Read, cancelled, left
from loopwright.log.file import (
    SYNCHRONOUS,
    Durability,
    Writing,
    asking,
    closed,
    connected,
    reading,
)
from loopwright.log.group import Group
from loopwright.log.ledger import Posting, Shortfall, enter, in_doubt, post, postings
from loopwright.log.migrations import transaction
from loopwright.log.redaction import Redaction
from loopwright.outcome import Outcome
from loopwright.port import fitting
from loopwright.run import Run
from loopwright.task import Task

if TYPE_CHECKING:
    from loopwright.log.search import Found
    from loopwright.report import Report, Since
    from loopwright.show.overview import By, RunTotals, SpendTotals

_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?)"
_RUNS = "select run from events where type = 'Started' order by run"
_OWN = (
    "select type, time, call, data from events"
    " where run = ? and (seq <= ? or type = 'Started') order by seq"
)
_REMOVED = (
    "select 1 from run_totals as told where run = ?"
    " and not exists (select 1 from events where run = told.run) limit ?"
)
_ANSWER = (
    "insert into answers (run, call, time, text, by, note) select ?, ?, ?, ?, ?, ?"
    " where not exists (select 1 from answers where run = ? and call = ?)"
    " and not exists (select 1 from events where run = ? and type = 'Returned' and call = ?)"
)
_PART = "insert into parts values (?, ?) on conflict do nothing"


class Entry(NamedTuple):
    """Rows of events that are written together, the long texts in them, and what they post."""

    rows: list[tuple[Any, ...]]
    parts: dict[str, str]
    posted: Sequence[Posting] = ()


class Log:
    """The append-only SQLite file of events.

    `path` is created, readable by its owner only, if it is not there. `durability` is ``"power"``
    (an acknowledged event survives a power cut) or ``"process"`` (it survives ``kill -9``, and is
    faster). One log object may serve many runs, event loops and threads of one process. With
    `read_only` the file has to be there and stays as it is, and what writes is a `LogError`; in a
    folder that may not be written so is what reads after others have written: open it again.

    Raises `LogError` if the file is no log, is read-only, or is of a newer schema.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(f"{folder}/runs.db")
    ...     print(list(log.db.query("select outcome from runs")))
    ...     log.close()
    []
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        durability: Durability = "power",
        *,
        read_only: bool = False,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or "\0" in str(path):
            raise BadInput(f"log={path!r:.80}: give the path of the file, or a Log")
        if durability not in SYNCHRONOUS:
            raise BadInput(f"durability={durability!r}: say 'power' or 'process'")
        if str(path) == ":memory:":
            raise BadInput("a log is a file: to keep nothing, give the loop no log at all")
        self.path = os.path.abspath(path)
        self.durability: Durability = durability
        self.read_only = read_only
        self.redaction = Redaction()
        self.connection, stamp = (
            reading(self.path) if read_only else (connected(self.path, durability), None)
        )
        self._writing = Writing(self.path, self.connection, read_only, stamp)
        self._local = threading.local()
        weakref.finalize(self, closed, self.connection, os.getpid())
        self.group = Group(self._commit)

    @property
    def db(self) -> Any:
        """The log as a `sqlite_utils.Database`, to ask questions of; its totals are made first.

        Each thread has its own, as long as it lasts: it sees what was written before, and may also
        write tables of yours. While rows of a query are left, it sees no more than there was then,
        and cannot write once others have: take them all first, with ``list(...)``. A transaction
        that you begin holds all runs up until you end it.
        """
        self.sum_up()
        local = self._local
        if not hasattr(local, "db"):
            local.db = self._database()
        with self._writing.lock:  # which a child that was forked has not
            return local.db

    def _database(self) -> Any:
        import sqlite_utils

        self._writing.look()
        own = reading(self.path)[0] if self.read_only else asking(self.path, self.durability)
        database = sqlite_utils.Database(own, execute_plugins=False)
        weakref.finalize(database, closed, own, os.getpid())
        return database

    def asked(
        self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[dict[str, Any]]:
        """The rows that a query gives, each by the names of its columns; totals are made first.

        The same as ``db.query``, whose library would load pandas, wherever that is installed.
        """
        self.sum_up()
        with self._writing.lock:
            cursor = self.connection.execute(query, values)
            names = [name for name, *_ in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def close(self) -> None:
        """Close the file, and each `db` that nobody holds. Done by itself when it is garbage."""
        self._writing.close()
        self._local = threading.local()

    # ------------------------------------------------------------------------------- writing

    async def append(self, run: str, seq: int, events: Sequence[Event]) -> Sequence[Event]:
        """Write `events` down as those that follow the first `seq` of the run.

        When this returns they are durable. Gives the events as they were written: without secrets.
        Raises `RunTaken` if another process has appended to the run, `LogError` if the file cannot
        be written.
        """
        events, rows, parts = self.prepared(run, seq, events)
        await self.group.commit(Entry(rows, parts, self._posted(run, seq, events)))
        return events

    def append_now(self, run: str, seq: int, events: Sequence[Event]) -> None:
        """The same at once: for when nothing can be awaited any more."""
        events, rows, parts = self.prepared(run, seq, events)
        self._commit([Entry(rows, parts, self._posted(run, seq, events))])

    def _posted(self, run: str, seq: int, events: Sequence[Event]) -> Sequence[Posting]:
        """What they post, asking for nothing: what is appended here has happened."""
        posted = postings(self._before(run, seq, events), events)
        return [evolve(one, asks=0) for one in posted]

    def _before(self, run: str, seq: int, events: Sequence[Event]) -> Run:
        first = events[0] if events else None
        if isinstance(first, Started):
            shared = self.events(first.base)[: first.shared] if first.base else []
            return fold(blank(run), *shared)
        return self.run(run) if seq else blank(run)

    def prepared(
        self, run: str, seq: int, events: Sequence[Event]
    ) -> tuple[Sequence[Event], list[tuple[Any, ...]], dict[str, str]]:
        """The events without secrets, and the rows and long texts to write for them.

        What is written is what counts as a fact from then on, for the run and its model too.
        """
        rows, parts = row.written(run, seq, events)
        suspects = self.redaction.suspects
        for one in rows:
            if suspects(one[5]):
                break
        else:
            if not any(map(suspects, parts.values())):
                return events, rows, parts
        clean = [revive(type(e), self.redaction.clean(plain(e))) for e in events]
        return clean, *row.written(run, seq, clean)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, held for what changes nothing in the file."""
        with self._writing.lock, row.readable(self.path):
            yield self.connection

    def writing(self) -> Writing:
        """The connection, held for one write: ``with log.writing() as connection:``."""
        return self._writing

    def _commit(self, batch: Sequence[Entry]) -> list[Shortfall | None]:
        """Write all of `batch` in one transaction; what was not, since a ceiling forbids it."""
        with self._writing as connection:
            rows, parts, posted = batch[0]
            if len(batch) == 1 and len(rows) == 1 and not parts and not posted:
                connection.execute(_EVENT, rows[0])
                return [None]
            with transaction(connection):
                if not any(entry.posted for entry in batch):
                    _inserted(connection, batch)
                    return [None] * len(batch)
                return [_entered(connection, entry) for entry in batch]

    # ------------------------------------------------------------------------------- reading

    def events(self, run: str) -> list[Event]:
        """All events of a run, in order. Raises `RunNotFound`."""
        return self._events(run, self._writing.lock)

    def events_within(self, run: str) -> list[Event]:
        """The same, for those who hold the connection already."""
        return self._events(run, nullcontext())

    def _events(
        self, run: str, lock: AbstractContextManager[object], most: int = LARGEST
    ) -> list[Event]:
        """The first events of a run, `most` at most; a fork shares the beginning of its base."""
        own = self._own(run, lock, most)
        first = own[0]
        if not isinstance(first, Started) or not first.base:
            return own
        return [*self._events(first.base, lock, min(first.shared, most)), *own][:most]

    def _own(self, run: str, lock: AbstractContextManager[object], most: int) -> list[Event]:
        with lock:
            rows = self._rows(_OWN, run, most)
            removed = not rows and self._rows(_REMOVED, run, 1)
        if removed:
            left = "`select * from runs` has what they added up to"
            raise RunNotFound(f"the events of run {run} were removed from {self.path}: {left}")
        if not rows:
            hint = "`select run from runs` lists them"
            raise RunNotFound(f"{self.path} holds no run {run!r}; {hint}")
        return row.read_all(run, rows, row.Parts(self.connection, lock))

    def run(self, run: str, task: Task | None = None, *, at: int | None = None) -> Run:
        """A run as the log has it; with its `task` its output is of the task's type.

        With `at`, as it was at the end of that step: its calls had come back and its answer was
        inspected, and nothing was decided on that yet. At 0 the run has just begun. Raises
        `RunNotFound`, and `BadInput` for a step that there is not.
        """
        events = self.events(run)
        events = events if at is None else events[: steps.end(events, at)]
        with row.whole(run):
            return folded(events, task).but(kept=self.path)

    def search(self, words: str, *, limit: int = 50) -> "list[Found]":
        """The messages that have all of `words` in them; see `loopwright.log.search`."""
        from loopwright.log.search import search

        return search(self, words, limit=limit)

    def runs(
        self,
        *,
        task: Task | str | None = None,
        since: "Since" = None,
        outcome: str | None = None,
        parent: str | None = None,
        limit: int | None = 1_000,
    ) -> "Report[RunTotals]":
        """The runs, newest first, as a `Report`: in a notebook a table, with a small plot.

        Runs that a tool began are part of another run, and left out where neither `task` nor
        `parent` is given. See `loopwright.show.overview.runs`.
        """
        from loopwright.show.overview import runs

        log: Any = self
        return runs(log, task=task, since=since, outcome=outcome, parent=parent, limit=limit)

    def spend(self, by: "By" = "day", *, since: "Since" = None) -> "Report[SpendTotals]":
        """What was spent, summed up, as a `Report`; see `loopwright.show.overview.spend`."""
        from loopwright.show.overview import spend

        log: Any = self
        return spend(log, by, since=since)

    def has(self, run: str) -> bool:
        """Whether there is a run of this id."""
        with self._writing.lock:
            return bool(self._rows("select 1 from events where run = ? limit ?", run, 1))

    def removed(self, run: str) -> bool:
        """Whether `vacuum` has removed the events of a run of this id."""
        with self._writing.lock:
            return bool(self._rows(_REMOVED, run, 1))

    def _rows(self, query: str, run: str, most: int) -> list[Any]:
        try:
            with row.readable(f"an event of run {run}"):
                return self.connection.execute(query, (run, most)).fetchall()
        except UnicodeEncodeError:  # half of a surrogate pair: no run is named so
            return []

    def ids(self) -> list[str]:
        """The ids of all runs, oldest first."""
        with self.reading() as connection:
            return [run for (run,) in connection.execute(_RUNS)]

    def sum_up(self) -> int:
        """Make the totals of the runs that have ended or wait; how many these were.

        Views tell the same with and without, but of a large log they do so much faster then. It is
        done by itself by all that reads many runs, such as `db`, but for a log that is read only.
        """
        from loopwright.log.totals import sum_up

        with row.readable(self.path):
            return 0 if self.read_only else sum_up(self._writing)

    def holder(self, run: str) -> str:
        """Which process has started or resumed the run last: its host and number."""
        last = [e for e in self.events(run) if isinstance(e, Started | Resumed)][-1]
        return last.setting.by

    # --------------------------------------------------------------------------------- money

    def reconcile(self, run: str, call: str, usd: Decimal | str | int, *, by: str = "") -> None:
        """Say what a call in doubt has really cost, by the provider's figures or by hand.

        The highest price was presumed spent for it; from now on `usd` is settled, even if it is
        more than that, and the rest is free again in every ceiling in USD that the call stood
        under. A process that still carries the run on loses it, so that runs which are over are the
        ones to reconcile. Raises `BadInput` if nothing is presumed for `call`, if it was reconciled
        already, or if `usd` is no amount, and `RunTaken` if the run goes on at this very moment.
        """
        carried = self.run(run)
        doubts = in_doubt(carried).get(call)
        if not doubts:
            raise BadInput(
                f"nothing is presumed spent for the call {call!r} of run {run}; what was under way "
                "in a process that died is, once the run is resumed"
            )
        presumed = sum(doubt.amount for doubt in doubts)
        event = Reconciled(max(carried.time, time.time()), call, nano(usd), presumed, by)
        _, rows, parts = self.prepared(run, carried.seq, [event])
        self._commit([Entry(rows, parts, postings(carried, [event]))])

    def rebuild(self) -> None:
        """Make the balances of all ceilings anew, from what the events, also removed ones, posted.

        One transaction, so that nothing can be posted in between: whoever else writes waits for it.
        """
        with self._writing as connection, transaction(connection):
            self.rebalance(connection)

    def rebalance(self, connection: sqlite3.Connection) -> None:
        """`rebuild`, as a part of a transaction on the log's own connection."""
        carry(connection)
        for (run,) in connection.execute(_RUNS).fetchall():
            enter(connection, posted(run, self.events_within(run)))

    # -------------------------------------------------------------------------------- people

    def cancel(self, run: str, by: str = "", why: str = "") -> None:
        """End a run as cancelled, and with it the runs that its tools have begun.

        A process that carries it on stops with `RunTaken` at its next append, before it acts again;
        a call that is under way there comes to its end, and what came of it is not written down. A
        run that waits is over. What its tools did is not taken back (see `Loop.unwind`), and
        `Loop.resume` can carry it on, as one that was interrupted. `by` and `why` are words for the
        log. Raises `RunNotFound`, and `BadInput` if the run is over already.
        """
        self._end(lambda connection, read: cancelled(connection, read, run, by, why))

    def end_below(self, run: Run) -> None:
        """End what the tools of a run that is over have begun, as far as it still goes on."""
        if run.outcome not in (None, Outcome.waiting):
            self._end(lambda connection, read: left(connection, read, run))

    def _end(self, which: Callable[[sqlite3.Connection, Read], Iterable[Any]]) -> None:
        with self._writing as connection, transaction(connection):
            read = partial(self._events, lock=nullcontext())
            for ending, end in which(connection, read):
                events, rows, parts = self.prepared(ending.run_id, ending.seq, [end])
                _entered(connection, Entry(rows, parts, postings(ending, events)))

    def questions(self, run: str) -> list[Question]:
        """The questions of a run that nobody has answered yet."""
        return [q for q in self.run(run).questions if self.answer_to(run, q) is None]

    def answer(
        self, run: str, text: str, *, by: str = "", note: str = "", question: str = ""
    ) -> None:
        """Answer the question that `run` waits for; `loop.resume` then carries it on.

        `question` is the id of the question, if there are several. Raises `BadInput` if nothing
        was asked, if it was answered already, or if `text` is none of the choices.
        """
        asked = self._asked(run, question)
        answer = fitting(asked, Answer(text, by, note))
        said = (answer.text, answer.by, answer.note)
        with self._writing as connection, transaction(connection):
            row = (run, asked.id, time.time(), *map(self.redaction.masked, said))
            if not connection.execute(_ANSWER, (*row, *2 * (run, asked.id))).rowcount:
                raise BadInput(f"run {run} waits for no answer to {asked.id}: it has one by now")

    def _asked(self, run: str, question: str) -> Question:
        asked = [q for q in self.questions(run) if question in ("", q.id)]
        if len(asked) == 1:
            return asked[0]
        if asked:
            ids = ", ".join(f"{q.id} ({q.text})" for q in asked)
            raise BadInput(f"run {run} asks several questions: name one of them: {ids}")
        raise BadInput(f"run {run} waits for no answer{f' to {question}' if question else ''}")

    def answer_to(self, run: str, question: Question) -> Answer | None:
        """What was answered first to `question`, if anything was."""
        with self.reading() as connection:
            row = connection.execute(
                "select text, by, note from answers where run = ? and call = ? order by id limit 1",
                (run, question.id),
            ).fetchone()
        return Answer(*row) if row else None


# --------------------------------------------------------------------------------- small pieces


def _entered(connection: sqlite3.Connection, entry: Entry) -> Shortfall | None:
    """Write one entry of a transaction, or leave it out altogether."""
    if not entry.posted:
        _inserted(connection, [entry])
        return None
    connection.execute("savepoint entry")
    try:
        post(connection, entry.posted)
        _inserted(connection, [entry])
    except Shortfall as short:
        connection.execute("rollback to entry")
        return short
    finally:
        connection.execute("release entry")
    return None


def _inserted(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """All rows in one statement: a call for each of many entries costs more than the rows."""
    if parts := [part for entry in entries for part in entry.parts.items()]:
        connection.executemany(_PART, parts)
    connection.executemany(_EVENT, [row for entry in entries for row in entry.rows])
