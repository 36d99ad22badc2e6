"""What is done in the processes of the tests of delegates: three generations of agents."""

import os
import signal
from pathlib import Path
from typing import Any

from killed import Outside, kill

from loopwright import Budget, Log, Loop, Run, Task
from loopwright.calls import Request, ToolCall
from loopwright.models import Scripted, set_price
from loopwright.tools import delegate, tool

for name in ("grandmother", "mother", "child"):
    set_price(f"{name}:{name}", "1000", "1000")


def saying(name: str, outside: Outside, call: ToolCall) -> Scripted:
    """A model that makes this call first, and then is done; each time it leaves a line outside."""

    def said(request: Request) -> Any:
        outside.note(f"{name} {len(request.messages)}")
        return call if len(request.messages) == 1 else f"{name} is done."

    return Scripted(said, name=name)


def family(folder: Path) -> tuple[Loop, Task]:
    outside = Outside(folder)

    @tool(effect="idempotent")
    def book(seat: int, idempotency_key: str) -> str:
        """Book."""
        kill("before book")
        outside.note(f"book {idempotency_key}")
        kill("after book")
        return "booked"

    child = delegate(
        Task("Book {seat}.", tools=[book], name="child", max_tokens=10),
        Loop(saying("child", outside, ToolCall("1", "book", {"seat": 4}))),
        usd=5,
    )
    mother = delegate(
        Task("Have {seat} booked.", tools=[child], name="mother", max_tokens=10),
        Loop(saying("mother", outside, ToolCall("1", "child", {"seat": "4"}))),
        usd=10,
    )
    task = Task("Plan it.", tools=[mother], limits=Budget(usd=20), max_tokens=10)
    model = saying("grandmother", outside, ToolCall("1", "mother", {"seat": "4"}))
    return Loop(model, log=Log(folder / "runs.db", "process")), task


def generations(folder: Path, die_after: int = 0, die_at: str = "") -> None:
    """Start the runs, or go on with them; die after this event of the grandchild, or in its tool.

    How many events the grandchild has is left in a file.
    """
    os.environ["DIE_AT"] = die_at
    loop, task = family(folder)
    assert loop.log is not None

    def watch(run: Run, seen: object) -> None:
        if run.run_id.count(".") == 2 and run.events[die_after - 1 : die_after] == [seen]:
            os.kill(os.getpid(), signal.SIGKILL)

    if die_after:
        loop.watch = watch
    runs = loop.log.ids()
    if runs:
        loop.resume_now(runs[0], task)
    else:
        loop.run_now(task)
