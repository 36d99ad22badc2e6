"""The Responses API, through the real SDK: items keep their order, failures are not exceptions."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import Failure, Message, Opaque, Reply, Request, Text, ToolCall, ToolResult
from loopwright.errors import BadInput, RealCallForbidden
from loopwright.models.history import Histories
from loopwright.models.openai import Assembly, OpenAI, body, write
from loopwright.models.rehearsal import CallTool, Say
from loopwright.models.sse import Events
from loopwright.models.wire import Answer, sse, streamed

REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA+/="}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "t", "arguments": "{}"}


def sent_of(request):
    return json.loads(body(request, Histories("openai", write)))


def test_what_is_sent(request_of, weather):
    sent = sent_of(request_of(system="S", tools=(weather,)))
    assert sent["store"] is False
    assert sent["instructions"] == "S"
    assert sent["input"] == [{"type": "message", "role": "user", "content": "Hello"}]
    assert sent["tools"][0]["parameters"] == weather.schema
    assert (sent["max_output_tokens"], sent["stream"]) == (4096, True)


def test_the_history_goes_back_in_place(request_of):
    sent = sent_of(
        request_of(
            Message("user", [Text("Go")]),
            Message(
                "assistant",
                [
                    Opaque("openai", REASONING),
                    Opaque("anthropic", {"type": "thinking"}),
                    Text("Let me look."),
                    ToolCall("call_1", "weather", {"city": "Köln"}),
                    ToolCall("call_2", "weather"),
                ],
            ),
            Message("user", [ToolResult("call_2", "no", error=True), ToolResult("call_1", "rain")]),
        )
    )["input"]
    assert sent[1:] == [
        REASONING,
        {"type": "message", "role": "assistant", "content": "Let me look."},
        {"type": "function_call", "call_id": "call_1", "name": "weather"}
        | {"arguments": '{"city":"Köln"}'},
        {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "function_call_output", "call_id": "call_2", "output": "Error: no"},
    ]
    assert json.dumps(sent[1]) == json.dumps(REASONING)


# ------------------------------------------------------------------------------- what comes back


def stream(*items, status="completed", kind=None, done=True, **more) -> bytes:
    whole = {"id": "r", "model": "served", "status": status, "output": list(items), **more}
    begun = {"type": "response.created", "response": whole | {"output": []}}
    items_done = [
        {"type": "response.output_item.done", "output_index": index, "item": item}
        for index, item in enumerate(items)
        if done
    ]
    end = {"type": kind or f"response.{status}", "response": whole}
    return b"".join(map(sse, [begun, *items_done, end]))


def message(*parts):
    return {"id": "msg", "type": "message", "role": "assistant", "content": list(parts)}


def words(text):
    return {"type": "output_text", "text": text, "annotations": []}


def test_items_keep_their_order_and_the_unknown_is_kept(server):
    new = {"type": "brand_new", "id": "x", "deep": {"a": [None]}}
    reply = server(stream(REASONING, message(words("Hi")), CALL, new)).reply("openai")
    assert reply.blocks == (
        Opaque("openai", REASONING),
        Text("Hi"),
        ToolCall("call_1", "t"),
        Opaque("openai", new),
    )
    assert (reply.finish, reply.model) == ("tool_calls", "served")


def test_an_end_without_items_takes_those_that_came(server):
    late = stream(message(words("Hi")))
    without = sse({"type": "response.completed", "response": {"status": "completed", "output": []}})
    items = late[: late.index(b"event: response.completed")]
    assert server(items + without).reply("openai").text == "Hi"


@pytest.mark.parametrize(
    ("status", "reason", "finish"),
    [
        ("incomplete", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "filter"),
        ("incomplete", "max_messages", "paused"),
        ("incomplete", "brand_new", "error"),
        ("completed", None, "stop"),
    ],
)
def test_why_it_stopped(server, status, reason, finish):
    details = {"reason": reason} if reason else None
    said = stream(message(words("Hi")), status=status, incomplete_details=details)
    assert server(said).reply("openai").finish == finish


def test_a_refusal_is_a_reply(server):
    reply = server(stream(message({"type": "refusal", "refusal": "I won't."}))).reply("openai")
    assert (reply.finish, reply.text) == ("refusal", "I won't.")


def test_a_failed_response_is_a_failure_with_its_usage(server):
    usage = {"input_tokens": 9, "output_tokens": 2}
    error = {"code": "rate_limit_exceeded", "message": "slow"}
    said = stream(status="failed", error=error, usage=usage)
    failure = server(said, x_request_id="req_1").reply("openai")
    assert (failure.kind, failure.status, failure.may_resend) == ("rate_limited", 200, True)
    assert (failure.usage.tokens, failure.request_id) == (11, "req_1")


def test_an_error_event_is_a_failure(server):
    event = {"type": "error", "code": "server_error", "message": "sorry", "param": None}
    assert server(sse(event)).reply("openai").kind == "server_error"
    wrapped = {"type": "error", "error": {"code": "context_length_exceeded", "message": ""}}
    assert server(sse(wrapped)).reply("openai").kind == "context_too_long"


def test_a_completed_event_that_says_failed_is_a_failure(server):
    said = stream(CALL, status="failed", kind="response.completed", error=None)
    assert server(said).reply("openai").kind == "server_error"


@pytest.mark.parametrize(
    "output", [7, [7], [{"no": "type"}], [{"type": "message"}], [{"type": "function_call"}]]
)
def test_a_response_of_the_wrong_shape_is_malformed(server, output):
    end = {"type": "response.completed", "response": {"status": "completed", "output": output}}
    assert server(sse(end)).reply("openai").kind == "malformed"
    assert server(sse({"type": "response.completed"})).reply("openai").kind == "malformed"


def test_usage_is_in_disjoint_buckets(server):
    details = {"cached_tokens": 20, "cache_write_tokens": 30}
    details["cache_write_tokens_details"] = {"ttl_12h_tokens": 5, "ttl_30m_tokens": 25}
    counted = {"input_tokens": 100, "input_tokens_details": details, "output_tokens": 9}
    counted["output_tokens_details"] = {"reasoning_tokens": 4}
    reply = server(stream(usage=counted, service_tier="priority")).reply("openai")
    usage = reply.usage
    assert (usage.input_uncached, usage.cache_read) == (50, 20)
    assert (usage.cache_write_short, usage.cache_write_long) == (25, 5)
    assert (usage.output_visible, usage.output_reasoning) == (5, 4)
    assert reply.tier == "priority"


amounts = st.integers(0, 10**9)


@given(amounts, amounts, amounts, amounts, amounts)
def test_buckets_sum_to_what_the_provider_counted(fresh, read, written, visible, thought):
    from loopwright.models import anthropic, openai

    details = {"cached_tokens": read, "cache_write_tokens": written}
    total = {"input_tokens": fresh + read + written, "output_tokens": visible + thought}
    of_openai = openai._usage(
        total
        | {"input_tokens_details": details, "output_tokens_details": {"reasoning_tokens": thought}}
    )
    of_anthropic = anthropic._usage(
        {
            "input_tokens": fresh,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "output_tokens": visible + thought,
            "output_tokens_details": {"thinking_tokens": thought},
        }
    )
    for usage in (of_openai, of_anthropic):
        if fresh + read + written == 0:
            assert usage is None
        else:
            assert (usage.input, usage.output) == (total["input_tokens"], total["output_tokens"])


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -5, "output_tokens": 1}, 7])
def test_a_missing_or_absurd_usage_is_unknown(server, usage):
    assert server(stream(usage=usage)).reply("openai").usage is None


# ------------------------------------------------------------------------------ for every stream

PARTS = [Say("Grüße 🙂 aus Ulm", thinking="hm"), CallTool("weather", {"city": "Ulm"})]
WHOLE = b"".join(streamed("openai", Answer(PARTS, "m", 400)))


def read(chunks) -> Reply | Failure:
    decoder, assembly = Events(), Assembly(Request("m", []))
    for chunk in chunks:
        for event in decoder.feed(chunk):
            assembly.take(event)
    return assembly.answer({})


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=40))
def test_chunks_do_not_change_the_reply(cuts):
    places = [0, *sorted(set(cuts)), len(WHOLE)]
    chunks = [WHOLE[a:b] for a, b in pairwise(places)]
    assert read(chunks) == read([WHOLE])


def test_a_stream_cut_anywhere_is_no_reply():
    assert isinstance(read([WHOLE]), Reply)
    for end in range(len(WHOLE)):
        assert read([WHOLE[:end]]).kind == "cut_stream"


# ----------------------------------------------------------------------------------- the client


def test_a_missing_key_is_named_before_anything_is_spent(monkeypatch):
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        OpenAI().check()
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    OpenAI().check()


def test_options_that_cannot_work_are_refused():
    with pytest.raises(BadInput, match="cannot be made"):
        OpenAI(api_key="k", nonsense=1).check()


def test_an_administrators_key_is_not_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-123456")
    said = server(stream())
    said.reply("openai")
    assert said.seen[0].headers["authorization"] == "Bearer k-123456"


def test_a_real_call_is_refused_before_it_is_sent(request_of):
    with pytest.raises(RealCallForbidden, match=r"api\.openai\.com"):
        asyncio.run(OpenAI(api_key="k").reply(request_of()))
