"""What each API accepts, written down from its documentation and not from the adapters.

Each function gives the rules that a body breaks, in words: none if it would be accepted. `made` are
the signed blocks that a model really made, by their signature.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

from loopwright.calls import Media, Message, Opaque, Text, ToolCall, ToolResult

Json = Any
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def broken(provider: str, body: Json, made: Mapping[str, tuple[str, Json]]) -> list[str]:
    """The rules of `provider` that `body` breaks."""
    return list({"anthropic": messages, "openai": responses, "chat": chat}[provider](body, made))


# ------------------------------------------------------------------------------------- Messages


def messages(body: Json, made: Mapping[str, tuple[str, Json]]) -> Iterator[str]:
    """The Messages API."""
    turns = body["messages"]
    if not turns or turns[0]["role"] != "user":
        yield "the first message must be the user's"
    if any(a["role"] == b["role"] for a, b in pairwise(turns)):
        yield "roles must alternate"
    if len(list(_marks(body))) > 4:
        yield "at most four cache marks"
    if turns and turns[-1]["role"] == "assistant" and not _pauses(turns[-1]["content"][-1]):
        yield "prefilling is not supported"
    yield from _unique([b["id"] for t in turns for b in t["content"] if _calls(b)])
    for before, turn in pairwise([{"content": []}, *turns]):
        if not turn["content"]:
            yield "content must not be empty"
        yield from (_assistant if turn["role"] == "assistant" else _user)(turn, before)
        yield from _genuine(turn["content"], body["model"], made, ("signature", "data"))
    for turn in turns:
        yield from _server_tools(turn, turn is turns[-1])
    if turns and any(b["type"] == "tool_use" for b in turns[-1]["content"]):
        yield "each tool_use must have a tool_result"


def _calls(block: Json) -> bool:
    return str(block["type"]).endswith("tool_use")


def _pauses(block: Json) -> bool:
    return block["type"] not in ("text", "thinking", "redacted_thinking", "tool_use")


def _marks(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        yield from (v for k, v in value.items() if k == "cache_control")
        for inner in value.values():
            yield from _marks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marks(inner)


def _unique(ids: list[str]) -> Iterator[str]:
    if len(set(ids)) < len(ids):
        yield f"ids must be unique: {ids}"
    yield from (f"no id: {id_!r}" for id_ in ids if not NAME.fullmatch(id_))


def _assistant(turn: Json, before: Json) -> Iterator[str]:
    kinds = [block["type"] for block in turn["content"]]
    yield from (f"a {k} in an assistant turn" for k in kinds if k in ("image", "document"))
    if "tool_result" in kinds:
        yield "a tool_result in an assistant turn"
    if kinds and kinds[-1] in ("thinking", "redacted_thinking"):
        yield "the final block cannot be thinking"
    for block in turn["content"]:
        if block["type"] == "text" and not block["text"].strip():
            yield "text must not be blank"
        if block["type"] == "tool_use" and not NAME.fullmatch(block["name"]):
            yield "a tool has no such name"


def _user(turn: Json, before: Json) -> Iterator[str]:
    kinds = [block["type"] for block in turn["content"]]
    asked = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
    told = [b["tool_use_id"] for b in turn["content"] if b["type"] == "tool_result"]
    if sorted(asked) != sorted(told):
        yield f"the results {told} do not answer the calls {asked}"
    if kinds[: len(told)] != ["tool_result"] * len(told):
        yield "results come first"
    for block in turn["content"]:
        if _calls(block) or block["type"] in ("thinking", "redacted_thinking"):
            yield f"a {block['type']} in a user turn"
        if block["type"] == "text" and (not block["text"].strip() or "citations" in block):
            yield "user text must not be blank, nor have citations"


def _server_tools(turn: Json, last: bool) -> Iterator[str]:
    waiting = set()
    for block in turn["content"]:
        kind = block["type"]
        if kind.endswith("_tool_use"):
            waiting.add(block["id"])
        elif kind.endswith("_tool_result"):
            if block["tool_use_id"] not in waiting:
                yield "a result of a server tool without its call"
            waiting.discard(block["tool_use_id"])
    if waiting and not last:
        yield "a call of a server tool without its result"


def _genuine(
    blocks: Json, model: str, made: Mapping[str, tuple[str, Json]], keys: tuple[str, ...]
) -> Iterator[str]:
    for block in blocks:
        if block["type"] in ("thinking", "redacted_thinking", "reasoning"):
            seal = next((block[key] for key in keys if block.get(key)), None)
            if seal is None or made.get(seal) != (model, block):
                yield f"a thought that {model} never had: {block}"


# ------------------------------------------------------------------------------------ Responses


def responses(body: Json, made: Mapping[str, tuple[str, Json]]) -> Iterator[str]:
    """The Responses API."""
    items = body["input"]
    if not items:
        yield "input must not be empty"
    if body["store"] is not False:
        yield "nothing is to be stored"
    calls = [item for item in items if item["type"] == "function_call"]
    yield from _unique([call["call_id"] for call in calls])
    yield from (f"no name: {c['name']!r}" for c in calls if not NAME.fullmatch(c["name"]))
    yield from _answered(items)
    yield from _genuine(items, body["model"], made, ("encrypted_content",))
    for item, follower in pairwise([*items, {"type": "end"}]):
        if item["type"] == "reasoning" and not _led_to(follower):
            yield "reasoning without its required following item"
        if item["type"] == "message" and not _says(item["content"]):
            yield f"an empty message: {item}"
        if item["type"] in ("thinking", "redacted_thinking", "server_tool_use"):
            yield "an item of another API"


def _led_to(item: Json) -> bool:
    spoken = item["type"] == "message" and item["role"] == "assistant"
    return spoken or item["type"] not in ("message", "reasoning", "function_call_output", "end")


def _says(content: Json) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    words = [part.get("text", part.get("refusal", "x")) for part in content]
    return bool(words) and all(word.strip() for word in words)


def _answered(items: Json) -> Iterator[str]:
    waiting: dict[str, str] = {}
    for item in items:
        kind, id_ = item["type"], item.get("call_id")
        if kind.endswith("_call") and id_:
            waiting[id_] = kind
        elif kind.endswith("_call_output") and waiting.pop(id_, "") + "_output" != kind:
            yield f"no tool call found for the output {id_}"
        elif kind == "message" and item["role"] == "user" and waiting:
            yield "no tool output found before the user speaks again"
    yield from (f"no tool output found for {id_}" for id_ in waiting)


# ----------------------------------------------------------------------------------------- Chat


def chat(body: Json, made: Mapping[str, tuple[str, Json]]) -> Iterator[str]:
    """Chat Completions, as the strictest of the compatible servers takes it."""
    said = [m for m in body["messages"] if m["role"] not in ("system", "developer")]
    if not said or said[0]["role"] != "user":
        yield "the first message must be the user's"
    if said and said[-1]["role"] not in ("user", "tool"):
        yield "the last message must be the user's or a tool's"
    yield from _unique([c["id"] for m in said for c in m.get("tool_calls") or ()])
    waiting: list[str] = []
    for before, message in pairwise([{"role": ""}, *said]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield "a tool message must answer a call right before it"
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield f"no tool message for {waiting}"
        if message["role"] == before["role"]:
            yield "roles must alternate"
        if not message.get("content") and not message.get("tool_calls"):
            yield "a message must say something"
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting:
        yield f"no tool message for {waiting}"


# ------------------------------------------------------------------------------------ read back


def reread(provider: str, body: Json) -> list[Message]:
    """The conversation of a body that was sent, as messages."""
    if provider == "anthropic":
        return [Message(t["role"], map(_block, t["content"])) for t in body["messages"]]
    pairs = [(_side(item), block) for item in body["input"] for block in _item(item)]
    groups = groupby(pairs, lambda pair: pair[0])
    return [Message(role, [block for _, block in held]) for role, held in groups]


def _block(block: Json) -> Any:
    rest = {key: block[key] for key in block if key not in ("type", "text")}
    match block["type"]:
        case "text":
            return Text(block["text"], "anthropic" if rest else "", rest)
        case "image" | "document":
            return _source(block)
        case "tool_use":
            return ToolCall(block["id"], block["name"], block["input"])
        case "tool_result":
            error = block.get("is_error", False)
            return ToolResult(block["tool_use_id"], block["content"], error)
    return Opaque("anthropic", block)


def _source(block: Json) -> Media:
    source, name = block["source"], block.get("title", "")
    if source["type"] == "url":
        return Media("image/x" if block["type"] == "image" else "x", "", source["url"], name)
    data = source["data"]
    if source["type"] == "text":
        data = base64.b64encode(data.encode()).decode()
    return Media(source["media_type"], data, "", name)


def _side(item: Json) -> str:
    if item["type"] == "message":
        return str(item["role"])
    return "user" if item["type"] == "function_call_output" else "assistant"


def _item(item: Json) -> Iterator[Any]:
    match item["type"]:
        case "message" if isinstance(item["content"], str):
            phase = {"phase": item["phase"]} if "phase" in item else {}
            yield Text(item["content"], "openai" if phase else "", phase)
        case "message":
            yield from (_part(part, item) for part in item["content"])
        case "function_call":
            yield ToolCall(item["call_id"], item["name"], json.loads(item["arguments"]))
        case "function_call_output":
            yield ToolResult(item["call_id"], item["output"])
        case _:
            yield Opaque("openai", item)


def _part(part: Json, item: Json) -> Any:
    match part["type"]:
        case "input_image":
            return Media("image/x", "", part["image_url"])
        case "input_file":
            url = part.get("file_data", part.get("file_url"))
            mime, _, data = url.removeprefix("data:").partition(";base64,")
            return Media(mime, data, "", part["filename"]) if data else Media("x", "", url)
        case "input_text":
            return Text(part["text"])
    rest = {key: part[key] for key in part if key not in ("type", "text", "refusal")}
    kind = {"type": "refusal"} if part["type"] == "refusal" else rest
    phase = {"phase": item["phase"]} if "phase" in item else {}
    return Text(part.get("text") or part["refusal"], "openai", {**kind, **phase})


# ------------------------------------------------------------------------------- JSON Schemas

SAYS = {"type", "enum", "anyOf", "$ref", "$defs", "description", "properties", "required", "items"}
"""What both providers read."""


def schema(provider: str, value: Json) -> list[str]:
    """What in a JSON Schema `provider` does not enforce."""
    root = [] if value.get("type") == "object" else ["the root must be an object"]
    return [*root, *_schema(provider, value)]


def _schema(provider: str, value: Json) -> Iterator[str]:
    ranges = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    more = {"minItems", "maxItems", *ranges} if provider == "openai" else set()
    yield from (f"{k} is not supported" for k in value.keys() - SAYS - more - {"format"} - CLOSED)
    if "$ref" in value and value.keys() != {"$ref"}:
        yield "beside $ref nothing may stand"
    if not value.keys() & {"type", "anyOf", "$ref"}:
        yield "a schema must have a type"
    if value.get("type") == "object":
        if value.get("additionalProperties") is not False:
            yield "an object must be closed"
        if provider != "anthropic" and set(value["required"]) != set(value["properties"]):
            yield "every property must be required"
    if value.get("type") == "array" and "items" not in value:
        yield "an array must say what its items are"
    for inner in (*value.get("properties", {}).values(), *value.get("$defs", {}).values()):
        yield from _schema(provider, inner)
    for inner in (*value.get("anyOf", ()), *([value["items"]] if "items" in value else [])):
        yield from _schema(provider, inner)


CLOSED = {"additionalProperties"}
