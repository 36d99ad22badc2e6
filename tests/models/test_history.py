"""A conversation is written once, and what is written is what would be written anew."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import Message, Opaque, Text, ToolCall, ToolResult
from loopwright.models import anthropic, openai
from loopwright.models.history import Histories

ids = st.sampled_from(["a", "b", "c.d"])
blocks = st.one_of(
    st.builds(Text, st.sampled_from(["hello", " ", "bye"])),
    st.builds(Opaque, st.sampled_from(["anthropic", "openai"]), st.just({"type": "x"})),
    st.builds(ToolCall, ids, st.just("t")),
    st.builds(ToolResult, ids, st.just("r"), st.booleans()),
)
said = {"user": (Text, ToolResult), "assistant": (Text, Opaque, ToolCall)}
messages = st.builds(
    lambda role, found: Message(role, [b for b in found if isinstance(b, said[role])]),
    st.sampled_from(["user", "assistant"]),
    st.lists(blocks, max_size=4),
)


def written(module, name, conversation):
    return json.loads(f"[{Histories(name, module.write).written(conversation)}]")


@given(st.lists(messages, max_size=8), st.lists(messages, max_size=3))
def test_growing_is_the_same_as_writing_anew(conversation, others):
    for module, name in ((anthropic, "anthropic"), (openai, "openai")):
        histories = Histories(name, module.write)
        for end in range(len(conversation) + 1):
            anew = Histories(name, module.write).written(conversation[:end])
            assert histories.written(conversation[:end]) == anew
        changed = [*conversation[:2], *others, *conversation[3:]]
        assert histories.written(changed) == Histories(name, module.write).written(changed)


@given(st.lists(messages, max_size=8))
def test_the_messages_api_is_sent_what_it_accepts(conversation):
    turns = written(anthropic, "anthropic", conversation)
    roles = [turn["role"] for turn in turns]
    assert all(a != b for a, b in pairwise(roles))
    calls = []
    for turn in [*turns, {"role": "user", "content": []}]:
        results = [b["tool_use_id"] for b in turn["content"] if b["type"] == "tool_result"]
        assert results == calls
        assert [b["type"] for b in turn["content"]][: len(results)] == ["tool_result"] * len(calls)
        calls = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]


@given(st.lists(messages, max_size=8))
def test_the_responses_api_is_sent_what_it_accepts(conversation):
    items = written(openai, "openai", conversation)
    waiting = []
    for item in items:
        if item["type"] == "function_call":
            waiting.append(item["call_id"])
        elif item["type"] == "function_call_output":
            waiting.remove(item["call_id"])
    assert waiting == []
