"""What a `Rehearsal` says, written as Chat Completions has it."""

from collections.abc import Iterator, Mapping

from loopwright.models.script import Block, CallTool, Data, Part, Played, Say, pieces
from loopwright.models.sse import DONE

_REASONS: Mapping[str, str] = {"filter": "content_filter", "refusal": "stop", "paused": "stop"}


def completion(played: Played) -> Data:
    """A whole completion."""
    said: Data = {"role": "assistant", "content": None, "refusal": None}
    for index, part in enumerate(played.parts):
        for key, value in _fields(played, index, part).items():
            old = said.get(key)
            said[key] = value if old is None else old + value
    choice = {"index": 0, "message": said, "finish_reason": _reason(played), "logprobs": None}
    return _head(played, "chat.completion") | {"choices": [choice], "usage": _usage(played)}


def chunks(played: Played, counts: bool) -> Iterator[Data]:
    """The chunks of the same completion. Asked to, it `counts` in a chunk of its own, as OpenAI
    does; else in the last one, as most others do."""
    head = _head(played, "chat.completion.chunk")
    yield head | _choice({"role": "assistant", "content": ""})
    calls = 0
    for index, part in enumerate(played.parts):
        for delta in _deltas(_fields(played, index, part), calls):
            yield head | _choice(delta)
        calls += isinstance(part, CallTool)
    used = {"usage": _usage(played)}
    yield head | _choice({}, _reason(played)) | ({} if counts else used)
    if counts:
        yield head | {"choices": []} | used
    yield {"type": DONE}


def _head(played: Played, kind: str) -> Data:
    return {
        "id": f"chatcmpl-{played.key}",
        "object": kind,
        "created": 0,
        "model": played.model,
        "service_tier": played.response.tier or "default",
        **played.response.extra,
    }


def _choice(delta: Data, reason: str | None = None) -> Data:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]}


def _reason(played: Played) -> str:
    return _REASONS.get(played.finish, played.finish)


def _usage(played: Played) -> Data:
    used = played.usage
    written = used.cache_write_short + used.cache_write_long
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.tokens,
        "prompt_tokens_details": {"cached_tokens": used.cache_read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": used.output_reasoning},
    }


def _fields(played: Played, index: int, part: Part) -> Data:
    """What a part adds to the fields of the message."""
    thought = {"reasoning_content": part.thinking} if part.thinking else {}
    match part:
        case Say(text):
            key = "refusal" if played.finish == "refusal" else "content"
            return thought | {key: text, **part.beside}
        case CallTool(name=name, id=given):
            id_ = f"call_{played.key}_{index}" if given is None else given
            function = {"name": name, "arguments": part.written}
            return thought | {"tool_calls": [{"id": id_, "type": "function", "function": function}]}
        case Block(data):
            return dict(data)


def _deltas(fields: Data, calls: int) -> Iterator[Data]:
    """The same, piece by piece, after so many `calls`."""
    for key, value in fields.items():
        if key == "tool_calls":
            yield from _called(value[0], calls)
        elif isinstance(value, str):
            yield from ({key: piece} for piece in pieces(value))
        else:
            yield {key: value}


def _called(call: Data, index: int) -> Iterator[Data]:
    """A call's name, and then its arguments."""
    function = call["function"]
    begun = call | {"index": index, "function": function | {"arguments": ""}}
    yield {"tool_calls": [begun]}
    for piece in pieces(function["arguments"]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
