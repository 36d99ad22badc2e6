"""What is done in the processes that the kill tests start: each function is the whole of one.

The world outside is a folder: every tool and every model call leaves a line in a file there.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopwright import Log, Loop, Run, RunTaken, Task
from loopwright.calls import Failure, Reply, Request, Text, ToolCall, Usage
from loopwright.models import set_price
from loopwright.policies import Approve, Escalate, Retry
from loopwright.tools import tool

set_price("killed:weak", 0, 0)
set_price("killed:strong", 0, 0)
set_price("killed:killed", 0, 0)


class Outside:
    """What happens outside of the process: lines in files, which a kill cannot take back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, what: str) -> None:
        file = os.open(self.folder / "effects", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, f"{what}\n".encode())
        os.close(file)

    def noted(self) -> list[str]:
        effects = self.folder / "effects"
        return effects.read_text().splitlines() if effects.exists() else []

    def first(self, what: str) -> bool:
        """Whether this is the first time that anybody asks for `what`."""
        try:
            os.close(os.open(self.folder / what, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def kill(where: str) -> None:
    """Die here, if this is the place."""
    if os.environ.get("DIE_AT") == where:
        os.kill(os.getpid(), signal.SIGKILL)


def guarded(taken: int, work: Callable[..., object], *args: Any) -> None:
    """Do the work; end with the status `taken` if another process has the run."""
    signal.alarm(60)
    try:
        work(*args)
    except RunTaken:
        sys.exit(taken)


class World:
    """A model that answers by the conversation alone, but for one failure at the first call."""

    name = "killed"

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    async def reply(self, request: Request) -> Reply | Failure:
        self.outside.note(f"model {request.model} {len(request.messages)}")
        if len(request.messages) == 1 and self.outside.first("failed"):
            return Failure("rate_limited", "slow down", None, True, 429)
        if len(request.messages) == 1:
            calls = (
                ToolCall("1", "look", {"at": "Ada"}),
                ToolCall("1", "book", {"seat": 4}),
                ToolCall("1", "send", {"to": "Ada"}),
            )
            return Reply(calls, "tool_calls", Usage(9, output_visible=9))
        text = "42" if request.model == "strong" else "no idea"
        return Reply((Text(text),), "stop", Usage(9, output_visible=1))


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


def task(outside: Outside) -> Task:
    @tool(effect="read")
    def look(at: str) -> str:
        """Look."""
        kill("before look")
        outside.note(f"look {at}")
        kill("after look")
        return "seen"

    @tool(effect="idempotent")
    async def book(seat: int, idempotency_key: str) -> str:
        """Book."""
        kill("before book")
        outside.note(f"book {idempotency_key}")
        kill("after book")
        return "booked"

    @tool(effect="unsafe")
    async def send(to: str) -> str:
        """Send."""
        kill("before send")
        outside.note(f"send {to}")
        kill("after send")
        return "sent"

    return Task("Do it.", tools=[look, book, send], checks=[digits])


task(Outside(Path()))  # loads pydantic here, once, and not in each of the processes


def the_loop(folder: Path) -> Loop:
    return Loop(
        "killed:weak",
        providers=[World(Outside(folder))],
        policies=[Approve("send"), Retry(times=1, backoff=0), Escalate("killed:strong")],
        log=Log(folder / "runs.db", "process"),
    )


def carry(folder: Path, statement: int | None = None, die_at: str = "") -> None:
    """Start the run, or go on with it; die before SQLite executes the statement with this number,
    or at this place inside of a tool.

    How many statements there were is left in a file.
    """
    os.environ["DIE_AT"] = die_at
    loop = the_loop(folder)
    assert loop.log is not None
    runs = loop.log.ids()
    seen = iter(range(1_000_000))

    def count(sql: str) -> None:
        if next(seen) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.log.connection.set_trace_callback(count)
    if runs:
        loop.resume_now(runs[0], task(Outside(folder)))
    else:
        loop.run_now(task(Outside(folder)))
    (folder / "statements").write_text(str(next(seen)))


def statements(folder: Path) -> int:
    return int((folder / "statements").read_text())


def watched(folder: Path, event: int, run_id: str | None) -> None:
    """Carry on, and die right after this event of the run was written down."""
    loop = the_loop(folder)

    def watch(run: Run, seen: object) -> None:
        if run.events[event - 1 : event] == [seen]:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.watch = watch
    if run_id is None:
        loop.run_now(task(Outside(folder)))
    else:
        loop.resume_now(run_id, task(Outside(folder)))


def slow_task(folder: Path) -> Task:
    outside = Outside(folder)

    @tool(effect="idempotent")
    async def wait(mark: str) -> str:
        """Wait until the file is there."""
        outside.note(f"wait {os.getpid()}")
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
        return mark

    return Task("Do it.", tools=[wait])


class Waits:
    """A model that calls the tool `wait`, and is done when it has waited."""

    name = "killed"

    def __init__(self, folder: Path) -> None:
        self.outside = Outside(folder)

    async def reply(self, request: Request) -> Reply | Failure:
        self.outside.note(f"model {os.getpid()}")
        if len(request.messages) == 1:
            return Reply((ToolCall("1", "wait", {"mark": "x"}),), "tool_calls", Usage(1))
        return Reply((Text("done"),), "stop", Usage(1))


def waits(folder: Path) -> None:
    """Start the run or go on with it; what this process is told if it loses it is written down."""
    loop = Loop(Waits(folder), log=folder / "runs.db")
    assert loop.log is not None
    runs = loop.log.ids()
    try:
        if runs:
            loop.resume_now(runs[0], slow_task(folder))
        else:
            loop.run_now(slow_task(folder))
    except RunTaken as error:
        (folder / "told").write_text(str(error))
        raise
