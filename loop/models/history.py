"""The conversation as every provider accepts it.

Roles alternate, each tool call is followed by its result and each result follows its call, and
blocks that belong to another provider stay behind.
"""

import re
from collections.abc import Iterable, Sequence

from loopwright.calls import Block, Message, Opaque, Text, ToolCall, ToolResult

Turn = tuple[str, list[Block]]

_UNANSWERED = "This call was not carried out."

_OUTSIDE = re.compile(r"[^a-zA-Z0-9_-]")
"""Both APIs refuse other characters in the names and ids of tool calls, even of past ones."""

LONGEST_NAME = 64
"""Characters of a tool's name: the smaller limit of the two APIs."""


def legal(messages: Sequence[Message], provider: str) -> list[Turn]:
    """`messages` as turns that `provider` may be sent.

    A call without a result gets one that says that it was not carried out; a result without its
    call becomes text. What is empty is left out.
    """
    turns: list[Turn] = []
    open_calls: list[str] = []
    for role, blocks in _merged(messages, provider):
        if role == "user":
            blocks = _answered(blocks, open_calls)
        elif open_calls:
            turns.append(("user", _answered([], open_calls)))
        open_calls = [block.id for block in blocks if isinstance(block, ToolCall)]
        turns.append((role, blocks))
    return [*turns, ("user", _answered([], open_calls))] if open_calls else turns


def _merged(messages: Iterable[Message], provider: str) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        blocks = [block for block in message.blocks if _sendable(block, provider)]
        if turns and turns[-1][0] == message.role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((message.role, blocks))
    return turns


def _sendable(block: Block, provider: str) -> bool:
    if isinstance(block, Opaque):
        return block.provider == provider
    return not isinstance(block, Text) or bool(block.text.strip())


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
