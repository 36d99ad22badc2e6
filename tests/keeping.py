"""Logs for the tests of those that keep them: runs of a certain day, and what they add up to."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

from attrs import evolve

from loopwright import Budget, Log, Loop, Task
from loopwright.calls import Call, Reply, Request, Text, ToolCall, Usage
from loopwright.events import Event
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve
from loopwright.port import Port, Through
from loopwright.run import Run
from loopwright.tools import delegate, tool

DAY = 86_400.0
LONG = "What is said at length. " * 40

SUMS = (
    "select day, task, model, sum(model_calls), sum(cost_nano), sum(input_tokens) from spend"
    " group by 1, 2, 3 order by 1, 2, 3",
    "select task, version, runs, accepted, cost_nano, attempts from tasks order by 1, 2",
    "select run, root, parent, outcome, started, cost_nano, events from runs order by run",
)


class At:
    """Wraps a port: all that happens, happens at that time."""

    def __init__(self, time: float) -> None:
        self.time = time

    def port(self, inner: Port, log: Any) -> Port:
        return _At(inner, self.time)


class _At(Through):
    def __init__(self, inner: Port, time: float) -> None:
        super().__init__(inner)
        self.time = time

    def now(self) -> float:
        return self.time

    async def perform(self, run: Run, call: Call) -> Event:
        return evolve(await super().perform(run, call), time=self.time)


@tool
def send(to: str) -> str:
    """Send."""
    return "sent"


def said(request: Request) -> Reply:
    text = LONG + str(request.messages[0].text)
    return Reply((Text(text),), "stop", Usage(10, output_visible=10))


def carried(log: Log, day: int, kind: str = "plain") -> Run:
    """A run that was carried out on that day."""
    set_price("kept:kept", "1", "1")
    wish = Reply((ToolCall("1", "send", {"to": "A"}),), "tool_calls", Usage(1))
    ask = Reply((ToolCall("1", "child", {"n": "1"}),), "tool_calls", Usage(1))
    model = Scripted({"plain": said, "waits": [wish], "parent": [ask, "Done."]}[kind], name="kept")
    at = [At(day * DAY)]
    inner = Loop(Scripted(said, name="kept"), log=log, ports=at)
    child = delegate(Task("Do {n}.", name="child"), inner, usd="0.5")
    policies = [Approve("send"), Budget(usd=9, name="all", per="day")]
    loop = Loop(model, policies=policies, log=log, ports=at)
    tools = {"plain": [], "waits": [send], "parent": [child]}[kind]
    return loop.run_now(Task(f"Be {kind}.", tools=tools, name=kind))


def sums(log: Log) -> list[list[Any]]:
    return [log.connection.execute(query).fetchall() for query in SUMS]


def older(log: Log, path: Path) -> Path:
    """The same log in a file of the second schema."""
    with closing(sqlite3.connect(path)) as old:
        for step in ("0001_events.sql", "0002_ledger.sql"):
            old.executescript((files("loopwright.log") / step).read_text())
        old.execute("attach ? as source", (log.path,))
        old.execute("insert into events select run, seq, type, time, call, data from source.events")
        for table in ("parts", "answers", "balances"):
            old.execute(f"insert into {table} select * from source.{table}")
        old.execute("pragma user_version = 2")
        old.commit()
    return path
