"""`Degrade`: something cheaper rather than nothing, and only if it fits."""

import re
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from moments import a_run, attempt, declined, failed, limited

from loopwright import BadInput, Budget, Log, Loop, Outcome, Run, Task
from loopwright.calls import Message, ModelCall, Reply, Text, ToolCall, ToolResult, Usage
from loopwright.decisions import Amend, Decision, Refuse, Switch
from loopwright.draft import said
from loopwright.events import Ceiling, Spent
from loopwright.models import Rehearsal, Scripted, set_price
from loopwright.policies import Degrade, Retry
from loopwright.quote import quoted
from loopwright.tools import tool

set_price("degrade:dear", input=10, output=50)
set_price("degrade:cheap", input=1, output=5)

DAY = Ceiling("day", 100_000_000, "day")
BEST = attempt("Too long.", text="nearly")


def due(tokens: int = 4096, results: int = 0, **changes: Any) -> Run:
    """Before a call of the dear model, after a conversation with a tool result so long."""
    run = a_run(model="degrade:dear", models=("degrade:dear",), **changes)
    call = ToolCall("t", "look")
    said(run, Message("user", (Text("Do it."),)))
    for length in (results, 10) if results else ():
        said(run, Message("assistant", (call,)))
        said(run, Message("user", (ToolResult("t", "x" * length),)))
    made = ModelCall("m1", "degrade:dear", len(run.messages), tokens)
    return run.but(moment="call", call=evolve(made, quote=quoted(made, run.bound(made))))


def usd(amount: str) -> Any:
    return limited(usd=amount)


TABLE: dict[str, tuple[Degrade, Run, str | None]] = {
    "it fits": (Degrade(), due(setting=usd("1")), None),
    "there are no limits": (Degrade(), due(), None),
    "fewer output tokens fit": (Degrade(), due(setting=usd("0.1")), "clamp"),
    "too few output tokens fit": (Degrade(), due(setting=usd("0.02")), None),
    "fewer tokens": (Degrade(), due(setting=limited(tokens=2000)), "clamp"),
    "part is spent": (Degrade(), due(setting=usd("1"), spent=Spent(settled=900_000_000)), "clamp"),
    "a ceiling has declined it": (Degrade(), due(declined=declined(DAY, 0)), "clamp"),
    "a rate has declined it": (
        Degrade(),
        due(declined=declined(Ceiling("pace", 1, "minute", "requests"), 1)),
        None,
    ),
    "old tool results": (Degrade(), due(results=20_000, setting=usd("0.1")), "compact"),
    "without old tool results": (
        Degrade(longest=0),
        due(results=20_000, setting=usd("0.1")),
        None,
    ),
    "a cheaper model": (
        Degrade(("degrade:cheap",)),
        due(setting=usd("0.02")),
        "degrade:cheap",
    ),
    "a cheaper model that was left": (
        Degrade(("degrade:cheap",)),
        due(setting=usd("0.02")).but(models=("degrade:cheap", "degrade:dear")),
        None,
    ),
    "a cheaper model that is too dear": (
        Degrade(("degrade:cheap",)),
        due(setting=usd("0.001")),
        None,
    ),
    "the best so far": (Degrade(), due(setting=usd("0.001"), best=BEST), "finish"),
    "after a failure": (Degrade(), failed(), None),
}


def kind(decision: Decision | None) -> str | None:
    match decision:
        case Amend(call=ModelCall(compaction=None)):
            return "clamp"
        case Amend():
            return "compact"
        case Switch(to):
            return to
        case Refuse(ending=Outcome.exhausted):
            return "finish"
    return None


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    degrade, run, expected = TABLE[name]
    assert kind(degrade.decide(run)) == expected


@given(st.integers(0, 400_000_000), st.integers(1, 8192), st.integers(1, 600))
def test_it_clamps_to_the_most_that_fits(room: int, tokens: int, least: int) -> None:
    run = due(tokens, setting=limited(usd=f"{room / 10**9:.9f}"))
    decision = Degrade(least=least).decide(run)
    if decision is None:
        small = evolve(run.call, max_tokens=min(least, tokens))  # type: ignore[type-var]
        cheapest = quoted(small, run.bound(small)).high  # type: ignore[arg-type]
        assert run.quote.high <= room or cheapest > room or least > tokens
        return
    assert isinstance(decision, Amend)
    call = decision.call
    assert isinstance(call, ModelCall)
    larger = evolve(call, max_tokens=call.max_tokens + 1)
    assert quoted(call, run.bound(call)).high <= room < quoted(larger, run.bound(larger)).high
    assert least <= call.max_tokens < tokens


def test_on_the_wire_the_provider_is_asked_for_less(log: Log) -> None:
    with Rehearsal(["Hello."]) as rehearsal:
        loop = Loop(
            "anthropic:claude-opus-5-5",
            providers=[rehearsal.anthropic()],
            policies=[Degrade(), Budget(usd="0.05")],
            log=log,
        )
        run = loop.run_now(Task("Hi."))
    asked = rehearsal.requests[0].body["max_tokens"]
    assert run.output == "Hello."
    assert 512 <= asked < 4096
    (why,) = [r["why"] for r in log.db.query("select why from decisions where policy = 'Degrade'")]
    assert why == f"what is left pays for {asked} output tokens instead of 4096"


def test_a_shared_ceiling_that_is_nearly_used_up(log: Log) -> None:
    model = Scripted([Reply((Text("ok"),), "stop", Usage(10, output_visible=1000))] * 2, "degrade")
    ceiling = Budget(usd="0.25", per="month", name="month")
    for most, calls in ((4096, 1), (4095, 2)):
        policies = [Degrade(), ceiling]
        loop = Loop("degrade:dear", providers=[model], policies=policies, log=log)
        run = loop.run_now(Task("x"))
        assert run.outcome is Outcome.accepted
        assert len(model.requests) == calls
        assert model.requests[-1].max_tokens <= most
    assert "Degrade" in [decision.policy for decision in run.decisions]


def test_old_results_are_cut_and_the_run_goes_on() -> None:
    @tool(effect="read")
    def look(n: int) -> str:
        """Look."""
        return "x" * (30_000 if n == 1 else 10)

    small = Usage(0)
    model = Scripted(
        [
            Reply((ToolCall("1", "look", {"n": 1}),), "tool_calls", small),
            Reply((ToolCall("2", "look", {"n": 2}),), "tool_calls", Usage(0, output_visible=1000)),
            Reply((Text("done"),), "stop", small),
        ],
        "degrade",
    )
    loop = Loop("degrade:dear", providers=[model], policies=[Degrade(), Budget(usd="0.37")])
    run = loop.run_now(Task("x", tools=[look], max_tokens=600))
    assert run.output == "done"
    first, second = (m.blocks[0] for m in model.requests[2].messages if m.blocks and _result(m))
    assert "29500 characters left out" in first.content  # type: ignore[union-attr]
    assert second.content == "x" * 10  # type: ignore[union-attr]


def _result(message: Message) -> bool:
    return isinstance(message.blocks[0], ToolResult)


def test_the_best_answer_is_kept() -> None:
    model = Scripted([Reply((Text("nearly"),), "stop", Usage(10, output_visible=900))], "degrade")
    again = [Degrade(least=600), Budget(usd="0.06")]
    task = Task("x", checks=[lambda answer: "Shorter."], max_tokens=600)
    loop = Loop("degrade:dear", providers=[model], policies=[*again, Retry()])
    run = loop.run_now(task)
    assert (run.outcome, run.output_data) == (Outcome.exhausted, "nearly")
    assert run.why == "no call fits what is left: the best answer so far, by degrade:dear, is kept"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"least": 0}, "Degrade(least=0): give a whole number of at least 1"),
        ({"models": ("cheap",)}, "Degrade('cheap'): name a model as 'provider:model'"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Degrade(**wrong)
