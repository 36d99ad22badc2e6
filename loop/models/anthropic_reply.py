"""What the Messages API answers: a stream of events, or one message, as a reply."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from loopwright.calls import Block, Failure, Finish, Opaque, Reply, Request, Text, ToolCall, Usage
from loopwright.models import failures, strict
from loopwright.models.legal import beside
from loopwright.models.sse import Malformed
from loopwright.models.usage import amount, less, total, usage

_FINISHES: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "pause_turn": "paused",
    # Beta: the provider has made the conversation shorter, and goes on when it gets it back.
    "compaction": "paused",
}


class Assembly:
    """Puts a message together from the events of its stream, as plain data.

    >>> assembly = Assembly(Request("m", []))
    >>> assembly.take({"type": "ping"})
    >>> assembly.answer({}).kind
    'cut_stream'
    """

    def __init__(self, request: Request) -> None:
        self.done = False
        self._model = request.model
        self._tell = request.tell or _nobody
        self._message: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []
        self._inputs: dict[int, str] = {}
        self._open: set[int] = set()
        self._stopped: dict[str, Any] = {}
        self._counted: dict[str, Any] = {}
        self._error: Mapping[str, Any] | None = None

    @property
    def begun(self) -> bool:
        return bool(self._blocks)

    @property
    def usage(self) -> Usage | None:
        return _usage(self._counted) if self._counted else None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event; one that is not known is passed over."""
        if not self.done:
            self._take(event)

    def whole(self, value: Mapping[str, Any]) -> None:
        """Take a message that came at once. Raises `Malformed` if it is none."""
        blocks = value.get("content")
        if value.get("type") != "message" or not isinstance(blocks, list):
            raise Malformed("the answer is no message")
        self.take({"type": "message_start", "message": value})
        for index, block in enumerate(blocks):
            self.take({"type": "content_block_start", "index": index, "content_block": block})
            self.take({"type": "content_block_stop", "index": index})
        self.take({"type": "message_delta", "delta": {"stop_reason": value.get("stop_reason")}})
        self.take({"type": "message_stop"})

    def _take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                self._message = dict(event["message"])
                self._count(self._message.get("usage"))
            case "content_block_start":
                self._start(event["index"], dict(event["content_block"]))
            case "content_block_delta":
                self._grow(event["index"], event["delta"])
            case "content_block_stop":
                self._open.remove(event["index"])
            case "message_delta":
                self._stopped |= event["delta"]
                self._count(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                self._error, self.done = failures.error_in(event) or {}, True
            case _:
                self._error = failures.error_event(event)
                self.done = self._error is not None

    def _count(self, counted: Mapping[str, Any] | None) -> None:
        """Counts of a later event are totals; what it leaves out stands as it was."""
        self._counted |= {key: n for key, n in (counted or {}).items() if n is not None}

    def _start(self, index: int, block: dict[str, Any]) -> None:
        if not self._message or index != len(self._blocks):
            raise Malformed(f"block {index} begins out of order")
        self._blocks.append(block)
        self._open.add(index)
        if block.get("type") == "tool_use":
            self._tell("tool_call", str(block.get("name") or ""))
            if block.get("input"):
                self._tell("tool_call", strict.dumps(block["input"]))
        else:
            self._show(block)

    def _show(self, piece: Mapping[str, Any]) -> None:
        """Tell of the words in a block or in what is added to it."""
        for kind in ("text", "thinking"):
            if piece.get("type") in (kind, f"{kind}_delta") and piece.get(kind):
                self._tell("thinking" if kind == "thinking" else "text", str(piece[kind]))

    def _grow(self, index: int, delta: Mapping[str, Any]) -> None:
        if index not in self._open:
            raise Malformed(f"block {index} grows, but is not open")
        block = self._blocks[index]
        match delta["type"]:
            case "input_json_delta":
                self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
                if block.get("type") == "tool_use" and delta["partial_json"]:
                    self._tell("tool_call", delta["partial_json"])
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case _:
                _extend(block, delta)
                self._show(delta)

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole message, or why there is none."""
        if self._error is not None:
            return self._failure(headers)
        stop, why = self._stopped.get("stop_reason"), self._stopped.get("stop_details")
        if not self.done or not stop or self._open:
            said = "the answer ended before its last event"
            return failures.failed("cut_stream", said, usage=self.usage, status=200)
        return Reply(
            blocks=tuple(self._read(i, block) for i, block in enumerate(self._blocks)),
            finish=_FINISHES.get(stop, "error"),
            usage=self.usage,
            model=str(self._message.get("model") or self._model),
            tier=_tier(self._counted),
            details=why if isinstance(why, Mapping) else {},
        )

    def _failure(self, headers: Mapping[str, str]) -> Failure:
        return evolve(failures.from_error(self._error or {}, 200, headers), usage=self.usage)

    def _read(self, index: int, block: dict[str, Any]) -> Block:
        written = self._inputs.get(index)
        match block.get("type"):
            case "text":
                return _text(block)
            case "tool_use":
                given, wrong = strict.arguments(block.get("input") if written is None else written)
                id_, name = (str(block.get(key) or "") for key in ("id", "name"))
                extra = beside(block, "type", "id", "name", "input")
                vendor = "anthropic" if extra else ""
                return ToolCall(id_, name, given, wrong, provider=vendor, extra=extra)
            case _:
                return Opaque("anthropic", block | _input(written), self._model)


def _nobody(kind: str, text: str) -> None:
    """Nobody listens."""


def _text(block: Mapping[str, Any]) -> Text:
    """With whatever stands beside the words, such as citations."""
    extra = beside(block, "type", "text")
    return Text(str(block.get("text") or ""), "anthropic" if extra else "", extra)


def _input(written: str | None) -> dict[str, Any]:
    """The input of a tool that the provider itself runs."""
    if written is None:
        return {}
    try:
        return {"input": json.loads(written or "{}")}
    except ValueError:
        return {"input": {}}


def _extend(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        if key != "type":
            old = block.get(key)
            block[key] = old + value if isinstance(old, str) else value


def _tier(counted: Mapping[str, Any]) -> str:
    speed = counted.get("speed")
    return "fast" if speed == "fast" else str(counted.get("service_tier") or "")


def _usage(counted: Mapping[str, Any]) -> Usage | None:
    """The tokens of a compaction stand in an entry of their own, and in no total."""
    parts = [_buckets(one) for one in (counted, *_compactions(counted.get("iterations")))]
    return usage(counted, **{name: total(part[name] for part in parts) for name in parts[0]})


def _compactions(entries: Any) -> list[Mapping[str, Any]]:
    listed = entries if isinstance(entries, list) else []
    found = [one for one in listed if isinstance(one, Mapping)]
    return [one for one in found if one.get("type") == "compaction"]


def _buckets(counted: Mapping[str, Any]) -> dict[str, int | None]:
    """`input_tokens` leaves out what was written to the cache and read from it."""
    written = amount(counted, "cache_creation_input_tokens")
    long = amount(counted, "cache_creation", "ephemeral_1h_input_tokens")
    thought = amount(counted, "output_tokens_details", "thinking_tokens")
    return {
        "input_uncached": amount(counted, "input_tokens", missing=None),
        "cache_read": amount(counted, "cache_read_input_tokens"),
        "cache_write_short": less(written, long),
        "cache_write_long": long,
        "output_visible": less(amount(counted, "output_tokens", missing=None), thought),
        "output_reasoning": thought,
    }
