"""`Anthropic`: the Messages API, through the vendor's own SDK."""

import re
from collections.abc import Mapping, Sequence
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
from loopwright.models.anthropic_reply import Assembly
from loopwright.models.body import text_of, written
from loopwright.models.capabilities import capabilities
from loopwright.models.clients import Clients, made
from loopwright.models.history import Histories
from loopwright.models.legal import Wire
from loopwright.models.sdk import ask


class Anthropic:
    """Answers requests through the Messages API.

    `client` is an `anthropic.AsyncAnthropic` of your own, for use in one event loop; without it
    one is made for each event loop, from `client_options` (such as ``base_url=``) and from the
    SDK's own environment variables. An ``http_client=`` among them serves one event loop, and is
    closed with it. The SDK never repeats a request by itself: that is for a policy to say. Raises
    `BadInput` for another kind of client.

    >>> Anthropic(api_key="none", base_url="http://127.0.0.1:1").name
    'anthropic'
    """

    name = "anthropic"

    def __init__(self, client: Any = None, **client_options: Any) -> None:
        self._options = client_options
        self._clients = Clients("AsyncAnthropic", self._client, client)
        self._histories = Histories(WIRE)

    def check(self) -> None:
        """Raise `BadInput` for missing or unusable credentials, before anything is spent."""
        client = self._clients.first()
        sent = {name.lower() for name in client.default_headers}
        if not (client.auth_headers or client.custom_auth or sent & {"authorization", "x-api-key"}):
            raise BadInput("there is no key for Anthropic: set the variable ANTHROPIC_API_KEY")

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`, within its timeout. What goes wrong is a `Failure`.

        Raises `RealCallForbidden` while real calls are forbidden, and nothing else.
        """
        client = await self._clients.current()
        content, assembly = body(request, self._histories), Assembly(request)
        result = await ask(client, "/v1/messages", content, request.timeout, assembly)
        self._histories.learn(result)
        return result

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    def _client(self) -> Any:
        import anthropic

        return made(anthropic, "AsyncAnthropic", "Anthropic", self._options, "ANTHROPIC_BASE_URL")


# -------------------------------------------------------------------------------- the way there

_CACHED = {"type": "ephemeral"}

_EFFORTS = {"minimal": "low", "none": "low"}
"""This API's lowest effort is ``"low"``: the type of `effort` in the SDK."""

_TIERS = frozenset({"auto", "standard_only"})

_WITHOUT_ADAPTIVE = re.compile("claude-opus-4-5")
"""Takes an effort, but thinks only with a budget: the page "Adaptive thinking" of
platform.claude.com/docs."""


def body(request: Request, histories: Histories) -> tuple[bytes, Sent]:
    """`request` as the Messages API takes it, and what it means to send it."""
    can = capabilities(f"{WIRE.provider}:{request.model}")
    answer, tools = structured.of_request(request, "anthropic" if can.structured else None)
    sent: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "stream": True,
        **_tools(request, tools),
        **_options(request, answer, can.effort),
    }
    system = request.system if answer else request.instructions
    if system:
        sent["system"] = _system(system, request)
    if request.tools or len(request.messages) > 1:
        # The last block is marked where a conversation is likely to go on.
        sent["cache_control"] = _CACHED
    return written(sent, request, histories, "messages")


def _system(system: str, request: Request) -> Any:
    """Marked where others begin alike: this holds the tools, too, which stand before it."""
    if not request.prefix_key:
        return system
    return [{"type": "text", "text": system, "cache_control": _CACHED}]


def _tools(request: Request, schemas: Sequence[structured.Json | None]) -> Mapping[str, Any]:
    if not request.tools:
        return {}
    tools: list[dict[str, Any]] = []
    for tool, schema in zip(request.tools, schemas, strict=True):
        described = {"name": tool.name, "description": tool.description}
        enforced = {"input_schema": schema, "strict": True}
        tools.append(described | (enforced if schema else {"input_schema": tool.schema}))
    return {"tools": tools, **_choice(request.options)}


def _choice(options: Options) -> Mapping[str, Any]:
    kinds = {"auto": "auto", "none": "none", "required": "any"}
    wanted = options.tool_choice
    kind = kinds.get(wanted, "tool")
    choice: dict[str, Any] = {"type": kind, **({"name": wanted} if kind == "tool" else {})}
    if not options.parallel_tools and kind != "none":
        choice["disable_parallel_tool_use"] = True
    return {} if choice == {"type": "auto"} else {"tool_choice": choice}


def _options(request: Request, schema: structured.Json | None, effort: bool) -> Mapping[str, Any]:
    options, sent, config = request.options, dict[str, Any](), dict[str, Any]()
    if options.effort and effort:
        config["effort"] = _EFFORTS.get(options.effort, options.effort)
        # A forced call leaves no room for thoughts: the API refuses both at once.
        free = not request.tools or options.tool_choice in ("auto", "none")
        if free and not _WITHOUT_ADAPTIVE.match(request.model):
            sent["thinking"] = {"type": "adaptive"}
    if schema:
        config["format"] = {"type": "json_schema", "schema": schema}
    if options.tier in _TIERS:
        sent["service_tier"] = options.tier
    return {**sent, "output_config": config} if config else sent


def write(role: str, blocks: Sequence[Block]) -> str:
    """A turn as a message."""
    return strict.dumps({"role": role, "content": [_block(role, block) for block in blocks]})


def _block(role: str, block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text, provider, extra):
            theirs = provider == "anthropic" and role == "assistant"
            return {"type": "text", "text": text, **(extra if theirs else {})}
        case Media():
            return _media(block)
        case Opaque(data=data):
            return data
        case ToolCall(id=id_, name=name, arguments=given, provider=provider, extra=extra):
            own = extra if provider == "anthropic" else {}
            return {"type": "tool_use", "id": id_, "name": name, "input": given, **own}
        case ToolResult(call, content, error):
            result = {"type": "tool_result", "tool_use_id": call, "content": content}
            return {**result, "is_error": True} if error else result


def _media(media: Media) -> Mapping[str, Any]:
    source = {"type": "base64", "media_type": media.mime, "data": media.data}
    words = text_of(media)
    if media.url:
        source = {"type": "url", "url": media.url}
    elif words is not None:
        source = {"type": "text", "media_type": "text/plain", "data": words}
    titled = {"title": media.name} if media.name and media.kind == "document" else {}
    return {"type": media.kind, "source": source, **titled}


WIRE = Wire(
    "anthropic",
    write,
    thoughts={"thinking": ("signature",), "redacted_thinking": ("data",)},
    user_last=True,
    pauses=True,
)
