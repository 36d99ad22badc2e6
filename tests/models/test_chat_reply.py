"""Chat Completions, the way back: however an answer is cut up, it is read as it was meant."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import Failure, Opaque, Reply, Request, Text, ToolCall
from loopwright.models.chat_reply import Assembly
from loopwright.models.sse import DONE, Malformed

END = {"type": DONE}
COUNTED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def delta(finish=None, **said):
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def piece(index=None, id=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v}}
    return delta(tool_calls=[{key: value for key, value in call.items() if value is not None}])


def read(*events, name="mine", **request):
    assembly = Assembly(Request("m", [], **request), name)
    for event in events:
        assembly.take(event)
    return assembly.answer({})


def at_once(message, finish, name="mine", **more):
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return whole({"choices": [choice], **more}, name)


def whole(value, name="mine"):
    assembly = Assembly(Request("m", []), name)
    assembly.whole(value)
    return assembly.answer({})


# ------------------------------------------------------------------------------------------ laws

WORDS = st.text(max_size=12)
CALLS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=5),
        st.dictionaries(WORDS, st.one_of(WORDS, st.integers(), st.none()), max_size=3),
    ),
    max_size=4,
)


@st.composite
def cut_up(draw, text):
    """`text` in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    ends = [0, *places, len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


@st.composite
def answers(draw):
    """A message, and the chunks of a stream that say the same."""
    thought, said = draw(WORDS), draw(WORDS)
    calls = [
        {"id": f"c{i}", "function": {"name": name, "arguments": json.dumps(given)}}
        for i, (name, given) in enumerate(draw(CALLS))
    ]
    message = {"reasoning_content": thought, "content": said, "tool_calls": calls}
    chunks = [delta(reasoning_content=one) for one in draw(cut_up(thought))]
    chunks += [delta(content=one) for one in draw(cut_up(said))]
    pieces = []
    for i, call in enumerate(calls):
        function = call["function"]
        pieces.append([piece(i, call["id"], function["name"])])
        pieces[-1] += [piece(i, arguments=one) for one in draw(cut_up(function["arguments"]))]
    while any(pieces):  # the pieces of several calls may come mixed
        first = draw(st.sampled_from([those for those in pieces if those]))
        chunks.append(first.pop(0))
    return message, chunks


@given(answers(), st.sampled_from(["stop", "tool_calls", ""]))
def test_a_stream_says_what_its_message_says(answer, finish):
    message, chunks = answer
    end = [delta(finish), {"choices": [], "usage": COUNTED}, END]
    reply = read(*chunks, *end)
    assert isinstance(reply, Reply)
    assert reply == at_once(message, finish, usage=COUNTED)
    assert reply.text == message["content"]
    assert [(c.id, c.name, dict(c.arguments)) for c in reply.tool_calls] == [
        (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]))
        for c in message["tool_calls"]
    ]
    assert reply.finish == ("tool_calls" if message["tool_calls"] else "stop")


@given(answers(), st.data())
def test_a_stream_that_merely_ends_is_no_answer(answer, data):
    _, chunks = answer
    shown = chunks[: data.draw(st.integers(0, len(chunks)))]
    for tail in ([], [END]):
        failure = read(*shown, *tail)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.may_resend) == ("cut_stream", True)


@given(answers())
def test_whoever_listens_hears_the_whole(answer):
    message, chunks = answer
    told = []
    reply = read(*chunks, delta("stop"), tell=lambda kind, text: told.append((kind, text)))
    heard = {kind: "".join(t for k, t in told if k == kind) for kind in ("text", "thinking")}
    assert heard == {"text": message["content"], "thinking": message["reasoning_content"]}
    pieces = [text for kind, text in told if kind == "tool_call"]
    assert all(call.name in pieces for call in reply.tool_calls)
    called = [call["function"] for call in message["tool_calls"]]
    said = "".join(call["name"] + call["arguments"] for call in called)
    assert sorted("".join(pieces)) == sorted(said)


NUMBERS = st.one_of(st.integers(-5, 50), st.none(), st.just("7"), st.just(10**30), st.just(1.5))


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_the_buckets_are_what_the_server_counted(prompt, completion, total, read_, wrote, thought):
    counted = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": read_, "cache_write_tokens": wrote},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    used = read(delta("stop", content="Hi"), {"choices": [], "usage": counted}).usage
    if used is None:
        known = [n for n in (prompt, completion, read_, wrote, thought) if n is not None]
        odd = any(type(n) is not int or not 0 <= n < 10**12 for n in known)
        parts = (read_ or 0) + (wrote or 0) if not odd else 0
        assert odd or not prompt or completion is None or parts > prompt or thought > completion
        return
    assert used.input == prompt
    larger = type(total) is int and prompt + completion < total < 10**12
    assert used.tokens == (total if larger else prompt + completion)
    assert (used.cache_read, used.cache_write_short) == (read_ or 0, wrote or 0)
    assert used.output_reasoning >= (thought or 0)
    assert used.raw == counted


# ---------------------------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("counted", "buckets"),
    [
        (COUNTED, (10, 0, 0, 5, 0)),
        (COUNTED | {"prompt_tokens_details": {"cached_tokens": 4}}, (6, 4, 0, 5, 0)),
        (COUNTED | {"prompt_tokens_details": None}, (10, 0, 0, 5, 0)),
        (COUNTED | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, (6, 4, 0, 5, 0)),
        (COUNTED | {"completion_tokens_details": {"reasoning_tokens": 2}}, (10, 0, 0, 3, 2)),
        # Google and xAI: the total holds what was thought, the completion does not.
        (COUNTED | {"total_tokens": 22}, (10, 0, 0, 5, 7)),
        (
            COUNTED | {"total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 7}},
            (10, 0, 0, 5, 7),
        ),
    ],
)
def test_where_the_tokens_are(counted, buckets):
    used = read(delta("stop", content="Hi"), {"choices": [], "usage": counted}).usage
    assert buckets == (
        used.input_uncached,
        used.cache_read,
        used.cache_write_short,
        used.output_visible,
        used.output_reasoning,
    )


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [], "usage": COUNTED},
        {"choices": [], "usage": COUNTED | {"cost": 0.00005}},
        {"choices": [{"index": 0, "delta": {}}], "usage": COUNTED},
        {"choices": [], "x_groq": {"id": "req", "usage": COUNTED}},
        {"choices": [{"index": 0, "delta": {}, "usage": COUNTED}]},
    ],
    ids=["apart", "with its cost", "beside a choice", "groq", "moonshot"],
)
def test_usage_is_found_wherever_it_stands(event):
    used = read(delta("stop", content="Hi"), event, END).usage
    assert used.tokens == 15
    assert COUNTED.items() <= used.raw.items()
    assert used.raw.get("cost") == (event.get("usage") or {}).get("cost")


@pytest.mark.parametrize("counted", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_usage_that_is_missing_is_unknown(counted):
    assert read(delta("stop", content="Hi"), {"choices": [], "usage": counted}, END).usage is None


# ------------------------------------------------------------------------------------ tool calls


@pytest.mark.parametrize(
    "events",
    [
        [piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g", "{}")],
        [piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", "{}")],
        [piece(None, "a", "f", '{"x":1}'), piece(None, "b", "g", "{}")],
        [piece(None, "a", "f"), piece(None, None, None, '{"x":1}'), piece(None, "b", "g")],
        [piece(None, "a", "f", '{"x"'), piece(None, "a", "f", ":1}"), piece(None, "b", "g")],
        [piece(1, "b", "g"), piece(0, "a", "f"), piece(0, None, None, '{"x":1}')],
        [piece(1, "a", "f", '{"x":1}'), piece(2, "b", "g")],
        [
            piece(0, "a", "f"),
            piece(0, "a", "f", '{"x"'),
            piece(0, "a", "f", ":1}"),
            piece(1, "b", "g"),
        ],
        [piece(0, "a", "f"), piece(0, "z", None, '{"x":1}'), piece(1, "b", "g")],
        [piece("0", "a", "f"), piece("0", None, None, '{"x":1}'), piece("1", "b", "g")],
    ],
    ids=[
        "as it should be",
        "one index for all",
        "no index",
        "no index, in pieces",
        "no index, ids repeated",
        "reordered",
        "counted from one",
        "names repeated",
        "a new id for each piece",
        "the index as a text",
    ],
)
def test_calls_are_told_apart(events):
    reply = read(*events, delta("tool_calls"))
    assert reply.blocks == (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g"))
    assert reply.finish == "tool_calls"


def test_ids_that_are_missing_or_there_twice_do_not_lose_a_call():
    calls = [{"id": i, "function": {"name": "f", "arguments": "{}"}} for i in ("a", "a", None, "")]
    reply = at_once({"content": None, "tool_calls": calls}, "tool_calls")
    assert [call.id for call in reply.tool_calls] == ["a", "a", "", ""]


def test_a_call_that_is_missing_makes_the_answer_malformed():
    with pytest.raises(Malformed, match="tool calls 0 to 2, but not all of them"):
        read(piece(0, "a", "f"), piece(2, "b", "g"), delta("tool_calls"))


def test_arguments_without_a_name_make_the_answer_malformed():
    with pytest.raises(Malformed, match="a tool call without a name"):
        read(piece(0, "a", "f"), piece(1, None, None, '{"x":1}'), delta("tool_calls"))


@pytest.mark.parametrize("nothing", ["", None, {}, "null", "{}"])
def test_no_arguments_are_none(nothing):
    calls = [{"id": "a", "function": {"name": "f", "arguments": nothing}}]
    assert at_once({"tool_calls": calls}, "stop").tool_calls == (ToolCall("a", "f"),)


def test_arguments_that_came_as_an_object():
    calls = [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]
    assert at_once({"tool_calls": calls}, "stop").tool_calls == (ToolCall("a", "f", {"x": 1}),)


def test_the_old_form_of_a_call():
    message = {"content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}}
    reply = at_once(message, "function_call")
    assert reply.tool_calls == (ToolCall("", "f", {"x": 1}),)
    empty = {"content": "Hi", "function_call": {"name": "", "arguments": ""}}
    assert at_once(empty, "stop").tool_calls == ()


@given(st.dictionaries(st.text(), st.text(), min_size=1, max_size=3), st.data())
def test_a_call_that_was_cut_is_never_taken_for_a_smaller_one(given_, data):
    written = json.dumps(given_)
    cut = written[: data.draw(st.integers(1, len(written) - 1))]
    for finish in ("tool_calls", "stop", "length"):
        assert read(piece(0, "a", "f", cut), delta(finish)).finish == "length"


def test_arguments_that_are_wrong_and_whole_are_told_to_the_model():
    reply = read(piece(0, "a", "f", '{"x": nope, "y": 1}'), delta("tool_calls"))
    assert reply.finish == "tool_calls"
    assert "line 1 column 7" in reply.tool_calls[0].malformed


def test_two_thousand_calls():
    events = [piece(i, f"c{i}", "f", "{}") for i in range(2000)]
    assert len(read(*events, delta("tool_calls")).tool_calls) == 2000


# --------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "filter"),
        ("content_filter: OTHER", "filter"),
        ("tool_calls", "stop"),
        ("brand_new", "error"),
        (7, "error"),
    ],
)
def test_why_it_stopped(reason, finish):
    assert read(delta(content="Hi"), delta(reason)).finish == finish


def test_an_empty_reason_needs_the_mark_at_the_end():
    assert read(delta(content="Hi"), delta("")).kind == "cut_stream"
    assert read(delta(content="Hi"), delta(""), END).finish == "stop"
    assert at_once({"content": "Hi"}, None).finish == "stop"


def test_a_refusal():
    assert read(delta(refusal="I can"), delta(refusal="not."), delta("stop")).blocks == (
        Text("I cannot."),
    )
    reply = at_once({"content": None, "refusal": "I cannot."}, "stop")
    assert (reply.text, reply.finish) == ("I cannot.", "refusal")
    part = {"type": "refusal", "refusal": "I cannot."}
    assert at_once({"content": [part]}, "stop") == reply


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"code": 429, "message": "slow"}}, "rate_limited"),
        ({"error": {"code": 502, "message": "Provider returned error"}}, "server_error"),
        ({"error": {"code": "429", "type": "TooManyRequests"}}, "rate_limited"),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, "overloaded"),
        ({"error": {"message": "m", "code": "tool_use_failed"}}, "malformed"),
        ({"error": "something broke"}, "server_error"),
        ({"type": "insufficient_quota", "message": "m", "code": 7}, "quota_exhausted"),
        ({"type": "denied", "message": "m", "code": "insufficient_quota"}, "quota_exhausted"),
        (
            {"type": "invalid_request", "error": {"code": "context_length_exceeded"}},
            "context_too_long",
        ),
        ({"x_groq": {"id": "r", "error": "over capacity"}}, "server_error"),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
            "bad_request",
        ),
        ({"choices": [{"index": 0, "error": {"code": 402, "message": "m"}}]}, "quota_exhausted"),
        (delta("error"), "server_error"),
        (delta("insufficient_system_resource"), "overloaded"),
    ],
)
def test_an_error_in_the_middle(event, kind):
    failure = read(delta(content="Hi"), {"choices": [], "usage": COUNTED}, event, END)
    assert (failure.kind, failure.status, failure.usage.tokens) == (kind, 200, 15)


@pytest.mark.parametrize(
    "odd",
    [
        {"detail": None, "error": None},
        {"error": {}},
        {"error": {"code": 0, "message": ""}},
        {"code": "", "message": "", "request_id": "r"},
        {"code": 0, "message": "Success", "choices": []},
        {"type": "vendor_info", "detail": "routed to eu"},
        {"type": "vendor_info", "message": "routed", "code": 7},
    ],
)
def test_what_is_no_error(odd):
    assert read(delta(content="Hi"), odd, delta("stop"), END).text == "Hi"


def test_what_stands_beside_an_answer_is_no_error():
    """Spark says "Success" in each chunk."""
    beside = {"code": 0, "message": "Success", "detail": "eu"}
    assert read(delta(content="Hi") | beside, delta("stop") | beside, END).text == "Hi"
    said = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    assert whole({"choices": [said]} | beside).text == "Hi"


# ------------------------------------------------------------------------------ what is kept


def test_parts_of_the_content_are_kept_in_their_order():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    more = {"type": "thinking", "thinking": [{"type": "text", "text": "m."}], "closed": True}
    new = {"type": "brand_new", "deep": {"a": [None]}}
    reply = read(
        delta(content=[thinking]),
        delta(content=[more]),
        delta(content=[{"type": "text", "text": "Y"}]),
        delta(content="es"),
        delta(content=[new]),
        delta("stop"),
        name="mistral",
    )
    whole = [{"type": "text", "text": "Hmm."}]
    assert reply.blocks == (
        Opaque("mistral", {"type": "thinking", "thinking": whole, "closed": True}),
        Text("Yes"),
        Opaque("mistral", new),
    )


def test_pieces_of_what_was_thought_are_one_again():
    first = {"type": "reasoning.text", "index": 0, "text": "H", "signature": None}
    second = {"type": "reasoning.text", "index": 0, "text": "m", "signature": "c2ln"}
    secret = {"type": "reasoning.encrypted", "index": 1, "data": "gA+/="}
    reply = read(
        delta(reasoning="H", reasoning_details=[first]),
        delta(reasoning="m", reasoning_details=[second, secret]),
        delta("stop", content="Yes"),
        name="openrouter",
    )
    details = [{**first, "text": "Hm", "signature": "c2ln"}, secret]
    data = {"type": "reasoning", "reasoning": "Hm", "reasoning_details": details}
    assert reply.blocks == (Opaque("openrouter", data, "m"), Text("Yes"))


def test_what_stands_beside_the_words_is_kept_with_them():
    cited = [{"type": "url_citation", "url_citation": {"url": "https://x.example"}}]
    reply = at_once({"content": "Yes", "annotations": cited, "audio": {"id": ""}}, "stop")
    assert reply.blocks == (Text("Yes", "mine", {"annotations": cited}),)
    assert at_once({"content": None, "audio": {"id": "a1"}}, "stop").blocks == (
        Opaque("mine", {"type": "beside", "audio": {"id": "a1"}}),
    )


def test_the_signature_of_a_call_is_kept():
    signed = {"google": {"thought_signature": "c2ln"}}
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": signed}
    reply = at_once({"tool_calls": [call]}, "tool_calls", name="gemini")
    kept = Opaque("gemini", {"type": "call_extra", "extra_content": signed})
    assert reply.blocks == (kept, ToolCall("a", "f"))


def test_who_answered_and_in_which_tier():
    reply = at_once({"content": "Hi"}, "stop", model="served", service_tier="flex")
    assert (reply.model, reply.tier) == ("served", "flex")


def test_other_choices_are_passed_over():
    event = delta("stop", content="Hi")
    other = {"index": 1, "delta": {"content": "No"}, "finish_reason": "length"}
    event["choices"].append(other)
    assert read(event).text == "Hi"
