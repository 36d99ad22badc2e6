"""How a tool is called: with its arguments, key and place, and what is made of what it gives."""

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve, frozen

from loopwright.calls import Answer, Cost, Failure, ModelCall, ToolCall, ToolResult
from loopwright.codec import digest
from loopwright.draft import undone
from loopwright.errors import BadInput, Mismatch
from loopwright.run import Run
from loopwright.task import Tool

TIMEOUT = 600.0
"""Seconds for a whole model call where nothing else is said: what both SDKs take for one read."""

LARGEST_RESULT = 50_000
"""Characters of a tool's result that the model is shown: some 12,000 tokens, a tenth of the
smallest context window in use."""


@frozen
class Place:
    """Where a tool that asks for it is called: in which run, by which call, and by which loop."""

    run: Run
    call: ToolCall
    loop: Any


@frozen
class Billed:
    """What a tool gives that had to pay for it: the value, and the cost in nano-dollars."""

    value: Any
    nano: int


class StillWaiting(Exception):
    """A tool cannot go on before a person has answered: the run waits, and calls it again then."""


@frozen
class Used:
    """What a tool call came to, and what it has cost."""

    result: ToolResult
    cost: Cost = Cost()


_FREE = Cost()

Use = Callable[[Tool, tuple[Any, ...], dict[str, Any], float], Awaitable[Any]]
"""Calls a tool's function with these arguments, within so many seconds."""


async def used(run: Run, call: ToolCall, loop: Any, use: Use) -> Used | Answer | Failure:
    """Call the tool, or ask it whether the call happened, or take it back, as `call` says."""
    assert run.task is not None
    tool: Any = run.task.tools[call.name]
    tool, asked = (tool, call) if call.purpose == "call" else _clearing(tool, call)
    try:
        key = _key(run, call) if getattr(tool, "wants_key", False) else ""
        args, kwargs = tool.bind(asked.arguments, key)  # the tool's own: it may keep or change them
    except Mismatch as mismatch:
        return Failure("tool_error", "\n".join(mismatch.problems))
    if getattr(tool, "wants_place", False):
        kwargs["place"] = Place(run, asked, loop)
    value = await use(tool, args, kwargs, timeout(run, asked))
    if value is None and call.purpose == "reconcile":
        return Answer("did not happen", by=call.name)
    return value if isinstance(value, Failure) else _shown(tool, value)


def _clearing(tool: Any, call: ToolCall) -> tuple[Any, ToolCall]:
    """What asks a tool whether a call happened, or takes it back, with the arguments it knows."""
    clears = getattr(tool, call.purpose)
    known = clears.spec.schema.get("properties", {})
    arguments = {name: value for name, value in call.arguments.items() if name in known}
    return clears, evolve(call, arguments=arguments)


def _key(run: Run, call: ToolCall) -> str:
    """The idempotency key of a call, by which what asks about it or undoes it knows it, too.

    A call that was under way when a fork began is still the act of the run that began it.
    """
    arguments = dict(call.arguments)
    if call.purpose == "undo":
        arguments.pop("result", None)
    return digest(run.owners.get(undone(call), run.run_id), undone(call), arguments)


def _shown(tool: Any, value: Any) -> Used | Failure:
    value, nano = (value.value, value.nano) if isinstance(value, Billed) else (value, 0)
    try:
        content = shortened(tool.render(value), LARGEST_RESULT)
    except BadInput as error:
        return Failure("tool_error", f"the tool returned what cannot be shown: {error}")
    outside = "outside" in getattr(tool, "labels", ())
    return Used(ToolResult("", content, False, outside), Cost(nano, nano) if nano else _FREE)


def timeout(run: Run, call: ModelCall | ToolCall) -> float:
    """The seconds that `call` may take: its own limit, and what is left of the run's.

    What clears up after another call has its own: the run may end for want of time.
    """
    if isinstance(call, ToolCall) and call.purpose != "call":
        return _own_timeout(run, call)
    left: float = run.limits.get("seconds", float("inf")) - run.seconds
    return max(0.001, min(_own_timeout(run, call), left))


def _own_timeout(run: Run, call: ModelCall | ToolCall) -> float:
    if call.timeout is not None:
        return call.timeout
    if isinstance(call, ToolCall) and run.task and call.name in run.task.tools:
        tool: Any = run.task.tools[call.name]
        seconds: float = (tool if call.purpose == "call" else getattr(tool, call.purpose)).timeout
        return seconds
    return TIMEOUT


def shortened(text: str, most: int) -> str:
    """`text`, or its beginning and end with a note of what was left out in between.

    Secrets are masked before the cut: nobody recognises the rest of a key.
    """
    if len(text) <= most:
        return text
    from loopwright.log.redaction import Redaction

    text = Redaction().masked(text)
    if len(text) <= most:
        return text
    head, tail = text[: most * 3 // 4], text[-most // 4 :]
    left_out = len(text) - len(head) - len(tail)
    note = f"[… {left_out} of {len(text)} characters left out, digest of all {digest(text)} …]"
    return f"{head}\n{note}\n{tail}"
