"""The work that is measured: the same model and tool for us and for the floor."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from loopwright import Budget, Log, Loop, Task, unlimited
from loopwright.calls import Reply, Request, Text, ToolCall, Usage
from loopwright.models import Scripted
from loopwright.tools import tool

PROMPT = "Compare the weather of many days."

Said = ToolCall | str
Model = Callable[[Sequence[Any]], Coroutine[Any, Any, Said]]
"""A model as a function of the messages so far."""


@tool(effect="read")
async def look(city: str, day: int) -> str:
    """Look up the weather.

    Args:
        city: The name of the city.
        day: The number of the day.
    """
    return f"Light rain in {city} on day {day}, 17.5 degrees."


def model(turns: int, latency: float = 0.0) -> Model:
    """A model that asks for `turns` tool calls, one after the other, and then answers."""

    async def says(messages: Sequence[Any]) -> Said:
        if latency:
            await asyncio.sleep(latency)
        turn = len(messages) // 2
        if turn < turns:
            return ToolCall("call", "look", {"city": "Paris", "day": turn})
        return "It rained."

    return says


def task() -> Task:
    """A task that no limit stops."""
    free = Budget(
        usd=unlimited,
        tokens=unlimited,
        seconds=unlimited,
        model_calls=unlimited,
        tool_calls=unlimited,
        steps=unlimited,
    )
    return Task(PROMPT, name="weather", tools=[look], limits=free)


class Plain(Scripted):
    """A provider that does no more than ask such a model: it is the loop that is measured."""

    def __init__(self, says: Model) -> None:
        super().__init__([])
        self.says = says

    async def reply(self, request: Request) -> Reply:
        said = await self.says(request.messages)
        if isinstance(said, str):
            return Reply((Text(said),), "stop", _USAGE, request.model)
        return Reply((said,), "tool_calls", _USAGE, request.model)


_USAGE = Usage(100, output_visible=20)


def loop(says: Model, log: Log | None = None) -> Loop:
    """A loop with that model."""
    return Loop(Plain(says), log=log)
