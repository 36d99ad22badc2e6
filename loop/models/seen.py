"""`SeenRequest`: what a `Rehearsal` was asked, in the same form for all wires."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import field, frozen

from loopwright.models.prompt_cache import Chunk
from loopwright.models.wire import Wire

Role = Literal["user", "assistant", "call", "result"]
Said = Iterator[tuple[Role, str]]

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
        return tuple(_items(self.body) if self.wire == "openai" else _messages(self.body))

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as a stream."""
        return self.body.get("stream") is True

    @property
    def tier(self) -> str:
        """The service tier that will serve it: OpenAI's are asked for by name."""
        asked = str(self.body.get("service_tier") or "auto")
        return "" if self.wire == "anthropic" or asked == "auto" else asked

    @property
    def system(self) -> str:
        """What stands above the conversation."""
        if self.wire == "chat":
            said = _list(self.body, "messages")
            return "".join(_text(one.get("content")) for one in said if one.get("role") in _ABOVE)
        return _text(self.body.get("system") or self.body.get("instructions") or "")

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that may be called."""
        given = (tool.get("function") or tool for tool in _list(self.body, "tools"))
        return tuple(str(tool.get("name", "")) for tool in given)

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

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """What the model reads, in the order in which a cache keeps it."""
        return tuple(_marked(self.body) if self.wire == "anthropic" else _kept(self.body))

    def by(self, role: Role) -> tuple[str, ...]:
        """What `role` has said so far."""
        return tuple(text for who, text in self.said if who == role)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name, with the keys masked."""
    named = {name.lower(): value for name, value in headers.items()}
    return {name: _hidden(value) if name in _KEYS else value for name, value in named.items()}


def _hidden(value: str) -> str:
    return re.sub(r"\S+$", "[masked]", value)


# ----------------------------------------------------------------------------- what was said

_ABOVE = ("system", "developer")


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    """A field that is a list of objects, or what a client may write in place of one."""
    given = body.get(key) or ()
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _messages(body: Mapping[str, Any]) -> Said:
    for message in _list(body, "messages"):
        role = message.get("role")
        if role == "tool":
            yield "result", _text(message.get("content"))
        elif role not in _ABOVE:
            yield from _blocks(message, "assistant" if role == "assistant" else "user")
            for call in message.get("tool_calls") or ():
                yield "call", call["function"]["name"]


def _blocks(message: Mapping[str, Any], role: Role) -> Said:
    content = message.get("content")
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        match block.get("type"):
            case "text":
                yield role, block["text"]
            case "tool_use":
                yield "call", block["name"]
            case "tool_result":
                yield "result", _text(block.get("content"))


def _items(body: Mapping[str, Any]) -> Said:
    for item in _list(body, "input"):
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


# ----------------------------------------------------------------------------- what was read


def _kept(body: Mapping[str, Any]) -> Iterator[Chunk]:
    """OpenAI keeps whatever is long enough."""
    above = [{"instructions": body["instructions"]}] if body.get("instructions") else []
    said = _list(body, "input") or _list(body, "messages")
    for one in (*_list(body, "tools"), *above, *said):
        yield Chunk(json.dumps(one), "short")


def _marked(body: Mapping[str, Any]) -> list[Chunk]:
    """Anthropic keeps what is marked; a mark on the whole request is one on its last block."""
    system = body.get("system") or ()
    above = [{"type": "text", "text": system}] if isinstance(system, str) else system
    said = (block for message in _list(body, "messages") for block in _of(message))
    chunks = [_chunk(one) for one in (*_list(body, "tools"), *above, *said)]
    if chunks and _mark(body):
        chunks[-1] = Chunk(chunks[-1].text, _mark(body))
    return chunks


def _of(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The blocks of a message, which say whose they are."""
    content = message.get("content")
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        yield {"role": message.get("role"), **block}


def _chunk(block: Mapping[str, Any]) -> Chunk:
    bare = {key: value for key, value in block.items() if key != "cache_control"}
    return Chunk(json.dumps(bare), _mark(block))


def _mark(block: Mapping[str, Any]) -> str:
    control = block.get("cache_control")
    if not isinstance(control, Mapping):
        return ""
    return "long" if control.get("ttl") == "1h" else "short"
