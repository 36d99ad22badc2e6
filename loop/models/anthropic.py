"""`Anthropic`: the Messages API, through the vendor's own SDK."""

import json
from collections.abc import Mapping
from typing import Any

from loopwright.calls import (
    Block,
    Failure,
    Finish,
    Media,
    Opaque,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.errors import BadInput
from loopwright.models import failures, strict
from loopwright.models.history import Histories, wire_id, wire_name
from loopwright.models.sdk import Clients, ask
from loopwright.models.sse import Malformed
from loopwright.models.usage import amount, usage

_FINISHES: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "pause_turn": "paused",
}


class Anthropic:
    """Answers requests through the Messages API.

    `client` is an `anthropic.AsyncAnthropic` of your own, for use in one event loop; without it
    one is made for each event loop, from `client_options` (such as ``base_url=``) and from the
    SDK's own environment variables. The SDK never repeats a request by itself: that is for a
    policy to say.

    >>> Anthropic(api_key="none", base_url="http://127.0.0.1:1").name
    'anthropic'
    """

    name = "anthropic"

    def __init__(self, client: Any = None, **client_options: Any) -> None:
        self._options = client_options
        self._clients = Clients(self._client, client)
        self._histories = Histories(self.name, write)

    def check(self) -> None:
        """Raise `BadInput` if there are no credentials, before anything is spent."""
        client = self._clients.first()
        sent = {name.lower() for name in client.default_headers}
        if not (client.auth_headers or client.custom_auth or sent & {"authorization", "x-api-key"}):
            raise BadInput("there is no key for Anthropic: set the variable ANTHROPIC_API_KEY")

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`, within its timeout. What goes wrong is a `Failure`.

        Raises `RealCallForbidden` while real calls are forbidden, and nothing else.
        """
        client = await self._clients.current()
        sent, assembly = body(request, self._histories), Assembly(request)
        return await ask(client, "/v1/messages", sent, request.timeout, assembly)

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    def _client(self) -> Any:
        import anthropic

        try:
            return anthropic.AsyncAnthropic(**self._options)
        except (anthropic.AnthropicError, ValueError, TypeError) as error:
            said = failures.masked(str(error))
            raise BadInput(f"the Anthropic client cannot be made: {said}") from error


# -------------------------------------------------------------------------------- the way there


def body(request: Request, histories: Histories) -> bytes:
    """`request` as the Messages API takes it.

    Half of a surrogate pair, which has no UTF-8, becomes a question mark.
    """
    sent: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "stream": True,
    }
    if request.instructions:
        sent["system"] = request.instructions
    if request.tools:
        sent["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
            for tool in request.tools
        ]
    said = histories.written(request.messages)
    return f'{strict.dumps(sent)[:-1]},"messages":[{said}]}}'.encode(errors="replace")


def write(role: str, blocks: list[Block]) -> str:
    """A turn as a message."""
    return strict.dumps({"role": role, "content": [_block(block) for block in blocks]})


def _block(block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Media(mime, data, url):
            by = {"type": "base64", "media_type": mime, "data": data}
            return {"type": block.kind, "source": {"type": "url", "url": url} if url else by}
        case Opaque(data=data):
            return data
        case ToolCall(id=id_, name=name, arguments=given):
            return {
                "type": "tool_use",
                "id": wire_id(id_),
                "name": wire_name(name),
                "input": given,
            }
        case ToolResult(call, content, error):
            result = {"type": "tool_result", "tool_use_id": wire_id(call), "content": content}
            return {**result, "is_error": True} if error else result


# ------------------------------------------------------------------------------------- and back


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
        if self.done:
            return
        try:
            self._take(event)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            said = f"an event {event.get('type')!r} has the wrong shape: {error}"
            raise Malformed(said) from None

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

    def _count(self, counted: Mapping[str, Any] | None) -> None:
        """Counts of a later event are totals; what it leaves out stands as it was."""
        self._counted |= {key: n for key, n in (counted or {}).items() if n is not None}

    def _start(self, index: int, block: dict[str, Any]) -> None:
        if not self._message or index != len(self._blocks):
            raise Malformed(f"block {index} begins out of order")
        self._blocks.append(block)
        self._open.add(index)

    def _grow(self, index: int, delta: Mapping[str, Any]) -> None:
        if index not in self._open:
            raise Malformed(f"block {index} grows, but is not open")
        block = self._blocks[index]
        match delta["type"]:
            case "input_json_delta":
                self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case _:
                _extend(block, delta)

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole message, or why there is none."""
        if self._error is not None:
            return self._failure(headers)
        stop = self._stopped.get("stop_reason")
        if not self.done or not stop or self._open:
            said = "the answer ended before its last event"
            return failures.failed("cut_stream", said, usage=self.usage, status=200)
        return Reply(
            blocks=tuple(self._read(i, block) for i, block in enumerate(self._blocks)),
            finish=_FINISHES.get(stop, "error"),
            usage=self.usage,
            model=str(self._message.get("model") or self._model),
            tier=_tier(self._counted),
        )

    def _failure(self, headers: Mapping[str, str]) -> Failure:
        from attrs import evolve

        return evolve(failures.from_error(self._error or {}, 200, headers), usage=self.usage)

    def _read(self, index: int, block: dict[str, Any]) -> Block:
        written = self._inputs.get(index)
        match block.get("type"):
            case "text":
                return Text(block.get("text") or "")
            case "tool_use":
                given, wrong = strict.arguments(block.get("input") if written is None else written)
                name = str(block.get("name") or "")
                return ToolCall(str(block.get("id") or ""), name, given, wrong)
            case _:
                return Opaque("anthropic", block | _input(written))


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
    """`input_tokens` leaves out what was written to the cache and read from it."""
    written = amount(counted, "cache_creation_input_tokens")
    long = amount(counted, "cache_creation", "ephemeral_1h_input_tokens")
    output = amount(counted, "output_tokens", missing=None)
    thought = amount(counted, "output_tokens_details", "thinking_tokens")
    return usage(
        counted,
        input_uncached=amount(counted, "input_tokens", missing=None),
        cache_read=amount(counted, "cache_read_input_tokens"),
        cache_write_short=None if written is None or long is None else written - long,
        cache_write_long=long,
        output_visible=None if output is None or thought is None else output - thought,
        output_reasoning=thought,
    )
