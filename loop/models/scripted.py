"""`Scripted`: a provider that says what it is told to say, for tests, examples and laws."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from typing import Any

from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.errors import BadInput
from loopwright.models import catalogue

Item = str | Reply | Failure | ToolCall | Sequence[ToolCall] | Mapping[str, Any]
"""What may stand in a script: words, a whole reply, a failure, tool calls, or JSON as an object."""

Script = Sequence[Item] | Callable[[Request], "Item | Awaitable[Item]"]


class Scripted:
    """Plays `replies`: a list, one item a request, or a function of the request.

    An item is a text, a `Reply`, a `Failure`, a `ToolCall` or a list of them, or a dict, which is
    said as JSON. After the last item each request is a `Failure` that says so. `requests` are the
    requests seen. With `latency` it waits so many seconds before it answers; without, it never
    suspends. It costs nothing.

    Where an item has no usage of its own, one is made up: a token for four characters in and out,
    and four for each message.

    >>> model = Scripted(["Hello.", {"answer": 42}])
    >>> model.name, model.requests
    ('scripted', [])
    """

    def __init__(self, replies: Script, name: str = "scripted", latency: float = 0.0) -> None:
        one = isinstance(replies, str | Mapping | Reply | Failure | ToolCall)
        if one or not (callable(replies) or isinstance(replies, Iterable)):
            raise BadInput("Scripted takes a list of replies or a function: write Scripted([...])")
        self.name = name
        self.requests: list[Request] = []
        self._script = replies if callable(replies) else list(replies)
        self._latency = latency
        self._weighed: tuple[Message | None, int, int] = (None, 0, 0)
        if name not in ("anthropic", "openai"):
            catalogue.free(name)

    async def reply(self, request: Request) -> Reply | Failure:
        """The next item of the script, as a reply to `request`."""
        self.requests.append(request)
        item = self._next(request)
        if isawaitable(item):
            item = await item
        if self._latency:
            await asyncio.sleep(self._latency)
        return item if isinstance(item, Reply | Failure) else self._reply(request, item)

    def _next(self, request: Request) -> Any:
        if callable(self._script):
            return self._script(request)
        asked, there = len(self.requests), len(self._script)
        if asked <= there:
            return self._script[asked - 1]
        return Failure("bad_request", f"the script has {there} replies, this is request {asked}")

    def _reply(self, request: Request, item: Any) -> Reply:
        blocks = _blocks(item)
        calls = any(isinstance(block, ToolCall) for block in blocks)
        written = sum(map(_length, blocks))
        usage = Usage(self._weight(request.messages) // 4 + 1, output_visible=written // 4 + 1)
        return Reply(blocks, "tool_calls" if calls else "stop", usage, request.model)

    def _weight(self, messages: Sequence[Message]) -> int:
        """Only what is new is weighed, so that a step does not grow with the conversation."""
        last, count, weight = self._weighed
        if not count or len(messages) < count or messages[count - 1] is not last:
            count = weight = 0
        weight += sum(16 + sum(map(_length, m.blocks)) for m in messages[count:])
        self._weighed = (messages[-1] if messages else None, len(messages), weight)
        return weight


def _blocks(item: Any) -> tuple[Text | ToolCall, ...]:
    match item:
        case str():
            return (Text(item),)
        case Mapping():
            return (Text(json.dumps(dict(item), ensure_ascii=False)),)
        case ToolCall():
            return (item,)
        case list() | tuple() if item and all(isinstance(call, ToolCall) for call in item):
            return tuple(item)
    raise BadInput(
        f"a script cannot say {item!r}: give a text, a Reply, a Failure, a ToolCall, a list of "
        "ToolCalls or a dict"
    )


def _length(block: Any) -> int:
    match block:
        case Text(text):
            return len(text)
        case ToolCall(name=name, arguments=arguments):
            return len(name) + len(str(arguments))
        case ToolResult(content=content):
            return len(content)
    return 0
