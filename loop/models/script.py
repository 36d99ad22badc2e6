"""What stands in the script of a `Rehearsal`: words, tool calls, blocks, and whole responses."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from loopwright.calls import Usage

Data = dict[str, Any]

_PIECE = 24
"""Characters of one delta: a few tokens, as real servers send them."""


@frozen
class Say:
    """Words. `finish` is as in `Reply`; `thinking` comes before them, as a block of its own.

    `beside` is what stands beside the words on the wire: Anthropic's ``citations``, OpenAI's
    ``annotations``.
    """

    text: str
    finish: str = "stop"
    thinking: str = ""
    beside: Mapping[str, Any] = field(factory=dict)


@frozen
class CallTool:
    """A tool call; `arguments` that are a text, and an `id`, go over the wire as they are."""

    name: str
    arguments: Mapping[str, Any] | str = field(factory=dict)
    thinking: str = ""
    id: str | None = None

    @property
    def written(self) -> str:
        """The arguments as JSON text."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(dict(given), ensure_ascii=False)


@frozen
class Block:
    """A block or item of the provider's own, sent as it is: redacted thinking, what its own tools
    did, or one that nobody knows. In Chat Completions it is fields of the message.

    >>> step = [Block({"type": "redacted_thinking", "data": "EmwKAhgB"}), "Hello."]
    """

    data: Mapping[str, Any]
    thinking = ""


Part = Say | CallTool | Block


def _parts(step: Any) -> tuple[Part, ...]:
    """The parts of a step; what is none of them is said as JSON."""
    steps = step if isinstance(step, list | tuple) else [step]
    parts = [Say(part) if isinstance(part, str) else part for part in steps]
    if all(isinstance(part, Part) for part in parts):
        return tuple(parts)
    return (Say(json.dumps(step, default=str)),)


@frozen
class Response:
    """A whole response: `parts` are a text, a part, or a list of them.

    `finish` is as in `Reply`, or a word of the wire's own; without it the parts say it. `usage` is
    reported in place of an estimate, `model` and `tier` in place of those that are asked for.
    `extra` holds more fields of the response, and `headers` more headers.

    >>> Response("Hi.", model="claude-haiku-4-5-20251001", usage=Usage(cache_read=2048)).finish
    'stop'
    >>> Response(["Let me look.", CallTool("weather")]).finish
    'tool_calls'
    """

    parts: tuple[Part, ...] = field(converter=_parts)
    given: str = field(default="", alias="finish")
    usage: Usage | None = None
    model: str = ""
    tier: str = ""
    extra: Mapping[str, Any] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def finish(self) -> str:
        """Why the model stopped, as in `Reply`."""
        calls = any(isinstance(part, CallTool) for part in self.parts)
        said = [self.given, *(part.finish for part in self.parts if isinstance(part, Say))]
        return next((f for f in said if f not in ("", "stop")), "tool_calls" if calls else "stop")


@frozen
class Played:
    """A response as it is written to a wire: to a request for the model `asked`, with the tokens
    that it `read`. The same response to the same request has the same `key`, which makes its ids.
    """

    response: Response
    asked: str
    read: Usage
    key: str = field(init=False)
    finish: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        said = f"{self.asked} {self.read.input} {self.parts!r}"
        key = hashlib.sha256(said.encode(errors="replace")).hexdigest()[:12]
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "finish", self.response.finish)

    @property
    def parts(self) -> Sequence[Part]:
        """What is said."""
        return self.response.parts

    @property
    def model(self) -> str:
        """The model that is said to have answered."""
        return self.response.model or self.asked

    @property
    def usage(self) -> Usage:
        """Tokens in and out; out, there is one for four characters."""
        read = self.read
        return self.response.usage or Usage(
            read.input_uncached,
            read.cache_read,
            read.cache_write_short,
            read.cache_write_long,
            sum(map(_length, self.parts)) // 4 + 1,
            sum(len(part.thinking) for part in self.parts) // 4,
        )


def _length(part: Part) -> int:
    match part:
        case Say(text):
            return len(text)
        case CallTool():
            return len(part.written)
        case Block(data):
            return len(str(data))


def pieces(text: str) -> list[str]:
    """`text` as it is streamed."""
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
