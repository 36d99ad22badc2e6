"""What a provider accepts: a message and a turn made lawful, and in words what was changed.

Nothing here looks at more than one turn, so that what has been written can stay written. A block
that is signed is left behind, or goes as it came.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from loopwright.calls import Block, Media, Opaque, Text, ToolCall, ToolResult

Write = Callable[[str, Sequence[Block]], str]
"""Writes one turn, a role and its blocks, as JSON text: the elements of a list, with commas."""

UNANSWERED = "This call was not carried out."

GO_ON = "Go on."
"""Stands where a provider wants the user to speak, and nobody has."""

SILENT = "[no answer]"
"""Stands for a turn of the model of which nothing can be sent."""

LONGEST_NAME = 64
"""Characters of a tool's name, and of an id: the smallest limit of the APIs."""

_OUTSIDE = re.compile(r"[^a-zA-Z0-9_-]")
"""The APIs refuse other characters in the names and ids of tool calls, even of past ones."""

_AT_WORK = re.compile("_(call|output|tool_use|tool_result)$")
"""How the types of blocks end in which a provider's own tool is at work, in both APIs."""


@frozen
class Wire:
    """What one API asks of a conversation, besides what all of them ask.

    `provider` is whose own blocks it takes, and `write` writes a turn for it. `thoughts` are the
    types of blocks that belong to the model that made them, with the keys one of which makes them
    valid. Such a block stands before what it led to: directly, if `direct`. With `user_last` the
    user must have the last word; with `pauses` not after a turn that ends in a block of the
    provider's own, which will go on with it.
    """

    provider: str
    write: Write
    thoughts: Mapping[str, tuple[str, ...]] = field(factory=dict)
    direct: bool = False
    user_last: bool = False
    pauses: bool = False

    def thinks(self, block: Block) -> bool:
        """Whether `block` is a thought."""
        return isinstance(block, Opaque) and str(block.data.get("type")) in self.thoughts

    def seal(self, block: Opaque) -> Any:
        """What makes a thought valid, or nothing."""
        keys = self.thoughts[str(block.data.get("type"))]
        return next(filter(None, map(block.data.get, keys)), None)


@frozen
class Turn:
    """One turn as it is sent: its blocks, the calls in it with the ids that they have on the wire,
    all ids in it, and what was changed."""

    role: str
    blocks: tuple[Block, ...] = ()
    calls: tuple[tuple[ToolCall, str], ...] = ()
    ids: frozenset[str] = frozenset()
    repairs: tuple[str, ...] = ()


# --------------------------------------------------------------------------------- one message


def refused(block: Block, role: str, wire: Wire, model: str) -> str:
    """Why `block` cannot be sent in a message of `role` to `model`, or ``""``."""
    match block:
        case Text(text):
            return "" if text.strip() else "an empty text"
        case Media(data=data, url=url):
            return _misplaced(block.kind, role, "user") or ("" if data or url else "an empty file")
        case ToolCall():
            return _misplaced("tool call", role, "assistant")
        case Opaque(provider) if provider != wire.provider:
            return f"a block of {provider}"
        case Opaque():
            return _refused_own(block, role, wire, model)
    return ""


def _misplaced(what: str, role: str, home: str) -> str:
    return "" if role == home else f"{what} in a message of the {role}"


def _refused_own(block: Opaque, role: str, wire: Wire, model: str) -> str:
    kind = str(block.data.get("type"))
    if not wire.thinks(block):
        return _misplaced(kind, role, "assistant") if _AT_WORK.search(kind) else ""
    if block.model and block.model != model:
        return f"{kind} of {block.model}"
    if not wire.seal(block):
        return f"{kind} without a signature"
    return _misplaced(kind, role, "assistant")


# ------------------------------------------------------------------------- a turn of the model


def model_turn(blocks: Sequence[Block], wire: Wire, used: set[str], last: bool) -> Turn:
    """A turn of the model; `used` are the ids of the turns before it.

    If it is the `last` one, a tool of the provider's own may still be at work in it.
    """
    paired = led = list(blocks)
    if any(isinstance(block, Opaque) for block in blocks):
        paired = list(_paired(blocks, used, last and wire.pauses))
        if not _at_work(paired, wire):
            paired = list(_paired(blocks, used, waits=False))
        led = _led(paired, wire)
    named, calls = _named(led, used)
    repairs = [
        *_lost(len(blocks) - len(paired), "of a tool of the provider, a call or result alone"),
        *_lost(len(paired) - len(led), "a thought without what it led to"),
        *(f"the id {call.id!r} is taken: it is {id_!r}" for call, id_ in calls if _new(call, id_)),
    ]
    if not named:
        named, repairs = [Text(SILENT)], [*repairs, f"nothing is left: it is {SILENT!r}"]
    ids = {id_ for _, id_ in calls} | set(filter(None, map(_asks, named)))
    return Turn("assistant", tuple(named), tuple(calls), frozenset(ids), tuple(repairs))


def _lost(count: int, what: str) -> list[str]:
    return [f"left out {what}"] if count else []


def _new(call: ToolCall, id_: str) -> bool:
    return id_ != wire_id(call.id)


def _asks(block: Block) -> str:
    """The id of a call of the provider's own tool that a result in the same turn answers."""
    data = block.data if isinstance(block, Opaque) else {}
    kind = str(data.get("type"))
    key = "id" if kind.endswith("_tool_use") else "call_id" if kind.endswith("_call") else ""
    return str(data.get(key) or "")


def _tells(block: Block) -> str:
    """The id of the call that a result of the provider's own tool answers."""
    data = block.data if isinstance(block, Opaque) else {}
    kind = str(data.get("type"))
    result, output = kind.endswith("_tool_result"), kind.endswith("_call_output")
    return str(data.get("tool_use_id" if result else "call_id" if output else "") or "")


def _paired(blocks: Sequence[Block], used: set[str], waits: bool) -> Iterator[Block]:
    """Without calls and results of the provider's own tools that are alone, or come twice."""
    open_: dict[str, int] = {}
    seen, left_out = set(used), set[int]()
    for i, block in enumerate(blocks):
        if asked := _asks(block):
            if asked in seen:
                left_out.add(i)
            else:
                open_[asked] = i
                seen.add(asked)
        elif (told := _tells(block)) and open_.pop(told, None) is None:
            left_out.add(i)
    left_out |= set() if waits else set(open_.values())
    return (block for i, block in enumerate(blocks) if i not in left_out)


def _at_work(blocks: Sequence[Block], wire: Wire) -> bool:
    """Whether the turn ends in something of the provider's own, and waits for nobody else."""
    spoken = [block for block in blocks if not wire.thinks(block)]
    calls = any(isinstance(block, ToolCall) for block in spoken)
    return bool(spoken) and isinstance(spoken[-1], Opaque) and not calls


def _led(blocks: Sequence[Block], wire: Wire) -> list[Block]:
    """Without thoughts that nothing follows."""
    kept: list[Block] = []
    for block in reversed(blocks):
        if wire.thinks(block) and (not kept or (wire.direct and wire.thinks(kept[-1]))):
            continue
        kept.append(block)
    return kept[::-1]


def _named(
    blocks: Sequence[Block], used: set[str]
) -> tuple[list[Block], list[tuple[ToolCall, str]]]:
    """With ids of tool calls that no other call has."""
    taken = used | set(filter(None, map(_asks, blocks)))
    named, calls, tried = list[Block](), list[tuple[ToolCall, str]](), dict[str, int]()
    for block in blocks:
        if isinstance(block, ToolCall):
            id_ = _free(wire_id(block.id), taken, tried)
            taken.add(id_)
            calls.append((block, id_))
            block = evolve(block, id=id_, name=wire_name(block.name))
        named.append(block)
    return named, calls


def _free(id_: str, taken: set[str], tried: dict[str, int]) -> str:
    """`id_`, or with a number that is free; `tried` spares the numbers that are not."""
    free = id_
    while free in taken:
        tried[id_] = tried.get(id_, 1) + 1
        free = f"{id_[: LONGEST_NAME - 6]}-{tried[id_]}"
    return free


# -------------------------------------------------------------------------- a turn of the user


def user_turn(blocks: Sequence[Block], calls: Sequence[tuple[ToolCall, str]]) -> Turn:
    """A turn of the user: the results of `calls` first, one for each, as all APIs want it."""
    results: dict[str, deque[ToolResult]] = {}
    for block in blocks:
        if isinstance(block, ToolResult):
            results.setdefault(block.call, deque()).append(block)
    answers, repairs = list[Block](), list[str]()
    for call, id_ in calls:
        found = results.get(call.id)
        if not found:
            repairs.append(f"{call.name} has no result: it was not carried out")
        result = found.popleft() if found else ToolResult(id_, UNANSWERED, error=True)
        answers.append(ToolResult(id_, result.content, result.error))
    orphans = {id(result) for found in results.values() for result in found}
    rest = [as_text(b) for b in blocks if not isinstance(b, ToolResult) or id(b) in orphans]
    if orphans:
        repairs.append("a result without a call is a text")
    return Turn("user", (*answers, *rest), repairs=tuple(dict.fromkeys(repairs)))


def as_text(block: Block) -> Block:
    """A result without its call, as text; any other block as it is."""
    return Text(f"[tool result] {block.content}") if isinstance(block, ToolResult) else block


def beside(block: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """What a provider put into a block beside what is `known`."""
    return {key: value for key, value in block.items() if key not in known and value}


def wire_id(identifier: str) -> str:
    """An id of a tool call, in the characters that may stand on the wire."""
    return _OUTSIDE.sub("_", identifier)[:LONGEST_NAME] or "_"


def wire_name(name: str) -> str:
    """A tool's name, which a model may have invented, in a form that may be sent back."""
    return _OUTSIDE.sub("_", name)[:LONGEST_NAME] or "_"
