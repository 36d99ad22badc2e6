"""`OpenAI`: the Responses API, through the vendor's own SDK."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

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

_SECURITY = {"bearer_auth": True, "admin_api_key_auth": False}
"""Else an administrator's key in OPENAI_ADMIN_KEY would be sent in place of the API key."""


class OpenAI:
    """Answers requests through the Responses API; nothing is stored at the provider.

    `client` is an `openai.AsyncOpenAI` of your own, for use in one event loop; without it one is
    made for each event loop, from `client_options` (such as ``base_url=``) and from the SDK's own
    environment variables. The SDK never repeats a request by itself: that is for a policy to say.

    >>> OpenAI(api_key="none", base_url="http://127.0.0.1:1").name
    'openai'
    """

    name = "openai"

    def __init__(self, client: Any = None, **client_options: Any) -> None:
        self._options = client_options
        self._clients = Clients(self._client, client)
        self._histories = Histories(self.name, write)

    def check(self) -> None:
        """Raise `BadInput` if there are no credentials, before anything is spent."""
        self._clients.first()

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`, within its timeout. What goes wrong is a `Failure`.

        Raises `RealCallForbidden` while real calls are forbidden, and nothing else.
        """
        client = await self._clients.current()
        sent, assembly = body(request, self._histories), Assembly(request)
        return await ask(client, "/responses", sent, request.timeout, assembly, security=_SECURITY)

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    def _client(self) -> Any:
        import openai

        try:
            return openai.AsyncOpenAI(**self._options)
        except (openai.OpenAIError, ValueError, TypeError) as error:
            if "credentials" in str(error):
                said = "there is no key for OpenAI: set the variable OPENAI_API_KEY"
            else:
                said = f"the OpenAI client cannot be made: {failures.masked(str(error))}"
            raise BadInput(said) from error


# -------------------------------------------------------------------------------- the way there


def body(request: Request, histories: Histories) -> bytes:
    """`request` as the Responses API takes it.

    Half of a surrogate pair, which has no UTF-8, becomes a question mark.
    """
    sent: dict[str, Any] = {
        "model": request.model,
        "max_output_tokens": request.max_tokens,
        "stream": True,
        "store": False,
        # The quote is made for this tier; a project's own default may cost twice as much.
        "service_tier": "default",
    }
    if request.instructions:
        sent["instructions"] = request.instructions
    if request.tools:
        sent["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
                "strict": False,
            }
            for tool in request.tools
        ]
    said = histories.written(request.messages)
    return f'{strict.dumps(sent)[:-1]},"input":[{said}]}}'.encode(errors="replace")


def write(role: str, blocks: list[Block]) -> str:
    """A turn as items, without the brackets of their list."""
    return ",".join(strict.dumps(_item(role, block)) for block in blocks)


def _item(role: str, block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text):
            return {"type": "message", "role": role, "content": text}
        case Media(mime, data, url):
            part = {"type": "input_image", "image_url": url or f"data:{mime};base64,{data}"}
            return {"type": "message", "role": role, "content": [part]}
        case Opaque(data=data):
            return data
        case ToolCall(id=id_, name=name, arguments=given):
            return {
                "type": "function_call",
                "call_id": wire_id(id_),
                "name": wire_name(name),
                "arguments": strict.dumps(given),
            }
        case ToolResult(call, content, error):
            # The wire has no mark for a result that is an error.
            said = f"Error: {content}" if error else content
            return {"type": "function_call_output", "call_id": wire_id(call), "output": said}


# ------------------------------------------------------------------------------------- and back


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
        self._items: dict[int, Mapping[str, Any]] = {}
        self._response: Mapping[str, Any] = {}
        self._error: Mapping[str, Any] | None = None

    @property
    def usage(self) -> Usage | None:
        counted = self._response.get("usage")
        return _usage(counted) if isinstance(counted, Mapping) else None

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
            case "response.output_item.added":
                self.begun = True
            case "response.output_item.done":
                self._items[int(event["output_index"])] = dict(event["item"])
            case "response.completed" | "response.incomplete" | "response.failed":
                self._response, self.done = dict(event["response"]), True
                self._end(event["type"])
            case "error":
                self._error, self.done = failures.error_in(event) or {}, True

    def _end(self, event: str) -> None:
        error = self._response.get("error")
        if event == "response.failed" or self._response.get("status") in ("failed", "cancelled"):
            self._error = error if isinstance(error, Mapping) else {"code": "server_error"}

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole response, or why there is none."""
        if self._error is not None:
            return evolve(failures.from_error(self._error, 200, headers), usage=self.usage)
        if not self.done:
            said = "the answer ended before its last event"
            return failures.failed("cut_stream", said, status=200)
        try:
            return self._reply()
        except (KeyError, TypeError, AttributeError) as error:
            said = f"the response has the wrong shape: {type(error).__name__} {error}"
            return failures.failed("malformed", said, usage=self.usage, status=200)

    def _reply(self) -> Reply:
        items = self._response.get("output") or [self._items[i] for i in sorted(self._items)]
        blocks = tuple(block for item in items for block in _read(item))
        return Reply(
            blocks=blocks,
            finish=_finish(self._response, items, blocks),
            usage=self.usage,
            model=str(self._response.get("model") or self._model),
            tier=str(self._response.get("service_tier") or ""),
        )


def _read(item: Mapping[str, Any]) -> Iterator[Block]:
    match item["type"]:
        case "message":
            parts = item["content"]
            yield from (Text(part.get("text") or part.get("refusal") or "") for part in parts)
        case "function_call":
            given, wrong = strict.arguments(item.get("arguments"))
            yield ToolCall(str(item.get("call_id") or ""), str(item["name"]), given, wrong)
        case _:
            yield Opaque(OpenAI.name, item)


def _finish(response: Mapping[str, Any], items: Any, blocks: tuple[Block, ...]) -> Finish:
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        return _INCOMPLETE.get(reason, "error")
    if any(isinstance(block, ToolCall) for block in blocks):
        return "tool_calls"
    return "refusal" if any(_refuses(item) for item in items) else "stop"


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
        input_uncached=_less(amount(counted, "input_tokens", missing=None), read, written),
        cache_read=read,
        cache_write_short=_less(written, long),
        cache_write_long=long,
        output_visible=_less(amount(counted, "output_tokens", missing=None), thought),
        output_reasoning=thought,
    )


def _less(total: int | None, *parts: int | None) -> int | None:
    """What is left of `total` without its parts, as far as all of them are known."""
    if total is None or None in parts:
        return None
    return total - sum(part for part in parts if part is not None)
