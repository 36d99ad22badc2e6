"""The rehearsal speaks to the real SDKs as the APIs do, and its script can tell who asks."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anthropic
import openai
import pytest
from models.wires import MODELS

from loopwright import Loop, Task
from loopwright.calls import (
    Failure,
    Message,
    Opaque,
    Options,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.models.rehearsal import Block, CallTool, Rehearsal, Say, SeenRequest, faults

TASK = "Look up yesterday's weather in Ulm and write a promotion that fits it."


@pytest.fixture(params=["anthropic", "openai", "chat"])
def wire(request):
    """Each of the three wires."""
    return request.param


def test_a_text_comes_back_whole(wire, request_of):
    with Rehearsal(["Grüße 🙂 " * 20]) as rehearsal:
        reply = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    assert reply.text == "Grüße 🙂 " * 20
    assert (reply.finish, reply.model) == ("stop", "a-model")
    assert reply.usage.output >= 40
    assert reply.request_id == "req_rehearsal"
    assert reply.first_token > 0


ASKED = {"model": "m", "messages": [{"role": "user", "content": "Ulm"}]}


@pytest.fixture
def asked_for(monkeypatch):
    """A rehearsal that calls a tool with what it is asked for, to which the SDKs are led."""
    script = lambda seen: CallTool("weather", {"city": seen.opening}, "Hm.")  # noqa: E731
    with Rehearsal(script) as rehearsal:
        for name, value in rehearsal.environment.items():
            monkeypatch.setenv(name, value)
        yield rehearsal


def test_anthropics_own_methods_understand_it(asked_for):
    asked = {**ASKED, "max_tokens": 9}
    with anthropic.Anthropic() as client:
        message = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        counted = client.messages.count_tokens(**ASKED)
        models = [model.id for model in client.models.list()]
        described = client.models.retrieve(models[0])
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("none")
    assert message.content[1].input == streamed.content[1].input == {"city": "Ulm"}
    assert message.content[0].signature == streamed.content[0].signature
    assert message.stop_reason == streamed.stop_reason == "tool_use"
    assert message.usage == streamed.usage
    assert counted.input_tokens == message.usage.input_tokens
    assert described.max_tokens >= 64_000
    assert {seen.wire for seen in asked_for.requests} == {"anthropic"}


def test_openais_own_methods_understand_responses(asked_for):
    with openai.OpenAI() as client:
        response = client.responses.create(model="m", input="Ulm")
        with client.responses.stream(model="m", input="Ulm") as stream:
            streamed = stream.get_final_response()
        counted = client.responses.input_tokens.count(model="m", input="Ulm")
        models = [model.id for model in client.models.list()]
        assert client.models.retrieve(models[-1]).id == models[-1]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("none")
    assert json.loads(response.output[1].arguments) == {"city": "Ulm"}
    assert streamed.output[0].summary[0].text == response.output[0].summary[0].text == "Hm."
    assert streamed.output[1].arguments == response.output[1].arguments
    assert streamed.usage == response.usage
    assert counted.input_tokens == response.usage.input_tokens
    assert {seen.wire for seen in asked_for.requests} == {"openai"}


def test_openais_own_methods_understand_completions(asked_for):
    with openai.OpenAI() as client:
        completion = client.chat.completions.create(**ASKED)
        with client.chat.completions.stream(**ASKED) as stream:
            streamed = stream.get_final_completion()
        counts = {"include_usage": True}
        *_, last = client.chat.completions.create(**ASKED, stream=True, stream_options=counts)
    (called,) = completion.choices[0].message.tool_calls
    (again,) = streamed.choices[0].message.tool_calls
    assert (called.id, called.function.name) == (again.id, again.function.name)
    assert json.loads(again.function.arguments) == {"city": "Ulm"}
    assert completion.choices[0].finish_reason == streamed.choices[0].finish_reason == "tool_calls"
    assert (last.choices, last.usage) == ([], completion.usage)


def test_the_script_sees_who_asks_and_what_was_said(wire, request_of, weather):
    history = (
        Message("user", [Text("Weather in Ulm?")]),
        Message("assistant", [Text("Let me look."), ToolCall("c1", "weather", {"city": "Ulm"})]),
        Message("user", [ToolResult("c1", "rain")]),
    )
    request = request_of(*history, system="Be brief.", tools=(weather,))
    with Rehearsal(["It rained."]) as rehearsal:
        asyncio.run(getattr(rehearsal, wire)().reply(request))
    (seen,) = rehearsal.requests
    assert (seen.wire, seen.model, seen.system, seen.tools) == (
        wire,
        "a-model",
        "Be brief.",
        ("weather",),
    )
    assert (seen.opening, seen.results, seen.answers) == (
        "Weather in Ulm?",
        ("rain",),
        ("Let me look.",),
    )
    assert seen.headers["authorization"] == "Bearer [masked]"
    assert "rehearsal" not in str(seen.headers.values())


def test_two_equal_calls_have_two_ids(wire, request_of):
    with Rehearsal([[CallTool("weather"), CallTool("weather")]]) as rehearsal:
        reply = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    assert len({call.id for call in reply.tool_calls}) == 2


def test_a_list_plays_in_order_and_says_when_it_is_over(wire, request_of):
    with Rehearsal(["one", Say("two")]) as rehearsal:
        provider = getattr(rehearsal, wire)()

        async def three():
            return [await provider.reply(request_of()) for _ in range(3)]

        one, two, over = asyncio.run(three())
    assert (one.text, two.text) == ("one", "two")
    assert over.kind == "bad_request"
    assert "2 steps" in over.message


def test_a_script_that_raises_says_so(wire, request_of):
    def script(seen: SeenRequest) -> str:
        raise KeyError(seen.model)

    with Rehearsal(script) as rehearsal:
        failure = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    assert failure.kind == "server_error"
    assert "KeyError('a-model')" in failure.message


def test_many_ask_at_the_same_time(wire, request_of):
    with Rehearsal(lambda seen: seen.opening) as rehearsal:
        provider = getattr(rehearsal, wire)()

        async def all_of_them():
            asked = (request_of(Message("user", [Text(f"Nr. {n}")])) for n in range(50))
            return await asyncio.gather(*map(provider.reply, asked))

        replies = asyncio.run(all_of_them())
    assert [reply.text for reply in replies] == [f"Nr. {n}" for n in range(50)]


def test_one_provider_serves_many_event_loops(wire, request_of):
    with Rehearsal(lambda seen: seen.opening) as rehearsal:
        provider = getattr(rehearsal, wire)()
        with ThreadPoolExecutor(4) as threads:
            ask = lambda n: asyncio.run(provider.reply(request_of()))  # noqa: E731
            replies = list(threads.map(ask, range(12)))
    assert [reply.text for reply in replies] == ["Hello"] * 12
    assert len(provider._clients._open) == 0


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/nothing", b'{"a": 1}', 404),
        ("/v1/messages", b"[]", 400),
        ("/v1/messages", None, 404),
        ("/v1/models/a/b", None, 404),
    ],
)
def test_what_is_no_known_path_is_not_found(path, data, status):
    with Rehearsal([]) as rehearsal, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(rehearsal.url + path, data=data)
    assert caught.value.code == status
    assert rehearsal.requests == []
    caught.value.close()


# ------------------------------------------------------------------------------ the promotion


def played(provider, weather) -> list[Reply | Failure]:
    """The conversation that a loop with Retry and Escalate would have."""
    said = [Message("user", [Text(TASK)])]
    heard = []

    async def play() -> None:
        for model in ["weak"] * 4 + ["claude-opus-5-5"]:
            reply = await provider.reply(Request(model, tuple(said), tools=(weather,)))
            heard.append(reply)
            if isinstance(reply, Failure):
                continue
            said.append(Message("assistant", reply.blocks))
            results = [ToolResult(call.id, "rain") for call in reply.tool_calls]
            said.append(Message("user", results or [Text("That has problems.")]))

    asyncio.run(play())
    return heard


def test_the_promotion_plays_again_and_again(wire, weather):
    with Rehearsal() as rehearsal:
        provider = getattr(rehearsal, wire)()
        for _ in range(3):
            turned_away, looked_up, no_city, too_long, good = played(provider, weather)
            assert (turned_away.kind, turned_away.retry_after) == ("rate_limited", 0.2)
            assert looked_up.tool_calls[0].name == "weather"
            assert looked_up.tool_calls[0].arguments["city"] == "Ulm"
            assert "Ulm" not in no_city.text
            assert len(json.loads(too_long.text)["headline"]) > 60
            accepted = json.loads(good.text)
            assert "Ulm" in accepted["body"]
            assert len(accepted["headline"]) <= 60


def test_it_runs_as_a_program():
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, "-m", "loopwright.models.rehearsal"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parent,
        text=True,
    )
    with process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(2)
        assert process.wait(10) == 0
    assert lines[0].startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:")
    assert "OPENAI_API_KEY=" in lines[1]


OWN = {
    "anthropic": {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
    "openai": {"type": "brand_new", "id": "x_1", "anything": {"goes": [1, None]}},
}


@pytest.mark.parametrize("name", OWN)
def test_a_block_of_the_providers_own_goes_back_as_it_came(name, request_of):
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    own = [OWN[name], *([result] if name == "anthropic" else [])]
    with Rehearsal([[*map(Block, own), "Well."], "Yes."]) as rehearsal:
        provider = getattr(rehearsal, name)()

        async def both():
            reply = await provider.reply(request_of())
            said = Message("user", [Text("Hello")]), Message("assistant", reply.blocks)
            await provider.reply(request_of(*said, Message("user", [Text("Sure?")])))
            return reply

        reply = asyncio.run(both())
    assert [block.data for block in reply.blocks if isinstance(block, Opaque)] == own
    sent = json.dumps(rehearsal.requests[1].body)
    assert all(json.dumps(block) in sent for block in own)


TIERS = {"anthropic": ("auto", "standard"), "openai": ("flex", "flex"), "chat": ("flex", "flex")}


def test_the_tier_that_is_asked_for_is_served(wire, request_of):
    asked, served = TIERS[wire]
    with Rehearsal(["Hello."]) as rehearsal:
        request = request_of(options=Options(tier=asked))
        reply = asyncio.run(getattr(rehearsal, wire)().reply(request))
    assert (rehearsal.requests[0].body["service_tier"], reply.tier) == (asked, served)


LONG = "Standing orders. " * 500


def test_a_prefix_that_was_read_before_comes_from_the_cache(wire, request_of, weather):
    with Rehearsal(lambda seen: "Yes.") as rehearsal:
        provider = getattr(rehearsal, wire)()

        async def conversation():
            said, used = [], []
            for question in ("Is it?", "Really?", "Truly?"):
                said.append(Message("user", [Text(question)]))
                request = request_of(*said, system=LONG, tools=(weather,))
                reply = await provider.reply(request)
                said.append(Message("assistant", reply.blocks))
                used.append(reply.usage)
            return used

        first, second, third = asyncio.run(conversation())
    assert first.cache_read == 0
    assert second.cache_read == first.cache_write_short >= len(LONG) // 4
    assert third.cache_read == second.cache_read + second.cache_write_short


def test_a_notebook_opens_and_closes_it(wire, request_of):
    rehearsal = Rehearsal(["Hello.", "Hello again."]).start()
    reply = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    assert reply.text == "Hello."
    assert repr(rehearsal) == f"<Rehearsal, at {rehearsal.url}, 1 requests seen>"
    rehearsal.stop()
    rehearsal.stop()
    assert repr(rehearsal) == "<Rehearsal, closed, 1 requests seen>"


def test_one_that_was_never_opened_can_be_closed():
    Rehearsal([]).stop()


def test_a_hanging_server_closes_at_once(wire, request_of):
    with Rehearsal([faults.hang()]) as rehearsal:
        provider = getattr(rehearsal, wire)()
        failure = asyncio.run(provider.reply(request_of(timeout=0.2)))
    assert failure.kind == "timeout"


def test_its_variables_lead_here_whatever_the_wire(wire, monkeypatch):
    with Rehearsal(["Hi."]) as rehearsal:
        for name, value in rehearsal.environment.items():
            monkeypatch.setenv(name, value)
        run = Loop(MODELS[wire]).run_now(Task("Hello"))
    assert (run.output, [seen.wire for seen in rehearsal.requests]) == ("Hi.", [wire])
