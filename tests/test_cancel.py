"""Cancel: from any process, before anything more is done."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from killed import Outside, waits
from processes import TAKEN, ended, launched
from test_kills import wait_for

from loopwright import BadInput, Budget, Log, Loop, Outcome, RunNotFound, RunTaken, Task
from loopwright.calls import Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.events import Ended
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve
from loopwright.run import Run
from loopwright.tools import delegate, tool


def sending(folder: Path) -> Task:
    outside = Outside(folder)

    @tool(effect="unsafe")
    def send() -> str:
        """Send."""
        outside.note("sent")
        return "sent"

    return Task("Send it.", tools=[send], name="sending")


def said(request: Request) -> Any:
    last = request.messages[-1].blocks[-1]
    return "Done." if isinstance(last, ToolResult) else ToolCall("1", "send")


def test_a_run_of_another_process_stops_before_it_acts_again(tmp_path: Path) -> None:
    outside = Outside(tmp_path)
    process = launched(waits, tmp_path)
    wait_for(lambda: f"wait {process.pid}" in outside.noted())
    log = Log(tmp_path / "runs.db")
    (run_id,) = log.ids()
    log.cancel(run_id, by="Ada", why="a wrong prompt")
    (tmp_path / "go").touch()
    assert ended(process) == TAKEN
    run = log.run(run_id)
    assert (run.outcome, run.why) == (Outcome.cancelled, "cancelled by Ada: a wrong prompt")
    assert isinstance(run.events[-1], Ended)
    assert outside.noted().count(f"model {process.pid}") == 1
    told = (tmp_path / "told").read_text()
    assert told == (
        f"run {run_id} was ended by another process (cancelled by Ada: a wrong prompt): this "
        "process was about to write Returned there, and stops before it does anything more"
    )
    second = launched(waits, tmp_path)  # it goes on where it was, as after an interruption
    assert ended(second) == 0
    assert log.run(run_id).outcome is Outcome.accepted
    log.close()


def test_a_run_that_waits_is_over_until_it_is_resumed(log: Log, tmp_path: Path) -> None:
    task = sending(tmp_path)
    loop = Loop(Scripted(said), policies=[Approve("send")], log=log)
    run_id = loop.run_now(task).run_id
    before = time.time()
    log.cancel(run_id)
    run = log.run(run_id)
    assert (run.outcome, run.why, run.time >= before) == (Outcome.cancelled, "cancelled", True)
    query = "select outcome from runs where run = ?"
    assert log.connection.execute(query, (run_id,)).fetchall() == [("cancelled",)]
    with pytest.raises(BadInput, match="is over, as cancelled: there is nothing to cancel"):
        log.cancel(run_id)
    assert loop.resume_now(run_id, task).outcome is Outcome.waiting
    loop.answer(run_id, "approve")
    assert loop.resume_now(run_id, task).output == "Done."
    with pytest.raises(BadInput, match="is over, as accepted"):
        log.cancel(run_id, by="Ada")
    assert Outside(tmp_path).noted() == ["sent"]


def test_the_runs_below_are_cancelled_with_it(log: Log, tmp_path: Path) -> None:
    inner = Loop(Scripted(said, name="inner"), policies=[Approve("send")])
    clerk = delegate(sending(tmp_path), inner, usd=0, name="clerk")

    def asks(name: str) -> Any:
        def words(request: Request) -> Any:
            last = request.messages[-1].blocks[-1]
            return "Done." if isinstance(last, ToolResult) else ToolCall("1", name)

        return words

    middle = Task("Have it sent.", tools=[clerk], name="middle")
    boss = delegate(middle, Loop(Scripted(asks("clerk"), name="middle")), usd=0, name="boss")
    task = Task("See to it.", tools=[boss])
    loop = Loop(Scripted(asks("boss"), name="top"), log=log)
    other = loop.run_now(task)
    run = loop.run_now(task)
    log.cancel(run.run_id, by="Ada")
    for one in log.ids():
        held = log.run(one)
        mine = one.startswith(run.run_id)
        assert held.outcome is (Outcome.cancelled if mine else Outcome.waiting)
        assert one == run.run_id or not mine or held.why.endswith("was cancelled by Ada")
    assert len(log.ids()) == 6
    assert loop.resume_now(other.run_id, task).outcome is Outcome.waiting
    assert Outside(tmp_path).noted() == []


def test_what_was_reserved_may_have_been_spent(log: Log) -> None:
    """The process that carries it on is in the middle of a model call, and hears of it after."""
    set_price("priced:priced", 10, 10)
    other = Log(log.path)

    def cancels(request: Request) -> Any:
        (run_id,) = log.ids()
        other.cancel(run_id)
        return Reply((Text("Hello."),), "stop", Usage(1, output_visible=1))

    budget = Budget(usd=1, per="day", name="shop")
    loop = Loop(Scripted(cancels, name="priced"), policies=[budget], log=log)
    with pytest.raises(RunTaken, match="was ended by another process"):
        loop.run_now(Task("Greet."))
    (run_id,) = log.ids()
    spent = log.run(run_id).spent
    assert (spent.reserved, spent.presumed > 0) == (0, True)
    query = "select settled, reserved, presumed from balances"
    assert log.connection.execute(query).fetchall() == [(0, 0, spent.presumed)]
    before = log.connection.execute(query).fetchall()
    log.rebuild()
    assert log.connection.execute(query).fetchall() == before
    other.close()


def test_what_cannot_be_cancelled_is_said(log: Log) -> None:
    with pytest.raises(RunNotFound):
        log.cancel("missing")
    run: Run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    events = log.events(run.run_id)
    with pytest.raises(BadInput):
        log.cancel(run.run_id)
    assert log.events(run.run_id) == events


def test_secrets_in_the_reason_are_masked(log: Log, tmp_path: Path) -> None:
    loop = Loop(Scripted(said), policies=[Approve("send")], log=log)
    run_id = loop.run_now(sending(tmp_path)).run_id
    key = "sk-ant-" + "a1" * 20
    log.cancel(run_id, by="Ada", why=f"It told {key}.")
    database = sqlite3.connect(log.path)
    (data,) = database.execute("select data from events where type = 'Ended'").fetchone()
    database.close()
    assert key not in data
    assert "[redacted]" in data
