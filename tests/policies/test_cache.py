"""`CacheReplies`: the same request is answered from the log, and only the same."""

import logging
from pathlib import Path
from typing import Any

import pytest

from loopwright import BadInput, Log, Loop, Options, Outcome, Task
from loopwright.calls import Failure, Reply, Text, ToolCall, Usage
from loopwright.events import Returned
from loopwright.models import Scripted
from loopwright.models.catalogue import set_price
from loopwright.models.rehearsal import Rehearsal
from loopwright.policies.cache import CacheReplies
from loopwright.policies.vote import Vote
from loopwright.tools import tool

set_price("cachable:cachable", input=1, output=1)
TASK = Task("Greet {name}.")


@tool(effect="read")
def look() -> str:
    """Look."""
    return "nothing"


def cached(model: Any, log: Log, seconds: float = 3600, **options: Any) -> Loop:
    return Loop(model, log=log, ports=[CacheReplies(seconds=seconds, **options)])


def test_a_hit_costs_nothing_and_says_so(log: Log) -> None:
    model = Scripted(["Hello."], name="cachable")
    first = cached(model, log).run_now(TASK, name="Ada")
    again = cached(model, log).run_now(TASK, name="Ada")
    assert (first.output, again.output, len(model.requests)) == ("Hello.", "Hello.", 1)
    assert (first.spent.settled > 0, again.spent.settled, again.spent.reserved) == (True, 0, 0)
    (event,) = [e for e in log.run(again.run_id).events if isinstance(e, Returned)]
    assert isinstance(event.result, Reply)
    assert event.result.usage is not None
    assert event.result.usage.raw["cached"]["input_uncached"] > 0
    assert event.cost.table == "cached"
    assert list(log.db.query("select price_table from model_calls"))[1] == {"price_table": "cached"}


OTHERS: dict[str, Task] = {
    "prompt": Task("Welcome {name}."),
    "system": Task("Greet {name}.", system="Be brief."),
    "output": Task("Greet {name}.", output=list[str]),
    "options": Task("Greet {name}.", options=Options(effort="low")),
    "tokens": Task("Greet {name}.", max_tokens=17),
    "tools": Task("Greet {name}.", tools=[look]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_only_what_sends_the_same_is_the_same(log: Log, other: str) -> None:
    model = Scripted(lambda request: '["Hello."]')
    loop = cached(model, log)
    loop.run_now(TASK, name="Ada")
    loop.run_now(OTHERS[other], name="Ada")
    assert len(model.requests) == 2


def test_what_is_not_sent_makes_no_difference(log: Log) -> None:
    model = Scripted(["Hello."])
    for task in (TASK, Task("{greet} {name}.", label="another")):
        inputs = {name: {"greet": "Greet", "name": "Ada"}[name] for name in task.fields}
        assert cached(model, log).run_now(task, **inputs).output == "Hello."


def test_another_model_is_another_request(log: Log) -> None:
    one, two = Scripted(["1"], name="one"), Scripted(["2"], name="two")
    assert [cached(model, log).run_now(Task("x")).output for model in (one, two)] == ["1", "2"]


def test_a_reply_that_is_too_old_is_asked_for_anew(log: Log) -> None:
    model = Scripted(["old", "new"])
    cached(model, log).run_now(Task("x"))
    log.db.execute("update kept set until = until - 3601")
    assert cached(model, log).run_now(Task("x")).output == "new"
    assert log.db["kept"].count == 1


NOT_KEPT: dict[str, Any] = {
    "a failure": Failure("overloaded", "busy", None, False, 529),
    "a refusal": Reply((Text("I will not."),), "refusal", Usage(1)),
    "what was cut": Reply((Text("Once upon"),), "length", Usage(1)),
    "what a filter withheld": Reply((Text("…"),), "filter", Usage(1)),
    "nothing": Reply((), "stop", Usage(1)),
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_what_is_not_kept(log: Log, case: str) -> None:
    model = Scripted([NOT_KEPT[case], "whole"])
    assert cached(model, log).run_now(Task("x")).outcome is not Outcome.accepted
    assert cached(model, log).run_now(Task("x")).output == "whole"


@pytest.mark.parametrize(("tools", "asked"), [(False, 3), (True, 2)])
def test_tool_calls_are_kept_only_if_that_is_asked_for(log: Log, tools: bool, asked: int) -> None:
    script = [ToolCall("1", "look"), "ok", ToolCall("1", "look")]
    model = Scripted(script)
    task = Task("x", tools=[look])
    for _ in range(2):
        run = cached(model, log, tools=tools).run_now(task)
        assert (run.output, run.spent.tool_calls) == ("ok", 1)
    assert len(model.requests) == asked


def test_samples_of_the_same_question_stay_samples(log: Log) -> None:
    others = Scripted(["1", "2"], name="others")
    task = Task("x", checks=[Vote(["others:others"], samples=2)])
    for _ in range(2):
        loop = Loop(Scripted(["2"]), providers=[others], log=log, ports=[CacheReplies(3600)])
        assert loop.run_now(task).verified
    assert len(others.requests) == 2


def test_a_secret_is_not_kept(log: Log, tmp_path: Path) -> None:
    secret = "sk-ant-abcdefghijklmnopqrstuvwxyz"
    cached(Scripted([f"It is {secret}."]), log).run_now(Task("x"))
    assert list(log.db.query("select count(*) as n from kept")) == [{"n": 1}]
    assert not any(secret in row["text"] for row in log.db.query("select text from kept"))


def test_a_broken_table_is_told_and_the_model_asked(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    log.db.execute("drop table kept")
    with caplog.at_level(logging.WARNING, "loopwright"):
        assert cached(Scripted(["ok"]), log).run_now(Task("x")).output == "ok"
    assert "what the log keeps for a while cannot be used" in caplog.text


def test_over_the_wire(log: Log) -> None:
    with Rehearsal(["Hello."]) as rehearsal:
        loop = Loop(
            "openai:gpt-6-luna",
            providers=[rehearsal.openai()],
            log=log,
            ports=[CacheReplies(60)],
        )
        runs = [loop.run_now(TASK, name="Ada") for _ in range(2)]
    assert [run.output for run in runs] == ["Hello.", "Hello."]
    assert len(rehearsal.requests) == 1


def test_what_cannot_be() -> None:
    with pytest.raises(BadInput, match="at least 1"):
        CacheReplies(seconds=0)
    with pytest.raises(BadInput, match="give the loop one, with log="):
        Loop(Scripted(["x"]), ports=[CacheReplies(1)]).run_now(Task("x"))
