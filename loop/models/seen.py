"""`SeenRequest`: what a `Rehearsal` was asked, in the same form for both wires."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import field, frozen

from loopwright.models.wire import Wire

Role = Literal["user", "assistant", "call", "result"]

_KEYS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})


@frozen
class SeenRequest:
    """A request that came to a `Rehearsal`. Keys in the headers are masked."""

    wire: Wire
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    said: tuple[tuple[Role, str], ...] = field(init=False)
    """The conversation: who said what, without what the system says."""

    @said.default  # pyright: ignore[reportAttributeAccessIssue]
    def _said(self) -> tuple[tuple[Role, str], ...]:
        return tuple(_messages(self.body) if self.wire == "anthropic" else _items(self.body))

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as a stream."""
        return self.body.get("stream") is True

    @property
    def system(self) -> str:
        """What stands above the conversation."""
        return _text(self.body.get("system") or self.body.get("instructions") or "")

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that may be called."""
        return tuple(str(tool.get("name", "")) for tool in self.body.get("tools") or ())

    @property
    def opening(self) -> str:
        """The first words of the user."""
        return next(iter(self.by("user")), "")

    @property
    def results(self) -> tuple[str, ...]:
        """The results of tools that are already in the conversation."""
        return self.by("result")

    @property
    def answers(self) -> tuple[str, ...]:
        """The words that the model has already said."""
        return self.by("assistant")

    def by(self, role: Role) -> tuple[str, ...]:
        """What `role` has said so far."""
        return tuple(text for who, text in self.said if who == role)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name, with the keys masked."""
    named = {name.lower(): value for name, value in headers.items()}
    return {name: _hidden(value) if name in _KEYS else value for name, value in named.items()}


def _hidden(value: str) -> str:
    return re.sub(r"\S+$", "[masked]", value)


def _messages(body: Mapping[str, Any]) -> Iterator[tuple[Role, str]]:
    for message in body.get("messages") or ():
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        role: Role = "assistant" if message.get("role") == "assistant" else "user"
        for block in blocks or ():
            match block.get("type"):
                case "text":
                    yield role, block["text"]
                case "tool_use":
                    yield "call", block["name"]
                case "tool_result":
                    yield "result", _text(block.get("content"))


def _items(body: Mapping[str, Any]) -> Iterator[tuple[Role, str]]:
    given = body.get("input") or ()
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        match item.get("type", "message"):
            case "message" if item.get("role") == "assistant":
                yield "assistant", _text(item.get("content"))
            case "message" if item.get("role") == "user":
                yield "user", _text(item.get("content"))
            case "function_call":
                yield "call", item["name"]
            case "function_call_output":
                yield "result", _text(item.get("output"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))
