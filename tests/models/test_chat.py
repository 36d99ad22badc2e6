"""Chat Completions, the way there: what each server is sent, and whose key."""

import asyncio
import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import lawful

from loopwright.calls import (
    Failure,
    Media,
    Message,
    Opaque,
    Options,
    Output,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from loopwright.errors import BadInput, RealCallForbidden
from loopwright.models import SERVERS, Chat, Quirks, catalogue, provider
from loopwright.models.chat import body, wire
from loopwright.models.history import Histories

HELLO = (Message("user", [Text("Hello")]),)
CITY = {"city": {"type": "string"}}
SCHEMA = {"type": "object", "properties": CITY, "required": ["city"], "additionalProperties": False}
WEATHER = ToolSpec("weather", "Yesterday's weather.", SCHEMA)
FORM = Output(SCHEMA, "Answer in JSON.")


def sent(name="mine", *messages, model="a-model", **more):
    quirks = SERVERS[name].quirks if name in SERVERS else Quirks()
    request = Request(model, messages or HELLO, **more)
    return json.loads(body(request, Histories(wire(name, quirks)), quirks)[0])


def test_what_every_server_is_sent():
    assert sent(system="Be brief.") == {
        "model": "a-model",
        "stream": True,
        "max_tokens": 4096,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
    }


def test_a_conversation_with_tools():
    said = sent(
        "mine",
        Message("user", [Text("Go")]),
        Message(
            "assistant",
            [Text("Let me look."), ToolCall("a", "weather", {"city": "Köln"}), ToolCall("b", "t")],
        ),
        Message("user", [ToolResult("b", "no", error=True), ToolResult("a", "rain"), Text("So?")]),
        tools=(WEATHER,),
    )
    called = {"name": "weather", "arguments": '{"city":"Köln"}'}
    assert said["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": called},
                {"id": "b", "type": "function", "function": {"name": "t", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
        {"role": "user", "content": "So?"},
    ]
    function = {"name": "weather", "description": "Yesterday's weather.", "parameters": SCHEMA}
    assert said["tools"] == [{"type": "function", "function": function}]
    assert "tool_choice" not in said


def test_images_and_documents():
    media = [
        Media("image/png", "aGk="),
        Media("image/png", url="https://x.example/i.png"),
        Media("application/pdf", "aGk=", name="r.pdf"),
        Media("text/plain", "aGk=", name="note"),
        Text("What is this?"),
    ]
    (message,) = sent("mine", Message("user", media))["messages"]
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://x.example/i.png"}},
        {
            "type": "file",
            "file": {"filename": "r.pdf", "file_data": "data:application/pdf;base64,aGk="},
        },
        {"type": "text", "text": "note\n\nhi"},
        {"type": "text", "text": "What is this?"},
    ]


# ---------------------------------------------------------------------------------------- quirks


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("mistral", "max_tokens", "stream_options"),
        ("groq", "max_completion_tokens", "max_tokens"),
        ("openai-chat", "max_completion_tokens", "max_tokens"),
        ("ollama", "stream_options", "service_tier"),
    ],
)
def test_each_server_gets_the_fields_that_it_knows(name, has, lacks):
    said = sent(name)
    assert has in said
    assert lacks not in said


def test_the_tier_is_the_one_that_the_quote_is_made_for():
    assert sent("openai-chat")["service_tier"] == "default"
    assert sent("openai-chat", options=Options(tier="flex"))["service_tier"] == "flex"
    assert "service_tier" not in sent("groq")
    assert sent("groq", options=Options(tier="flex"))["service_tier"] == "flex"
    assert "service_tier" not in sent("ollama", options=Options(tier="flex"))


def test_effort_goes_where_the_server_looks_for_it():
    hard = Options(effort="high")
    assert sent("deepseek", options=hard)["reasoning_effort"] == "high"
    assert sent("openrouter", options=hard)["reasoning"] == {"effort": "high"}
    assert sent("openai-chat", model="gpt-5.1", options=hard)["reasoning_effort"] == "high"
    assert "reasoning_effort" not in sent("openai-chat", model="gpt-4o", options=hard)
    assert "effort" not in json.dumps(sent("llamacpp", options=hard))


def test_tool_choice_and_parallel_calls():
    def asked(name, choice="auto", parallel=True):
        options = Options(tool_choice=choice, parallel_tools=parallel)
        said = sent(name, tools=(WEATHER,), options=options)
        return said.get("tool_choice"), said.get("parallel_tool_calls")

    assert asked("groq") == (None, None)
    assert asked("groq", "required", parallel=False) == ("required", False)
    assert asked("llamacpp") == (None, True)
    assert asked("llamacpp", parallel=False) == (None, None)
    assert asked("deepseek", "none", parallel=False) == ("none", None)
    assert asked("groq", "weather")[0] == {"type": "function", "function": {"name": "weather"}}


def test_the_form_of_the_answer_is_enforced_where_it_can_be():
    def form(name, **more):
        return sent(name, output=FORM, system="S", **more).get("response_format")

    enforced = form("openai-chat", model="gpt-5.1", tools=(WEATHER,))
    assert enforced["json_schema"]["strict"] is True
    assert enforced["json_schema"]["schema"]["properties"] == CITY
    assert form("ollama")["type"] == "json_schema"
    assert form("deepseek") == {"type": "json_object"}
    for name, more in [
        ("groq", {}),
        ("openrouter", {}),
        ("ollama", {"tools": (WEATHER,)}),
        ("openai-chat", {"model": "gpt-3.5-turbo"}),
    ]:
        assert form(name, **more) is None


def test_the_words_are_said_wherever_a_server_may_pass_over_the_form():
    def words(name, model="a-model"):
        return sent(name, output=FORM, system="S", model=model)["messages"][0]["content"]

    assert words("openai-chat", "gpt-5.1") == "S"
    for name in SERVERS.keys() - {"openai-chat"}:
        assert words(name) == "S\n\nAnswer in JSON."


def test_strict_tools_only_where_they_are_enforced():
    strict = Options(strict_tools=True)

    def function(name, **more):
        return sent(name, tools=(WEATHER,), model="gpt-5.1", **more)["tools"][0]["function"]

    assert function("openai-chat", options=strict)["strict"] is True
    assert "strict" not in function("openai-chat")
    assert "strict" not in function("ollama", options=strict)


def test_extras_come_last():
    extra = {"mine": {"max_tokens": 7, "top_k": 3}, "other": {"no": 1}}
    said = sent(options=Options(extra=extra))
    assert (said["max_tokens"], said["top_k"]) == (7, 3)
    assert "no" not in said


def test_the_cache_key_is_for_who_knows_it():
    assert sent("openai-chat", prefix_key="v1")["prompt_cache_key"] == "v1"
    assert "prompt_cache_key" not in sent("mistral", prefix_key="v1")


# -------------------------------------------------------------------------- what must come back


def back(name, *blocks, model="a-model"):
    """The model's message as it goes back, after which a result and words follow."""
    calls = [block for block in blocks if isinstance(block, ToolCall)]
    after = [*(ToolResult(call.id, "done") for call in calls), Text("Go on")]
    said = sent(
        name, Message("user", [Text("Hi")]), Message("assistant", blocks), Message("user", after)
    )
    return said["messages"][1]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("deepseek", "reasoning_content", "Hm."),
        ("ollama", "reasoning", "Hm."),
        ("openrouter", "reasoning_details", [{"type": "reasoning.encrypted", "data": "gA+/="}]),
    ],
)
def test_what_was_thought_goes_back_where_it_is_wanted(name, key, value):
    thought = Opaque(name, {"type": "reasoning", "other": 1, key: value}, "a-model")
    message = back(name, thought, Text("Yes"), ToolCall("a", "t"))
    assert message[key] == value
    assert message.keys() == {"role", "content", "tool_calls", key}
    assert key not in back("mistral", thought, Text("Yes"))
    assert key not in back(name, Opaque(name, thought.data, "another-model"), Text("Yes"))


def test_the_signature_of_a_call_goes_back_with_this_call():
    signed = {"google": {"thought_signature": "c2ln"}}
    extra = Opaque("gemini", {"type": "call_extra", "extra_content": signed})
    message = back("gemini", extra, ToolCall("a", "t"), ToolCall("b", "t"))
    assert message["content"] is None
    assert [call.get("extra_content") for call in message["tool_calls"]] == [signed, None]


def test_parts_that_are_no_words_go_back_as_they_came():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True}
    message = back("mistral", Opaque("mistral", thinking), Text("Yes"))
    assert message["content"] == [thinking, {"type": "text", "text": "Yes"}]


IDS = st.text(max_size=80)
CALLS = st.builds(ToolCall, IDS, st.text(max_size=8), st.dictionaries(st.text(), st.integers()))
OWN = st.sampled_from(["reasoning", "beside", "call_extra", "thinking"])
BLOCKS = st.one_of(
    st.builds(Text, st.text(max_size=5)),
    CALLS,
    st.builds(ToolResult, IDS, st.text(max_size=5), st.booleans()),
    st.builds(
        Opaque,
        st.sampled_from(["mistral", "gemini", "openai"]),
        OWN.map(lambda kind: {"type": kind, "reasoning": "Hm", "extra_content": {"a": 1}}),
    ),
)
MESSAGES = st.builds(Message, st.sampled_from(["user", "assistant"]), st.lists(BLOCKS, max_size=4))


@given(st.lists(MESSAGES, max_size=6), st.sampled_from(["mistral", "gemini", "mine"]))
def test_what_is_sent_is_lawful(messages, name):
    said = sent(name, *messages)
    assert lawful.broken("chat", said, {}) == []
    ids = [call["id"] for m in said["messages"] for call in m.get("tool_calls", ())]
    assert name != "mistral" or all(len(id_) == 9 and id_.isalnum() for id_ in ids)


# ------------------------------------------------------------------------------------- whose key


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("GROQ_API_KEY", "GEMINI_API_KEY", "MINE_KEY", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)


def headers_of(chat_options, **more):
    """The headers of one request, sent to nobody."""
    seen = []

    def answer(request):
        seen.append(request)
        return httpx2.Response(500)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    chat = Chat(**{"base_url": "http://127.0.0.1:9/v1", **chat_options}, http_client=http, **more)
    failure = asyncio.run(chat.reply(Request("m", HELLO)))
    assert isinstance(failure, Failure)
    assert len(seen) == 1
    return seen[0].headers


@pytest.mark.parametrize("name", SERVERS)
def test_each_server_by_its_name(name, monkeypatch):
    chat = provider(name)
    assert (chat.name, chat.base_url) == (name, SERVERS[name].base_url)
    if key := SERVERS[name].key:
        monkeypatch.delenv(key, raising=False)
        with pytest.raises(BadInput, match=f"there is no key for {name}: set the variable {key}"):
            chat.check()
        monkeypatch.setenv(key, "k-123456")
    chat.check()


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "vllm"])
def test_what_runs_on_this_machine_costs_nothing(name):
    assert provider(name)
    assert catalogue.quote(f"{name}:any", 1000, 1000).high == 0


def test_a_server_with_a_key_may_cost_something(monkeypatch):
    monkeypatch.setattr(catalogue, "_free", set())
    Chat("ollama", base_url="https://ollama.example/v1", api_key="k-123456")
    with pytest.raises(BadInput, match="the price of 'ollama:any' is unknown"):
        catalogue.quote("ollama:any", 1000, 1000)


def test_a_server_of_ones_own(monkeypatch):
    monkeypatch.setenv("MINE_KEY", "k-mine-123")
    assert headers_of({"name": "mine", "key": "MINE_KEY"})["authorization"] == "Bearer k-mine-123"
    with pytest.raises(BadInput, match="nobody knows where the server 'mine' is"):
        Chat("mine")
    for name in ("", "a:b", "openai"):
        with pytest.raises(BadInput, match="cannot be the name"):
            Chat(name, base_url="http://127.0.0.1:9")


def test_a_known_key_goes_to_its_own_server_alone(monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "k-groq-123")
    with pytest.raises(BadInput, match="the key in GROQ_API_KEY is for https"):
        Chat("groq", base_url="https://elsewhere.example/v1").check()
    named = headers_of({"name": "groq", "key": "GROQ_API_KEY"})
    assert named["authorization"] == "Bearer k-groq-123"


def test_openais_own_variable_says_where_it_is(monkeypatch):
    """As for the SDK itself, of which the key and the address are one pair."""
    monkeypatch.setenv("OPENAI_API_KEY", "k-123456")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/proxy")
    chat = Chat("openai-chat")
    chat.check()
    assert chat.base_url == "http://127.0.0.1:9/proxy"
    monkeypatch.setenv("GROQ_API_KEY", "k-123456")
    assert Chat("groq").base_url == SERVERS["groq"].base_url


def test_nothing_of_openais_goes_to_others(monkeypatch):
    said = "Authorization: Bearer sk-custom\nX-Secret: sk-custom"
    for variable, value in [
        ("OPENAI_API_KEY", "sk-openai"),
        ("OPENAI_ADMIN_KEY", "sk-admin"),
        ("OPENAI_ORG_ID", "sk-org"),
        ("OPENAI_PROJECT_ID", "sk-project"),
        ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        ("OPENAI_CUSTOM_HEADERS", said),
    ]:
        monkeypatch.setenv(variable, value)
    headers = headers_of({"name": "ollama"})
    assert headers["authorization"] == "Bearer none"
    assert "sk-" not in str(dict(headers))
    assert headers_of({"name": "mine"}, default_headers={"X-A": "b"})["x-a"] == "b"


def test_no_real_call_is_made_while_they_are_forbidden():
    with pytest.raises(RealCallForbidden, match="a call to api"):
        asyncio.run(Chat("groq", api_key="k").reply(Request("m", HELLO)))


def test_an_option_that_the_client_does_not_know():
    with pytest.raises(BadInput, match="the client for mine cannot be made"):
        Chat("mine", base_url="http://127.0.0.1:9", nonsense=1).check()


def test_a_client_of_ones_own():
    import openai

    def answer(request):
        text = json.dumps({"choices": [{"message": {"content": "Hi"}}]})
        return httpx2.Response(200, text=text, headers={"content-type": "application/json"})

    async def asked():
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        url = "http://127.0.0.1:9/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as client:
            return await Chat("mine", client=client).reply(Request("m", HELLO))

    reply = asyncio.run(asked())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish, reply.model, reply.usage) == ("Hi", "stop", "m", None)
