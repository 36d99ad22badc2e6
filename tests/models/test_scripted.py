"""A scripted provider says exactly what it is told, and never waits unless it is told to."""

import asyncio
import json
import time

import pytest

from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.errors import BadInput
from loopwright.models import Scripted, catalogue

CALL = ToolCall("1", "weather", {"city": "Ulm"})


def said(model: Scripted, *messages: Message) -> Reply | Failure:
    """The reply, from a coroutine that never suspends."""
    asking = model.reply(Request("m", messages or [Message("user", [Text("Hello")])]))
    with pytest.raises(StopIteration) as stopped:
        asking.send(None)
    return stopped.value.value


def test_each_kind_of_item():
    whole = Reply([Text("whole")], "length", Usage(1), "another")
    failure = Failure("overloaded", "busy", may_resend=True)
    model = Scripted(["text", {"a": "ü"}, CALL, [CALL, CALL], whole, failure])
    text, data, call, calls, reply, failed = (said(model) for _ in range(6))
    assert (text.text, text.finish, text.model) == ("text", "stop", "m")
    assert json.loads(data.text) == {"a": "ü"}
    assert (call.tool_calls, call.finish) == ((CALL,), "tool_calls")
    assert calls.tool_calls == (CALL, CALL)
    assert (reply, failed) == (whole, failure)


def test_a_function_sees_the_request():
    model = Scripted(lambda request: f"{request.model} {len(request.messages)}")
    assert said(model).text == "m 1"
    assert len(model.requests) == 1


def test_a_function_may_be_asynchronous():
    async def script(request: Request) -> str:
        await asyncio.sleep(0)
        return request.model

    assert asyncio.run(Scripted(script).reply(Request("m", []))).text == "m"


def test_the_end_of_the_list_says_how_long_it_was():
    model = Scripted(["one"])
    said(model)
    over = said(model)
    assert (over.kind, over.may_resend) == ("bad_request", False)
    assert "1 replies" in over.message


@pytest.mark.parametrize("odd", [7, None, [], [7], ValueError("x")])
def test_what_cannot_be_said_is_refused(odd):
    with pytest.raises(BadInput, match="cannot say"):
        asyncio.run(Scripted([odd]).reply(Request("m", [])))


@pytest.mark.parametrize("odd", ["text", {"a": 1}, CALL])
def test_a_script_is_a_list(odd):
    with pytest.raises(BadInput, match=r"Scripted\(\["):
        Scripted(odd)


def test_latency():
    begun = time.perf_counter()
    asyncio.run(Scripted(["late"], latency=0.05).reply(Request("m", [])))
    assert time.perf_counter() - begun >= 0.05


def test_usage_follows_the_lengths():
    model = Scripted(lambda _: "x" * 400)
    history = [Message("user", [Text("y" * 4000)])]
    first = said(model, *history).usage
    history += [Message("assistant", [CALL]), Message("user", [ToolResult("1", "z" * 800)])]
    second = said(model, *history).usage
    again = said(Scripted(lambda _: "x" * 400), *history).usage
    assert first.output == 101
    assert first.input == 4016 // 4 + 1
    assert second == again
    assert 1200 < second.input < 1300


def test_a_scripted_model_is_free_under_any_name_but_a_real_one():
    Scripted([], name="weak")
    Scripted([], name="anthropic")
    assert catalogue.quote("weak:weak", 10**6, 10**6).high == 0
    assert catalogue.quote("anthropic:claude-opus-5-5", 10**6, 0).high > 0
