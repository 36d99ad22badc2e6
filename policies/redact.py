"""`Redact`: what must not leave is masked before it is sent to a model or to a tool."""

import re
from collections.abc import Container, Mapping
from itertools import chain, count
from typing import Any, ClassVar

from attrs import evolve, frozen

from loopwright.calls import Block, Message, ModelCall, Text, ToolCall, ToolResult
from loopwright.decisions import Amend, Decision
from loopwright.errors import BadInput
from loopwright.policies.spans import spans
from loopwright.policy import Policy
from loopwright.run import Run

EMAIL = r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"
"""An address of electronic mail, as it is mostly written: not all that RFC 5322 allows."""

IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
"""An account number by ISO 13616, with or without spaces; its check digits are not looked at."""


@frozen(str=False, init=False)
class Redact(Policy):
    """Masks what fits one of the `patterns` in what is sent to models, and in arguments of tools.

    `patterns` are regular expressions, each tried by itself; `EMAIL` and `IBAN` stand in this
    module. `mask` takes the place of what fits.

    What it can do: the texts of the conversation, tool calls and results included, are masked
    before each model call, and the strings in its arguments before each tool call, keys in them
    included (of two that would read the same, the second is numbered); `models_only` leaves tools
    alone. What it cannot do, being a policy: the system text, the schemas of tools and the names of
    their parameters, images and documents, and blocks that a provider has signed go out as they
    are; the log and the run keep the original, as does the output; and the masked conversation is
    stored beside it. A pattern is a net and no proof.

    A masked conversation is whole: put `Compact` above it. Raises `BadInput` for what is no regular
    expression, and for a pattern that fits the mask itself, or nothing at all.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> model = Scripted(["Done."])
    >>> run = Loop(model, policies=[Redact(EMAIL)]).run_now(Task("Write to ada@example.org."))
    >>> model.requests[0].messages[0].text
    'Write to [redacted].'
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    patterns: tuple[str, ...]
    mask: str
    models_only: bool

    def __init__(self, *patterns: str, mask: str = "[redacted]", models_only: bool = False) -> None:
        if not patterns or not isinstance(mask, str):
            raise BadInput(
                "Redact(...) needs patterns, such as Redact(EMAIL, r'\\bAcme\\b'), "
                "and a text as its mask"
            )
        for pattern in patterns:
            _check(pattern, mask)
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "models_only", models_only)

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call":
            return None
        if isinstance(call, ModelCall):
            seen = tuple(run.seen(call))
            messages = tuple(map(self._message, seen))
            clean: Any = evolve(call, messages=messages) if messages != seen else None
        elif isinstance(call, ToolCall) and not self.models_only:
            arguments = self._arguments(call.arguments)
            clean = evolve(call, arguments=arguments) if arguments != call.arguments else None
        else:
            return None
        return Amend(clean, "what must not leave is masked") if clean else None

    def _message(self, message: Message) -> Message:
        return Message(message.role, tuple(map(self._block, message.blocks)))

    def _block(self, block: Block) -> Block:
        match block:
            case Text(text):
                return evolve(block, text=self._masked(text))
            case ToolResult(content=content):
                return evolve(block, content=self._masked(content))
            case ToolCall(arguments=arguments):
                return evolve(block, arguments=self._arguments(arguments))
        return block

    def _arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The names are those of the tool's parameters: by others it could not be called."""
        return {name: self._data(held) for name, held in arguments.items()}

    def _data(self, data: Any) -> Any:
        if isinstance(data, str):
            return self._masked(data)
        if isinstance(data, Mapping):
            masked: dict[str, Any] = {}
            for key, held in data.items():
                masked[_apart(self._masked(key), masked)] = self._data(held)
            return masked
        return [self._data(item) for item in data] if isinstance(data, list | tuple) else data

    def _masked(self, text: str) -> str:
        ends = [0, *chain.from_iterable(spans(self.patterns, text)), len(text)]
        kept = zip(ends[::2], ends[1::2], strict=True)
        return self.mask.join(text[start:end] for start, end in kept)


def _apart(key: str, taken: Container[str]) -> str:
    if key not in taken:
        return key
    return next(name for n in count(2) if (name := f"{key} {n}") not in taken)


def _check(pattern: str, mask: str) -> None:
    try:
        found = re.search(pattern, mask) or re.search(pattern, "")
    except (re.error, TypeError) as error:
        raise BadInput(f"Redact({pattern!r}): give a regular expression: {error}") from None
    if found:
        raise BadInput(f"Redact({pattern!r}): it fits the mask {mask!r}, or nothing at all")
