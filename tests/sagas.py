"""What is done in the processes of the tests of effects: each function is the whole of one."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from killed import Outside, kill

from loopwright import Budget, Log, Loop, Run, Task
from loopwright.calls import Request, ToolCall, ToolResult
from loopwright.models import Scripted
from loopwright.tools import Tool, tool

BOOKED = 5
"""Tools that each book something, one after the other."""


def after(event: int) -> Callable[[Run, object], None]:
    """Dies right after this event of the run was written down."""

    def watch(run: Run, seen: object) -> None:
        if run.events[event - 1 : event] == [seen]:
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


def carried(folder: Path, task: Task, model: Scripted, die_after: int, die_at: str) -> None:
    os.environ["DIE_AT"] = die_at
    watch = after(die_after) if die_after else None
    loop = Loop(model, log=Log(folder / "runs.db", "process"), watch=watch)
    assert loop.log is not None
    runs = loop.log.ids()
    if runs:
        loop.resume_now(runs[0], task)
    else:
        loop.run_now(task)


# ------------------------------------------------------------------------------ one call, killed


def acting(effect: Any, outside: Outside) -> Tool:
    """A tool of this effect class that leaves a line outside."""

    def act(what: str, idempotency_key: str) -> str:
        """Act."""
        kill("before")
        outside.note(f"{what} {idempotency_key}")
        kill("after")
        return "acted"

    def happened(what: str) -> str | None:
        done = any(line.startswith(what) for line in outside.noted())
        return "acted" if done else None

    told = happened if effect == "reconcilable" else None
    return tool(act, effect=effect, reconcile=told)


def act(folder: Path, effect: str, die_after: int = 0, die_at: str = "") -> None:
    """Start the run or go on with it: one tool call, and the answer."""
    task = Task("Act.", tools=[acting(effect, Outside(folder))])
    carried(folder, task, Scripted(_acts, name="killed"), die_after, die_at)


def _acts(request: Request) -> Any:
    return ToolCall("1", "act", {"what": "x"}) if len(request.messages) == 1 else "Done."


# ----------------------------------------------------------------------------------------- sagas


def booking(number: int, fails: int, folder: Path) -> Tool:
    """A tool that books something outside, which can be undone; it may fail half-way."""
    outside, place = Outside(folder), folder / f"booked {number}"

    def book() -> str:
        """Book it."""
        place.write_text("")
        if number == fails:
            raise RuntimeError("no seat is left")
        return f"booked {number}"

    def cancel(idempotency_key: str, result: str) -> None:
        kill(f"before undo {number}")
        if outside.first(f"key {idempotency_key}"):
            outside.note(f"undo {number} of {result!r}")
            place.unlink()
        kill(f"after undo {number}")

    undo = tool(cancel, effect="idempotent")
    return tool(book, name=f"book{number}", undo=undo)


def saga(folder: Path, fails: int, die_after: int = 0, die_at: str = "") -> None:
    """Start the run or go on with it: five bookings, of which one fails."""
    tools = [booking(number, fails, folder) for number in range(1, BOOKED + 1)]
    task = Task("Book it all.", tools=tools, checks=[_complete], limits=Budget(tool_calls=BOOKED))
    carried(folder, task, Scripted(_books, name="killed"), die_after, die_at)


def _books(request: Request) -> Any:
    results = [b for m in request.messages for b in m.blocks if isinstance(b, ToolResult)]
    if len(results) == BOOKED or any(result.error for result in results):
        return "Failed." if any(result.error for result in results) else "All is booked."
    return ToolCall("1", f"book{len(results) + 1}")


def _complete(answer: str) -> str | None:
    return None if answer == "All is booked." else "Not all is booked."
