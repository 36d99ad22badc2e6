"""`OpenAI`: the Responses API, through the vendor's own SDK."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from loopwright.calls import (
    Block,
    Failure,
    Media,
    Opaque,
    Options,
    Reply,
    Request,
    Sent,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.errors import BadInput
from loopwright.models import strict, structured
from loopwright.models.body import text_of, written
from loopwright.models.capabilities import capabilities
from loopwright.models.clients import Clients, made
from loopwright.models.history import Histories
from loopwright.models.legal import Wire
from loopwright.models.openai_reply import Assembly
from loopwright.models.sdk import ask

_SECURITY = {"bearer_auth": True, "admin_api_key_auth": False}
"""Else an administrator's key in OPENAI_ADMIN_KEY would be sent in place of the API key."""


class OpenAI:
    """Answers requests through the Responses API; nothing is stored at the provider.

    `client` is an `openai.AsyncOpenAI` of your own, for use in one event loop; without it one is
    made for each event loop, from `client_options` (such as ``base_url=``) and from the SDK's own
    environment variables. An ``http_client=`` among them serves one event loop, and is closed with
    it. The SDK never repeats a request by itself: that is for a policy to say. Raises `BadInput`
    for another kind of client.

    >>> OpenAI(api_key="none", base_url="http://127.0.0.1:1").name
    'openai'
    """

    name = "openai"

    def __init__(self, client: Any = None, **client_options: Any) -> None:
        self._options = client_options
        self._clients = Clients("AsyncOpenAI", self._client, client)
        self._histories = Histories(WIRE)

    def check(self) -> None:
        """Raise `BadInput` for missing or unusable credentials, before anything is spent."""
        client = self._clients.first()
        if getattr(client, "admin_api_key", None) and client.api_key in (None, ""):
            raise BadInput(
                "there is no key for OpenAI, only an administrator's, which asks no model: set the "
                "variable OPENAI_API_KEY"
            )

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`, within its timeout. What goes wrong is a `Failure`.

        Raises `RealCallForbidden` while real calls are forbidden, and nothing else.
        """
        client = await self._clients.current()
        content, assembly = body(request, self._histories), Assembly(request)
        result = await ask(
            client, "/responses", content, request.timeout, assembly, security=_SECURITY
        )
        self._histories.learn(result)
        return result

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    def _client(self) -> Any:
        import openai

        try:
            return made(openai, "AsyncOpenAI", "OpenAI", self._options, "OPENAI_BASE_URL")
        except BadInput as error:
            if "credentials" not in str(error):
                raise
            said = "there is no key for OpenAI: set the variable OPENAI_API_KEY"
            raise BadInput(said) from None


# -------------------------------------------------------------------------------- the way there

_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
"""The type of `service_tier` in the SDK."""


def body(request: Request, histories: Histories) -> tuple[bytes, Sent]:
    """`request` as the Responses API takes it, and what it means to send it."""
    can = capabilities(f"{WIRE.provider}:{request.model}")
    answer, tools = structured.of_request(request, "openai" if can.structured else None)
    options = request.options
    sent: dict[str, Any] = {
        "model": request.model,
        "max_output_tokens": request.max_tokens,
        "stream": True,
        "store": False,
        # The quote is made for this tier; a project's own default may cost twice as much.
        "service_tier": options.tier if options.tier in _TIERS else "default",
    }
    if said := request.system if answer else request.instructions:
        sent["instructions"] = said
    if request.tools:
        sent |= _tools(request, tools)
    if answer:
        form = {"type": "json_schema", "name": "answer", "schema": answer, "strict": True}
        sent["text"] = {"format": form}
    if options.effort and can.effort:
        sent["reasoning"] = {"effort": options.effort}
    if request.prefix_key:
        sent["prompt_cache_key"] = request.prefix_key
    return written(sent, request, histories, "input")


def _tools(request: Request, schemas: Sequence[structured.Json | None]) -> dict[str, Any]:
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": schema or tool.schema,
            "strict": schema is not None,
        }
        for tool, schema in zip(request.tools, schemas, strict=True)
    ]
    return {"tools": tools, **_choice(request.options)}


def _choice(options: Options) -> Mapping[str, Any]:
    wanted, sent = options.tool_choice, dict[str, Any]()
    if wanted in ("none", "required"):
        sent["tool_choice"] = wanted
    elif wanted != "auto":
        sent["tool_choice"] = {"type": "function", "name": wanted}
    return sent if options.parallel_tools else {**sent, "parallel_tool_calls": False}


def write(role: str, blocks: Sequence[Block]) -> str:
    """A turn as items, without the brackets of their list."""
    return ",".join(strict.dumps(item) for item in _items(role, blocks))


def _items(role: str, blocks: Sequence[Block]) -> Iterator[Mapping[str, Any]]:
    """What the user shows and says in one go is one message."""
    for shown, group in groupby(blocks, lambda b: role == "user" and isinstance(b, Text | Media)):
        if shown:
            parts = [_part(block) for block in group]
            alone = len(parts) == 1 and parts[0]["type"] == "input_text"
            content = parts[0]["text"] if alone else parts
            yield {"type": "message", "role": role, "content": content}
        else:
            yield from map(_item, group)


def _item(block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text, provider, extra):
            own = extra if provider == WIRE.provider else {}
            return {"type": "message", "role": "assistant", **_content(text, own)}
        case ToolCall(id=id_, name=name, arguments=given, provider=provider, extra=extra):
            called = {"type": "function_call", "call_id": id_, "name": name}
            own = extra if provider == WIRE.provider else {}
            return {**called, "arguments": strict.dumps(given), **own}
        case ToolResult(call, content, error):
            # The wire has no mark for a result that is an error.
            said = f"Error: {content}" if error else content
            return {"type": "function_call_output", "call_id": call, "output": said}
        case Opaque(data=data):
            return data
        case Media():
            raise AssertionError("a model shows nothing")  # see `legal.refused`


def _content(text: str, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the model said once, with what stood beside it; without the id of an item that is not
    stored."""
    phase = {"phase": extra["phase"]} if "phase" in extra else {}
    if extra.get("type") == "refusal":
        return {"content": [{"type": "refusal", "refusal": text}], **phase}
    if beside := {key: extra[key] for key in extra if key != "phase"}:
        return {"content": [{"type": "output_text", "text": text, **beside}], **phase}
    return {"content": text, **phase}


def _part(block: Block) -> Mapping[str, Any]:
    if not isinstance(block, Media):
        return {"type": "input_text", "text": block.text if isinstance(block, Text) else ""}
    data = f"data:{block.mime};base64,{block.data}"
    if block.kind == "image":
        return {"type": "input_image", "image_url": block.url or data, "detail": "auto"}
    if block.url:
        return {"type": "input_file", "file_url": block.url}
    words = text_of(block)
    if words is not None:
        return {"type": "input_text", "text": f"{block.name}\n\n{words}".strip()}
    name = block.name or f"document.{block.mime.rpartition('/')[2]}"
    return {"type": "input_file", "filename": name, "file_data": data}


WIRE = Wire("openai", write, thoughts={"reasoning": ("encrypted_content", "content")}, direct=True)
