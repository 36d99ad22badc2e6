"""`exposed`: whether a call leads out after strangers were heard, by the labels of the tools."""

from collections.abc import Iterator
from typing import Any

from loopwright.calls import Block, ToolCall, ToolResult
from loopwright.run import Run


def exposed(run: Run) -> bool:
    """Whether a call is about to lead out after strangers had their say.

    The ways out are the tools labelled ``"sends"``, and those of which nobody knows what they do:
    the ones with the effect ``"unsafe"``, which is the default, or ``"reconcilable"``. Strangers
    have had their say once the conversation holds what a tool labelled ``"outside"`` gave, its
    errors included, or a result that is marked, or once a run that had heard them has called this
    one: from then on, whoever wrote that may speak through
    the model. Whether private data stands there, too, is not asked: a prompt does not say what in
    it is private. An agent has the labels of its tools.

    With it a person decides on each such call, and on no other:

    >>> from loopwright.policies import Approve
    >>> str(Approve("*").when(exposed))
    "Approve.when(exposed)(tools=['*'], expires=86400.0)"
    """
    call = run.call
    if run.moment != "call" or not isinstance(call, ToolCall) or "sends" not in _of(run, call):
        return False
    return heard(run)


def heard(run: Run) -> bool:
    """Whether strangers had had their say when the model asked for the calls that are due."""
    return run.outside or any(_from_outside(run, block) for block in _read(run))


def labels(tool: Any) -> frozenset[str]:
    """The labels of a tool, with ``"sends"`` where nobody knows what it does.

    >>> from loopwright.tools import tool
    >>> @tool
    ... def send(to: str) -> None: ...
    >>> labels(send)
    frozenset({'sends'})
    """
    known = frozenset[str](getattr(tool, "labels", ()))
    unknown = getattr(tool, "effect", "") in ("unsafe", "reconcilable")
    return known | {"sends"} if unknown else known


def _read(run: Run) -> Iterator[Block]:
    """What the model had read when it asked for the call, in the last message."""
    for message in run.messages.until(len(run.messages) - 1):
        yield from message.blocks


def _from_outside(run: Run, block: Block) -> bool:
    if isinstance(block, ToolResult):
        return block.outside
    return isinstance(block, ToolCall) and "outside" in _of(run, block)


def _of(run: Run, call: ToolCall) -> frozenset[str]:
    return labels(run.task.tools.get(call.name) if run.task else None)
