"""What a `Rehearsal` says, written as Anthropic's Messages API writes it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.models.script import Block, CallTool, Data, Part, Played, Say, pieces

_STOPS: Mapping[str, str] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "paused": "pause_turn",
    "filter": "refusal",
}


def message(played: Played) -> Data:
    """A whole message."""
    blocks = [block for i, part in enumerate(played.parts) for block in _blocks(played, i, part)]
    return _head(played) | {
        "content": [block for block, _ in blocks],
        "stop_reason": _STOPS.get(played.finish, played.finish),
        "usage": _counted(played) | _written(played),
        **played.response.extra,
    }


def message_events(played: Played) -> Iterator[Data]:
    """The events of the same message."""
    whole = message(played)
    yield {"type": "message_start", "message": _head(played)}
    yield {"type": "ping"}
    written = [said for i, part in enumerate(played.parts) for said in _blocks(played, i, part)]
    for index, (block, text) in enumerate(written):
        where = {"index": index}
        begun, deltas = _grown(block, text)
        yield {"type": "content_block_start", **where, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", **where, "delta": delta}
        yield {"type": "content_block_stop", **where}
    stopped = {key: whole[key] for key in ("stop_reason", "stop_sequence")}
    delta = stopped | dict(played.response.extra)
    yield {"type": "message_delta", "delta": delta, "usage": _written(played)}
    yield {"type": "message_stop"}


def _head(played: Played) -> Data:
    """A message of which nothing has come yet."""
    return {
        "id": f"msg_{played.key}",
        "type": "message",
        "role": "assistant",
        "model": played.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _counted(played) | {"output_tokens": 1},
    }


def _counted(played: Played) -> Data:
    used = played.usage
    short, long = used.cache_write_short, used.cache_write_long
    return {
        "input_tokens": used.input_uncached,
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": used.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "service_tier": played.response.tier or "standard",
    }


def _written(played: Played) -> Data:
    thought = played.usage.output_reasoning
    return {
        "output_tokens": played.usage.output,
        "output_tokens_details": {"thinking_tokens": thought},
    }


def _blocks(played: Played, index: int, part: Part) -> Iterator[tuple[Data, str]]:
    """The blocks of a part, each with its arguments as JSON text if it has any."""
    if part.thinking:
        thought = {"type": "thinking", "thinking": part.thinking}
        yield thought | {"signature": f"sig+{played.key}=="}, ""
    match part:
        case Say(text):
            yield {"type": "text", "text": text, **part.beside}, ""
        case CallTool(name=name, id=given):
            id_ = f"toolu_{played.key}_{index}" if given is None else given
            called = {"type": "tool_use", "id": id_, "name": name}
            yield called | {"input": _input(part)}, part.written
        case Block(data):
            asks = isinstance(data.get("input"), Mapping)
            yield dict(data), json.dumps(data["input"]) if asks else ""


def _input(part: CallTool) -> Any:
    try:
        return json.loads(part.written)
    except (ValueError, RecursionError):
        return {}


def _grown(block: Data, written: str) -> tuple[Data, list[Data]]:
    """A block as it begins, and what is added to it."""
    match block["type"]:
        case "thinking":
            thought = [{"type": "thinking_delta", "thinking": p} for p in _of(block, "thinking")]
            signed = {"type": "signature_delta", "signature": block.get("signature", "")}
            return block | {"thinking": "", "signature": ""}, [*thought, signed]
        case "text":
            said = [{"type": "text_delta", "text": piece} for piece in _of(block, "text")]
            cited = block.get("citations") or ()
            added = [{"type": "citations_delta", "citation": one} for one in cited]
            return block | {"text": ""} | ({"citations": []} if cited else {}), [*said, *added]
    if not written:
        return block, []
    given = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(written)]
    return block | {"input": {}}, given


def _of(block: Data, key: str) -> list[str]:
    return pieces(block.get(key, ""))
