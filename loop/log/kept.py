"""What a log keeps for a while, for all its runs and processes: results that are still good."""

import logging
import sqlite3
from typing import TYPE_CHECKING, Any

from loopwright.calls import Call, ToolCall, ToolResult
from loopwright.codec import decode, digest, encode, plain, revive
from loopwright.errors import LogError
from loopwright.events import Event, Returned
from loopwright.port import Performance, Port, Through
from loopwright.run import Run

if TYPE_CHECKING:
    from loopwright.log.store import Log

_LOG = logging.getLogger("loopwright")


class Kept:
    """Texts by their keys, each until some time, in seconds since 1970.

    They are a convenience: whatever is wrong with the table is told to Python's `logging`, and
    nothing is found. Secrets are masked.
    """

    def __init__(self, log: "Log") -> None:
        self.log = log

    def get(self, key: str, now: float) -> Any:
        """The data kept under `key`, if it is still good."""
        rows = self._execute("select text from kept where key = ? and until > ?", (key, now))
        return decode(rows[0][0]) if rows else None

    def put(self, key: str, until: float, value: Any, now: float) -> None:
        """Keep a value until then, and forget what is no longer good."""
        text = encode(self.log.redaction.clean(plain(value)))
        self._execute("delete from kept where until <= ?", (now,))
        self._execute("insert or replace into kept values (?, ?, ?)", (key, until, text))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            with self.log.writing() as connection:
                return connection.execute(statement, values).fetchall()
        except (sqlite3.Error, LogError):
            _LOG.warning("what the log keeps for a while cannot be used", exc_info=True)
            return []


class KeptResults(Through):
    """A port that gives the results of tools which are still good, by the `cache_seconds` of each.

    The same is a call to the same tool, with the same schema, with the same arguments.
    """

    def __init__(self, inner: Port, log: "Log") -> None:
        super().__init__(inner)
        self.kept = Kept(log)

    def perform(self, run: Run, call: Call) -> Performance:
        seconds = _seconds(run, call)
        if not seconds or not isinstance(call, ToolCall):
            return self.inner.perform(run, call)
        return self._performed(run, call, seconds)

    async def _performed(self, run: Run, call: ToolCall, seconds: float) -> Event:
        assert run.task is not None
        now = self.now()
        key = digest("tool", call.name, run.task.digests[call.name], call.arguments)
        found = self.kept.get(key, now)
        if found is not None:
            return Returned(now, call.id, revive(ToolResult, found), cached=True)
        event = await self.inner.perform(run, call)
        if isinstance(event, Returned):
            self.kept.put(key, event.time + seconds, event.result, now)
        return event


def _seconds(run: Run, call: Call) -> float:
    """How long the result of `call` is good; 0 if it is none that may be kept."""
    if not isinstance(call, ToolCall) or call.purpose != "call" or call.effect != "read":
        return 0.0
    tool = run.task.tools.get(call.name) if run.task else None
    return float(getattr(tool, "cache_seconds", 0.0))
