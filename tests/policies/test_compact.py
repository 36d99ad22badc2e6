"""`Compact`: a shorter conversation where it is needed or cheaper; the log keeps the whole."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Log, Loop, Run, Task
from loopwright.calls import (
    SUMMARY,
    Compaction,
    Failure,
    Message,
    ModelCall,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.decisions import Amend, TryAgain
from loopwright.events import Decided, Event, Failed, Returned, Setting
from loopwright.models import Scripted
from loopwright.models.catalogue import capabilities, set_price
from loopwright.models.rehearsal import CallTool, Rehearsal
from loopwright.policies.compact import Compact
from loopwright.run import weight
from loopwright.tools import tool
from loopwright.trail import Trail

HAIKU = "anthropic:claude-haiku-4-5"
CONTEXT = capabilities(HAIKU).context or 0

set_price("cached:model", input=10, output=10, cache_read=1)
set_price("plain:model", input=10, output=10)


def grown(exchanges: int, size: int, model: str = "plain:model", **changes: Any) -> Run:
    """A run before the call that follows so many tool calls, with results of `size` bytes."""
    messages = [Message("user", [Text("Find it.")])]
    for i in range(exchanges):
        messages.append(Message("assistant", [ToolCall(str(i), "look", {"n": i})]))
        messages.append(Message("user", [ToolResult(str(i), "x" * size)]))
    call = ModelCall("m9", model, upto=len(messages), compaction=changes.get("compaction"))
    return Run("r", Setting(model)).but(
        moment="call",
        call=call,
        messages=Trail(messages),
        size=sum(map(weight, messages)),
        **changes,
    )


def amended(run: Run, policy: Compact) -> ModelCall | None:
    decision = policy.decide(run)
    if decision is None:
        return None
    assert isinstance(decision, Amend)
    assert isinstance(decision.call, ModelCall)
    return decision.call


CHEAP = Compact(tokens=1000, keep=2)
FULL = CONTEXT * 3 // 10


def test_what_fits_stays() -> None:
    assert amended(grown(4, 10, HAIKU), Compact()) is None
    assert amended(grown(4, FULL, "nobody:knows"), Compact()) is None
    assert amended(grown(4, 600), CHEAP) is None


def test_near_the_limit_old_results_are_cut() -> None:
    run = grown(12, FULL, HAIKU)
    call = amended(run, Compact())
    assert call is not None
    assert (call.purpose, call.compaction) == ("answer", Compaction(19, "", 400))
    seen = run.seen(call)
    assert [len(m.blocks) for m in seen] == [1] * 25
    assert seen[-6:] == list(run.messages)[-6:]


def test_with_a_model_a_summary_takes_its_place_if_cutting_is_not_enough() -> None:
    summing = Compact(model="plain:model")
    trimmed = amended(grown(12, FULL, HAIKU), summing)
    assert trimmed is not None
    assert trimmed.purpose == "answer"  # the three results that are kept fill three tenths
    call = amended(grown(12, 2 * FULL, HAIKU), summing)
    assert call is not None
    assert (call.purpose, call.model, call.upto, call.max_tokens) == (
        *(SUMMARY, "plain:model"),
        *(19, 1024),
    )
    assert "user: Find it." in call.messages[0].text


def test_what_stands_above_a_cut_stays_a_pair() -> None:
    for keep in range(1, 12):
        call = amended(grown(12, FULL, HAIKU), Compact(keep=keep, model="plain:model"))
        if call is not None:
            assert call.upto % 2 == 1  # the messages of the assistant have odd numbers


def test_a_summary_is_summed_up_with_what_came_after_it() -> None:
    before = Compaction(5, "It is not in A.")
    run = grown(12, FULL, HAIKU, compaction=before)
    call = amended(run, Compact(model="plain:model"))
    assert call is not None
    assert call.purpose == SUMMARY
    assert "[What happened so far] It is not in A." in call.messages[0].text
    assert amended(run, Compact()) is None  # to cut results would lose the summary


def test_what_was_shortened_is_not_shortened_again() -> None:
    run = grown(12, FULL, HAIKU)
    call = amended(run, Compact())
    assert call is not None
    assert amended(run.but(call=call), Compact()) is None


def test_a_failed_summary_is_not_tried_again() -> None:
    failed = {"m5": Failure("overloaded", "busy")}
    call = amended(grown(12, 2 * FULL, HAIKU, verdicts=failed), Compact(model="plain:model"))
    assert call is not None
    assert call.purpose == "answer"
    of_judge = {"j5-0-0": Failure("overloaded", "busy")}
    call = amended(grown(12, 2 * FULL, HAIKU, verdicts=of_judge), Compact(model="plain:model"))
    assert call is not None
    assert call.purpose == SUMMARY


def replied(cached: int) -> Trail[Event]:
    return Trail([Returned(1.0, "m1", Reply((), "stop", Usage(1, cache_read=cached)))])


@pytest.mark.parametrize(
    ("model", "cached", "calls", "shortens"),
    [
        ("plain:model", 0, 1, True),  # nothing to lose
        ("cached:model", 0, 1, True),
        ("cached:model", 4000, 1, False),  # re-reading the whole costs less than reading the rest
        ("cached:model", 4000, 20, True),  # but not for ever
        ("scripted:free", 4000, 1, True),
        ("nobody:knows", 4000, 1, True),
    ],
)
def test_what_is_dear_is_compared_with_the_cache(
    model: str, cached: int, calls: int, shortens: bool
) -> None:
    """4,000 tokens at a tenth of the price are 4, and the 1,600 or so that are left are 16."""
    run = grown(4, 3000, model, events=replied(cached))
    policy = Compact(tokens=2000, keep=4, calls=calls)
    assert (amended(run, policy) is not None) == shortens


@given(st.integers(0, 5000), st.integers(1, 30), st.integers(1, 5), st.integers(0, 4000))
def test_more_in_the_cache_never_makes_shortening_cheaper(
    cached: int, calls: int, keep: int, more: int
) -> None:
    policy = Compact(tokens=1000, keep=keep, calls=calls)
    some = amended(grown(4, 3000, "cached:model", events=replied(1 + cached)), policy)
    most = amended(grown(4, 3000, "cached:model", events=replied(1 + cached + more)), policy)
    assert most is None or some is not None


def test_what_was_too_long_is_shortened_and_sent_again() -> None:
    failure = Failure("context_too_long", "too long", status=400)
    run = grown(6, 2000)
    failed = run.but(moment="failure", failure=failure)
    assert isinstance(Compact().decide(failed), TryAgain)
    assert Compact(keep=20).decide(failed) is None
    assert Compact().decide(run.but(moment="failure", failure=Failure("timeout", ""))) is None
    again = Decided(2.0, "failure", "Compact", TryAgain())
    events = Trail[Event]([Failed(1.0, "m9", failure), again])
    call = amended(run.but(events=events), Compact())
    assert call is not None
    assert call.compaction == Compaction(7, "", 400)


def test_only_calls_for_the_answer_are_shortened() -> None:
    run = grown(12, FULL, HAIKU)
    assert run.call is not None
    for changes in ({"purpose": "Judge"}, {"messages": (Message("user", [Text("x")]),)}):
        assert Compact().decide(run.but(call=evolve(run.call, **changes))) is None
    assert Compact().decide(run.but(call=ToolCall("1", "look"))) is None
    assert Compact().decide(run.but(moment="answer")) is None


@tool(effect="read")
def look(n: int) -> str:
    """Look there."""
    return f"{n}: {'nothing ' * 200}"


def looking(times: int) -> list[Any]:
    return [*(CallTool("look", {"n": n}) for n in range(times)), "It is not there."]


def test_a_run_goes_on_with_less_and_the_log_keeps_all(log: Log) -> None:
    with Rehearsal(looking(6)) as rehearsal:
        loop = Loop(
            HAIKU,
            providers=[rehearsal.anthropic()],
            policies=[Compact(tokens=2000, keep=2, longest=20)],
            log=log,
        )
        run = loop.run_now(Task("Find it.", tools=[look]))
    assert run.output == "It is not there."
    last = str(rehearsal.requests[-1].body["messages"])
    assert last.count("characters left out]") >= 3
    assert last.count("nothing " * 200) == 2
    kept = [
        b.content
        for m in log.run(run.run_id).messages
        for b in m.blocks
        if isinstance(b, ToolResult)
    ]
    assert kept == [look(n) for n in range(6)]
    (why,) = {
        row["why"].split(",")[1]
        for row in log.db.query("select why from decisions where policy = 'Compact'")
    }
    assert why == " and shorter is cheaper"


def test_a_summary_in_a_run() -> None:
    def model(request: Any) -> Any:
        asked = len(model_.requests)
        return ToolCall("1", "look", {"n": asked}) if asked < 7 else "It is not there."

    model_ = Scripted(model)
    cheap = Scripted(lambda request: "Looked in vain.", name="brief")
    policy = Compact(tokens=1000, keep=2, longest=1500, model="brief:brief")
    run = Loop(model_, providers=[cheap], policies=[policy]).run_now(Task("Find it.", tools=[look]))
    assert run.output == "It is not there."
    assert cheap.requests
    assert run.compaction is not None
    assert run.compaction.summary == "Looked in vain."
    seen = model_.requests[-1].messages
    assert [m.text for m in seen[:2]] == ["Find it.", "[What happened so far] Looked in vain."]


def test_a_summary_that_fails_leaves_the_run_going() -> None:
    model = Scripted(
        lambda request: ToolCall("1", "look", {"n": 1}) if len(model.requests) < 4 else "ok"
    )
    cheap = Scripted(lambda request: Failure("overloaded", "busy", None, False, 529), name="brief")
    policy = Compact(tokens=100, keep=2, longest=1500, model="brief:brief")
    run = Loop(model, providers=[cheap], policies=[policy]).run_now(Task("x", tools=[look]))
    assert run.output == "ok"
    assert len(cheap.requests) == 1


@pytest.mark.parametrize(
    "given", [{"share": 0}, {"share": 2}, {"tokens": 0}, {"model": "x"}, {"keep": 0}, {"calls": 0}]
)
def test_what_cannot_be(given: Any) -> None:
    with pytest.raises(BadInput, match="Compact"):
        Compact(**given)
