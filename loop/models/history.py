"""The conversation as every provider accepts it, written once.

Roles alternate, each tool call is followed by its result and each result follows its call, and
blocks that belong to another provider stay behind. What has been written stays written: a call
costs what is new in its conversation, not the whole of it.
"""

import operator
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from loopwright.calls import Block, Message, Opaque, Text, ToolCall, ToolResult

Write = Callable[[str, list[Block]], str]
"""Writes one turn, a role and its blocks, as JSON text."""

_UNANSWERED = "This call was not carried out."

_OUTSIDE = re.compile(r"[^a-zA-Z0-9_-]")
"""Both APIs refuse other characters in the names and ids of tool calls, even of past ones."""

LONGEST_NAME = 64
"""Characters of a tool's name: the smaller limit of the two APIs."""

_KEPT = 128
"""Conversations that are remembered; one of 200 turns takes some 60 kB."""


class Conversation:
    """The turns of one conversation that `provider` may be sent; it can only grow.

    A call without a result gets one that says that it was not carried out; a result without its
    call becomes text. What is empty is left out.
    """

    def __init__(self, provider: str, write: Write) -> None:
        self.messages: list[Message] = []
        self._provider = provider
        self._write = write
        self._written: list[str] = []
        self._role = ""
        self._blocks: list[Block] = []
        self._calls: list[str] = []

    def begins(self, messages: Sequence[Message]) -> bool:
        """Whether `messages` are these very messages, and maybe more."""
        known = self.messages
        return len(known) <= len(messages) and all(map(operator.is_, known, messages))

    def grow(self, messages: Sequence[Message]) -> None:
        """Take in what `messages` have more."""
        for message in messages[len(self.messages) :]:
            self.messages.append(message)
            self._add(message)

    def _add(self, message: Message) -> None:
        blocks = [block for block in message.blocks if self._sendable(block)]
        if message.role == self._role:
            self._blocks += blocks
        elif blocks:
            self._written += self._closed()
            self._calls = _calls(self._blocks) if self._role == "assistant" else []
            self._role, self._blocks = message.role, blocks

    def _sendable(self, block: Block) -> bool:
        if isinstance(block, Opaque):
            return block.provider == self._provider
        return not isinstance(block, Text) or bool(block.text.strip())

    def _closed(self) -> Iterator[str]:
        """The last turn, as it is if nothing is added to it."""
        if self._role == "assistant":
            yield self._write(self._role, self._blocks)
        elif self._role:
            yield self._write(self._role, _answered(self._blocks, self._calls))

    def written(self) -> list[str]:
        """All turns."""
        turns = [*self._written, *self._closed()]
        waiting = _calls(self._blocks) if self._role == "assistant" else []
        return [*turns, self._write("user", _answered([], waiting))] if waiting else turns


class Histories:
    """Remembers the conversations that were written last."""

    def __init__(self, provider: str, write: Write) -> None:
        self._provider = provider
        self._write = write
        self._kept: OrderedDict[int, Conversation] = OrderedDict()

    def written(self, messages: Sequence[Message]) -> str:
        """`messages` as the elements of a JSON list."""
        key = id(messages[0]) if messages else 0
        # Taken out while in use: another thread then starts anew, instead of growing the same one.
        conversation = self._kept.pop(key, None)
        if conversation is None or not conversation.begins(messages):
            conversation = Conversation(self._provider, self._write)
        conversation.grow(messages)
        self._kept[key] = conversation
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return ",".join(conversation.written())


def _calls(blocks: list[Block]) -> list[str]:
    return [block.id for block in blocks if isinstance(block, ToolCall)]


def _answered(blocks: list[Block], calls: list[str]) -> list[Block]:
    """Results first, one for each call, as both APIs want it."""
    results = {block.call: block for block in blocks if isinstance(block, ToolResult)}
    answers: list[Block] = [
        results.get(call) or ToolResult(call, _UNANSWERED, error=True) for call in calls
    ]
    return [*answers, *(_orphaned(block) for block in blocks if not _answers(block, calls))]


def _answers(block: Block, calls: list[str]) -> bool:
    return isinstance(block, ToolResult) and block.call in calls


def _orphaned(block: Block) -> Block:
    return Text(f"[tool result] {block.content}") if isinstance(block, ToolResult) else block


def wire_id(identifier: str) -> str:
    """An id of a tool call, in the characters that may stand on the wire."""
    return _OUTSIDE.sub("_", identifier) or "_"


def wire_name(name: str) -> str:
    """A tool's name, which a model may have invented, in a form that may be sent back."""
    return _OUTSIDE.sub("_", name)[:LONGEST_NAME] or "_"
