"""What a cache can hold: where it is marked, what names it, and what makes it another."""

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from models import lawful

from loopwright.calls import Message, Options, Request, Text, ToolCall, ToolResult, ToolSpec
from loopwright.models import anthropic, openai
from loopwright.models.history import Histories
from loopwright.models.prefix import Running, digest

PROVIDERS = {"anthropic": anthropic, "openai": openai}
TOOL = ToolSpec("t", "", {"type": "object", "properties": {}})
SAID = [
    Message("user", [Text("Go")]),
    Message("assistant", [ToolCall("a", "t")]),
    Message("user", [ToolResult("a", "r")]),
    Message("assistant", [Text("Well.")]),
    Message("user", [Text("Again.")]),
]
BRIEF = Request("new", SAID, "Be brief.", (TOOL,), prefix_key="0123456789ab")


def asked(provider, known, request):
    content, about = PROVIDERS[provider].body(request, known)
    return json.loads(content), about


def histories(provider):
    return Histories(PROVIDERS[provider].WIRE)


@given(st.lists(st.text()))
def test_a_running_digest_is_the_digest_of_the_whole(texts):
    running = Running()
    for text in texts:
        running.add(text)
    assert running.after({}) == digest("".join(texts))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_same_beginning_has_the_same_name(provider):
    """In any process, and whatever comes after it."""
    names = [
        asked(provider, histories(provider), evolve(BRIEF, messages=said))[1].prefix
        for said in (BRIEF.messages[:1], [Message("user", [Text("Else")])], SAID[:3], SAID[:3])
    ]
    assert names[0] == names[1] != names[2] == names[3]
    assert all(len(name) == 12 and set(name) <= set("0123456789abcdef") for name in names)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("tools", [(), (TOOL,)])
def test_a_conversation_that_grows_changes_nothing_before_it(provider, tools):
    known, brief = histories(provider), evolve(BRIEF, tools=tools)
    for end in range(1, len(SAID) + 1):
        assert asked(provider, known, evolve(brief, messages=SAID[:end]))[1].changed == ""
    # Going back is no change, either: what was sent is still the beginning of what was cached.
    assert asked(provider, known, evolve(brief, messages=SAID[:2]))[1].changed == ""


CHANGES = [
    ({"model": "newer"}, "model"),
    ({"tools": (TOOL, evolve(TOOL, name="u"))}, "tools"),
    ({"tools": (TOOL, evolve(TOOL, name="u")), "system": "Be long."}, "tools"),
    ({"system": "Be long."}, "system"),
    ({"options": Options(tool_choice="required")}, "options"),
    ({"messages": [*SAID[:2], Message("user", [ToolResult("a", "!")]), *SAID[3:]]}, "message 3"),
    ({"messages": [*SAID[:2], evolve(SAID[2]), *SAID[3:]]}, ""),
    ({"max_tokens": 7, "timeout": 7.0, "options": Options(tier="auto")}, ""),
]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("changes", "named"), CHANGES)
def test_the_first_part_that_is_another_is_named(provider, changes, named):
    known = histories(provider)
    before = asked(provider, known, BRIEF)[1]
    after = asked(provider, known, evolve(BRIEF, **changes))[1]
    assert after.changed == named
    assert (after.prefix == before.prefix) == (not named)
    again = asked(provider, known, evolve(BRIEF, **changes))[1]
    assert again.changed == ""


def test_what_runs_share_is_marked_and_what_goes_on():
    sent, _ = asked("anthropic", histories("anthropic"), BRIEF)
    mark = {"type": "ephemeral"}
    assert sent["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert sent["cache_control"] == mark
    assert len(list(lawful._marks(sent))) == 2


def test_what_is_asked_once_is_not_written_to_a_cache():
    """A write costs more than a plain token, and would never be read."""
    once = evolve(BRIEF, messages=SAID[:1], tools=(), prefix_key="")
    sent, _ = asked("anthropic", histories("anthropic"), once)
    assert list(lawful._marks(sent)) == []


def test_requests_that_begin_alike_have_the_same_key():
    assert asked("openai", histories("openai"), BRIEF)[0]["prompt_cache_key"] == "0123456789ab"
    alone = evolve(BRIEF, prefix_key="")
    assert "prompt_cache_key" not in asked("openai", histories("openai"), alone)[0]


def test_each_reply_and_each_failure_says_what_was_sent(wire, request_of):
    import asyncio

    from loopwright.models.rehearsal import Rehearsal, faults

    async def asked_twice(provider):
        request = request_of(Message("assistant", [Text("Hi")]))
        return [await provider.reply(request) for _ in range(2)]

    with Rehearsal([faults.overloaded(), "Hello."]) as rehearsal:
        failure, reply = asyncio.run(asked_twice(getattr(rehearsal, wire)()))
    assert (failure.kind, reply.text) == ("overloaded", "Hello.")
    assert failure.sent.prefix == reply.sent.prefix != ""
    assert failure.sent.repairs[0] == "the user says nothing first: Go on."
    assert reply.sent.repairs == ()
