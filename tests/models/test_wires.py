"""What a rehearsal writes is what the adapters read, on all three wires, streamed or not."""

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import Failure, Opaque, Reply, Request, Text, Usage
from loopwright.models import anthropic_reply, chat_reply, openai_reply, wire
from loopwright.models.prompt_cache import LEAST, Chunk, PromptCache, count
from loopwright.models.script import Block, CallTool, Played, Response, Say
from loopwright.models.sse import Events

WIRES = ("anthropic", "openai", "chat")

REQUEST = Request("a-model", [])
READ = Usage(input_uncached=1)


def assembly(name: str):
    match name:
        case "anthropic":
            return anthropic_reply.Assembly(REQUEST)
        case "openai":
            return openai_reply.Assembly(REQUEST)
    return chat_reply.Assembly(REQUEST, "openai-chat")


def streamed(name: str, response: Response, size: int = 1000) -> Reply | Failure:
    """What the adapter makes of the events of `response`, in pieces of `size` bytes."""
    counts = {"stream_options": {"include_usage": True}}
    events = wire.events(name, Played(response, "a-model", READ), counts)
    written = b"".join(map(wire.sse, events))
    read, taken = Events(), assembly(name)
    for at in range(0, len(written), size):
        for event in read.feed(written[at : at + size]):
            taken.take(event)
    return taken.answer({})


def whole(name: str, response: Response) -> Reply | Failure:
    """The same of the body that comes at once."""
    taken = assembly(name)
    written = wire.dumped(wire.answered(name, Played(response, "a-model", READ)))
    taken.whole(json.loads(written))
    return taken.answer({})


# ---------------------------------------------------------------------------------------- laws

words = st.text(st.characters(exclude_categories=()), min_size=1, max_size=60)
names = st.sampled_from(["weather", "send_mail"])
values = st.one_of(words, st.integers(-(2**53), 2**53), st.booleans(), st.none())
arguments = st.dictionaries(words, values, max_size=3)
thoughts = st.one_of(st.just(""), words)
says = st.builds(Say, words, thinking=thoughts)
calls = st.builds(CallTool, names, arguments, thinking=thoughts)
amounts = st.integers(0, 10**6)
usages = st.builds(Usage, st.integers(1, 10**6), *[amounts] * 5)
responses = st.builds(
    Response,
    st.lists(st.one_of(says, calls), min_size=1, max_size=4),
    finish=st.sampled_from(["", "length"]),
    usage=usages,
    model=st.sampled_from(["", "another-model"]),
    tier=st.sampled_from(["priority", "standard"]),
)


@pytest.mark.parametrize("name", WIRES)
@given(response=responses, size=st.integers(1, 300))
def test_what_was_said_is_what_is_read(name: str, response: Response, size: int) -> None:
    reply = streamed(name, response, size)
    assert isinstance(reply, Reply)
    said = [part for part in response.parts if isinstance(part, Say)]
    called = [part for part in response.parts if isinstance(part, CallTool)]
    assert reply.text == "".join(part.text for part in said)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        (call.name, call.arguments) for call in called
    ]
    assert (reply.finish, reply.tier) == (response.finish, response.tier)
    assert reply.model == (response.model or "a-model")
    own = [block.data for block in reply.blocks if isinstance(block, Opaque)]
    assert bool(own) == any(part.thinking for part in response.parts)


@pytest.mark.parametrize("name", WIRES)
@given(response=responses)
def test_at_once_it_is_the_same(name: str, response: Response) -> None:
    reply = streamed(name, response)
    assert whole(name, response) == evolve(reply, usage=whole(name, response).usage)


@pytest.mark.parametrize("name", WIRES)
@given(used=usages)
def test_the_tokens_are_counted_bucket_by_bucket(name: str, used: Usage) -> None:
    response = Response("Hi.", usage=used)
    if name == "chat":  # it knows one kind of cache writes
        both = used.cache_write_short + used.cache_write_long
        used = evolve(used, cache_write_short=both, cache_write_long=0)
    for reply in (streamed(name, response), whole(name, response)):
        assert reply.usage is not None
        assert evolve(reply.usage, raw={}) == used


@pytest.mark.parametrize("name", WIRES)
@given(response=responses)
def test_what_begins_has_the_next_index(name: str, response: Response) -> None:
    events = wire.events(name, Played(response, "a-model", READ), {})
    found = [index for event in events for index in begun(event)]
    assert found == list(range(len(found)))


def begun(event) -> list[int]:
    """The indices of the blocks, items or tool calls that begin with `event`."""
    match event:
        case {"type": "content_block_start", "index": index}:
            return [index]
        case {"type": "response.output_item.added", "output_index": index}:
            return [index]
        case {"choices": [{"delta": {"tool_calls": calls}}]}:
            return [call["index"] for call in calls if "id" in call]
    return []


# ----------------------------------------------------------------------------- blocks of its own

OWN = {
    "anthropic": [
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "Ulm"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srv_1",
            "content": [{"type": "web_search_result", "url": "https://a", "title": "Ulm"}],
        },
        {"type": "brand_new", "anything": {"goes": [1, None]}},
    ],
    "openai": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "Ulm"}},
        {"type": "mcp_call", "id": "mcp_1", "name": "look", "arguments": "{}", "output": "rain"},
        {"type": "brand_new", "id": "x_1", "anything": {"goes": [1, None]}},
    ],
}


@pytest.mark.parametrize("name", OWN)
def test_a_block_of_its_own_comes_as_it_is(name: str) -> None:
    response = Response([*map(Block, OWN[name]), "It rains."])
    for reply in (streamed(name, response), whole(name, response)):
        *own, said = reply.blocks
        assert [block.data for block in own] == OWN[name]
        assert said == Text("It rains.")


def test_a_block_of_chat_is_fields_of_the_message() -> None:
    thought = {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}]}
    response = Response([Block(thought), "It rains."])
    assert streamed("chat", response).blocks == whole("chat", response).blocks
    own, said = streamed("chat", response).blocks
    assert own.data == {"type": "reasoning", **thought}
    assert said == Text("It rains.")


CITED = {
    "anthropic": ("citations", {"type": "web_search_result_location", "url": "https://a"}),
    "openai": ("annotations", {"type": "url_citation", "url": "https://a", "title": "A"}),
    "chat": ("annotations", {"type": "url_citation", "url_citation": {"url": "https://a"}}),
}


@pytest.mark.parametrize("name", WIRES)
def test_what_stands_beside_the_words_comes_along(name: str) -> None:
    key, note = CITED[name]
    response = Response(Say("It rains.", beside={key: [note, note]}))
    for reply in (streamed(name, response), whole(name, response)):
        (said,) = reply.blocks
        assert said.text == "It rains."
        assert said.extra == {key: [note, note]}


ENDINGS = [
    ("anthropic", "refusal", "refusal"),
    ("anthropic", "paused", "paused"),
    ("anthropic", "model_context_window_exceeded", "length"),
    ("anthropic", "stop_sequence", "stop"),
    ("anthropic", "never_seen", "error"),
    ("openai", "refusal", "refusal"),
    ("openai", "filter", "filter"),
    ("openai", "paused", "paused"),
    ("chat", "refusal", "refusal"),
    ("chat", "filter", "filter"),
    ("chat", "never_seen", "error"),
]


@pytest.mark.parametrize(("name", "finish", "read"), ENDINGS)
def test_each_ending_has_its_word(name: str, finish: str, read: str) -> None:
    response = Response("I stop here.", finish=finish)
    for reply in (streamed(name, response), whole(name, response)):
        assert isinstance(reply, Reply)
        assert (reply.finish, reply.text) == (read, "I stop here.")


@pytest.mark.parametrize("name", ["openai", "chat"])
def test_a_response_that_failed_is_a_failure_and_was_counted(name: str) -> None:
    response = Response("I was about", finish="error")
    for failure in (streamed(name, response), whole(name, response)):
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.usage is None) == ("server_error", False)


# ------------------------------------------------------------------------------ the prompt cache

texts = st.integers(0, 3 * LEAST).map(lambda size: "word" * size)
kept = st.sampled_from(["", "short", "long"])
prompts = st.lists(st.builds(Chunk, texts, kept), max_size=5)


@given(st.lists(prompts, max_size=6))
def test_each_token_is_counted_once_and_read_only_if_it_was_written(asked) -> None:
    cache, written = PromptCache(), 0
    for prompt in asked:
        used = cache.read("m", prompt)
        assert used.input == count(prompt)
        assert min(used.input_uncached, used.cache_write_short, used.cache_write_long) >= 0
        assert used.cache_read <= written
        written = max(written, used.cache_read + used.cache_write_short + used.cache_write_long)


@given(prompts, texts)
def test_what_was_written_is_read_by_whoever_begins_alike(prompt, more) -> None:
    cache = PromptCache()
    first = cache.read("m", prompt)
    again = cache.read("m", [*prompt, Chunk(more)])
    assert again.cache_read == first.cache_write_short + first.cache_write_long
    assert cache.read("another", prompt) == first
