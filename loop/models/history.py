"""The conversation as every provider accepts it, written once.

Roles alternate and the user begins, each tool call is followed by its result and each result
follows its call, ids are there once, and blocks that belong to another provider or another model
stay behind. What has been written stays written: a call costs what is new in its conversation, not
the whole of it.
"""

import operator
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from loopwright.calls import (
    Block,
    Failure,
    Message,
    Opaque,
    Reply,
    Request,
    Sent,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.models import legal, strict
from loopwright.models.legal import Turn, Wire
from loopwright.models.prefix import Head, Running, differing, digest

_KEPT = 128
"""Conversations that are remembered; one of 200 turns takes some 60 kB."""

_SEALS = 10_000
"""Signed blocks that are remembered, by 24 characters each."""


class Seals:
    """What signed blocks looked like when they were seen first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, str] = OrderedDict()

    def broken(self, wire: Wire, block: Block) -> bool:
        """Whether `block` is signed, and another than it was."""
        if not isinstance(block, Opaque) or not wire.thinks(block):
            return False
        seal = digest(strict.dumps(wire.seal(block)))
        now = digest(strict.dumps(dict(sorted(block.data.items()))))
        first = self._seen.setdefault(seal, now)
        if len(self._seen) > _SEALS:
            self._seen.popitem(last=False)
        return first != now


class Conversation:
    """The turns of one conversation that `model` may be sent; it can only grow."""

    def __init__(self, wire: Wire, model: str, seals: Seals) -> None:
        self.messages: list[Message] = []
        self.model = model
        self.closed = Running()
        self._wire = wire
        self._seals = seals
        self._written: list[str] = []
        self._role = ""
        self._number = 0
        self._blocks: list[Block] = []
        self._calls: Sequence[tuple[ToolCall, str]] = ()
        self._asked: tuple[Turn, str] | None = None
        self._ids: set[str] = set()
        self._told: dict[str, bool] = {}

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
        number, blocks = len(self.messages), self._sendable(message)
        if not blocks:
            return
        if not self._role and message.role == "assistant":
            self._role, self._blocks = "user", list[Block]((Text(legal.GO_ON),))
            self._note("the user says nothing first", legal.GO_ON)
        if message.role == self._role:
            self._blocks += blocks
        else:
            self._close()
            self._role, self._blocks, self._number = message.role, blocks, number
        self._asked = None

    def _sendable(self, message: Message) -> list[Block]:
        number, kept = len(self.messages), list[Block]()
        for block in message.blocks:
            why = legal.refused(block, message.role, self._wire, self.model)
            if not why and self._seals.broken(self._wire, block):
                why = "what was changed after it was signed"
            if why:
                self._note(f"message {number}", f"left out {why}")
            else:
                kept.append(block)
        if message.role == "user":
            return kept
        if any(isinstance(block, ToolResult) for block in kept):
            self._note(f"message {number}", "a result among the model's words is a text")
        return list(map(legal.as_text, kept))

    def _note(self, where: str, *repairs: str) -> None:
        for repair in repairs:
            self._told.setdefault(f"{where}: {repair}", False)

    def _turn(self, last: bool) -> tuple[Turn, str]:
        """The turn as it is so far, and as it is written. A user's is the same, last or not."""
        if self._role == "assistant":
            turn = legal.model_turn(self._blocks, self._wire, self._ids, last)
            return turn, self._write(turn)
        if self._asked is None:
            turn = legal.user_turn(self._blocks, self._calls)
            self._asked = turn, self._write(turn)
        return self._asked

    def _close(self) -> None:
        """Another role speaks: the turn is over."""
        if self._role:
            turn, text = self._turn(last=False)
            self._written.append(text)
            self.closed.add(text)
            self._ids |= turn.ids
            self._calls = turn.calls

    def _write(self, turn: Turn) -> str:
        self._note(f"message {self._number}", *turn.repairs)
        return self._wire.write(turn.role, turn.blocks)

    def written(self) -> list[str]:
        """All turns, if nothing is added to them."""
        if not self._role:
            self._note("the user says nothing first", legal.GO_ON)
            return [self._wire.write("user", [Text(legal.GO_ON)])]
        turn, text = self._turn(last=True)
        turns = [*self._written, text]
        if turn.calls:
            turns.append(self._write(legal.user_turn((), turn.calls)))
        elif turn.role == "assistant" and self._wire.user_last and not self._waits(turn):
            self._note("the user says nothing last", legal.GO_ON)
            turns.append(self._wire.write("user", [Text(legal.GO_ON)]))
        return turns

    def _waits(self, turn: Turn) -> bool:
        """Whether the provider will go on with this turn: it ends in something of its own."""
        return self._wire.pauses and isinstance(turn.blocks[-1], Opaque)

    def news(self) -> tuple[str, ...]:
        """The repairs that nobody was told of yet."""
        found = tuple(repair for repair, told in self._told.items() if not told)
        self._told |= dict.fromkeys(found, True)
        return found


@frozen
class _Last:
    """What was sent last of a conversation."""

    conversation: Conversation
    parts: Mapping[str, str]


class Histories:
    """Remembers the conversations that were written last."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._seals = Seals()
        self._kept: OrderedDict[int, _Last] = OrderedDict()
        self._head: Head | None = None

    def written(self, request: Request, parts: Mapping[str, str]) -> tuple[list[str], Sent]:
        """The turns of `request`, each as elements of a JSON list, and what sending them means.

        `parts` are digests of what stands before the conversation, by name, in order.
        """
        messages, model = request.messages, request.model
        key = id(messages[0]) if messages else 0
        # Taken out while in use: another thread then starts anew, instead of growing the same one.
        last = self._kept.pop(key, None)
        if last and last.conversation.model == model and last.conversation.begins(messages):
            conversation = last.conversation
        else:
            conversation = Conversation(self.wire, model, self._seals)
        changed = _changed(last, parts, messages, conversation)
        conversation.grow(messages)
        self._kept[key] = _Last(conversation, parts)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        turns, prefix = conversation.written(), conversation.closed.after(parts)
        return turns, Sent(prefix, changed, conversation.news())

    def head(self, fields: Mapping[str, Any], system: Any) -> Head:
        """What stands before the conversation. Most calls say there what the last one said."""
        last = self._head
        if last is None or last.fields != fields or last.system != system:
            last = self._head = Head.of(fields, system)
        return last

    def learn(self, result: Reply | Failure) -> None:
        """Remember the signed blocks of a reply as they came."""
        for block in result.blocks if isinstance(result, Reply) else ():
            self._seals.broken(self.wire, block)


def _changed(
    last: _Last | None,
    parts: Mapping[str, str],
    messages: Sequence[Message],
    conversation: Conversation,
) -> str:
    """The first part that is another than it was last."""
    if last is None:
        return ""
    if part := differing(last.parts, parts):
        return part
    known = () if last.conversation is conversation else last.conversation.messages
    pairs = enumerate(zip(known, messages, strict=False), 1)
    return next((f"message {n}" for n, (old, new) in pairs if old is not new and old != new), "")
