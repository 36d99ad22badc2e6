"""The Responses API, through the real SDK: items keep their order, failures are not exceptions."""

import asyncio
import json
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import (
    Failure,
    Media,
    Message,
    Opaque,
    Options,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.errors import BadInput, RealCallForbidden
from loopwright.models.history import Histories
from loopwright.models.openai import WIRE, OpenAI, body
from loopwright.models.openai_reply import Assembly
from loopwright.models.rehearsal import CallTool, Say
from loopwright.models.script import Played, Response
from loopwright.models.sse import Events
from loopwright.models.wire import events as played
from loopwright.models.wire import sse

REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA+/="}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "t", "arguments": "{}"}


def sent_of(request):
    return json.loads(body(request, Histories(WIRE))[0])


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


PARTS_SHOWN = [
    (
        Media("image/png", "iVBOR"),
        {"type": "input_image", "image_url": "data:image/png;base64,iVBOR", "detail": "auto"},
    ),
    (
        Media("image/png", url="https://x.example"),
        {"type": "input_image", "image_url": "https://x.example", "detail": "auto"},
    ),
    (
        Media("application/pdf", "JVBERi0=", name="report.pdf"),
        {"type": "input_file", "filename": "report.pdf"}
        | {"file_data": "data:application/pdf;base64,JVBERi0="},
    ),
    (
        Media("application/pdf", "JVBERi0="),
        {"type": "input_file", "filename": "document.pdf"}
        | {"file_data": "data:application/pdf;base64,JVBERi0="},
    ),
    (
        Media("application/pdf", url="https://x.example"),
        {"type": "input_file", "file_url": "https://x.example"},
    ),
    (Media("text/plain", "SMO8", name="note"), {"type": "input_text", "text": "note\n\nHü"}),
]


@pytest.mark.parametrize(("media", "part"), PARTS_SHOWN)
def test_images_and_documents_are_shown(request_of, media, part):
    (message,) = sent_of(request_of(Message("user", [media, Text("Look")])))["input"]
    assert message["content"] == [part, {"type": "input_text", "text": "Look"}]


OPTIONS = [
    (Options(), {}),
    (Options(tool_choice="required"), {"tool_choice": "required"}),
    (Options(tool_choice="none"), {"tool_choice": "none"}),
    (Options(tool_choice="weather"), {"tool_choice": {"type": "function", "name": "weather"}}),
    (Options(parallel_tools=False), {"parallel_tool_calls": False}),
    (Options(effort="minimal"), {"reasoning": {"effort": "minimal"}}),
    (Options(tier="flex"), {"service_tier": "flex"}),
    (Options(tier="standard_only"), {}),
    (
        Options(effort="low", extra={"openai": {"reasoning": {"summary": "auto"}, "store": True}}),
        {"reasoning": {"effort": "low", "summary": "auto"}, "store": True},
    ),
    (Options(extra={"anthropic": {"x": 1}, "openai": {"input": []}}), {}),
]


@pytest.mark.parametrize(("options", "fields"), OPTIONS)
def test_how_it_is_asked(request_of, weather, options, fields):
    current = evolve(request_of(tools=(weather,)), model="gpt-6-sol")
    assert sent_of(evolve(current, options=options)) == sent_of(current) | fields


def test_what_a_model_does_not_have_it_does_not_get(request_of):
    assert "reasoning" not in sent_of(request_of(options=Options(effort="low")))


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
        Opaque("openai", REASONING, "a-model"),
        Text("Hi"),
        ToolCall("call_1", "t"),
        Opaque("openai", new, "a-model"),
    )
    assert (reply.finish, reply.model) == ("tool_calls", "served")


def test_an_end_without_items_takes_those_that_came(server):
    late = stream(message(words("Hi")))
    without = sse({"type": "response.completed", "response": {"status": "completed", "output": []}})
    items = late[: late.index(b"event: response.completed")]
    assert server(items + without).reply("openai").text == "Hi"


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_call_that_has_begun_and_never_ended_is_not_lost(server, status):
    begun = [
        sse({"type": "response.output_item.added", "output_index": i, "item": CALL}) for i in (0, 1)
    ]
    done = sse({"type": "response.output_item.done", "output_index": 1, "item": CALL})
    details = {"reason": "max_output_tokens"}
    answer = server(*begun, done, stream(status=status, incomplete_details=details)).reply("openai")
    if status == "completed":
        assert answer.kind == "malformed"
        assert "an item of the answer has begun, but never ended" in answer.message
    else:
        assert answer.finish == "length"


def test_an_item_that_begins_at_no_place_is_the_first(server):
    begun = sse({"type": "response.output_item.added", "output_index": None, "item": CALL})
    assert server(begun + stream(CALL)).reply("openai").tool_calls == (ToolCall("call_1", "t"),)


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


@pytest.mark.parametrize("named", [{}, {"type": "server_error"}])
def test_an_error_without_a_type_is_a_failure(server, wire, named):
    """And one of a type that is called an error: it tells more than that the stream was cut."""
    error = {"code": "context_length_exceeded", "message": "too long"}
    failure = server(sse({"error": error} | named)).reply(wire)
    assert (failure.kind, failure.may_resend) == ("context_too_long", False)
    assert "too long" in failure.message


def test_a_completed_event_that_says_failed_is_a_failure(server):
    said = stream(CALL, status="failed", kind="response.completed", error=None)
    assert server(said).reply("openai").kind == "server_error"


PHASED = message(words("Let me look.")) | {"phase": "commentary"}
ANNOTATED = message(words("So it is.") | {"annotations": [{"type": "url_citation", "url": "x"}]})


def test_what_stands_beside_words_is_kept_and_goes_back(server, request_of):
    refused = message({"type": "refusal", "refusal": "I won't."})
    reply = server(stream(PHASED, ANNOTATED, refused)).reply("openai")
    assert reply.blocks == (
        Text("Let me look.", "openai", {"phase": "commentary"}),
        Text("So it is.", "openai", {"annotations": [{"type": "url_citation", "url": "x"}]}),
        Text("I won't.", "openai", {"type": "refusal"}),
    )
    said = Message("assistant", reply.blocks)
    again = sent_of(request_of(Message("user", [Text("Go")]), said, Message("user", [Text("?")])))
    phased, annotated, refusal = again["input"][1:4]
    assert (phased["content"], phased["phase"]) == ("Let me look.", "commentary")
    assert annotated["content"] == [
        {"type": "output_text", "text": "So it is."}
        | {"annotations": [{"type": "url_citation", "url": "x"}]}
    ]
    assert refusal["content"] == [{"type": "refusal", "refusal": "I won't."}]
    assert not any("id" in item for item in again["input"])


def test_what_stands_beside_a_call_is_kept_and_goes_back(server, request_of):
    beside = {"namespace": "shop", "caller": {"type": "program", "id": "p"}}
    reply = server(stream(CALL | beside)).reply("openai")
    (call,) = reply.tool_calls
    assert (call.provider, call.extra) == ("openai", beside)
    said = Message("assistant", reply.blocks)
    again = sent_of(request_of(Message("user", [Text("Go")]), said))["input"][1]
    assert beside.items() <= again.items()
    assert not {"id", "status"} & again.keys()


def test_a_refusal_beside_a_call_is_a_refusal(server):
    refusal = message({"type": "refusal", "refusal": "I won't."})
    assert server(stream(CALL, refusal)).reply("openai").finish == "refusal"


def test_a_call_that_is_not_complete_is_malformed(server):
    (call,) = server(stream(CALL | {"status": "incomplete"})).reply("openai").tool_calls
    assert call.malformed == "the call is not complete"


def test_a_cancelled_response_is_a_failure(server):
    for kind in ("response.cancelled", "response.completed"):
        said = stream(message(words("Hi")), status="cancelled", kind=kind)
        assert server(said).reply("openai").kind == "server_error"


def test_reasoning_that_the_provider_left_out_is_told(server):
    left_out = [{"id": "r", "type": "reasoning", "action": "removed", "reason": "model_mismatch"}]
    old = [{"id": "r", "type": "reasoning", "action": "removed", "reason": "turn_boundary"}]
    reply = server(stream(message(words("Hi")), input_transformations=left_out + old))
    told = reply.reply("openai").sent.repairs
    assert told == ("the provider left out reasoning: model_mismatch",)


def test_what_comes_is_told_while_it_comes(server, request_of):
    deltas = [
        {"type": "response.reasoning_summary_text.delta", "delta": "Hm."},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.refusal.delta", "delta": " no"},
        {"type": "response.output_item.added", "item": CALL},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
    ]
    pieces = []
    request = request_of(tell=lambda kind, text: pieces.append((kind, text)))
    server(b"".join(map(sse, deltas)) + stream(CALL)).reply("openai", request)
    assert pieces == [
        ("thinking", "Hm."),
        ("text", "Hi"),
        ("text", " no"),
        ("tool_call", "t"),
        ("tool_call", "{}"),
    ]


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
    from loopwright.models import anthropic_reply as anthropic
    from loopwright.models import openai_reply as openai

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
WHOLE = b"".join(map(sse, played("openai", Played(Response(PARTS), "m", Usage(100)), {})))


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


def test_an_administrators_key_alone_is_none(monkeypatch):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-123456")
    with pytest.raises(BadInput, match="only an administrator's"):
        OpenAI().check()
    OpenAI(api_key="k").check()


def test_a_real_call_is_refused_before_it_is_sent(request_of):
    with pytest.raises(RealCallForbidden, match=r"api\.openai\.com"):
        asyncio.run(OpenAI(api_key="k").reply(request_of()))
