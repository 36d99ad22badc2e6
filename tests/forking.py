"""A run whose tools leave lines outside, and what is done with it in processes of its own."""

from pathlib import Path
from typing import Any

from killed import Outside
from sagas import after

from loopwright import Log, Loop, Task
from loopwright.calls import Request, ToolCall, ToolResult
from loopwright.models import Scripted
from loopwright.tools import tool


def clerk(request: Request) -> Any:
    """Sends to Ada, then to Bob and, at the same time, books; then it is done."""
    results = [b for m in request.messages for b in m.blocks if isinstance(b, ToolResult)]
    if not results:
        return ToolCall("1", "send", {"to": "Ada"})
    if len(results) == 1:
        return [ToolCall("1", "send", {"to": "Bob"}), ToolCall("2", "book", {"seat": 4})]
    return f"Done: {', '.join(result.content for result in results)}."


def sending(folder: Path) -> Task:
    """One tool that may not be repeated, and one that may, with its key."""
    outside = Outside(folder)

    @tool(effect="unsafe")
    def send(to: str) -> str:
        """Send."""
        outside.note(f"send {to}")
        return f"sent to {to}"

    @tool(effect="idempotent")
    def book(seat: int, idempotency_key: str) -> str:
        """Book."""
        outside.note(f"book {idempotency_key}")
        return f"booked {seat}"

    return Task("Do it.", tools=[send, book], name="sending")


def the_loop(folder: Path, **options: Any) -> Loop:
    log = Log(folder / "runs.db", "process")
    return Loop(Scripted(clerk, name="killed"), log=log, **options)


def begin(folder: Path, die_after: int = 0) -> None:
    """Begin the run; die after this event of it."""
    watch = after(die_after) if die_after else None
    the_loop(folder, watch=watch).run_now(sending(folder))


def fork(folder: Path, base: str, at: int, die_after: int) -> None:
    """Fork the run, and die after this event of the fork."""
    loop = the_loop(folder, watch=after(die_after))
    loop.fork_now(base, sending(folder), at=at)


def resume(folder: Path, run_id: str) -> None:
    """Go on with a run."""
    the_loop(folder).resume_now(run_id, sending(folder))
