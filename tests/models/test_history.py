"""Whatever a history looks like, what is sent is accepted; what was written stays written."""

import json
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from models import lawful

from loopwright.calls import Media, Message, Opaque, Reply, Request, Text, ToolCall, ToolResult
from loopwright.models import anthropic, openai
from loopwright.models.history import Histories

PROVIDERS = {"anthropic": anthropic, "openai": openai}
MODELS = ("old", "new")


def thought(provider: str, kind: str, n: int) -> dict:
    sealed = f"{provider} {kind} {n}+/="
    if kind == "redacted_thinking":
        return {"type": kind, "data": sealed}
    if kind == "thinking":
        return {"type": kind, "thinking": "Hm.", "signature": sealed}
    return {"id": f"rs_{n}", "type": kind, "summary": [], "encrypted_content": sealed}


KINDS = [("anthropic", "thinking"), ("anthropic", "redacted_thinking"), ("openai", "reasoning")]
GENUINE = [
    Opaque(provider, thought(provider, kind, n), model)
    for provider, kind in KINDS
    for n, model in enumerate(MODELS)
]
MADE = {
    block.data.get("signature") or block.data.get("data") or block.data["encrypted_content"]: (
        block.model,
        block.data,
    )
    for block in GENUINE
}

# ---------------------------------------------------------------------------- histories, broken

ids = st.sampled_from(["a", "b", "c.d", "c_d", "a-2", "x" * 80, ""])
server = st.sampled_from(["s1", "s2"])


def own(provider: str, **data: object) -> Opaque:
    return Opaque(provider, data, "new")


opaques = st.one_of(
    st.sampled_from(GENUINE),
    st.sampled_from(
        [
            own("anthropic", type="thinking", thinking="cut"),
            own("anthropic", type="thinking", thinking="x", signature=""),
            own("anthropic", type="thinking", thinking="!", signature="anthropic thinking 1+/="),
            own("openai", type="reasoning", id="rs", summary=[]),
            own("openai", type="reasoning", id="!", encrypted_content="openai reasoning 1+/="),
            own("anthropic", type="brand_new", data=[1, None]),
            own("openai", type="web_search_call", id="ws", status="completed"),
            own("local", type="thinking", thinking="x", signature="x"),
        ]
    ),
    server.map(lambda i: own("anthropic", type="server_tool_use", id=i, name="t", input={})),
    server.map(lambda i: own("anthropic", type="x_tool_result", tool_use_id=i, content=[])),
    server.map(lambda i: own("openai", type="custom_tool_call", call_id=i, name="t", input="")),
    server.map(lambda i: own("openai", type="custom_tool_call_output", call_id=i, output="")),
)
extras = st.sampled_from(
    [
        ("anthropic", {"citations": [{"type": "char_location", "cited_text": "x"}]}),
        ("openai", {"phase": "commentary"}),
        ("openai", {"annotations": [{"type": "url_citation"}], "phase": "final_answer"}),
        ("openai", {"type": "refusal"}),
        ("", {}),
    ]
)
media = st.sampled_from(
    [
        Media("image/png", "iVBORw0KGgo="),
        Media("image/png", url="https://x.example/x.png"),
        Media("application/pdf", "JVBERi0=", name="report.pdf"),
        Media("application/pdf", url="https://x.example/x.pdf"),
        Media("text/plain", "SGk=", name="note"),
        Media("image/png"),
    ]
)
words = st.sampled_from(["hello", " ", "", "bye"])
blocks = st.one_of(
    words.map(Text),
    st.builds(lambda text, extra: Text(text, *extra), words, extras),
    media,
    opaques,
    st.builds(ToolCall, ids, st.sampled_from(["t", "an odd name!", ""])),
    st.builds(ToolResult, ids, st.sampled_from(["r", ""]), st.booleans()),
)
roles = st.sampled_from(["user", "assistant"])
broken = st.lists(st.builds(Message, roles, st.lists(blocks, max_size=5)), max_size=7)


@st.composite
def legal(draw, provider: str) -> list[Message]:
    """What one model of a provider and its user really say to each other."""
    mine = [b for b in GENUINE if b.provider == provider and b.model == "new"]
    said = [
        Message("user", [*draw(st.lists(media.filter(lambda m: m.data), max_size=2)), Text("Go")])
    ]
    for turn in range(draw(st.integers(0, 5))):
        calls = [ToolCall(f"m{turn}-{n}", "t") for n in range(draw(st.integers(0, 3)))]
        thoughts = draw(st.sampled_from([[], mine[:1]]))
        said.append(Message("assistant", [*thoughts, Text("Well."), *calls]))
        said.append(Message("user", [ToolResult(c.id, "r") for c in calls] or [Text("And?")]))
    return said


# ------------------------------------------------------------------------------------- the laws


def histories(provider: str) -> Histories:
    """They have seen what the models really made."""
    found = Histories(PROVIDERS[provider].WIRE)
    found.learn(Reply(GENUINE))
    return found


def sent(provider: str, messages, known: Histories | None = None, model: str = "new"):
    known = known or histories(provider)
    content, about = PROVIDERS[provider].body(Request(model, messages), known)
    return json.loads(content), about


@pytest.mark.parametrize("provider", PROVIDERS)
@given(broken, st.sampled_from(MODELS))
def test_whatever_the_history_what_is_sent_is_accepted(provider, messages, model):
    body, _ = sent(provider, messages, model=model)
    assert lawful.broken(provider, body, MADE) == []


@pytest.mark.parametrize("provider", PROVIDERS)
@given(broken)
def test_repairing_what_was_repaired_changes_nothing(provider, messages):
    body, _ = sent(provider, messages)
    again, about = sent(provider, lawful.reread(provider, body))
    said = "messages" if provider == "anthropic" else "input"
    assert (again[said], about.repairs) == (body[said], ())


@pytest.mark.parametrize("provider", PROVIDERS)
@given(broken)
def test_repairs_are_the_same_each_time_and_named_once(provider, messages):
    known = histories(provider)
    body, about = sent(provider, messages, known)
    assert sent(provider, messages) == (body, about)
    again, nothing_new = sent(provider, messages, known)
    assert (again, nothing_new.repairs, nothing_new.changed) == (body, (), "")
    assert (nothing_new.prefix, len(set(about.repairs))) == (about.prefix, len(about.repairs))


@pytest.mark.parametrize("provider", PROVIDERS)
@given(st.data())
def test_a_legal_history_is_sent_as_it_is(provider, data):
    messages = data.draw(legal(provider))
    body, about = sent(provider, messages)
    assert about.repairs == ()
    assert lawful.broken(provider, body, MADE) == []
    items = body.get("input") or [b for m in body["messages"] for b in m["content"]]
    kept = [b.data for m in messages for b in m.blocks if isinstance(b, Opaque)]
    assert [json.dumps(i) for i in items if i in kept] == [json.dumps(data) for data in kept]


@pytest.mark.parametrize("provider", PROVIDERS)
@given(broken, broken)
def test_growing_is_the_same_as_writing_anew(provider, messages, others):
    known = histories(provider)
    for end in range(len(messages) + 1):
        body, about = sent(provider, messages[:end], known)
        anew, about_anew = sent(provider, messages[:end])
        assert (body, about.prefix) == (anew, about_anew.prefix)
    changed = [*messages[:2], *others, *messages[3:]]
    assert sent(provider, changed, known)[0] == sent(provider, changed)[0]


@pytest.mark.parametrize("provider", PROVIDERS)
@given(st.data())
def test_a_call_costs_what_is_new(provider, data):
    """However long the conversation is, at most three turns are written at each call."""
    wire, count = PROVIDERS[provider].WIRE, [0]

    def counting(role, turn):
        count[0] += 1
        return wire.write(role, turn)

    known, messages = Histories(evolve(wire, write=counting)), data.draw(legal(provider))
    for end in range(1, len(messages) + 1):
        count[0] = 0
        known.written(Request("new", messages[:end]), {})
        assert count[0] <= 3


# ------------------------------------------------------------------------------------- one by one

USER = Message("user", [Text("Go")])
CALL = Message("assistant", [ToolCall("a", "t")])


def repairs(provider: str, *messages: Message, model: str = "new") -> tuple[str, ...]:
    return sent(provider, messages, model=model)[1].repairs


@pytest.mark.parametrize("provider", PROVIDERS)
def test_repairs_are_named(provider):
    assert repairs(provider, USER, CALL) == ("message 2: t has no result: it was not carried out",)
    result = Message("user", [ToolResult("a", "r")])
    assert repairs(provider, USER, CALL, result) == ()
    twice = (USER, CALL, result, CALL, result)
    assert repairs(provider, *twice) == ("message 4: the id 'a' is taken: it is 'a-2'",)
    assert repairs(provider, USER, result) == ("message 1: a result without a call is a text",)
    blank = Message("assistant", [Text(" "), Text("Hi")])
    assert repairs(provider, USER, blank, USER) == ("message 2: left out an empty text",)
    assert repairs(provider, blank, USER)[1] == "the user says nothing first: Go on."


def test_results_of_calls_with_the_same_id_are_told_apart():
    both = Message("assistant", [ToolCall("a", "t", {"n": 1}), ToolCall("a", "t", {"n": 2})])
    results = Message("user", [ToolResult("a", "one"), ToolResult("a", "two")])
    turns = sent("anthropic", [USER, both, results])[0]["messages"]
    assert [block["id"] for block in turns[1]["content"]] == ["a", "a-2"]
    told = [(block["tool_use_id"], block["content"]) for block in turns[2]["content"]]
    assert told == [("a", "one"), ("a-2", "two")]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_switch_of_provider_or_model_leaves_thoughts_behind(provider):
    theirs = [b for b in GENUINE if b.provider != provider][:1]
    mine = [b for b in GENUINE if b.provider == provider and b.model == "new"][:1]
    answer = Message("assistant", [*theirs, *mine, Text("Well.")])
    (other,) = repairs(provider, USER, answer, USER)
    assert other == f"message 2: left out a block of {theirs[0].provider}"
    old = repairs(provider, USER, answer, USER, model="old")
    assert f"message 2: left out {mine[0].data['type']} of new" in old


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_block_that_was_changed_after_it_was_signed_is_left_out(provider):
    genuine = next(b for b in GENUINE if b.provider == provider and b.model == "new")
    forged = evolve(genuine, data={**genuine.data, "thinking": "!", "id": "!"})
    body, about = sent(provider, [USER, Message("assistant", [forged, Text("Well.")]), USER])
    assert about.repairs == ("message 2: left out what was changed after it was signed",)
    assert genuine.data["type"] not in json.dumps(body)


def test_a_paused_turn_goes_back_unchanged():
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}}
    paused = Message("assistant", [Text("Let me look."), Opaque("anthropic", search, "new")])
    body, about = sent("anthropic", [USER, paused])
    assert about.repairs == ()
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "Let me look."}, search]


def test_an_answer_that_is_asked_for_again_is_followed_by_the_user():
    answer = Message("assistant", [Text("Well.")])
    body, about = sent("anthropic", [USER, answer])
    assert body["messages"][-1] == {"role": "user", "content": [{"type": "text", "text": "Go on."}]}
    assert about.repairs == ("the user says nothing last: Go on.",)
    assert sent("openai", [USER, answer])[1].repairs == ()


def test_reasoning_stands_directly_before_what_it_led_to():
    one, two = (Opaque("openai", thought("openai", "reasoning", n), "new") for n in (1, 2))
    body, about = sent("openai", [USER, Message("assistant", [one, two, Text("Hi")]), USER])
    assert [item["type"] for item in body["input"]] == [
        "message",
        "reasoning",
        "message",
        "message",
    ]
    assert body["input"][1] == two.data
    assert about.repairs == ("message 2: left out a thought without what it led to",)


def test_ids_are_unique_however_many_there_are():
    calls = [ToolCall("same", "t") for _ in range(2_000)]
    turns = sent("anthropic", [USER, Message("assistant", calls)])[0]["messages"]
    ids = [block["id"] for block in turns[1]["content"]]
    assert len(set(ids)) == 2_000
    assert all(a != b for a, b in pairwise(ids))
