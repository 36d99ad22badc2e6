"""One task with tools and a typed answer, on each wire and across them."""

import json
from itertools import permutations
from typing import Any

import pytest
from attrs import frozen
from models.wires import MODELS, WIRES, Wired

from loopwright import Budget, Log, Loop, Outcome, Task
from loopwright.calls import ModelCall, Opaque, Reply
from loopwright.decisions import Decision, Switch
from loopwright.events import Returned
from loopwright.models.rehearsal import Block, CallTool, Rehearsal, Response, Say
from loopwright.policies import Escalate, Retry
from loopwright.run import Run
from loopwright.tools import tool


@frozen
class Promotion:
    headline: str
    body: str


@tool(effect="read")
def weather(city: str, date: str) -> dict[str, str | float]:
    """Look up the weather of a past day."""
    return {"city": city, "date": date, "sky": "light rain", "celsius": 17.5}


def names_the_city(promotion: Promotion) -> str | None:
    return None if "Ulm" in promotion.body else "Name the city in the body."


def short_headline(promotion: Promotion) -> str | None:
    return None if len(promotion.headline) <= 60 else "The headline is longer than 60 characters."


TASK = Task(
    "Look up the weather of yesterday in Ulm, and write a promotion that fits it.",
    output=Promotion,
    tools=[weather],
    checks=[names_the_city, short_headline],
)

STRONG = {
    "anthropic": "anthropic:claude-opus-5-5",
    "openai": "openai:gpt-6-sol",
    "chat": "openai-chat:gpt-6-sol",
}


@pytest.mark.parametrize("stronger", WIRES)
@pytest.mark.parametrize("wire", WIRES)
def test_the_same_task_runs_unchanged_on_every_wire(wire: str, stronger: str, log: Log) -> None:
    """Turned away, a tool, two rejected answers, and a stronger model, maybe on another wire."""
    with Rehearsal() as rehearsal:
        loop = Loop(
            MODELS[wire],
            policies=[Budget(usd="0.50", seconds=120), Retry(times=1), Escalate(STRONG[stronger])],
            providers=[getattr(rehearsal, each)() for each in WIRES],
            log=log,
        )
        run = loop.run_now(TASK)
    assert (run.outcome, run.verified) == (Outcome.accepted, True)
    assert "Ulm" in run.output.body
    assert run.models == (MODELS[wire], STRONG[stronger])
    assert [seen.wire for seen in rehearsal.requests] == [wire] * 4 + [stronger]
    assert [seen.results for seen in rehearsal.requests[2:]] == [rehearsal.requests[-1].results] * 3
    costs = [event.cost.high for event in run.events if isinstance(event, Returned)]
    assert run.spent.settled == sum(costs) > 0
    assert run.spent.presumed == 0
    assert log.run(run.run_id, TASK).output == run.output


# ------------------------------------------------------------------- a switch in the middle

OWN: dict[str, Any] = {
    "anthropic": [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Ulm"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    ],
    "openai": [{"type": "web_search_call", "id": "w1", "status": "completed"}],
    "chat": [{"reasoning_details": [{"type": "reasoning.encrypted", "data": "cGFzdA=="}]}],
}
"""Blocks that mean nothing to another provider."""

GOOD = json.dumps({"headline": "Rain", "body": "It poured in Ulm."})


@pytest.mark.parametrize(("first", "then"), list(permutations(WIRES, 2)))
def test_a_run_that_switches_in_the_middle_ends_well(wired: Wired, first: str, then: str) -> None:
    """With thoughts, blocks of the provider's own, and calls whose results have just come."""

    def elsewhere(run: Run) -> Decision | None:
        if run.moment == "call" and run.spent.tool_calls and run.model == MODELS[first]:
            return Switch(MODELS[then], "the results are there")
        return None

    called = [CallTool("weather", {"city": city, "date": "today"}) for city in ("Ulm", "Bonn")]
    look = Response([Say("Let me look.", thinking="Hm."), *map(Block, OWN[first]), *called])
    run = wired.run(first, TASK, [look, Say(GOOD, thinking="So."), GOOD], [elsewhere])
    assert run.outcome is Outcome.accepted
    asked, switched = wired.requests(run)
    assert (asked.wire, switched.wire) == (first, then)
    assert switched.by("assistant") == ("Let me look.",)
    assert switched.by("call") == ("weather", "weather")
    assert len(switched.results) == 2
    assert "Hm." not in json.dumps(switched.body)
    assert any(isinstance(block, Opaque) for block in run.messages[1].blocks)
    rows = wired.model_calls(run)
    assert [row["model"] for row in rows] == [MODELS[first], MODELS[then]]
    assert sum(row["cost_nano"] for row in rows) == run.spent.settled > 0
    assert _repairs(run)


def _repairs(run: Run) -> list[str]:
    """What was changed of the conversation so that the second provider takes it."""
    replies = [e.result for e in run.events if isinstance(e, Returned)]
    return [why for reply in replies if isinstance(reply, Reply) for why in reply.sent.repairs]


@pytest.mark.parametrize("wire", WIRES)
def test_there_and_back_again(wired: Wired, wire: str) -> None:
    """What the first provider thought goes back to it as it came, after another one spoke."""
    others = [other for other in WIRES if other != wire]
    turns = [wire, *others, wire]

    def in_turn(run: Run) -> Decision | None:
        due = MODELS[turns[run.spent.tool_calls]]
        asks = isinstance(run.call, ModelCall) and run.call.model != due
        return Switch(due) if asks and run.moment == "call" else None

    def look(number: int) -> CallTool:
        return CallTool("weather", {"city": "Ulm", "date": str(number)}, f"Thought {number}.")

    run = wired.run(wire, TASK, [look(0), look(1), look(2), GOOD], [in_turn])
    assert run.outcome is Outcome.accepted
    requests = wired.requests(run)
    assert [seen.wire for seen in requests] == turns
    last = json.dumps(requests[-1].body)
    assert ("Thought 0." in last) == (wire != "chat")  # which has no signed thoughts
    assert "Thought 1." not in last
    assert "Thought 2." not in last
    assert len(requests[-1].results) == 3
