"""The Messages API, through the real SDK: nothing is lost, nothing is made up."""

import asyncio
import gzip
import json
from itertools import groupby, pairwise

import httpx2
import pytest
from attrs import evolve
from hypothesis import given, settings
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
from loopwright.models import allow_real_calls, anthropic_reply, forbid_real_calls, openai_reply
from loopwright.models.anthropic import WIRE, Anthropic, body
from loopwright.models.anthropic_reply import Assembly
from loopwright.models.history import Histories
from loopwright.models.rehearsal import CallTool, Rehearsal, Say
from loopwright.models.script import Played, Response
from loopwright.models.sse import Events
from loopwright.models.wire import events as played
from loopwright.models.wire import sse

ASSEMBLIES = {"anthropic": anthropic_reply.Assembly, "openai": openai_reply.Assembly}

PARTS = [Say("Grüße 🙂 aus Ulm", thinking="hm"), CallTool("weather", {"city": "Ulm"})]
WHOLE = b"".join(map(sse, played("anthropic", Played(Response(PARTS), "m", Usage(100)), {})))
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "abc+/="}
BRAND_NEW = {"type": "brand_new", "data": {"x": [1, None]}, "text": "not text"}


def sent(*messages, request_of, **more):
    return json.loads(body(request_of(*messages, **more), Histories(WIRE))[0])


def test_what_is_sent(request_of, weather):
    said = sent(Message("user", [Text("Hi")]), request_of=request_of, system="S", tools=(weather,))
    assert said == {
        "model": "a-model",
        "max_tokens": 4096,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "system": "S",
        "cache_control": {"type": "ephemeral"},
        "tools": [
            {
                "name": "weather",
                "description": weather.description,
                "input_schema": weather.schema,
            }
        ],
    }


def test_all_results_of_a_turn_go_in_one_message(request_of):
    said = sent(
        Message("user", [Text("Go")]),
        Message("assistant", [ToolCall("a", "t"), ToolCall("b", "t", {"n": 1})]),
        Message("user", [ToolResult("b", "2", error=True)]),
        Message("user", [Text("and"), ToolResult("a", "1")]),
        request_of=request_of,
    )
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "user"]
    assert said["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "and"},
    ]


def test_a_history_that_is_not_legal_is_made_so(request_of):
    said = sent(
        Message("user", [Text("Go"), ToolResult("nobody", "asked")]),
        Message("assistant", [Text(" "), ToolCall("m1.0", "an odd name!")]),
        Message("user", [Text("never mind")]),
        Message("assistant", [ToolCall("b", "t")]),
        request_of=request_of,
    )["messages"]
    assert said[0]["content"][1] == {"type": "text", "text": "[tool result] asked"}
    (call,) = said[1]["content"]
    assert (call["id"], call["name"]) == ("m1_0", "an_odd_name_")
    assert said[2]["content"][0]["tool_use_id"] == "m1_0"
    assert said[-1]["content"][0]["is_error"]


def test_own_blocks_go_back_byte_for_byte_and_others_stay(request_of):
    mine = Opaque("anthropic", {"signature": "é+/=", "type": "thinking", "thinking": "…"})
    said = sent(
        Message("user", [Text("Go")]),
        Message("assistant", [mine, Opaque("openai", {"type": "reasoning"}), Text("ok")]),
        request_of=request_of,
    )
    first, second = said["messages"][1]["content"]
    assert json.dumps(first) == json.dumps(mine.data)
    assert second == {"type": "text", "text": "ok"}


def test_half_a_surrogate_pair_does_not_stop_anything(server, request_of):
    said = server()
    said.reply("anthropic", request_of(Message("user", [Text("a\ud800b")])))
    assert json.loads(said.seen[0].content)["messages"][0]["content"][0]["text"] == "a?b"


PDF = Media("application/pdf", "JVBERi0=", name="report.pdf")
SOURCES = [
    (
        Media("image/png", "iVBOR"),
        {"type": "image"},
        {"type": "base64", "media_type": "image/png", "data": "iVBOR"},
    ),
    (
        Media("image/png", url="https://x.example"),
        {"type": "image"},
        {"type": "url", "url": "https://x.example"},
    ),
    (
        PDF,
        {"type": "document", "title": "report.pdf"},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    ),
    (
        Media("text/markdown", "SMO8"),
        {"type": "document"},
        {"type": "text", "media_type": "text/plain", "data": "Hü"},
    ),
    (
        Media("text/plain", "no base64"),
        {"type": "document"},
        {"type": "base64", "media_type": "text/plain", "data": "no base64"},
    ),
]


@pytest.mark.parametrize(("media", "block", "source"), SOURCES)
def test_images_and_documents_are_shown(request_of, media, block, source):
    said = sent(Message("user", [media, Text("Look")]), request_of=request_of)
    assert said["messages"][0]["content"][0] == {**block, "source": source}


OPTIONS = [
    (Options(), {}),
    (Options(tool_choice="required"), {"tool_choice": {"type": "any"}}),
    (Options(tool_choice="none", parallel_tools=False), {"tool_choice": {"type": "none"}}),
    (Options(tool_choice="weather"), {"tool_choice": {"type": "tool", "name": "weather"}}),
    (
        Options(parallel_tools=False),
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    (
        Options(effort="max"),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    ),
    (
        Options(effort="minimal", tool_choice="required"),
        {"tool_choice": {"type": "any"}, "output_config": {"effort": "low"}},
    ),
    (Options(tier="standard_only"), {"service_tier": "standard_only"}),
    (Options(tier="flex"), {}),
    (
        Options(effort="low", extra={"anthropic": {"output_config": {"x": 1}, "max_tokens": 9}}),
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low", "x": 1}}
        | {"max_tokens": 9},
    ),
    (Options(extra={"openai": {"x": 1}, "anthropic": {"messages": []}}), {}),
]


@pytest.mark.parametrize(("options", "fields"), OPTIONS)
def test_how_it_is_asked(request_of, weather, options, fields):
    current = evolve(request_of(tools=(weather,)), model="claude-opus-5-5")
    plain = json.loads(body(current, Histories(WIRE))[0])
    asked = json.loads(body(evolve(current, options=options), Histories(WIRE))[0])
    assert asked == plain | fields


def test_what_a_model_does_not_have_it_does_not_get(request_of):
    for model, config in (
        ("a-model", {}),
        ("claude-opus-4-5", {"output_config": {"effort": "low"}}),
    ):
        asked = evolve(request_of(options=Options(effort="low")), model=model)
        said = json.loads(body(asked, Histories(WIRE))[0])
        kept = {key: said[key] for key in said if key in ("output_config", "thinking")}
        assert kept == config


def test_tools_of_the_provider_stand_beside_ours(request_of, weather):
    search = {"type": "web_search_20260318", "name": "web_search"}
    options = Options(extra={"anthropic": {"tools": [search]}})
    said = sent(
        Message("user", [Text("Hi")]), request_of=request_of, tools=(weather,), options=options
    )
    assert [tool["name"] for tool in said["tools"]] == ["weather", "web_search"]


# ------------------------------------------------------------------------------- what comes back


def events(*blocks, stop="end_turn", usage=None, deltas=()):
    """A stream of whole blocks, as bytes."""
    message = {"id": "m", "model": "served", "usage": {"input_tokens": 5, "output_tokens": 1}}
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    counted = {"output_tokens": 7} | (usage or {})
    yield {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": counted}
    yield {"type": "message_stop"}


def stream(*blocks, **more) -> bytes:
    return b"".join(map(sse, events(*blocks, **more)))


def test_unknown_blocks_are_kept_as_they_came(server):
    secret = {"type": "redacted_thinking", "data": "EmwKAhgB"}
    reply = server(stream(THINKING, secret, BRAND_NEW, stop="brand_new")).reply("anthropic")
    assert reply.blocks == tuple(
        Opaque("anthropic", d, "a-model") for d in (THINKING, secret, BRAND_NEW)
    )
    assert (reply.finish, reply.model) == ("error", "served")


@pytest.mark.parametrize("type_", [[None], {"a": 1}, 7, None])
def test_a_block_of_an_odd_type_is_no_exception(server, type_):
    block = {"type": type_, "x": 1}
    assert server(stream(block)).reply("anthropic").blocks[0].data == block


def test_a_tool_of_the_providers_own_keeps_its_input(server):
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": p} for p in ('{"q": ', '"x"}')]
    reply = server(stream(block, deltas=deltas)).reply("anthropic")
    assert reply.blocks[0].data["input"] == {"q": "x"}


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "paused"),
    ],
)
def test_why_it_stopped(server, stop, finish):
    assert server(stream(stop=stop)).reply("anthropic").finish == finish


@pytest.mark.parametrize(
    ("written", "arguments", "wrong"),
    [
        ('{"city": "Ulm"}', {"city": "Ulm"}, ""),
        ("", {}, ""),
        ("null", {}, ""),
        ('{"path": "/a", "con', {}, "char 15"),
        ('["a"]', {}, "a list"),
        ('"a"', {}, "a text"),
        ("7", {}, "a number"),
        ('{"a": NaN}', {}, "NaN"),
        ('{"a": 1e999}', {}, "too large"),
        ('{"a": 1, "a": 2}', {}, "twice"),
        ('{"a": ' + "9" * 5000 + "}", {}, "digits"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", {}, "deep"),
    ],
)
def test_arguments_are_read_strictly(wire, request_of, written, arguments, wrong):
    with Rehearsal([CallTool("weather", written)]) as rehearsal:
        reply = asyncio.run(getattr(rehearsal, wire)().reply(request_of()))
    (call,) = reply.tool_calls
    assert call.arguments == arguments
    assert wrong in call.malformed
    assert bool(wrong) == bool(call.malformed)


def test_usage_is_in_disjoint_buckets(server):
    counted = {
        "input_tokens": 10,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 25, "ephemeral_1h_input_tokens": 5},
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "speed": "fast",
    }
    reply = server(stream(usage=counted)).reply("anthropic")
    usage = reply.usage
    assert (usage.input_uncached, usage.cache_read) == (10, 20)
    assert (usage.cache_write_short, usage.cache_write_long) == (25, 5)
    assert (usage.output_visible, usage.output_reasoning) == (5, 4)
    assert (usage.raw, reply.tier) == (counted, "fast")


@given(st.lists(st.tuples(st.sampled_from(["message", "compaction"]), *[st.integers(0, 9)] * 4)))
def test_the_tokens_of_a_compaction_count(entries):
    """They stand in no total, as the SDK says at `iterations`; those of the model's turns do."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    listed = [
        {"type": kind, "output_tokens": out, **dict(zip(names, into, strict=True))}
        for kind, out, *into in entries
    ]
    counted = {"input_tokens": 100, "output_tokens": 10, "iterations": listed}
    found = anthropic_reply._usage(counted)
    alone = [entry for entry in entries if entry[0] == "compaction"]
    assert found.tokens == 110 + sum(sum(counts) for _, *counts in alone)
    assert (found.output, found.raw) == (10 + sum(entry[1] for entry in alone), counted)


@pytest.mark.parametrize("odd", [7, "x", {}, [None], [{}], [{"type": 7}], [["compaction"]]])
def test_odd_iterations_are_none(odd):
    counted = {"input_tokens": 5, "output_tokens": 1, "iterations": odd}
    assert anthropic_reply._usage(counted).tokens == 6


def test_a_compaction_without_its_tokens_is_unknown():
    counted = {"input_tokens": 5, "output_tokens": 1, "iterations": [{"type": "compaction"}]}
    assert anthropic_reply._usage(counted) is None


ODD = [-1, "12", 1.5, True, 10**15]


@pytest.mark.parametrize("odd", ODD)
def test_an_absurd_usage_is_unknown(server, odd):
    for name in ("input_tokens", "cache_read_input_tokens", "output_tokens"):
        assert server(stream(usage={name: odd})).reply("anthropic").usage is None


def test_events_out_of_order_are_refused(server):
    start = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}
    first = next(events())
    for wrong in (
        start | {"index": 1},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {"type": "content_block_stop", "index": 3},
        {"type": "message_delta"},
        {"type": "content_block_start"},
    ):
        failure = server(sse(first) + sse(wrong) + stream()).reply("anthropic")
        assert (failure.kind, failure.may_resend) == ("malformed", True), wrong


def test_line_ends_and_marks_do_not_matter(server):
    plain = stream({"type": "text", "text": "Grüße"})
    expected = server(plain).reply("anthropic")
    for other in (b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), b": ping\n\n" + plain):
        assert server(other).reply("anthropic").blocks == expected.blocks


def test_bytes_that_are_no_text_are_refused(server):
    failure = server(stream({"type": "text", "text": "x"}).replace(b'"x"', b'"\xff"'))
    assert failure.reply("anthropic").kind == "malformed"


def test_an_endless_answer_is_cut_off(server, monkeypatch):
    monkeypatch.setattr("loopwright.models.sse.LARGEST", 1000)
    failure = server(*[b": ping\n\n"] * 500).reply("anthropic")
    assert (failure.kind, failure.may_resend) == ("too_large", False)


def test_an_error_under_status_200_is_what_it_says(server):
    error = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}'
    failure = server(error, content_type="application/json").reply("anthropic")
    assert (failure.kind, failure.status) == ("rate_limited", 200)


CITED = {"type": "char_location", "cited_text": "x", "document_index": 0}


def test_citations_are_kept_and_go_back(server, request_of):
    deltas = [
        {"type": "text_delta", "text": "So it is."},
        {"type": "citations_delta", "citation": CITED},
    ]
    block = {"type": "text", "text": "", "citations": None}
    reply = server(stream(block, deltas=deltas)).reply("anthropic")
    assert reply.blocks == (Text("So it is.", "anthropic", {"citations": [CITED]}),)
    told = sent(
        Message("user", reply.blocks), Message("assistant", reply.blocks), request_of=request_of
    )
    user, assistant = told["messages"][0]["content"][0], told["messages"][1]["content"][0]
    assert user == {"type": "text", "text": "So it is."}
    assert assistant == {"type": "text", "text": "So it is.", "citations": [CITED]}


def test_what_stands_beside_a_call_is_kept_and_goes_back(server, request_of):
    caller = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
    block = {"type": "tool_use", "id": "t", "name": "weather", "input": {}, "caller": caller}
    reply = server(stream(block, stop="tool_use")).reply("anthropic")
    assert reply.tool_calls == (
        ToolCall("t", "weather", {}, "", None, None, "anthropic", {"caller": caller}),
    )
    told = sent(Message("assistant", reply.blocks), request_of=request_of)
    assert block in [b for message in told["messages"] for b in message["content"]]


def test_the_category_of_a_refusal_is_kept(server):
    details = {"type": "refusal", "category": "cyber"}
    written = stream(stop="refusal").replace(
        b'"stop_reason": "refusal"',
        b'"stop_reason": "refusal", "stop_details": ' + json.dumps(details).encode(),
    )
    assert server(written).reply("anthropic").details == details


@pytest.mark.parametrize("odd", ["cyber", 7, ["cyber"], None])
def test_odd_details_of_a_refusal_are_left_out(server, odd):
    delta = json.dumps({"stop_reason": "refusal", "stop_details": odd}).encode()
    written = stream(stop="refusal").replace(b'{"stop_reason": "refusal"}', delta)
    assert delta in written
    reply = server(written).reply("anthropic")
    assert (reply.finish, reply.details) == ("refusal", {})


def test_what_comes_is_told_while_it_comes(server, request_of):
    pieces = []
    request = request_of(tell=lambda kind, text: pieces.append((kind, text)))
    server(WHOLE).reply("anthropic", request)
    kinds = [kind for kind, _ in groupby(pieces, lambda piece: piece[0])]
    assert kinds == ["thinking", "text", "tool_call"]
    assert "".join(text for kind, text in pieces if kind == "text") == "Grüße 🙂 aus Ulm"
    name, *written = [text for kind, text in pieces if kind == "tool_call"]
    assert (name, json.loads("".join(written))) == ("weather", {"city": "Ulm"})


# ------------------------------------------------------------------------------ for every stream


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


@settings(max_examples=25)
@given(st.integers(0, len(WHOLE) - 1), st.booleans())
def test_nor_is_it_through_the_sdk(server, end, cleanly):
    def answer(_: httpx2.Request) -> httpx2.Response:
        async def chunks():
            yield WHOLE[:end]
            if not cleanly:
                raise httpx2.ReadError("gone")

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=chunks())

    said = server()
    said._answer = answer
    failure = said.reply("anthropic")
    begun = end > WHOLE.index(b"\n")  # before that nobody can tell that it is a stream
    assert failure.kind == "cut_stream" or (not begun and failure.kind == "malformed")


# ----------------------------------------------------------------------------------- the client


def test_a_missing_key_is_named_before_anything_is_spent(monkeypatch):
    with pytest.raises(BadInput, match="ANTHROPIC_API_KEY"):
        Anthropic().check()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    Anthropic().check()
    Anthropic(api_key="k").check()


def test_a_real_call_is_refused_before_it_is_sent(request_of):
    with pytest.raises(RealCallForbidden, match=r"api\.anthropic\.com"):
        asyncio.run(Anthropic(api_key="k").reply(request_of()))


def test_real_calls_can_be_allowed_again(server, request_of):
    said = server(stream())
    provider = said.provider("anthropic")
    provider._options["base_url"] = "https://elsewhere.example"
    allow_real_calls()
    try:
        assert isinstance(asyncio.run(provider.reply(request_of())), Reply)
    finally:
        forbid_real_calls()


def test_a_cancellation_passes(wire, request_of):
    from loopwright.models.rehearsal import faults

    async def cancelled(provider):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(provider.reply(request_of()), 0.1)

    with Rehearsal([faults.hang()]) as rehearsal:
        asyncio.run(cancelled(getattr(rehearsal, wire)()))


def test_a_client_of_your_own(wire, request_of):
    import anthropic
    import openai

    async def asked(url: str) -> Reply:
        kinds = {"anthropic": anthropic.AsyncAnthropic, "openai": openai.AsyncOpenAI}
        base = url if wire == "anthropic" else f"{url}/v1"
        from loopwright.models import provider

        async with kinds[wire](api_key="k", base_url=base) as client:
            return await type(provider(wire))(client).reply(request_of())

    with Rehearsal(["Hi."]) as rehearsal:
        assert asyncio.run(asked(rehearsal.url)).text == "Hi."


def test_a_client_that_cannot_answer_is_refused_before_it_is_asked(wire):
    """A synchronous one would send the request, be paid, and have its answer thrown away."""
    import anthropic
    import openai

    from loopwright.models import provider

    kind = type(provider(wire))
    theirs = openai.AsyncOpenAI if wire == "anthropic" else anthropic.AsyncAnthropic
    ours = anthropic.Anthropic if wire == "anthropic" else openai.OpenAI
    for client in (ours(api_key="k"), theirs(api_key="k"), object()):
        with pytest.raises(BadInput, match="is not the client that speaks here: give an Async"):
            kind(client)


@pytest.mark.parametrize("url", ["localhost:1234", "example.com/v1", "http:///v1", "ftp://x/v1"])
def test_a_place_that_is_none_is_refused_before_anything_is_sent(wire, url):
    from loopwright.models import provider

    with pytest.raises(BadInput, match="begins with http"):
        type(provider(wire))(api_key="k", base_url=url).check()


@pytest.mark.parametrize("key", ["secret/key\n", " secret/key", "   ", "secret\0key", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(wire, key):
    from loopwright.models import provider

    with pytest.raises(BadInput, match="cannot be sent") as refused:
        type(provider(wire))(api_key=key, base_url="http://127.0.0.1:9").check()
    assert "secret" not in str(refused.value)


def test_it_can_be_closed(wire, request_of):
    async def asked(provider) -> None:
        await provider.close()
        await provider.reply(request_of())
        await provider.close()
        assert (await provider.reply(request_of())).text == "two"

    with Rehearsal(["one", "two"]) as rehearsal:
        asyncio.run(asked(getattr(rehearsal, wire)()))


def test_an_unchecked_client_without_a_key_fails_politely(request_of):
    failure = asyncio.run(Anthropic(base_url="http://127.0.0.1:9").reply(request_of()))
    assert (failure.kind, failure.may_resend) == ("not_authenticated", False)


def test_a_small_body_that_unpacks_to_a_large_one_is_cut_off(server, monkeypatch):
    monkeypatch.setattr("loopwright.models.sse.LARGEST", 100_000)
    packed = gzip.compress(b": ping\n\n" * 1_000_000)
    failure = server(packed, content_encoding="gzip").reply("anthropic")
    assert failure.kind == "too_large"
