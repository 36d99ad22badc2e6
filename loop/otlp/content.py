"""Content: what was said, in the JSON shapes of the GenAI conventions. Sent only when asked for.

The shapes are those of gen-ai-input-messages.json and its neighbours, in the version that
`loopwright.otlp.spans` names. On spans they stand as JSON texts, which the conventions allow, and
which is what the tools that show traces read.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from loopwright.calls import (
    Block,
    Media,
    Message,
    ModelCall,
    Opaque,
    Reply,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.codec import encode, plain
from loopwright.run import Run

Content = bool | Literal["reasons"]
"""What may be sent of what was said: nothing, the reasons of policies and checks, or all."""

Texts = Mapping[str, str]

_encoded = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(value: Any) -> str:
    """JSON as anybody reads it: the log's own would have objects for texts that SQLite cannot."""
    try:
        return _encoded(plain(value))
    except ValueError:  # no JSON has a name for what is no number
        return encode(value)


def title(run: Run, content: Content) -> str:
    """The task's name. One without a name goes by the beginning of its prompt, which is content:
    then by the version of that."""
    name = run.title
    told = "{" in name or run.prompt.strip().startswith(name.removesuffix("…"))
    return run.version if told and content is not True else name


def task(run: Run) -> Texts:
    """The task as it was given."""
    return {**_system(run.system), "gen_ai.input.messages": _messages([run.messages[0]])}


def output(data: Any) -> str:
    """The answer that a run ended with."""
    text = data if isinstance(data, str) else _json(data)
    return _messages([Message("assistant", (Text(text),))])


def prompted(call: ModelCall, run: Run) -> Texts:
    """What a model was shown."""
    system = run.system if call.purpose == "answer" else ""
    return {**_system(system), "gen_ai.input.messages": _messages(run.seen(call))}


def replied(reply: Reply) -> Texts:
    """What a model said."""
    return {"gen_ai.output.messages": _messages([Message("assistant", reply.blocks)])}


def arguments(call: ToolCall) -> Texts:
    """What a tool was given."""
    return {"gen_ai.tool.call.arguments": _json(call.arguments)}


def heard(result: ToolResult) -> Texts:
    """What a tool gave back."""
    return {"gen_ai.tool.call.result": result.content}


def _system(text: str) -> Texts:
    part = {"type": "text", "content": text}
    return {"gen_ai.system_instructions": _json([part])} if text else {}


def _messages(said: Iterable[Message]) -> str:
    return _json([{"role": _role(one), "parts": list(map(_part, one.blocks))} for one in said])


def _role(message: Message) -> str:
    """Results of tools come as messages of the user here, and have a role of their own there."""
    results = message.blocks and all(isinstance(block, ToolResult) for block in message.blocks)
    return "tool" if results else message.role


def _part(block: Block) -> Mapping[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "content": text}
        case ToolCall(id=id_, name=name, arguments=given):
            return {"type": "tool_call", "id": id_, "name": name, "arguments": given}
        case ToolResult(call=call, content=content):
            return {"type": "tool_call_response", "id": call, "response": content}
        case Media():
            return _media(block)
    return _opaque(block)


def _media(media: Media) -> Mapping[str, Any]:
    facts = {"mime_type": media.mime, "modality": media.kind}
    if media.url:
        return {"type": "uri", **facts, "uri": media.url}
    return {"type": "blob", **facts, "content": media.data}


def _opaque(block: Opaque) -> Mapping[str, Any]:
    """Thinking in words, if there are any; signatures are of no use to anybody else."""
    thought = block.data.get("thinking")
    if isinstance(thought, str):
        return {"type": "reasoning", "content": thought}
    return {"type": str(block.data.get("type", "opaque")), "provider": block.provider}
