"""`Log`: the append-only SQLite file of events."""

import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from loopwright.calls import Answer, Call, Question
from loopwright.codec import decode, encode, fields, plain, revive
from loopwright.errors import BadInput, LogError, RunNotFound, RunTaken
from loopwright.events import EVENTS, Event, Intended, Resumed, Returned, Started
from loopwright.fold import folded
from loopwright.log.group import Group
from loopwright.log.migrations import found, migrate
from loopwright.log.redaction import Redaction
from loopwright.port import Port, Through, fitting
from loopwright.run import Run
from loopwright.task import Task

Durability = Literal["power", "process"]

_SYNCHRONOUS = {"power": "full", "process": "normal"}

BUSY = 30.0
"""Seconds that a write waits for other processes: their transactions take milliseconds."""

_EVENT = "insert into events values (?, ?, ?, ?, ?, ?)"
_PART = "insert into parts values (?, ?) on conflict do nothing"


class Log:
    """The append-only SQLite file of events.

    `path` is created, readable by its owner only, if it is not there. `durability` is ``"power"``
    (an acknowledged event survives a power cut) or ``"process"`` (it survives ``kill -9``, and is
    faster). One log object may serve many runs, event loops and threads of one process.

    Raises `LogError` if the file is no log, is read-only, or is of a newer schema.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(f"{folder}/runs.db")
    ...     print(list(log.db.query("select outcome from runs")))
    ...     log.close()
    []
    """

    def __init__(self, path: str | os.PathLike[str], durability: Durability = "power") -> None:
        if durability not in _SYNCHRONOUS:
            raise BadInput(f"durability={durability!r}: say 'power' or 'process'")
        if str(path) == ":memory:":
            raise BadInput("a log is a file: to keep nothing, give the loop no log at all")
        self.path = os.path.abspath(path)
        self.durability = durability
        self.redaction = Redaction()
        _prepared(Path(self.path))
        self.connection = _connected(self.path, durability)
        self._writing = _Writing(self.path, self.connection)
        weakref.finalize(self, _closed, self.connection, os.getpid())
        self.group = Group(self._commit)

    @property
    def db(self) -> Any:
        """The log as a `sqlite_utils.Database`, to ask questions of."""
        import sqlite_utils

        return sqlite_utils.Database(self.connection, execute_plugins=False)

    def close(self) -> None:
        """Close the file. It is closed by itself when the log is garbage."""
        self.connection.close()

    # ------------------------------------------------------------------------------- writing

    async def append(self, run: str, seq: int, events: Sequence[Event]) -> Sequence[Event]:
        """Write `events` down as those that follow the first `seq` of the run.

        When this returns they are durable. Gives the events as they were written: without secrets.
        Raises `RunTaken` if another process has appended to the run, `LogError` if the file cannot
        be written.
        """
        events, rows, parts = self.prepared(run, seq, events)
        await self.group.commit((rows, parts))
        return events

    def append_now(self, run: str, seq: int, events: Sequence[Event]) -> None:
        """The same at once: for when nothing can be awaited any more."""
        _, rows, parts = self.prepared(run, seq, events)
        self._commit([(rows, parts)])

    def prepared(
        self, run: str, seq: int, events: Sequence[Event]
    ) -> tuple[Sequence[Event], list[tuple[Any, ...]], dict[str, str]]:
        """The events without secrets, and the rows and long texts to write for them.

        What is written is what counts as a fact from then on, for the run and its model too.
        """
        rows, parts = _rows(run, seq, events)
        texts = (*(row[-1] for row in rows), *parts.values())
        if not any(map(self.redaction.suspects, texts)):
            return events, rows, parts
        clean = [revive(type(e), self.redaction.clean(plain(e))) for e in events]
        return clean, *_rows(run, seq, clean)

    def _commit(self, batch: Sequence[tuple[list[tuple[Any, ...]], dict[str, str]]]) -> None:
        """Write all of `batch` in one transaction."""
        with self._writing as connection:
            if len(batch) == 1 and len(batch[0][0]) == 1 and not batch[0][1]:
                connection.execute(_EVENT, batch[0][0][0])
                return
            with _transaction(connection):
                for rows, parts in batch:
                    if parts:
                        connection.executemany(_PART, parts.items())
                    connection.executemany(_EVENT, rows)

    # ------------------------------------------------------------------------------- reading

    def events(self, run: str) -> list[Event]:
        """All events of a run, in order. Raises `RunNotFound`."""
        with self._writing.lock:
            query = "select type, time, call, data from events where run = ? order by seq"
            rows = self.connection.execute(query, (run,)).fetchall()
        if not rows:
            raise RunNotFound(
                f"{self.path} holds no run {run!r}; `select run from runs` lists them"
            )
        parts = _Parts(self)
        return [_event(kind, at, call, data, parts) for kind, at, call, data in rows]

    def run(self, run: str, task: Task | None = None) -> Run:
        """A run as the log has it; with its `task` its output is of the task's type."""
        return folded(self.events(run), task)

    def runs(self) -> list[str]:
        """The ids of all runs, oldest first."""
        with self._writing.lock:
            query = "select run from events where type = 'Started' order by run"
            return [run for (run,) in self.connection.execute(query)]

    def holder(self, run: str) -> str:
        """Which process has started or resumed the run last: its host and number."""
        last = [e for e in self.events(run) if isinstance(e, Started | Resumed)][-1]
        return last.setting.by

    # -------------------------------------------------------------------------------- people

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
        with self._writing as connection, _transaction(connection):
            row = (run, asked.id, time.time(), *map(self.redaction.masked, said))
            connection.execute(
                "insert into answers (run, call, time, text, by, note) values (?, ?, ?, ?, ?, ?)",
                row,
            )

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
        with self._writing.lock:
            row = self.connection.execute(
                "select text, by, note from answers where run = ? and call = ? order by id limit 1",
                (run, question.id),
            ).fetchone()
        return Answer(*row) if row else None


class Recorded(Through):
    """A port that writes down what passes, before it counts as a fact."""

    def __init__(self, log: Log, inner: Port) -> None:
        super().__init__(inner)
        self.log = log

    async def record(self, run: Run, events: Sequence[Event]) -> Run:
        if not events:
            return run
        events, rows, parts = self.log.prepared(run.run_id, run.seq, events)
        after = await self.inner.record(run, events)  # what cannot be folded is never written
        try:
            await self.log.group.commit((rows, parts))
        except RunTaken:
            raise RunTaken(self._taken(run, events[0])) from None
        return after

    async def perform(self, run: Run, call: Call) -> Event:
        """A question may have been answered in the log meanwhile; what is not is asked."""
        if isinstance(call, Question) and (answer := self.log.answer_to(run.run_id, call)):
            return Returned(self.now(), call.id, answer)
        return await self.inner.perform(run, call)

    def _taken(self, run: Run, event: Event) -> str:
        return (
            f"run {run.run_id} was carried on by {self.log.holder(run.run_id)}, which has written "
            f"event {run.seq + 1}: this process was about to write {type(event).__name__} there, "
            "and stops before it does anything more"
        )


# --------------------------------------------------------------------------------- small pieces


class _Parts(dict[str, str]):
    """Texts by their digest, fetched when they are asked for."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def __missing__(self, digest: str) -> str:
        with self.log._writing.lock:
            query = "select text from parts where digest = ?"
            row = self.log.connection.execute(query, (digest,)).fetchone()
        if row is None:
            raise LogError(f"{self.log.path} lacks the text {digest}: the file is damaged")
        self[digest] = str(row[0])
        return self[digest]


class _Writing:
    """The connection, held for one write; what SQLite says against it becomes an error of ours."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self.lock = threading.Lock()
        self.process = os.getpid()
        self.file = _identity(path)
        self.looked = 0.0

    def __enter__(self) -> sqlite3.Connection:
        self.lock.acquire()
        try:
            self._same_file()
        except LogError:
            self.lock.release()
            raise
        return self.connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.lock.release()
        if isinstance(error, sqlite3.IntegrityError):
            raise RunTaken(str(error)) from None
        if isinstance(error, sqlite3.Error):
            raise LogError(f"{self.path} cannot be written: {error}") from error

    def _same_file(self) -> None:
        """Notice a fork, and, within a tenth of a second, a file that was replaced."""
        if os.getpid() != self.process:
            raise LogError(f"{self.path} was opened before a fork: open it again in the child")
        now = time.monotonic()
        if now - self.looked > 0.1 and _identity(self.path) != self.file:
            raise LogError(f"{self.path} was removed or replaced while it was open")
        self.looked = now


def _rows(
    run: str, seq: int, events: Sequence[Event]
) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
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


def _event(kind: str, time: float, call: str | None, text: str, parts: dict[str, str]) -> Event:
    if kind not in EVENTS:
        raise LogError(f"the log holds an event of the unknown type {kind!r}: upgrade loopwright")
    data = decode(text, parts.__getitem__)
    data["time"] = time
    if kind == "Intended":
        data["call"]["id"] = call
    elif kind in ("Returned", "Failed", "Paused"):
        data["call"] = call
    event: Event = revive(EVENTS[kind], data)
    return event


def _about(event: Any) -> str | None:
    """The call that an event is about, for the column `call`."""
    call = getattr(event, "call", None) or getattr(event, "about", None)
    return getattr(call, "id", call)


def _closed(connection: sqlite3.Connection, process: int) -> None:
    """A child that was forked leaves the file to its parent."""
    if os.getpid() == process:
        connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("rollback")
        raise


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepared(path: Path) -> None:
    """Create the file for its owner only, whatever the umask; SQLite gives its mode to -wal."""
    if not path.parent.is_dir():
        raise LogError(f"{path} cannot be opened: there is no folder {path.parent}")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _checked(path)
    except OSError as error:
        raise LogError(f"{path} cannot be created: {error.strerror}") from None


def _checked(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise LogError(f"{path} is no regular file: choose another path")
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK, effective_ids=effective):
        raise LogError(f"{path} is read-only: make it writable, or read it with sqlite3")


def _connected(path: str, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection, path, durability)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LogError(f"{path} cannot be opened as a log: {error}; it was not changed") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: str, durability: Durability) -> None:
    found(connection, path)  # before anything is changed
    (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
    if mode != "wal":
        raise LogError(f"{path} cannot be used in WAL mode: put it on a local disk")
    connection.execute(f"pragma synchronous = {_SYNCHRONOUS[durability]}")
    migrate(connection, path)
