"""The three wires that a `Rehearsal` speaks: Messages, Responses and Chat Completions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from loopwright.models.capabilities import capabilities
from loopwright.models.script import Data, Played
from loopwright.models.sse import DONE
from loopwright.models.wire_chat import chunks, completion
from loopwright.models.wire_messages import message, message_events
from loopwright.models.wire_responses import response, response_events

Wire = Literal["anthropic", "openai", "chat"]


def answered(wire: Wire, played: Played) -> Data:
    """The body of a whole answer."""
    match wire:
        case "anthropic":
            return message(played)
        case "openai":
            return response(played)
        case "chat":
            return completion(played)


def events(wire: Wire, played: Played, body: Mapping[str, Any]) -> Iterator[Data]:
    """The events of the same answer, to the request with this `body`."""
    match wire:
        case "anthropic":
            return message_events(played)
        case "openai":
            return response_events(played)
        case "chat":
            options = body.get("stream_options") or {}
            return chunks(played, counts=options.get("include_usage") is True)


_LAST = frozenset(
    ("message_delta", "message_stop", "response.completed", "response.incomplete", DONE)
) | {"response.failed"}


def ends(event: Mapping[str, Any]) -> bool:
    """Whether `event` is one of those that say that the answer is over."""
    choices = event.get("choices")
    finished = choices is not None and all(choice.get("finish_reason") for choice in choices)
    return finished or event.get("type") in _LAST


def sse(event: Mapping[str, Any]) -> bytes:
    """An event as bytes."""
    if event.get("type") == DONE:
        return b"data: [DONE]\n\n"
    name = f"event: {event['type']}\n" if "type" in event else ""
    return name.encode() + b"data: " + dumped(event) + b"\n\n"


def dumped(data: Any) -> bytes:
    """JSON text as bytes. Half of a surrogate pair, which has no UTF-8, is escaped."""
    try:
        return json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(data).encode()


def keep_alive(wire: Wire) -> bytes:
    """What a server sends so that nobody hangs up."""
    return sse({"type": "ping"}) if wire == "anthropic" else b": keep-alive\n\n"


def error(wire: Wire, kind: str, said: str, midway: bool = False) -> Data:
    """An error object, alone in a body or `midway` in a stream."""
    if wire == "anthropic":
        inner = {"type": kind, "message": said}
        return {"type": "error", "error": inner, "request_id": REQUEST_ID}
    if wire == "openai" and midway:
        return {"type": "error", "code": kind, "message": said, "param": None}
    return {"error": {"message": said, "type": "error", "param": None, "code": kind}}


REQUEST_ID = "req_rehearsal"
"""The id of every request."""


# ------------------------------------------------------------------------- counting and listing


def counted(wire: Wire, tokens: int) -> Data:
    """The answer to whoever asks how many `tokens` a request has."""
    named = {} if wire == "anthropic" else {"object": "response.input_tokens"}
    return {"input_tokens": tokens, **named}


def listed(wire: Wire, models: Sequence[str]) -> Data:
    """The answer to whoever asks which models there are."""
    data = [described(wire, model) for model in models]
    if wire != "anthropic":
        return {"object": "list", "data": data}
    ends = {"first_id": models[0], "last_id": models[-1]} if models else {}
    return {"data": data, "has_more": False, **ends}


def described(wire: Wire, model: str) -> Data:
    """The answer to whoever asks about one model."""
    if wire != "anthropic":
        return {"id": model, "object": "model", "created": 0, "owned_by": "rehearsal"}
    can = capabilities(f"anthropic:{model}")
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": can.context,
        "max_tokens": can.output,
    }
