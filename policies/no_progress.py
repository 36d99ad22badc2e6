"""`NoProgress`: a model that goes round in circles is told so, and then stopped."""

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

from attrs import field, frozen

from loopwright.calls import ToolCall, ToolResult
from loopwright.decisions import Decision, Refuse, Stop
from loopwright.policies.given import at_least
from loopwright.policy import Policy
from loopwright.run import Run

_TOLD = "You are going round in circles:"

LONGEST = 2
"""Calls in a circle: A, A, A and A, B, A, B. A longer one ends at the limit of tool calls."""


@frozen(str=False)
class NoProgress(Policy):
    """Refuses a tool call that has had the same result `times` times in a row; then stops.

    Looked for are the same call with the same arguments, and two calls that take turns. The model
    reads that it goes round in circles; if its next call is the same again, the run is stopped. A
    result that differs in anything is progress, and so is any other call in between.

    `times` is 3 by default: once may be chance and twice a slip; and what polls a slow service on
    purpose gets results that differ, or is exempted:

    >>> exempted = NoProgress().when(lambda run: getattr(run.call, "name", "") != "job_status")

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> from loopwright.tools import tool
    >>> @tool(effect="read")
    ... def look(where: str) -> str:
    ...     "Look there."
    ...     return "nothing"
    >>> model = Scripted(lambda request: ToolCall("1", "look", {"where": "under the bed"}))
    >>> run = Loop(model, policies=[NoProgress()]).run_now(Task("Find it.", tools=[look]))
    >>> run.why, run.spent.tool_calls
    ('no progress: look gave the same 3 times in a row, and is called again', 3)
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    times: int = field(default=3, validator=at_least(2, whole=True))

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ToolCall) or not call.id:
            return None
        before = list(islice(_finished(run), LONGEST * self.times))
        circles = (_circle(call, before, length, self.times) for length in range(1, LONGEST + 1))
        circle = next(filter(None, circles), None)
        if circle is None:
            return None
        same = f"{call.name} gave the same {self.times} times in a row"
        if any(map(_told, circle)):
            return Stop(f"no progress: {same}, and is called again")
        return Refuse(f"{_TOLD} {same}. Do something else, or say what keeps you from it.")


Done = tuple[tuple[str, object], str]
"""A call that was made, as its name and arguments, and what it gave."""


def _told(done: Done) -> bool:
    return done[1].startswith(_TOLD)


def _circle(call: ToolCall, before: list[Done], length: int, times: int) -> list[Done]:
    """The last calls, newest first, if they are one circle `times` times, and `call` is the next.

    One that was refused for that counts as if it had given the same once more.
    """
    last = before[: length * times]
    if len(last) < length * times or last[length - 1][0] != (call.name, call.arguments):
        return []
    alike = all(done[0] == last[i % length][0] for i, done in enumerate(last))
    given = [[done[1] for done in last[i::length] if not _told(done)] for i in range(length)]
    return last if alike and all(len(set(results)) < 2 for results in given) else []


def _finished(run: Run) -> Iterator[Done]:
    """The tool calls whose results the model has seen, the newest first."""
    results: dict[str, str] = {}
    for i in range(len(run.messages) - 1, -1, -1):
        blocks = run.messages[i].blocks
        results |= {b.call: b.content for b in blocks if isinstance(b, ToolResult)}
        for block in reversed(blocks):
            if isinstance(block, ToolCall) and block.id in results:
                yield (block.name, block.arguments), results[block.id]
