"""What the Responses API answers: a stream of events, or one response, as a reply."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from loopwright.calls import (
    Block,
    DeltaKind,
    Failure,
    Finish,
    Opaque,
    Reply,
    Request,
    Sent,
    Text,
    ToolCall,
    Usage,
)
from loopwright.models import failures, strict
from loopwright.models.legal import beside
from loopwright.models.sse import Malformed
from loopwright.models.usage import amount, less, usage

_TOLD: Mapping[str, DeltaKind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "thinking",
    "response.reasoning_summary_text.delta": "thinking",
    "response.function_call_arguments.delta": "tool_call",
}
"""Events whose pieces people may want to see."""

_BY_DESIGN = frozenset({"turn_boundary"})

_ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})


class Assembly:
    """Puts a response together from the events of its stream, as plain data.

    A response that failed comes with HTTP status 200, as an ordinary event.

    >>> assembly = Assembly(Request("m", []))
    >>> assembly.take({"type": "error", "code": "server_error", "message": "no"})
    >>> assembly.answer({}).kind
    'server_error'
    """

    def __init__(self, request: Request) -> None:
        self.done = False
        self.begun = False
        self._model = request.model
        self._tell = request.tell
        self._items: dict[int, Mapping[str, Any]] = {}
        self._coming: set[int] = set()
        self._response: Mapping[str, Any] = {}
        self._error: Mapping[str, Any] | None = None

    @property
    def usage(self) -> Usage | None:
        counted = self._response.get("usage")
        return _usage(counted) if isinstance(counted, Mapping) else None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event; one that is not known is passed over."""
        if not self.done:
            self._take(event)

    def whole(self, value: Mapping[str, Any]) -> None:
        """Take a response that came at once. Raises `Malformed` if it is none."""
        status = value.get("status")
        if status not in _ENDS or not isinstance(value.get("output"), list):
            raise Malformed(f"the answer is no finished response: its status is {status!r:.40}")
        for item in value["output"]:
            self.take({"type": "response.output_item.added", "item": item})
            for kind, piece in _pieces(item):
                self.take({"type": kind, "delta": piece})
        self.take({"type": f"response.{status}", "response": value})

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = str(event.get("type"))
        match kind:
            case "response.output_item.added":
                self.begun = True
                self._begin(event["item"])
                self._coming.add(int(event.get("output_index") or 0))
            case "response.output_item.done":
                self._items[int(event["output_index"])] = dict(event["item"])
            case "error":
                self._error, self.done = failures.error_in(event) or {}, True
            case _ if kind in _TOLD:
                self._show(_TOLD[kind], event["delta"])
            case _ if kind.removeprefix("response.") in _ENDS:
                self._response, self.done = dict(event["response"]), True
                self._end(kind)
            case _:
                self._error = failures.error_event(event)
                self.done = self._error is not None

    def _begin(self, item: Mapping[str, Any]) -> None:
        if item.get("type") == "function_call":
            self._show("tool_call", item.get("name"))

    def _show(self, kind: DeltaKind, text: Any) -> None:
        if self._tell is not None and isinstance(text, str) and text:
            self._tell(kind, text)

    def _end(self, event: str) -> None:
        error, failed = self._response.get("error"), {"failed", "cancelled"}
        if event.removeprefix("response.") in failed or self._response.get("status") in failed:
            self._error = error if isinstance(error, Mapping) else {"code": "server_error"}

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole response, or why there is none."""
        if self._error is not None:
            return evolve(failures.from_error(self._error, 200, headers), usage=self.usage)
        if not self.done:
            said = "the answer ended before its last event"
            return failures.failed("cut_stream", said, status=200)
        return self._reply()

    def _reply(self) -> Reply:
        items = self._response.get("output") or self._done()
        blocks = tuple(block for item in items for block in _read(item, self._model))
        return Reply(
            blocks=blocks,
            finish=_finish(self._response, items, blocks),
            usage=self.usage,
            model=str(self._response.get("model") or self._model),
            tier=str(self._response.get("service_tier") or ""),
            sent=Sent(repairs=_withheld(self._response)),
        )

    def _done(self) -> list[Mapping[str, Any]]:
        """The items that came, for an end that holds none. Raises `Malformed` if one is missing;
        of an answer that was broken off the last one may be."""
        if self._response.get("status") != "incomplete" and self._coming - self._items.keys():
            raise Malformed("an item of the answer has begun, but never ended")
        return [self._items[i] for i in sorted(self._items)]


def _withheld(response: Mapping[str, Any]) -> tuple[str, ...]:
    """What the provider itself left out; of older turns it does so by design."""
    reasons = {str(one.get("reason")) for one in response.get("input_transformations") or ()}
    return tuple(f"the provider left out reasoning: {why}" for why in sorted(reasons - _BY_DESIGN))


def _pieces(item: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a whole item would have said piece by piece."""
    match item.get("type"):
        case "function_call":
            yield "response.function_call_arguments.delta", item.get("arguments")
        case "message":
            for part in item.get("content") or ():
                yield "response.output_text.delta", part.get("text") or part.get("refusal")
        case "reasoning":
            for part in (*(item.get("summary") or ()), *(item.get("content") or ())):
                yield "response.reasoning_text.delta", part.get("text")


def _read(item: Mapping[str, Any], model: str) -> Iterator[Block]:
    match item["type"]:
        case "message":
            yield from (_text(part, item) for part in item["content"])
        case "function_call":
            given, wrong = strict.arguments(item.get("arguments"))
            if item.get("status") == "incomplete":
                wrong = wrong or "the call is not complete"
            extra = beside(item, "type", "id", "call_id", "name", "arguments", "status")
            vendor, id_ = "openai" if extra else "", str(item.get("call_id") or "")
            yield ToolCall(id_, str(item["name"]), given, wrong, provider=vendor, extra=extra)
        case _:
            yield Opaque("openai", item, model)


def _text(part: Mapping[str, Any], item: Mapping[str, Any]) -> Text:
    """With whatever stands beside the words: annotations, and the phase of the whole message."""
    extra = beside(part, "type", "text", "refusal")
    if part.get("type") == "refusal":
        extra = {"type": "refusal"}
    if item.get("phase"):
        extra["phase"] = item["phase"]
    text = str(part.get("text") or part.get("refusal") or "")
    return Text(text, "openai" if extra else "", extra)


def _finish(response: Mapping[str, Any], items: Any, blocks: tuple[Block, ...]) -> Finish:
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        return _INCOMPLETE.get(reason, "error")
    if any(_refuses(item) for item in items):
        return "refusal"
    return "tool_calls" if any(isinstance(block, ToolCall) for block in blocks) else "stop"


_INCOMPLETE: Mapping[Any, Finish] = {
    "max_output_tokens": "length",
    "content_filter": "filter",
    "max_messages": "paused",
    "steered": "paused",
}


def _refuses(item: Mapping[str, Any]) -> bool:
    parts = item.get("content") or [] if item.get("type") == "message" else []
    return any(part.get("type") == "refusal" for part in parts)


def _usage(counted: Mapping[str, Any]) -> Usage | None:
    """`input_tokens` holds what was read from the cache, and what was written to it."""
    read = amount(counted, "input_tokens_details", "cached_tokens")
    written = amount(counted, "input_tokens_details", "cache_write_tokens")
    long = amount(counted, "input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens")
    thought = amount(counted, "output_tokens_details", "reasoning_tokens")
    return usage(
        counted,
        input_uncached=less(amount(counted, "input_tokens", missing=None), read, written),
        cache_read=read,
        cache_write_short=less(written, long),
        cache_write_long=long,
        output_visible=less(amount(counted, "output_tokens", missing=None), thought),
        output_reasoning=thought,
    )
