"""What a `Rehearsal` says, written as the Messages and the Responses API write it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

Wire = Literal["anthropic", "openai"]
Data = dict[str, Any]

_PIECE = 24
"""Characters of one delta: a few tokens, as real servers send them."""


@frozen
class Say:
    """Words. `finish` is as in `Reply`; `thinking` comes before them, as a block of its own."""

    text: str
    finish: str = "stop"
    thinking: str = ""


@frozen
class CallTool:
    """A tool call; `arguments` that are a text go over the wire as they are."""

    name: str
    arguments: Mapping[str, Any] | str = field(factory=dict)
    thinking: str = ""

    @property
    def written(self) -> str:
        """The arguments as JSON text."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(dict(given), ensure_ascii=False)


Part = Say | CallTool


@frozen
class Answer:
    """A whole answer to one request: `asked` is the size of the request in characters."""

    parts: Sequence[Part]
    model: str
    asked: int

    @property
    def key(self) -> str:
        """Makes the ids of this answer: the same answer has the same ids."""
        said = f"{self.model} {self.asked} {self.parts!r}"
        return hashlib.sha256(said.encode(errors="replace")).hexdigest()[:12]

    @property
    def finish(self) -> str:
        """As in `Reply`."""
        calls = any(isinstance(part, CallTool) for part in self.parts)
        said = [part.finish for part in self.parts if isinstance(part, Say)]
        return next((f for f in said if f != "stop"), "tool_calls" if calls else "stop")

    @property
    def read(self) -> int:
        """Tokens in: one for four characters."""
        return self.asked // 4 + 1

    @property
    def written(self) -> int:
        """Tokens out: one for four characters."""
        lengths = (len(p.text if isinstance(p, Say) else p.written) for p in self.parts)
        return sum(lengths) // 4 + self.thought + 1

    @property
    def thought(self) -> int:
        """Tokens out that nobody sees."""
        return sum(len(part.thinking) for part in self.parts) // 4


def answered(wire: Wire, answer: Answer) -> Data:
    """The body of a whole answer."""
    return _message(answer) if wire == "anthropic" else _response(answer)


def streamed(wire: Wire, answer: Answer) -> Iterator[bytes]:
    """The events of the same answer, each as bytes."""
    events = _message_events(answer) if wire == "anthropic" else _response_events(answer)
    for event in events:
        yield sse(event)


def sse(event: Mapping[str, Any]) -> bytes:
    """An event as bytes."""
    data = json.dumps(event, ensure_ascii=False)
    return f"event: {event['type']}\ndata: {data}\n\n".encode(errors="replace")


def error(wire: Wire, kind: str, message: str, midway: bool = False) -> Data:
    """An error object, alone in a body or `midway` in a stream."""
    if wire == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": message}}
    if midway:
        return {"type": "error", "code": kind, "message": message, "param": None}
    return {"error": {"message": message, "type": "error", "param": None, "code": kind}}


# ------------------------------------------------------------------------------------- Messages

_STOPS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
    "paused": "pause_turn",
}


def _message(answer: Answer) -> Data:
    return {
        "id": f"msg_{answer.key}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [b for i, part in enumerate(answer.parts) for b in _blocks(answer, i, part)],
        "stop_reason": _STOPS[answer.finish],
        "stop_sequence": None,
        "usage": _counted(answer, answer.written),
    }


def _counted(answer: Answer, written: int) -> Data:
    return {
        "input_tokens": answer.read,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": written,
        "service_tier": "standard",
    }


def _blocks(answer: Answer, index: int, part: Part) -> Iterator[Data]:
    if part.thinking:
        yield {"type": "thinking", "thinking": part.thinking, "signature": f"sig+{answer.key}=="}
    if isinstance(part, Say):
        yield {"type": "text", "text": part.text}
    else:
        id_ = f"toolu_{answer.key}_{index}"
        yield {"type": "tool_use", "id": id_, "name": part.name, "input": _input(part)}


def _input(part: CallTool) -> Any:
    return {} if isinstance(part.arguments, str) else dict(part.arguments)


def _message_events(answer: Answer) -> Iterator[Data]:
    whole = _message(answer)
    begun = whole | {"content": [], "stop_reason": None, "usage": _counted(answer, 1)}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    calls = iter([part for part in answer.parts if isinstance(part, CallTool)])
    for index, block in enumerate(whole["content"]):
        empty, deltas = _grown(block, calls)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {
            "output_tokens": answer.written,
            "output_tokens_details": {"thinking_tokens": answer.thought},
        },
    }
    yield {"type": "message_stop"}


def _grown(block: Data, calls: Iterator[CallTool]) -> tuple[Data, list[Data]]:
    """A block as it begins, and what is added to it."""
    match block["type"]:
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": p} for p in _pieces(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*deltas, signed]
        case "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
            return block | {"text": ""}, deltas
    written = _pieces(next(calls).written)
    return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": p} for p in written]


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


# ------------------------------------------------------------------------------------ Responses


def _response(answer: Answer) -> Data:
    cut = answer.finish == "length"
    return {
        "id": f"resp_{answer.key}",
        "object": "response",
        "created_at": 0,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "model": answer.model,
        "service_tier": "default",
        "output": [x for i, part in enumerate(answer.parts) for x in _items(answer, i, part)],
        "usage": {
            "input_tokens": answer.read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.written,
            "output_tokens_details": {"reasoning_tokens": answer.thought},
            "total_tokens": answer.read + answer.written,
        },
    }


def _items(answer: Answer, index: int, part: Part) -> Iterator[Data]:
    at = f"{answer.key}_{index}"
    if part.thinking:
        secret = hashlib.sha256(part.thinking.encode()).hexdigest()
        yield {"id": f"rs_{at}", "type": "reasoning", "summary": [], "encrypted_content": secret}
    if isinstance(part, Say):
        content = {"type": "output_text", "text": part.text, "annotations": []}
        if part.finish == "refusal":
            content = {"type": "refusal", "refusal": part.text}
        message = {"id": f"msg_{at}", "type": "message", "status": "completed"}
        yield message | {"role": "assistant", "content": [content]}
    else:
        call = {"id": f"fc_{at}", "type": "function_call", "call_id": f"call_{at}"}
        yield call | {"name": part.name, "arguments": part.written, "status": "completed"}


def _response_events(answer: Answer) -> Iterator[Data]:
    for number, event in enumerate(_unnumbered(_response(answer))):
        yield event | {"sequence_number": number}


def _unnumbered(whole: Data) -> Iterator[Data]:
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for index, item in enumerate(whole["output"]):
        where = {"output_index": index}
        started = item | {"status": "in_progress"}
        yield {"type": "response.output_item.added", "item": started} | where
        for delta in _deltas(item):
            yield delta | where | {"item_id": item["id"]}
        yield {"type": "response.output_item.done", "item": item} | where
    yield {"type": f"response.{whole['status']}", "response": whole}


def _deltas(item: Data) -> list[Data]:
    if item["type"] == "function_call":
        kind = "response.function_call_arguments.delta"
        return [{"type": kind, "delta": piece} for piece in _pieces(item["arguments"])]
    texts = [part.get("text", "") for part in item.get("content", [])]
    where = {"type": "response.output_text.delta", "content_index": 0}
    return [where | {"delta": piece} for text in texts for piece in _pieces(text)]
