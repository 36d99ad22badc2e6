"""The floor: what one would write by hand, with a `while` loop and the `sqlite3` module."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from work import PROMPT, Model, look, loop, task

from loopwright import Log
from loopwright.events import Event
from loopwright.log.file import Durability

Row = tuple[str, str | None, dict[str, Any]]
"""Type, call and data of one event."""

Plan = list[list[list[Row]]]
"""The transactions up to each call that is made, and after the last one."""

_INSERT = "insert into events (run, seq, type, time, call, data) values (?, ?, ?, ?, ?, ?)"
_SYNCHRONOUS = {"power": "full", "process": "normal"}
_NUMBERS = count()


class Noted(Log):
    """A log that notes how many events each transaction has."""

    def __init__(self, path: Path, durability: Durability = "process") -> None:
        super().__init__(path, durability)
        self.sizes: list[int] = []

    def prepared(self, run: str, seq: int, events: Sequence[Event]) -> Any:
        self.sizes.append(len(events))
        return super().prepared(run, seq, events)


def plan(path: Path, says: Model) -> Plan:
    """What a run with this model writes, as plain data, for the floor to write the same."""
    with closing(Noted(path)) as log:
        loop(says, log).run_now(task())
        return written_by(log)


def written_by(log: Noted) -> Plan:
    """What the only run of the file has written through `log`."""
    rows = [(kind, call, json.loads(data)) for kind, call, data in _rows(log.connection)]
    due = iter(rows[len(rows) - sum(log.sizes) :])
    planned: Plan = [[]]
    for size in log.sizes:
        planned[-1].append([next(due) for _ in range(size)])
        if planned[-1][-1][-1][0] == "Intended":
            planned.append([])
    return planned


def read(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The data of all events of the only run."""
    return [json.loads(data) for _, _, data in _rows(connection)]


def _rows(connection: sqlite3.Connection) -> list[tuple[str, str | None, str]]:
    return connection.execute("select type, call, data from events order by run, seq").fetchall()


_TABLE = """
create table events (
  run text not null, seq integer not null, type text not null, time real not null, call text,
  data text not null, primary key (run, seq)
) strict, without rowid
"""


class File:
    """A file with such a table as ours; each transaction is durable when `write` returns."""

    def __init__(self, path: Path, durability: Durability, new: bool = True) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute(f"pragma synchronous = {_SYNCHRONOUS[durability]}")
        if new:
            self.connection.execute(_TABLE)

    async def write(self, run: str, seq: int, rows: list[Row]) -> None:
        """Write one transaction at once."""
        self._insert(_written(run, seq, rows))

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self.connection.execute(_INSERT, rows[0])
            return
        self.connection.execute("begin immediate")
        self.connection.executemany(_INSERT, rows)
        self.connection.execute("commit")

    def close(self) -> None:
        self.connection.close()


class TogetherFile(File):
    """The same, but all that is written in one tick of the event loop is one transaction."""

    def __init__(self, path: Path, durability: Durability) -> None:
        super().__init__(path, durability)
        self._waiting: list[tuple[list[tuple[Any, ...]], asyncio.Future[None]]] = []

    async def write(self, run: str, seq: int, rows: list[Row]) -> None:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((_written(run, seq, rows), done))
        await done

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._insert([row for rows, _ in waiting for row in rows])
        for _, done in waiting:
            done.set_result(None)


def _written(run: str, seq: int, rows: list[Row]) -> list[tuple[Any, ...]]:
    return [
        (run, seq + i, kind, time.time(), call, _dumps(data))
        for i, (kind, call, data) in enumerate(rows, 1)
    ]


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


Write = Callable[[], Awaitable[None]]
"""What a run calls before each call that it makes, and at its end."""


async def run(says: Model) -> list[Any]:
    """The loop by hand, kept in memory."""
    messages: list[Any] = [PROMPT]
    while True:
        said = await says(messages)
        messages.append(said)
        if isinstance(said, str):
            return messages
        messages.append(await look.function(**said.arguments))


async def logged(says: Model, file: File, planned: Plan) -> list[Any]:
    """The same, and the same transactions as ours are written before each call."""
    return await _on([PROMPT], says, _writer(file, planned, f"{next(_NUMBERS):020}"))


async def resumed(says: Model, file: File, planned: Plan, run: str) -> list[Any]:
    """Read what is in the file, and go on to the end."""
    events = read(file.connection)
    messages = [PROMPT, *(event["result"] for event in events if "result" in event)]
    return await _on(messages, says, _writer(file, planned, run, len(events)))


async def _on(messages: list[Any], says: Model, write: Write) -> list[Any]:
    while True:
        await write()
        said = await says(messages)
        messages.append(said)
        if isinstance(said, str):
            await write()
            return messages
        await write()
        messages.append(await look.function(**said.arguments))


def _writer(file: File, planned: Plan, run: str, written: int = 0) -> Write:
    steps = iter(planned)

    async def write() -> None:
        nonlocal written
        for rows in next(steps):
            await file.write(run, written, rows)
            written += len(rows)

    return write
