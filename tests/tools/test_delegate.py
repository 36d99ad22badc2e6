"""An agent as a tool: a run of its own, inside the limits and under the eyes of the calling one."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from loopwright import BadInput, Budget, Log, Loop, Outcome, Task
from loopwright.calls import Reply, Request, Text, ToolCall, Usage
from loopwright.events import Returned
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Retry
from loopwright.tools import tool
from loopwright.tools.delegate import Delegate, delegate

PRICE = 1_000_000
"""Nano-dollars that a token of the model `paid` costs, in and out."""


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "runs.db", "process")


def paid(replies: Sequence[Any], name: str = "costing") -> Scripted:
    """A model that costs a thousandth of a dollar a token."""
    set_price(f"{name}:{name}", "1000", "1000")
    return Scripted(replies, name=name)


def said(text: str, tokens: int) -> Reply:
    return Reply((Text(text),), "stop", Usage(tokens - 1, output_visible=1))


POEM = Task("Write about {topic}.", name="poem", max_tokens=10)


def poet(model: Scripted, usd: Any, **options: Any) -> Delegate:
    return delegate(POEM, Loop(model, **options), usd=usd, name="poet")


def boss(*more: Any, topic: str = "rain") -> Scripted:
    return Scripted([ToolCall("1", "poet", {"topic": topic}), *more], name="boss")


def test_the_child_is_a_run_of_its_own_in_the_same_log(log: Log) -> None:
    agent = poet(paid([said("Oh, rain!", 50)]), "0.5")
    run = Loop(boss("Done."), log=log).run_now(Task("A poem.", tools=[agent]))
    assert run.outcome is Outcome.accepted
    assert run.cost == Decimal("0.05")
    first, child = log.runs()
    assert (first, log.run(child).parent) == (run.run_id, run.run_id)
    assert log.run(child).cost == Decimal("0.05")
    results = [m.blocks[0] for m in run.messages if m.role == "user"][1:]
    assert results[0].content == '{"outcome": "accepted", "output": "Oh, rain!"}'


def test_the_slice_is_reserved_before_the_child_begins(log: Log) -> None:
    agent = poet(paid(["never"]), "0.5")
    run = Loop(boss("Done."), policies=[Budget(usd="0.4")], log=log).run_now(
        Task("A poem.", tools=[agent])
    )
    assert len(log.runs()) == 1
    refused = [decided for decided in run.decisions if decided.policy == "Budget"]
    assert "the limit of 0.4 USD could be passed" in refused[0].decision.why  # type: ignore[union-attr]


def test_a_child_cannot_overspend(log: Log) -> None:
    greedy = paid([said("", 40)] * 100)
    agent = poet(greedy, "0.3", policies=[Retry(times=99, backoff=0), Budget(usd=1000)])
    run = Loop(boss("Done."), log=log).run_now(Task("A poem.", tools=[agent]))
    child = log.run(log.runs()[1])
    assert child.outcome is Outcome.exhausted
    assert run.spent.settled == child.spent.at_most <= 300_000_000
    assert "limit of 0.3 USD" in child.why


def test_one_more_nano_dollar_would_be_too_much(log: Log) -> None:
    model = paid([said("Oh!", 50)])
    call = next(iter(_calls(model, "1")))
    exact, less = Decimal(call) / 10**9, Decimal(call - 1) / 10**9
    for usd, asked in ((exact, 1), (less, 0)):
        model = paid([said("Oh!", 50)])
        Loop(boss("Done.")).run_now(Task("A poem.", tools=[poet(model, usd)]))
        assert len(model.requests) == asked


def _calls(model: Scripted, usd: str) -> list[int]:
    """What the calls of a child are quoted at."""
    seen: list[int] = []

    def watch(run: Any, event: Any) -> None:
        if run.parent and type(event).__name__ == "Intended":
            seen.append(event.call.quote.high)

    agent = poet(model, usd)
    Loop(boss("Done."), watch=watch, policies=[Budget(usd=5)]).run_now(
        Task("A poem.", tools=[agent])
    )
    return seen


def test_a_child_cannot_outlive_its_parent(log: Log) -> None:
    async def slow(request: Request) -> str:
        await asyncio.sleep(30)
        return "late"

    agent = poet(Scripted(slow, name="slow"), 0)
    run = Loop(boss("Done."), policies=[Budget(seconds=0.2)], log=log).run_now(
        Task("A poem.", tools=[agent])
    )
    assert run.outcome is Outcome.exhausted
    assert run.seconds < 5


def test_a_child_cannot_outrank_its_parent(log: Log) -> None:
    """What the calling run asks about is asked about in the child, too."""

    @tool
    def send(to: str) -> str:
        """Send."""
        sent.append(to)
        return "sent"

    sent: list[str] = []
    writing = Task("Write about {topic}.", tools=[send], name="poem")
    model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "Oh!"], name="poet")
    agent = delegate(writing, Loop(model), usd=0, name="poet")
    task = Task("A poem.", tools=[agent])
    loop = Loop(boss("Done."), policies=[Approve("send")], log=log)
    run = loop.run_now(task)
    child = log.runs()[1]
    assert (run.outcome, sent) == (Outcome.waiting, [])
    assert run.why.startswith(f"run {child} asks: May send be called")
    loop.answer(child, "approve", by="Ada")
    run = loop.resume_now(run.run_id, task)
    assert (run.outcome, sent) == (Outcome.accepted, ["Ada"])
    assert len(log.runs()) == 2


def test_a_child_that_ends_badly_is_told(log: Log) -> None:
    agent = poet(Scripted([], name="dumb"), 0)
    run = Loop(boss("Done."), log=log).run_now(Task("A poem.", tools=[agent]))
    (told,) = [e.result for e in run.events if isinstance(e, Returned) and e.call.endswith("-0")]
    assert told.content.startswith('{"outcome": "failed", "output": null, "why": "bad_request')  # type: ignore[union-attr]


def test_delegates_can_delegate(log: Log) -> None:
    inner = poet(paid([said("Oh!", 10)]), "0.3")
    writer = Scripted([ToolCall("1", "poet", {"topic": "rain"}), "Written."], name="writer")
    middle = delegate(
        Task("Have {what} written.", tools=[inner]), Loop(writer), usd="0.5", name="write"
    )
    model = Scripted([ToolCall("1", "write", {"what": "it"}), "Done."], name="boss")
    run = Loop(model, log=log).run_now(Task("A book.", tools=[middle]))
    grandparent, parent, child = log.runs()
    assert (log.run(child).parent, log.run(parent).parent) == (parent, grandparent)
    assert run.cost == log.run(parent).cost == log.run(child).cost == Decimal("0.01")


def test_a_crash_in_a_grandchild_resumes_the_grandchild_and_nothing_else(log: Log) -> None:
    class Crash(BaseException):
        """As if the process had died here."""

    def crashing(request: Request) -> Any:
        asked.append("child")
        if len(asked) == 1:
            raise Crash
        return said("Oh!", 10)

    asked: list[str] = []
    set_price("costing:costing", "1000", "1000")
    inner = poet(Scripted(crashing, name="costing"), "0.4")
    writer = Scripted(_once("poet", {"topic": "rain"}), name="writer")
    middle = delegate(
        Task("Have {what} written.", tools=[inner]), Loop(writer), usd="0.9", name="write"
    )
    task = Task("A book.", tools=[middle])
    loop = Loop(Scripted(_once("write", {"what": "it"}), name="boss"), log=log)
    with pytest.raises(Crash):
        loop.run_now(task)
    run = loop.resume_now(log.runs()[0], task)
    assert run.outcome is Outcome.accepted
    assert len(log.runs()) == 3
    assert [len(log.events(each)) > 4 for each in log.runs()] == [True] * 3
    models = [row["model"] for row in log.db.query("select model from model_calls")]
    assert (models.count("boss:boss"), models.count("writer:writer")) == (2, 2)
    assert asked == ["child", "child"]
    assert run.spent.at_most <= 10**9


def _once(name: str, arguments: dict[str, Any]) -> Any:
    """A model that calls this tool first, and then is done."""
    return lambda request: ToolCall("1", name, arguments) if len(request.messages) == 1 else "Done."


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "topic: Field required"),
        ({"topic": "x", "more": "y"}, "more: Unexpected argument"),
        ({"topic": 1}, "topic: Input should be a text"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], problem: str) -> None:
    model = Scripted([ToolCall("1", "poet", arguments), "Done."], name="boss")
    run = Loop(model).run_now(Task("A poem.", tools=[poet(Scripted([]), 0)]))
    assert problem in run.decisions[0].decision.why  # type: ignore[union-attr]


def test_bad_delegates() -> None:
    with pytest.raises(BadInput, match="'much' is no amount of USD"):
        poet(Scripted([]), "much")
    with pytest.raises(BadInput, match="a delegate cannot be called 'po et'"):
        delegate(POEM, Loop(Scripted([])), usd=1, name="po et")
