"""The laws of the loop, over worlds that answer with anything: replies, failures, tool results."""

import asyncio
from collections.abc import Coroutine, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve, field, frozen
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loopwright import Budget, Outcome, Policy, Task, unlimited
from loopwright.budget import DEFAULTS, defaults, limits
from loopwright.calls import (
    Failure,
    ModelCall,
    Question,
    Reply,
    Request,
    Text,
    ToolCall,
    Usage,
)
from loopwright.events import Decided, Event, Failed, Intended, Resumed, Returned, Setting, Started
from loopwright.fold import blank, fold, folded
from loopwright.house import Doubt, Fitting
from loopwright.live import Live
from loopwright.loop import loop
from loopwright.models.catalogue import set_price
from loopwright.policies import Approve, Escalate, Judge, Retry
from loopwright.policy import flat
from loopwright.port import Inline, Port
from loopwright.run import Run
from loopwright.tools import tool

# A first call may cost some 0.08 USD: a run under the default limits can come far, and be cut off.
set_price("world:weak", input=50, output=100)
set_price("world:strong", input=250, output=450)
set_price("world:judge", input=5, output=45)


@tool(effect="read")
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@tool(effect="unsafe")
async def send(to: str) -> str:
    """Send it."""
    if to == "nobody":
        raise ValueError("there is nobody")
    return f"sent to {to}"


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


def picky(answer: str) -> str | None:
    if answer == "7":
        raise RuntimeError("cannot tell about 7")
    return None if answer != "13" else "Not 13."


JUDGE = Judge("It is 42.", model="world:judge")
TASK = Task("Do {what}.", tools=[double, send], checks=[digits, picky])
JUDGED = Task("Do {what}.", tools=[double, send], checks=[digits, JUDGE, picky, JUDGE])
tasks = st.sampled_from([TASK, JUDGED])

calls = st.one_of(
    st.builds(lambda n: ToolCall("same", "double", {"number": n}), st.integers(0, 3)),
    st.builds(lambda to: ToolCall("same", "send", {"to": to}), st.sampled_from(["Ada", "nobody"])),
    st.just(ToolCall("x", "double", {"number": "two"})),
    st.just(ToolCall("x", "missing", {})),
    st.just(ToolCall("x", "send", {}, malformed="line 1: not JSON")),
)
verdicts = st.sampled_from(["accept", "reject", "undecided"]).map(
    lambda verdict: f'{{"reason": "So it is.", "verdict": "{verdict}"}}'
)
texts = st.sampled_from(["42", "13", "7", "no idea", ""]) | verdicts
replies = st.one_of(
    texts.map(lambda text: Reply((Text(text),), "stop", Usage(3, output_visible=2))),
    st.lists(calls, min_size=1, max_size=3).map(
        lambda batch: Reply(tuple(batch), "tool_calls", Usage(5, output_visible=4))
    ),
    st.builds(
        lambda batch, finish: Reply((Text("cut"), *batch), finish, None),
        st.lists(calls, max_size=2),
        st.sampled_from(["length", "refusal", "filter", "paused", "error"]),
    ),
)
failures = st.builds(
    Failure,
    st.sampled_from(["rate_limited", "overloaded", "timeout", "cut_stream", "bad_request"]),
    st.just("it failed"),
    st.sampled_from([None, 0.0, 30.0, 500.0]),
    st.booleans(),
    st.sampled_from([None, 429, 500]),
)
worlds = st.lists(replies | failures, min_size=1, max_size=12)
rules = st.lists(
    st.one_of(
        st.builds(Retry, st.integers(0, 3), st.just(0.0), patience=st.sampled_from([0.0, 600.0])),
        st.builds(Escalate, st.just("world:strong"), person=st.booleans()),
        st.builds(lambda: Escalate(person=True)),
        st.builds(Approve, st.sampled_from(["send", "*", "none"])),
    ),
    max_size=4,
)


@frozen
class World:
    """Answers the n-th model call of a run with the n-th thing that it was given."""

    script: Sequence[Reply | Failure]
    name: str = "world"
    asked: list[int] = field(factory=list)

    async def reply(self, request: Request) -> Reply | Failure:
        self.asked.append(len(request.messages))
        return self.script[(len(self.asked) - 1) % len(self.script)]


def world(script: Sequence[Reply | Failure], asked: int = 0) -> World:
    return World(script, asked=[0] * asked)


def person(question: Question, run: Run) -> str:
    return {"approval": "approve", "doubt": "run it again", "answer": "99"}[question.purpose]


def house(rules: Sequence[Policy]) -> tuple[Policy, ...]:
    policies = flat(rules)
    return (Doubt(), Fitting(), *policies, defaults(policies))


def setting(policies: Sequence[Policy]) -> Setting:
    return Setting("world:weak", limits=limits(policies), by="a test")


def beginning(policies: Sequence[Policy], port: Port) -> Started:
    return Started(
        port.now(), "r", "task", "Do it.", setting(policies), inputs={"what": "it"}, max_tokens=64
    )


async def carried(run: Run, first: Event, policies: Sequence[Policy], port: Port) -> Run:
    run = await port.record(run, [first])
    async for after in loop(run, policies, port):
        run = after
    return run


def driven(coroutine: Coroutine[Any, Any, Run]) -> Run:
    """Finish a coroutine that never waits with a single send."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the loop waited, though its port never does")


def inline(script: Sequence[Reply | Failure], rules: Sequence[Policy], task: Task = TASK) -> Run:
    policies = house(rules)
    port = Inline({"world": world(script)}, person)
    return driven(carried(blank("r", task), beginning(policies, port), policies, port))


def timeless(events: Sequence[Event]) -> list[Event]:
    """The events without what the clock says."""
    bare = []
    for event in events:
        kept: dict[str, Any] = {f: 0.0 for f in ("time", "seconds") if hasattr(event, f)}
        kept |= {"traceback": ""} if hasattr(event, "traceback") else {}
        bare.append(evolve(event, **kept) if not isinstance(event, Started) else event.prompt)
    return bare


FAR: dict[str, tuple[list[Any], int]] = {
    "accepted": (["no idea", "42"], 2),
    "rejected": (["no idea"], 6),
    "exhausted": ([ToolCall("x", "double", {"number": 1})], 25),
    "failed": (["no idea", Failure("bad_request", "it failed", None, False, 400)], 2),
}


@pytest.mark.parametrize("outcome", FAR)
def test_the_laws_see_runs_that_come_far(outcome: str) -> None:
    """Prices and limits change: where no call can be made, no law can be broken."""
    said, calls = FAR[outcome]
    usage = Usage(3, output_visible=2)
    script = [
        one
        if isinstance(one, Failure)
        else Reply((one,), "tool_calls", usage)
        if isinstance(one, ToolCall)
        else Reply((Text(one),), "stop", usage)
        for one in said
    ]
    run = inline(script, [Retry(2, 0.0), Escalate("world:strong")])
    assert (run.outcome, run.spent.model_calls) == (outcome, calls)


@given(worlds, rules, tasks)
def test_every_run_ends_and_its_events_fold_to_it(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    assert run.outcome is not None
    assert run.outcome is not Outcome.waiting
    assert folded(run.events, task) == run
    assert run.verified <= (run.outcome is Outcome.accepted)


@settings(max_examples=40)
@given(worlds, rules, tasks)
def test_asyncio_and_driving_by_hand_are_the_same(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    assume(not any(isinstance(s, Failure) and s.retry_after for s in script))
    policies = house(rules)
    port = Live({"world": world(script)}, person)
    begin = beginning(policies, port)
    live = asyncio.run(carried(blank("r", task), begin, policies, port))
    by_hand = inline(script, rules, task)
    assert live.outcome == by_hand.outcome
    assert live.messages == by_hand.messages
    assert _settled(live) == _settled(by_hand)


def _settled(run: Run) -> list[Event]:
    """What happened, without the order in which parallel tools came back."""
    return sorted(timeless(run.events), key=repr)


@settings(max_examples=60)
@given(worlds, rules, tasks, st.data())
def test_resuming_anywhere_is_as_if_nothing_had_happened(
    script: list[Reply | Failure], rules: list[Policy], task: Task, data: st.DataObject
) -> None:
    rules = [*rules, Budget(usd=unlimited, tokens=unlimited, seconds=unlimited)]
    whole = inline(script, rules, task)
    assume(whole.outcome is not Outcome.exhausted)
    cut = data.draw(st.integers(1, whole.seq - 1), label="events before the crash")
    before = folded(whole.events[:cut], task)
    policies = house(rules)
    answered = sum(
        isinstance(e, Returned | Failed) and _of_model(e.call, whole) for e in before.events
    )
    port = Inline({"world": world(script, answered)}, person)
    port.clock = before.time
    again = Resumed(port.now(), setting(policies))
    resumed = driven(carried(before, again, policies, port))
    assert resumed.outcome == whole.outcome
    assert resumed.output_data == whole.output_data
    assert [m.text for m in resumed.messages] == [m.text for m in whole.messages]
    assert [len(m.blocks) for m in resumed.messages] == [len(m.blocks) for m in whole.messages]
    assert resumed.models == whole.models


def _of_model(call: str, run: Run) -> bool:
    return any(
        isinstance(e, Intended) and e.call.id == call and isinstance(e.call, ModelCall)
        for e in run.events
    )


budgets = st.builds(
    Budget,
    usd=st.sampled_from(["0", "0.2", "1", "3", None]),
    tokens=st.sampled_from([0, 2000, 9000, None]),
    seconds=st.sampled_from([0, 1, 40, 600]),
    model_calls=st.integers(0, 6),
    tool_calls=st.integers(0, 4),
    steps=st.sampled_from([0, 3, 8, None]),
)


@given(worlds, rules, tasks, budgets, st.integers(0, 4))
def test_nothing_makes_a_run_exceed_its_budget(
    script: list[Reply | Failure], rules: list[Policy], task: Task, budget: Budget, at: int
) -> None:
    rules.insert(min(at, len(rules)), budget)
    run = inline(script, rules, task)
    assert run.outcome is not None
    held = {**DEFAULTS, **budget.limits}
    so_far = blank("r", task)
    for event in run.events:
        so_far = fold(so_far, event)
        assert so_far.spent.at_most <= Decimal(held["usd"]) * 10**9
        assert so_far.spent.tokens <= held["tokens"]
        assert so_far.spent.model_calls <= held["model_calls"]
        assert so_far.spent.tool_calls <= held["tool_calls"]
        if isinstance(event, Intended):
            assert so_far.seconds <= held["seconds"] + 0.01


@given(worlds, rules, tasks)
def test_a_result_in_the_log_is_never_produced_again(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    done: set[str] = set()
    for event in inline(script, rules, task).events:
        if isinstance(event, Intended):
            assert event.call.id not in done
        if isinstance(event, Returned):
            done.add(event.call)


@given(worlds, rules, tasks)
def test_no_tool_runs_that_a_cut_reply_asked_for(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    whole = {
        call.id
        for event in run.events
        if isinstance(event, Returned) and isinstance(event.result, Reply)
        if event.result.finish in ("stop", "tool_calls")
        for call in event.result.tool_calls
    }
    tools = [e.call for e in run.events if isinstance(e, Intended) and isinstance(e.call, ToolCall)]
    assert all(call.id in whole for call in tools)
    assert all(call.name in task.tools and not call.malformed for call in tools)


@given(worlds, rules, tasks)
def test_every_tool_call_in_the_conversation_has_its_result(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    messages = list(run.messages)
    for i, message in enumerate(messages[:-1]):
        asked = [block.id for block in message.blocks if isinstance(block, ToolCall)]
        if asked:
            answers = [getattr(block, "call", None) for block in messages[i + 1].blocks]
            assert answers == asked


@given(worlds, rules, tasks)
def test_every_ending_but_a_limit_has_a_decision(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    last = [e for e in run.events if isinstance(e, Decided)][-1]
    assert run.why == last.decision.why


def test_a_stop_whose_end_was_lost_is_decided_anew() -> None:
    script = [Failure("bad_request", "it failed")]
    whole = inline(script, [])
    policies = house([])
    port = Inline({"world": world(script, 1)}, person)
    before = folded(whole.events[:-1], TASK)
    assert isinstance(before.events[-1], Decided)
    again = Resumed(port.now(), setting(policies))
    resumed = driven(carried(before, again, policies, port))
    assert (resumed.outcome, resumed.why) == (whole.outcome, whole.why)


def test_sleeps_that_begin_together_pass_together() -> None:
    port = Inline()
    begun = port.clock
    sleeps: list[Any] = [port.sleep(3.0), port.sleep(2.0)]

    async def slept() -> None:
        async with port.together(sleeps) as each:
            async for _ in each:
                pass

    asyncio.run(slept())
    assert port.clock == begun + 3.0
