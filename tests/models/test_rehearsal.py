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

from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult
from loopwright.models.rehearsal import CallTool, Rehearsal, Say, SeenRequest, faults

TASK = "Look up yesterday's weather in Ulm and write a promotion that fits it."


def test_a_text_comes_back_whole(wire, request_of):
    with Rehearsal(["Grüße 🙂 " * 20]) as rehearsal:
        reply = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    assert reply.text == "Grüße 🙂 " * 20
    assert (reply.finish, reply.model) == ("stop", "a-model")
    assert reply.usage.output >= 40
    assert reply.request_id == "req_rehearsal"
    assert reply.first_token > 0


def test_the_sdks_own_methods_understand_it(monkeypatch):
    with Rehearsal(lambda seen: CallTool("weather", {"city": seen.opening})) as rehearsal:
        for name, value in rehearsal.environment.items():
            monkeypatch.setenv(name, value)
        with anthropic.Anthropic() as client:
            asked = {
                "model": "m",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Ulm"}],
            }
            message = client.messages.create(**asked)
            with client.messages.stream(**asked) as stream:
                streamed = stream.get_final_message()
        with openai.OpenAI() as client:
            response = client.responses.create(model="m", input="Ulm")
            final = list(client.responses.create(model="m", input="Ulm", stream=True))[-1].response
    assert message.content[0].input == streamed.content[0].input == {"city": "Ulm"}
    assert message.stop_reason == streamed.stop_reason == "tool_use"
    assert json.loads(response.output[0].arguments) == {"city": "Ulm"}
    assert final.output[0].arguments == response.output[0].arguments
    assert final.usage.output_tokens == response.usage.output_tokens


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


def test_what_is_no_known_path_is_not_found():
    with Rehearsal([]) as rehearsal, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{rehearsal.url}/nothing", data=b'{"a": 1}')
    assert caught.value.code == 404
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


def test_a_hanging_server_closes_at_once(wire, request_of):
    with Rehearsal([faults.hang()]) as rehearsal:
        provider = getattr(rehearsal, wire)()
        failure = asyncio.run(provider.reply(request_of(timeout=0.2)))
    assert failure.kind == "timeout"
