"""What a `Rehearsal` says, written as OpenAI's Responses API writes it."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.models.script import Block, CallTool, Data, Part, Played, Say, pieces

_INCOMPLETE: Mapping[str, str] = {
    "length": "max_output_tokens",
    "filter": "content_filter",
    "paused": "max_messages",
}


def response(played: Played) -> Data:
    """A whole response."""
    why = _INCOMPLETE.get(played.finish)
    failed = {"code": "server_error", "message": "The model failed."}
    broken = failed if played.finish == "error" else None
    return {
        "id": f"resp_{played.key}",
        "object": "response",
        "created_at": 0,
        "status": "failed" if broken else "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "error": broken,
        "model": played.model,
        "service_tier": played.response.tier or "default",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [x for i, part in enumerate(played.parts) for x in _items(played, i, part)],
        "usage": _usage(played),
        **played.response.extra,
    }


def _usage(played: Played) -> Data:
    used = played.usage
    short, long = used.cache_write_short, used.cache_write_long
    return {
        "input_tokens": used.input,
        "input_tokens_details": {
            "cached_tokens": used.cache_read,
            "cache_write_tokens": short + long,
            "cache_write_tokens_details": {"ttl_30m_tokens": short, "ttl_12h_tokens": long},
        },
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.output_reasoning},
        "total_tokens": used.tokens,
    }


def _items(played: Played, index: int, part: Part) -> Iterator[Data]:
    at = f"{played.key}_{index}"
    if part.thinking:
        summary = [{"type": "summary_text", "text": part.thinking}]
        secret = hashlib.sha256(part.thinking.encode(errors="replace")).hexdigest()
        thought = {"id": f"rs_{at}", "type": "reasoning", "summary": summary}
        yield thought | {"encrypted_content": secret}
    cut = played.finish == "length" and index == len(played.parts) - 1
    status = {"status": "incomplete" if cut else "completed"}
    match part:
        case Say():
            message = {"id": f"msg_{at}", "type": "message", "role": "assistant"}
            yield message | status | {"content": [_content(played, part)]}
        case CallTool(name=name, id=given):
            call = {"id": f"fc_{at}", "type": "function_call", "name": name}
            called = {"call_id": f"call_{at}" if given is None else given}
            yield call | called | {"arguments": part.written} | status
        case Block(data):
            yield dict(data)


def _content(played: Played, part: Say) -> Data:
    if played.finish == "refusal":
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], **part.beside}


# --------------------------------------------------------------------------------- as a stream


def response_events(played: Played) -> Iterator[Data]:
    """The events of the same response."""
    for number, event in enumerate(_unnumbered(response(played))):
        yield event | {"sequence_number": number}


def _unnumbered(whole: Data) -> Iterator[Data]:
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    begun |= {"incomplete_details": None, "error": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        where = {"output_index": index}
        yield {"type": "response.output_item.added", "item": _begun(item)} | where
        for event in _grown(item):
            yield event | where | {"item_id": item.get("id", "")}
        yield {"type": "response.output_item.done", "item": item} | where
    yield {"type": f"response.{whole['status']}", "response": whole}


def _begun(item: Data) -> Data:
    empty: dict[str, Data] = {"message": {"content": []}, "function_call": {"arguments": ""}}
    running = {"status": "in_progress"} if "status" in item else {}
    return item | empty.get(item["type"], {}) | running


def _grown(item: Data) -> Iterator[Data]:
    """What comes between the beginning and the end of an item."""
    match item["type"]:
        case "function_call":
            yield from _said("function_call_arguments", "arguments", item["arguments"])
        case "reasoning":
            for index, part in enumerate(item.get("summary") or ()):
                where = {"summary_index": index}
                yield from _framed("reasoning_summary_part", part, "text", where)
        case "message":
            for index, part in enumerate(item["content"]):
                where = {"content_index": index}
                key = "refusal" if part["type"] == "refusal" else "text"
                yield from _framed("content_part", part, key, where)


_NAMES = {
    "summary_text": "reasoning_summary_text",
    "output_text": "output_text",
    "refusal": "refusal",
}


def _framed(kind: str, part: Data, key: str, where: Data) -> Iterator[Data]:
    """A part from its first event to its last."""
    notes = part.get("annotations") or ()
    empty: Data = {key: ""} | ({"annotations": []} if notes else {})
    yield {"type": f"response.{kind}.added", "part": part | empty} | where
    for event in _said(_NAMES[part["type"]], key, part[key]):
        yield event | where
    for number, note in enumerate(notes):
        added = {"annotation": note, "annotation_index": number}
        yield {"type": "response.output_text.annotation.added"} | added | where
    yield {"type": f"response.{kind}.done", "part": part} | where


def _said(name: str, key: str, text: str) -> Iterator[Data]:
    logged: dict[str, Any] = {"logprobs": []} if name == "output_text" else {}
    for piece in pieces(text):
        yield {"type": f"response.{name}.delta", "delta": piece} | logged
    yield {"type": f"response.{name}.done", key: text} | logged
