"""`Chat`: Chat Completions as any server speaks them, through the client of OpenAI's SDK."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
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
from loopwright.models import catalogue, failures, strict, structured
from loopwright.models.body import text_of, written
from loopwright.models.capabilities import capabilities
from loopwright.models.chat_reply import BESIDE, CALL, THOUGHT, Assembly
from loopwright.models.clients import Clients, address, made
from loopwright.models.history import Histories
from loopwright.models.legal import SILENT, Wire
from loopwright.models.sdk import NO_ADMIN, ask
from loopwright.models.servers import SERVERS, Quirks, Server

_TAKEN = frozenset({"anthropic", "openai"})


class Chat:
    """Answers requests through the Chat Completions of any server.

    `name` is what stands before the colon in ``"provider:model"``: one of `SERVERS`, or a name of
    your own together with the server's `base_url`, the name of the variable that holds its `key`
    (none: it takes no key), and its `quirks`. A known server's key goes to that server alone: to
    send it to another `base_url`, say `key` as well. `client` is an `openai.AsyncOpenAI` of your
    own, for use in one event loop (on Azure with its `azure_deployment`); `client_options` are more
    options of that class (such as ``api_key=``); an ``http_client=`` among them serves one event
    loop, and is closed with it. The SDK never repeats a request by itself: that is for a policy to
    say.

    Raises `BadInput` for a server that nobody knows, and for another kind of client.

    >>> Chat("mine", base_url="http://127.0.0.1:1/v1", key="MINE_KEY").name
    'mine'
    >>> Chat("groq").base_url
    'https://api.groq.com/openai/v1'
    """

    def __init__(
        self,
        name: str,
        base_url: str = "",
        key: str = "",
        quirks: Quirks | None = None,
        client: Any = None,
        **client_options: Any,
    ) -> None:
        known = SERVERS.get(name)
        self.name = _checked(name)
        self.base_url = base_url or (known.home if known else "")
        if not self.base_url and client is None:
            raise BadInput(
                f"nobody knows where the server {name!r} is: say it with base_url='https://...', "
                f"or take one of {', '.join(map(repr, SERVERS))}"
            )
        self.quirks = quirks or (known.quirks if known else Quirks())
        self._known = known
        self._key = key
        self._options = client_options
        self._clients = Clients("AsyncOpenAI", self._client, client)
        self._histories = Histories(wire(name, self.quirks))
        if known and not (known.key or key or "api_key" in client_options):
            catalogue.free(name)

    def check(self) -> None:
        """Raise `BadInput` for a missing or unusable key or address, before anything is spent."""
        self._clients.first()

    async def reply(self, request: Request) -> Reply | Failure:
        """Answer `request`, within its timeout. What goes wrong is a `Failure`.

        Raises `RealCallForbidden` while real calls are forbidden, and nothing else.
        """
        client = await self._clients.current()
        content = body(request, self._histories, self.quirks)
        assembly = Assembly(request, self.name)
        result = await ask(
            client, "/chat/completions", content, request.timeout, assembly, security=NO_ADMIN
        )
        self._histories.learn(result)
        return result

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    # ----------------------------------------------------------------------------------- its key

    def _client(self) -> Any:
        import openai

        variable = self._known.place if self._known else ""
        address(self.base_url, variable)
        options = {"api_key": self._secret(), "base_url": self.base_url, **self._options}
        if not _same_origin(self.base_url, SERVERS["openai-chat"].home):
            options["default_headers"] = _own_headers(openai, options)
        return made(openai, "AsyncOpenAI", self.name, options, variable)

    def _secret(self) -> str:
        if "api_key" in self._options:
            return str(self._options["api_key"])
        variable = self._key or _bound(self.name, self._known, self.base_url)
        if not variable:
            return "none"  # the SDK wants one
        if value := os.environ.get(variable):
            return value
        raise BadInput(f"there is no key for {self.name}: set the variable {variable}")


def _checked(name: str) -> str:
    if not name or ":" in name or name in _TAKEN:
        raise BadInput(
            f"{name!r} cannot be the name of a server of Chat Completions: take one without a "
            "colon that no other provider has"
        )
    return name


def _bound(name: str, known: Server | None, base_url: str) -> str:
    """The variable with the key of a known server, at the place where it is known to be."""
    if known is None or not known.key:
        return ""
    if not _same_origin(known.home, base_url):
        raise BadInput(
            f"the key in {known.key} is for {known.home} alone: say key={known.key!r} to send "
            f"it to {failures.masked(base_url)}, or name another with key= or api_key="
        )
    return known.key


def _same_origin(one: str, other: str) -> bool:
    here, there = [(url.scheme, url.netloc) for url in map(address, (one, other))]
    return here == there


def _own_headers(openai: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing that the environment says of OpenAI is for anybody else."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    said = [line.partition(":")[0].strip() for line in lines if ":" in line]
    names = ("OpenAI-Organization", "OpenAI-Project", *said)
    own = {"Authorization": f"Bearer {options['api_key']}", **options.get("default_headers", {})}
    given = {name.lower() for name in own}
    return {**{name: openai.Omit() for name in names if name.lower() not in given}, **own}


# -------------------------------------------------------------------------------- the way there


def body(request: Request, histories: Histories, quirks: Quirks) -> tuple[bytes, Sent]:
    """`request` as a server with these `quirks` takes it, and what it means to send it."""
    options = request.options
    answer, tools = _schemas(request, quirks)
    sent: dict[str, Any] = {"model": request.model, "stream": True, **quirks.fields}
    sent[quirks.max_tokens] = request.max_tokens
    if quirks.usage:
        sent["stream_options"] = {"include_usage": True}
    if request.tools:
        sent |= _tools(request, tools) | _choice(options, quirks)
    if answer:
        sent["response_format"] = answer
    if options.effort and quirks.effort and _can(request, quirks, "effort"):
        outer, _, inner = quirks.effort.partition(".")
        sent[outer] = {inner: options.effort} if inner else options.effort
    if quirks.tier is not None and (tier := options.tier or quirks.tier):
        sent["service_tier"] = tier
    if quirks.cache_key and request.prefix_key:
        sent["prompt_cache_key"] = request.prefix_key
    # A server that does not know a response format may pass over it in silence.
    said = request.system if answer and quirks.vendor else request.instructions
    system = {"role": quirks.system, "content": said} if said else None
    return written(sent, request, histories, "messages", system)


def _can(request: Request, quirks: Quirks, what: str) -> bool:
    """Whether the model can do `what`, as far as the catalogue knows models of this vendor."""
    return not quirks.vendor or getattr(capabilities(f"{quirks.vendor}:{request.model}"), what)


def _schemas(
    request: Request, quirks: Quirks
) -> tuple[dict[str, Any] | None, Sequence[structured.Json | None]]:
    """The format of the answer, and the schemas of strict tools."""
    none: list[structured.Json | None] = [None] * len(request.tools)
    if not _can(request, quirks, "structured"):
        return None, none
    answer, tools = structured.of_request(request, "openai" if quirks.vendor else "chat")
    form: dict[str, Any] | None = None
    if request.output and (quirks.beside_tools or not request.tools):
        if quirks.structured == "json_object":
            form = {"type": "json_object"}
        elif quirks.structured and answer:
            form = _enforcing(answer)
    return form, tools if quirks.strict else none


def _enforcing(schema: structured.Json) -> dict[str, Any]:
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _tools(request: Request, schemas: Sequence[structured.Json | None]) -> dict[str, Any]:
    tools = list[dict[str, Any]]()
    for tool, schema in zip(request.tools, schemas, strict=True):
        function: dict[str, Any] = {"name": tool.name, "description": tool.description}
        function["parameters"] = schema or tool.schema
        if schema:
            function["strict"] = True
        tools.append({"type": "function", "function": function})
    return {"tools": tools}


def _choice(options: Options, quirks: Quirks) -> dict[str, Any]:
    wanted, sent = options.tool_choice, dict[str, Any]()
    if wanted in ("none", "required"):
        sent["tool_choice"] = wanted
    elif wanted != "auto":
        sent["tool_choice"] = {"type": "function", "function": {"name": wanted}}
    if quirks.parallel is not None and quirks.parallel != options.parallel_tools:
        sent["parallel_tool_calls"] = options.parallel_tools
    return sent


# --------------------------------------------------------------------------------- its messages


def wire(name: str, quirks: Quirks) -> Wire:
    """What a server wants of a conversation."""
    fields = ("reasoning_details", "reasoning_content", "reasoning")
    return Wire(name, partial(write, name, quirks), thoughts={THOUGHT: fields}, user_last=True)


def write(name: str, quirks: Quirks, role: str, blocks: Sequence[Block]) -> str:
    """A turn as messages, without the brackets of their list."""
    said = _spoken(name, quirks, blocks) if role == "assistant" else _asked(quirks, blocks)
    return ",".join(strict.dumps(message) for message in said)


def _asked(quirks: Quirks, blocks: Sequence[Block]) -> Iterator[Mapping[str, Any]]:
    for block in blocks:
        if isinstance(block, ToolResult):
            # The wire has no mark for a result that is an error.
            said = f"Error: {block.content}" if block.error else block.content
            yield {"role": "tool", "tool_call_id": _id(block.call, quirks), "content": said}
    rest = [block for block in blocks if not isinstance(block, ToolResult)]
    texts = [block.text for block in rest if isinstance(block, Text)]
    if texts and len(texts) == len(rest):
        yield {"role": "user", "content": "\n\n".join(texts)}
    elif rest:
        yield {"role": "user", "content": [_part(block) for block in rest]}


def _spoken(name: str, quirks: Quirks, blocks: Sequence[Block]) -> Iterator[Mapping[str, Any]]:
    message: dict[str, Any] = {"role": "assistant"}
    parts: list[Mapping[str, Any]] = []
    calls: list[dict[str, Any]] = []
    extra: Mapping[str, Any] = {}
    for block in blocks:
        match block:
            case Opaque(data={"type": kind}) if kind == CALL:
                extra = _returned(block.data, quirks)
            case Opaque(data={"type": kind}) if kind in (THOUGHT, BESIDE):
                message |= _returned(block.data, quirks)
            case ToolCall():
                calls.append({**_call(block, quirks), **extra})
                extra = {}
            case Text() if block.provider == name:
                message |= _returned(block.extra, quirks)
                parts.append(_part(block))
            case _:
                parts.append(_part(block))
    # Beside tool calls there need be no words, but a message must say something.
    nothing = None if calls else SILENT
    message["content"] = _content(parts) if parts else nothing
    if calls:
        message["tool_calls"] = calls
    yield message


def _returned(data: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key in quirks.returned}


def _content(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Words alone are a text: not every server takes a list."""
    if all(part.get("type") == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _call(call: ToolCall, quirks: Quirks) -> dict[str, Any]:
    function = {"name": call.name, "arguments": strict.dumps(call.arguments)}
    return {"id": _id(call.id, quirks), "type": "function", "function": function}


def _id(id_: str, quirks: Quirks) -> str:
    """The same id, or one as short as the server wants it."""
    if not quirks.id_length:
        return id_
    return hashlib.sha256(id_.encode(errors="replace")).hexdigest()[: quirks.id_length]


def _part(block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Media(mime, data, url) if block.kind == "image":
            address = url or f"data:{mime};base64,{data}"
            return {"type": "image_url", "image_url": {"url": address}}
        case Media(mime, data, url):
            words = text_of(block)
            if words is not None:
                return {"type": "text", "text": f"{block.name}\n\n{words}".strip()}
            name = block.name or f"document.{mime.rpartition('/')[2]}"
            address = url or f"data:{mime};base64,{data}"
            return {"type": "file", "file": {"filename": name, "file_data": address}}
        case Opaque(data=data):
            return data
    raise TypeError(f"{block!r:.80} is no part of a message")
