"""`Redact`: what fits a pattern does not go out."""

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import BadInput, Loop, Run, Task
from loopwright.calls import (
    Media,
    Message,
    ModelCall,
    Opaque,
    Question,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.decisions import Amend
from loopwright.events import Setting
from loopwright.models import Scripted
from loopwright.models.rehearsal import CallTool, Rehearsal
from loopwright.policies.redact import EMAIL, IBAN, Redact
from loopwright.policies.spans import compiled
from loopwright.tools import tool
from loopwright.trail import Trail

POLICY = Redact(EMAIL, IBAN, r"\bAcme\b")


def before(call: Any, *messages: Message) -> Run:
    run = Run("r", Setting("m:m"))
    return run.but(moment="call", call=call, messages=Trail(list(messages)))


def test_every_text_of_a_conversation_is_masked_and_all_else_stays() -> None:
    opaque = Opaque("anthropic", {"signature": "ada@example.org"})
    media = Media("image/png", "ada@example.org")
    run = before(
        ModelCall("m1", "m:m", upto=3),
        Message("user", [media, Text("Write to ada@example.org at Acme.")]),
        Message("assistant", [opaque, ToolCall("1", "send", {"to": ["ada@example.org", 1]})]),
        Message("user", [ToolResult("1", "Paid from DE89 3704 0044 0532 0130 00.")]),
    )
    decision = POLICY.decide(run)
    assert isinstance(decision, Amend)
    assert isinstance(decision.call, ModelCall)
    assert decision.call.messages == (
        Message("user", [media, Text("Write to [redacted] at [redacted].")]),
        Message("assistant", [opaque, ToolCall("1", "send", {"to": ["[redacted]", 1]})]),
        Message("user", [ToolResult("1", "Paid from [redacted].")]),
    )
    assert POLICY.decide(run.but(call=decision.call)) is None


TABLE: dict[str, tuple[Any, dict[str, Any] | None]] = {
    "nothing to mask": ({"to": "Ada", "n": 1}, None),
    "deep inside": ({"a": {"b": ["Acme", None]}}, {"a": {"b": ["[redacted]", None]}}),
    "the name of a parameter is the tool's": ({"Acme": 1}, None),
    "a key": ({"a": {"Acme": 1, "to": 2}}, {"a": {"[redacted]": 1, "to": 2}}),
    "two keys stay two": (
        {"a": {"a@b.c": 1, "[redacted]": 2, "Acme": 3}},
        {"a": {"[redacted]": 1, "[redacted] 2": 2, "[redacted] 3": 3}},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_arguments_of_a_tool(case: str) -> None:
    arguments, expected = TABLE[case]
    call = ToolCall("1", "send", arguments)
    decision = POLICY.decide(before(call))
    if expected is None:
        assert decision is None
    else:
        assert decision == Amend(evolve(call, arguments=expected), "what must not leave is masked")
    assert Redact("Acme", models_only=True).decide(before(call)) is None


@pytest.mark.parametrize(
    ("patterns", "text", "masked"),
    [
        ((r"(Mr|Ms) \w+", r"([0-9])\1{3}"), "Ms Lee, code 7777", "[redacted], code [redacted]"),
        ((EMAIL, "(?i)acme"), "Tell ACME", "Tell [redacted]"),
        ((r"(?P<a>x)y", r"(?P<a>z)y"), "code zy", "code [redacted]"),
        ((r"\b\d{4}\b", IBAN), "to DE89 3704 0044 0532 0130 00.", "to [redacted]."),
        (("xy", "x"), "xyx", "[redacted][redacted]"),
    ],
)
def test_each_pattern_is_tried_by_itself(patterns: tuple[str, ...], text: str, masked: str) -> None:
    model = Scripted(["Done."])
    run = Loop(model, policies=[Redact(*patterns)]).run_now(Task("{it}"), it=text)
    assert run.output == "Done."
    assert model.requests[0].messages[0].text == masked


def test_many_patterns_are_compiled_once() -> None:
    """Python itself keeps 512: with more, each would be compiled anew for each text."""
    policy = Redact(*(rf"\bname{i}\b" for i in range(600)))
    run = before(ToolCall("1", "send", {"to": "name0 and name599, not name600"}))
    said = policy.decide(run)
    assert isinstance(said, Amend)
    assert isinstance(said.call, ToolCall)
    assert said.call.arguments == {"to": "[redacted] and [redacted], not name600"}
    known = compiled.cache_info().misses
    assert policy.decide(run) == said
    assert compiled.cache_info().misses == known


def test_it_speaks_only_before_calls_to_models_and_tools() -> None:
    call = ToolCall("1", "send", {"to": "Acme"})
    assert POLICY.decide(before(call).but(moment="failure")) is None
    assert POLICY.decide(before(Question("q", "Acme?"))) is None


data = st.recursive(
    st.none() | st.integers() | st.text("aA@.cme x", max_size=12) | st.just("Acme, a@b.c"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text("ab", max_size=2), data))
def test_after_masking_nothing_is_left_to_mask(arguments: dict[str, Any]) -> None:
    call = ToolCall("1", "send", arguments)
    decision = POLICY.decide(before(call))
    if decision is not None:
        assert isinstance(decision, Amend)
        assert isinstance(decision.call, ToolCall)
        assert POLICY.decide(before(decision.call)) is None
        assert "Acme, a@b.c" not in json.dumps(list(decision.call.arguments.values()))


def test_neither_the_model_nor_the_tool_sees_it() -> None:
    sent = []

    @tool
    def send(to: str) -> str:
        """Send it."""
        sent.append(to)
        return "sent to eve@example.com"

    script = [CallTool("send", {"to": "bob@example.org"}), "Done."]
    with Rehearsal(script) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5", providers=[rehearsal.anthropic()], policies=[POLICY]
        )
        run = loop.run_now(Task("Write to {who}.", tools=[send]), who="ada@example.org")
    assert run.output == "Done."
    bodies = json.dumps([request.body for request in rehearsal.requests])
    assert "example" not in bodies
    assert bodies.count("[redacted]") == 4
    assert sent == ["[redacted]"]
    assert run.prompt == "Write to ada@example.org."  # what the run keeps is not masked


def test_a_judge_does_not_see_it_either() -> None:
    from loopwright.policies.judge import Judge

    judge = Scripted(['{"reason": "", "verdict": "accept"}'], name="judge")
    task = Task("x", checks=[Judge("Good.", model="judge:judge")])
    Loop(Scripted(["Ask ada@example.org."]), providers=[judge], policies=[POLICY]).run_now(task)
    assert "<answer>\nAsk [redacted].\n</answer>" in judge.requests[0].messages[0].text


@pytest.mark.parametrize("patterns", [(), ("(",), (".*",), ("redacted",), (1,)])
def test_what_cannot_be(patterns: Any) -> None:
    with pytest.raises(BadInput, match="Redact"):
        Redact(*patterns)
