"""Recorded conversations: read from their files, served on loopback, carried out again."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml
from attrs import field, frozen

from loopwright.calls import (
    Block,
    Failure,
    Message,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)

FOLDER = Path(__file__).parents[3] / "shared" / "cassettes"

_SERVED = ("content-type", "retry-after", "x-should-retry", "request-id", "x-request-id")
"""Headers that mean something to a client; the others belong to the connection of then."""

_MOST = 4096


class _Loader(yaml.SafeLoader):
    """Reads plain data; of objects only the text."""


def _text(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> str:
    return str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else str(node)


_Loader.add_multi_constructor("!", _text)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _text)


@frozen
class Recorded:
    """One request and its response, as they went over the wire."""

    request: Mapping[str, Any]
    uri: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body of the response, unpacked."""
        return (gzip.decompress(self.body) if _packed(self.body) else self.body).decode()

    @property
    def events(self) -> list[Any]:
        """The data of the events, if the response is a stream."""
        lines = self.text.splitlines()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(piece) for piece in data if piece != "[DONE]"]

    @property
    def streamed(self) -> bool:
        """Whether the response is a stream."""
        return "event-stream" in self.headers.get("content-type", "")


def _packed(body: bytes) -> bool:
    return body.startswith(b"\x1f\x8b")


def read(path: Path) -> list[Recorded]:
    """What the file at `path` recorded, in its order."""
    with path.open(encoding="utf-8") as file:
        found = yaml.load(file, _Loader)["interactions"]
    return [_recorded(each["request"], each["response"]) for each in found]


def _recorded(request: Any, response: Any) -> Recorded:
    sent = request.get("parsed_body") or json.loads(request["body"])
    status = response.get("status_code") or response["status"]["code"]
    headers = {name.lower(): _first(value) for name, value in response["headers"].items()}
    return Recorded(sent, request["uri"], status, headers, _body(response))


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value)


def _body(response: Any) -> bytes:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"], ensure_ascii=False).encode()
    body = response["content"] if "content" in response else response["body"]["string"]
    return body if isinstance(body, bytes) else body.encode()


# -------------------------------------------------------------------------------------- served


@frozen
class Served:
    """A server on loopback: its address, and the bodies that it was sent."""

    url: str
    seen: list[Mapping[str, Any]] = field(factory=list)


@contextmanager
def served(recorded: Sequence[Recorded]) -> Iterator[Served]:
    """Serves the responses of `recorded`, one for each request, in their order."""
    waiting = iter(recorded)
    seen: list[Mapping[str, Any]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            _answer(self, next(waiting))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}/v1", seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, recorded: Recorded) -> None:
    handler.send_response(recorded.status)
    for name in _SERVED:
        if name in recorded.headers:
            handler.send_header(name, recorded.headers[name])
    if _packed(recorded.body):
        handler.send_header("content-encoding", "gzip")
    handler.send_header("content-length", str(len(recorded.body)))
    handler.end_headers()
    handler.wfile.write(recorded.body)


# --------------------------------------------------------------------------------- carried out


@frozen
class Replayed:
    """One recorded exchange, and what came of it here."""

    recorded: Recorded
    sent: Mapping[str, Any]
    result: Reply | Failure


def replay(provider: Any, recorded: Sequence[Recorded], server: Served) -> list[Replayed]:
    """Carry the recorded conversation out again with `provider`, which is pointed at `server`.

    What people and tools said is taken from the recording; what the model said is what the provider
    made of its answers. Only what the recording's client made up itself is read from there.
    """
    return asyncio.run(_replay(provider, recorded, server))


async def _replay(provider: Any, recorded: Sequence[Recorded], server: Served) -> list[Replayed]:
    conversation: list[Message] = []
    results: list[Replayed] = []
    for each in recorded:
        replies = [done.result for done in results if isinstance(done.result, Reply)]
        for turn in turns(each.request)[len(conversation) :]:
            conversation.append(_own(turn, replies))
        result = await provider.reply(request(each.request, conversation))
        results.append(Replayed(each, server.seen[-1], result))
    await provider.close()
    return results


def _own(turn: Message, replies: Sequence[Reply]) -> Message:
    """The reply that became `turn` in the recording, if there is one."""
    if turn.role == "assistant":
        for reply in replies:
            if _says(reply.blocks) == _says(turn.blocks):
                return Message("assistant", reply.blocks)
    return turn


def _says(blocks: Sequence[Block]) -> Any:
    calls = [block.id for block in blocks if isinstance(block, ToolCall)]
    return calls or "".join(block.text for block in blocks if isinstance(block, Text))


def request(body: Mapping[str, Any], conversation: Sequence[Message]) -> Request:
    """The recorded request `body` in the portable form, about `conversation`."""
    most = body.get("max_tokens") or body.get("max_output_tokens") or _MOST
    return Request(
        body["model"],
        tuple(conversation),
        system=_system(body),
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        max_tokens=most,
        timeout=10,
    )


def _system(body: Mapping[str, Any]) -> str:
    said = [message for message in body.get("messages", ()) if message["role"] == "system"]
    found = said[0]["content"] if said else body.get("system") or body.get("instructions") or ""
    return _words(found)


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _tool(tool: Mapping[str, Any]) -> ToolSpec:
    inner = tool.get("function") or tool
    schema = inner.get("parameters") or inner.get("input_schema") or {"type": "object"}
    return ToolSpec(inner["name"], inner.get("description") or "", schema)


# -------------------------------------------------------------------- what was said, by role


def turns(body: Mapping[str, Any]) -> list[Message]:
    """The conversation of a recorded request, of any of the three wires, as alternating turns."""
    said = [piece for item in _items(body) for piece in _pieces(item)]
    merged: list[Message] = []
    for role, block in said:
        if merged and merged[-1].role == role:
            merged[-1] = Message(role, [*merged[-1].blocks, block])
        else:
            merged.append(Message(role, [block]))
    return merged


def _items(body: Mapping[str, Any]) -> Sequence[Any]:
    return body["messages"] if "messages" in body else body["input"]


def _pieces(item: Mapping[str, Any]) -> Iterator[Any]:
    kind, role = item.get("type", "message"), item.get("role")
    if kind == "function_call":
        yield "assistant", _call(item["call_id"], item["name"], item["arguments"])
    elif kind == "function_call_output":
        yield "user", ToolResult(item["call_id"], item["output"])
    elif role == "tool":
        yield "user", ToolResult(item["tool_call_id"], item["content"])
    elif role in ("user", "assistant"):
        yield from ((role, block) for block in _blocks(item))


def _blocks(item: Mapping[str, Any]) -> Iterator[Block]:
    content = item.get("content") or ()
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        match part["type"]:
            case "tool_use":
                yield ToolCall(part["id"], part["name"], part["input"])
            case "tool_result":
                yield ToolResult(part["tool_use_id"], _words(part["content"]))
            case _:
                yield Text(part["text"])
    for call in item.get("tool_calls") or ():
        yield _call(call["id"], call["function"]["name"], call["function"]["arguments"])


def _call(id_: str, name: str, arguments: str) -> ToolCall:
    return ToolCall(id_, name, json.loads(arguments))
