"""A turn through the real SDKs, to a server on this machine, by the number of turns of the run.

The floor posts the whole conversation through the same client, and reads the events of the stream.
"""

import asyncio
import json
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from work import PROMPT, look, task

from loopwright import Loop, Outcome
from loopwright.calls import Message, Reply, Request, Text, ToolResult
from loopwright.models import Anthropic, Chat, OpenAI
from loopwright.models.rehearsal import CallTool, Rehearsal, SeenRequest, Step
from loopwright.trail import Trail

TURNS = (10, 50, 200)
WEATHER = task()

Json = dict[str, Any]


class Wire(NamedTuple):
    """How to speak to one vendor by hand."""

    model: str
    path: str
    history: str
    client: Callable[[str], Any]
    tool: Json
    more: Json
    said: Callable[[list[Json]], tuple[list[Json], Json | None]]
    result: Callable[[Json, str], Json]


def _script(turns: int) -> Callable[[SeenRequest], Step]:
    def step(seen: SeenRequest) -> Step:
        day = len(seen.results)
        return CallTool("look", {"city": "Paris", "day": day}) if day < turns else "It rained."

    return step


def _anthropic(url: str) -> Any:
    import anthropic

    return anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0)


def _openai(url: str) -> Any:
    import openai

    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def _of_anthropic(events: list[Json]) -> tuple[list[Json], Json | None]:
    """What goes into the history, and the tool call in it, if there is one."""
    block = next(e["content_block"] for e in events if e["type"] == "content_block_start")
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    if block["type"] != "tool_use":
        block = {"type": "text", "text": "".join(delta["text"] for delta in deltas)}
        return [{"role": "assistant", "content": [block]}], None
    arguments = json.loads("".join(delta["partial_json"] for delta in deltas))
    block = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": arguments}
    return [{"role": "assistant", "content": [block]}], {"id": block["id"], "arguments": arguments}


def _of_openai(events: list[Json]) -> tuple[list[Json], Json | None]:
    """What goes into the history, and the tool call in it, if there is one."""
    output: list[Json] = events[-1]["response"]["output"]
    calls = [item for item in output if item["type"] == "function_call"]
    if not calls:
        return output, None
    return output, {"id": calls[0]["call_id"], "arguments": json.loads(calls[0]["arguments"])}


def _of_chat(events: list[Json]) -> tuple[list[Json], Json | None]:
    """What goes into the history, and the tool call in it, if there is one."""
    deltas = [e["choices"][0]["delta"] for e in events if e.get("choices")]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    if not calls:
        text = "".join(delta.get("content") or "" for delta in deltas)
        return [{"role": "assistant", "content": text}], None
    written = "".join(call["function"].get("arguments") or "" for call in calls)
    function = {"name": calls[0]["function"]["name"], "arguments": written}
    call = {"id": calls[0]["id"], "type": "function", "function": function}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [said], {"id": call["id"], "arguments": json.loads(written)}


def _result_anthropic(call: Json, content: str) -> Json:
    block = {"type": "tool_result", "tool_use_id": call["id"], "content": content}
    return {"role": "user", "content": [block]}


def _result_openai(call: Json, content: str) -> Json:
    return {"type": "function_call_output", "call_id": call["id"], "output": content}


def _result_chat(call: Json, content: str) -> Json:
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


_ABOUT = {"name": look.spec.name, "description": look.spec.description}

WIRES = {
    "anthropic": Wire(
        "claude-haiku-4-5",
        "/v1/messages",
        "messages",
        _anthropic,
        {**_ABOUT, "input_schema": look.spec.schema},
        {"max_tokens": 4096},
        _of_anthropic,
        _result_anthropic,
    ),
    "openai": Wire(
        "gpt-6-luna",
        "/responses",
        "input",
        _openai,
        {**_ABOUT, "type": "function", "parameters": look.spec.schema},
        {"max_output_tokens": 4096, "store": False},
        _of_openai,
        _result_openai,
    ),
    "chat": Wire(
        "gpt-6-luna",
        "/chat/completions",
        "messages",
        _openai,
        {"type": "function", "function": {**_ABOUT, "parameters": look.spec.schema}},
        {"max_completion_tokens": 4096, "stream_options": {"include_usage": True}},
        _of_chat,
        _result_chat,
    ),
}


async def _by_hand(wire: Wire, client: Any) -> None:
    history: list[Json] = [{"role": "user", "content": PROMPT}]
    body = {"model": wire.model, "stream": True, "tools": [wire.tool], **wire.more}
    async with client:
        while True:
            events = await _posted(client, wire.path, {**body, wire.history: history})
            said, call = wire.said(events)
            history += said
            if call is None:
                return
            history.append(wire.result(call, await look.function(**call["arguments"])))


async def _posted(client: Any, path: str, body: Json) -> list[Json]:
    import httpx2

    response = await client.post(
        path, content=json.dumps(body).encode(), cast_to=httpx2.Response, stream=True
    )
    content = b"".join([chunk async for chunk in response.aiter_bytes()])
    await response.aclose()
    return [json.loads(line[5:]) for line in content.splitlines() if line.startswith(b"data: {")]


PROVIDERS: dict[str, Callable[[str], Any]] = {
    "anthropic": lambda url: Anthropic(base_url=url, api_key="none"),
    "openai": lambda url: OpenAI(base_url=f"{url}/v1", api_key="none"),
    "chat": lambda url: Chat("openai-chat", base_url=f"{url}/v1", api_key="none"),
}


def _served(turns: int, told: Any) -> None:
    """The whole of the process that plays the provider, until it is ended."""
    with Rehearsal(_script(turns)) as rehearsal:
        told.send(rehearsal.url)
        told.recv()


@contextmanager
def _elsewhere(turns: int) -> Iterator[str]:
    """Where a rehearsal listens that has a process of its own: what it does is not our time."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_served, args=(turns, its), daemon=True)
    process.start()
    try:
        yield mine.recv()
    finally:
        process.terminate()
        process.join()


async def _through(provider: Any, model: str) -> None:
    """The floor's loop, but asked through the adapter: what that alone adds to a turn."""
    messages = Trail((Message("user", (Text(PROMPT),)),))
    try:
        while True:
            reply = await provider.reply(Request(model, messages, tools=WEATHER.specs))
            assert isinstance(reply, Reply), reply
            messages = messages.push(Message("assistant", reply.blocks))
            if not reply.tool_calls:
                return
            (call,) = reply.tool_calls
            result = ToolResult(call.id, await look.function(**call.arguments))
            messages = messages.push(Message("user", (result,)))
    finally:
        await provider.close()


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("turns", TURNS)
def bench_turn_through_the_adapter(in_turns: Any, name: str, turns: int) -> None:
    wire = WIRES[name]
    with _elsewhere(turns) as url:

        def ours() -> Callable[[], object]:
            provider = PROVIDERS[name](url)
            client = provider._clients.first()  # it goes when the floor's does: after the time
            assert client is not None
            return lambda: (asyncio.run(_through(provider, wire.model)), client)

        def by_hand() -> Callable[[], object]:
            client = wire.client(url)
            return lambda: asyncio.run(_by_hand(wire, client))

        in_turns(
            f"turn through the adapter of {name} alone, K={turns}",
            ours,
            by_hand,
            rounds=max(5, 100 // turns),
            unit="µs",
            scale=1e6 / turns,
        )


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("turns", TURNS)
def bench_turn_through_the_sdk(in_turns: Any, name: str, turns: int) -> None:
    wire = WIRES[name]
    with _elsewhere(turns) as url:

        def ours() -> Callable[[], object]:
            provider = PROVIDERS[name](url)
            client = provider._clients.first()  # it goes when the floor's does: after the time
            loop = Loop(f"{provider.name}:{wire.model}", providers=[provider])

            def timed() -> None:
                assert client is not None
                run = loop.run_now(WEATHER)
                assert run.outcome is Outcome.accepted, run.why
                assert run.spent.tool_calls == turns

            return timed

        def by_hand() -> Callable[[], object]:
            client = wire.client(url)
            return lambda: asyncio.run(_by_hand(wire, client))

        in_turns(
            f"turn through {name}, in memory, K={turns}",
            ours,
            by_hand,
            rounds=max(5, 100 // turns),
            unit="µs",
            scale=1e6 / turns,
        )
