"""The cost of quality: figures computed by hand, and the law that each nano-dollar has a rung."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from test_laws import World, inline, rules, tasks, worlds

from loopwright import BadInput, Budget, Log, Loop, Outcome, Policy, Run, Task
from loopwright.calls import Failure, Reply, Text, ToolCall, Usage
from loopwright.decisions import Decision, Switch
from loopwright.events import Inspected, Intended
from loopwright.models.catalogue import set_price
from loopwright.policies import Escalate, Judge, Retry, Route
from loopwright.quality import PERSON, Quality, course, quality
from loopwright.tools import delegate, tool

set_price("cheap:cheap", input=1, output=1)
set_price("dear:dear", input=10, output=10)
set_price("judge:judge", input=2, output=2)


@given(worlds, rules, tasks)
def test_every_nano_dollar_has_its_rung(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    went = course(run.events)
    assert sum(cost for _, cost in went.legs) == run.spent.settled
    assert went.accepted == (run.outcome is Outcome.accepted)
    assert set(went.rungs) <= {*run.models, PERSON}
    assert set(went.answers) <= set(went.rungs)
    assert not went.accepted or run.answer is not None
    assert not went.accepted or went.by in (run.model, PERSON)


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 2))
def test_attempts_are_the_answers_that_were_looked_at(good: list[bool], times: int) -> None:
    script = [said("42" if one else "no idea") for one in good]
    run = inline(script, [Retry(times)], Task("Do {what}.", checks=[digits]))
    went = course(run.events)
    assert len(went.answers) == run.attempt
    assert went.accepted == any((good * 3)[: times + 1])


def said(text: str, tokens: int = 100) -> Reply:
    return Reply((Text(text),), "stop", Usage(tokens - 10, output_visible=10))


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


@tool(effect="read")
def look() -> str:
    """Look."""
    return "seen"


SUM = Task("6 * 7?", checks=[digits], name="sum")
LADDER = (Escalate("dear:dear"), Budget(usd="5"))
FEW = (Budget(usd="5"),)


def carry_out(
    log: Log,
    cheap: Sequence[Any],
    dear: Sequence[Any] = (),
    task: Task = SUM,
    model: str = "cheap:cheap",
    **options: Any,
) -> Run:
    verdict = said('{"reason": "So it is.", "verdict": "accept"}', 50)
    worlds = [World(cheap, "cheap"), World(dear, "dear"), World([verdict], "judge")]
    options = {"policies": LADDER, **options}
    return Loop(model, providers=worlds, log=log, **options).run_now(task)


def test_the_saving_of_a_ladder_by_hand(log: Log) -> None:
    """Nine answers of the cheap model at 100 tokens, and one of the dear one at 200."""
    for _ in range(9):
        carry_out(log, [said("42")])
    carry_out(log, [said("no idea")], [said("42", 200)])
    (row,) = quality(log)
    cheap, dear = 100_000, 2_000_000
    assert (row.task, row.runs, row.accepted, row.first_try) == ("sum", 10, 10, 9)
    assert row.cost == 10 * cheap + dear
    assert row.cost_of_accepted == (10 * cheap + dear) / 10
    assert row.always_cheap == 10 * cheap
    assert row.always_strong == 10 * dear
    assert row.saving == 10 * dear - (10 * cheap + dear)
    assert [(r.model, r.runs, r.attempts, r.accepted, r.cost) for r in row.rungs] == [
        ("cheap:cheap", 10, 10, 9, 10 * cheap),
        ("dear:dear", 1, 1, 1, dear),
    ]


def test_one_model_saves_nothing_and_is_exact(log: Log) -> None:
    carry_out(log, [said("no idea"), said("42")], policies=[Retry(times=1)])
    (row,) = quality(log)
    assert row.cost == row.always_cheap == row.always_strong == row.cost_of_accepted == 200_000
    assert (row.saving, row.first_try, row.rungs[0].attempts) == (0, 0, 2)


def test_what_was_not_accepted_costs_all_the_same(log: Log) -> None:
    carry_out(log, [said("no idea")], policies=[])
    (row,) = quality(log)
    assert (row.accepted, row.cost, row.cost_of_accepted) == (0, 100_000, None)
    carry_out(log, [said("42")], policies=[])
    carry_out(log, [said("42", 101)], policies=[])
    assert quality(log)[0].cost_of_accepted == 150_500


def test_a_judge_costs_the_rung_whose_answer_it_judges(log: Log) -> None:
    judged = Task("6 * 7?", checks=[digits, Judge("It is 42.", model="judge:judge")], name="sum")
    carry_out(log, [said("no idea")], [said("42")], task=judged)
    (row,) = quality(log)
    assert [rung.cost for rung in row.rungs] == [100_000, 1_000_000 + 100_000]
    assert [rung.attempts for rung in row.rungs] == [1, 1]


def test_a_tool_call_is_no_attempt(log: Log) -> None:
    call = Reply((ToolCall("x", "look", {}),), "tool_calls", Usage(100))
    carry_out(log, [call, said("42")], task=Task("6 * 7?", tools=[look], name="sum"))
    (row,) = quality(log)
    assert (row.first_try, row.cost, row.rungs[0].attempts) == (1, 200_000, 1)


def test_a_person_is_the_last_rung_and_no_model(log: Log) -> None:
    ladder = [Escalate("dear:dear", person=True)]
    wrong = [said("no idea")]
    carry_out(log, wrong, wrong, policies=ladder, ask=lambda question, run: "42")
    (row,) = quality(log)
    assert [(r.model, r.accepted, r.cost) for r in row.rungs][1:] == [
        ("dear:dear", 0, 1_000_000),
        (PERSON, 1, 0),
    ]
    assert (row.always_cheap, row.always_strong) == (100_000, 1_000_000)


def test_what_the_log_does_not_tell_is_not_guessed(log: Log) -> None:
    carry_out(log, [said("no idea")], [said("42")])
    carry_out(log, [], [said("42")], model="dear:dear")
    (row,) = quality(log)
    assert row.always_cheap is None
    assert row.always_strong == 2_000_000
    assert [rung.model for rung in row.rungs] == ["cheap:cheap", "dear:dear"]


def test_a_run_that_reached_no_model(log: Log) -> None:
    carry_out(log, [], policies=[Budget(model_calls=0)])
    (row,) = quality(log)
    assert (row.runs, row.cost, row.rungs) == (1, 0, ())
    assert (row.always_cheap, row.always_strong, row.saving) == (None, None, None)


def test_a_call_in_doubt_counts_when_it_is_reconciled(log: Log) -> None:
    lost = Failure("connection", "the line went dead")
    run = carry_out(log, [lost], policies=[])
    assert quality(log)[0].cost == 0
    log.reconcile(run.run_id, "m1", "0.0001")
    (row,) = quality(log)
    assert row.cost == row.rungs[0].cost == row.always_cheap == 100_000


def test_what_is_reconciled_late_counts_on_its_own_rung(log: Log) -> None:
    def moves(run: Run) -> Decision | None:
        return Switch("dear:dear") if run.moment == "failure" else None

    lost = Failure("connection", "the line went dead")
    run = carry_out(log, [lost], [said("42")], policies=[moves])
    log.reconcile(run.run_id, "m1", "0.0001")
    assert [rung.cost for rung in quality(log)[0].rungs] == [100_000, 1_000_000]


def test_an_answer_that_is_judged_twice_is_one_attempt(log: Log) -> None:
    judged = Task("6 * 7?", checks=[Judge("It is 42.", model="judge:judge")], name="sum")
    *before, decided, ended = carry_out(log, [said("42")], task=judged).events
    verdict = next(e for e in before if isinstance(e, Intended) and e.call.id.startswith("j"))
    again = [Intended(0.0, evolve(verdict.call, id="j99")), Inspected(0.0, checks=1)]
    assert course([*before, *again, decided, ended]).answers == ("cheap:cheap",)


def test_a_row_for_each_task_and_version(log: Log) -> None:
    carry_out(log, [said("42")])
    carry_out(log, [said("42")], task=Task("6 times 7?", checks=[digits], name="sum"))
    carry_out(log, [said("42")], task=Task("6 times 7?", checks=[digits], name="again"))
    report = quality(log)
    assert [row.task for row in report] == ["again", "sum", "sum"]
    assert report[1].version != report[2].version
    assert report.summary["runs"] == 3
    assert [row.task for row in quality(log, task="again")] == ["again"]
    assert list(quality(log, since="2999-01-01")) == []
    with pytest.raises(BadInput, match="since='soon'"):
        quality(log, since="soon")


def test_the_rows_are_plain(log: Log) -> None:
    carry_out(log, [said("no idea")], [said("42")])
    ((row,), report) = (quality(log).rows(), quality(log))
    assert isinstance(report[0], Quality)
    assert row["accepted_usd"] == 0.0011
    assert row["saving_usd"] == -0.0001
    assert row["rungs"] == (
        "cheap:cheap: 0 of 1 for 0.000100 USD; dear:dear: 1 of 1 for 0.001000 USD"
    )
    assert report[0].rungs[0].row()["cost_nano"] == 100_000
    assert {type(value) for value in row.values()} <= {str, int, float, type(None)}
    assert "cheap:cheap: 0 of 1" in report._repr_html_()


def test_what_chose_the_model_costs_its_rung(log: Log) -> None:
    """A classifier is asked before there is a rung, and is paid all the same."""
    route = Route.classified("judge:judge", {"easy": "cheap:cheap", "hard": "dear:dear"})
    worlds = [World([said("42")], "cheap"), World([said("easy", 50)], "judge"), World([], "dear")]
    Loop("cheap:cheap", providers=worlds, log=log, policies=[route]).run_now(SUM)
    (row,) = quality(log)
    assert [(rung.model, rung.cost) for rung in row.rungs] == [("cheap:cheap", 200_000)]
    assert row.cost == 200_000


def test_what_came_to_no_model_costs_what_it_cost(log: Log) -> None:
    route = Route.classified("judge:judge", {"easy": "cheap:cheap", "hard": "dear:dear"})
    worlds = [World([said("easy", 50)], "judge"), World([], "cheap"), World([], "dear")]
    limits = [route, Budget(model_calls=1)]
    Loop("cheap:cheap", providers=worlds, log=log, policies=limits).run_now(SUM)
    (row,) = quality(log)
    assert (row.cost, row.rungs, row.always_cheap) == (100_000, (), None)


def test_an_agent_costs_the_rung_that_called_it_and_nobody_else(log: Log) -> None:
    child = Loop("dear:dear", providers=[World([said("It rains.")], "dear")])
    poet = delegate(Task("Write.", name="poem"), child, usd=1, name="poet")
    call = Reply((ToolCall("x", "poet", {}),), "tool_calls", Usage(100))
    carry_out(log, [call, said("42")], task=Task("6 * 7?", tools=[poet], name="sum"), policies=FEW)
    report = quality(log)
    assert [(row.task, row.cost) for row in report] == [("sum", 200_000 + 1_000_000)]
    assert report[0].cost == report[0].rungs[0].cost
    assert report.summary["cost_usd"] == 0.0012
    assert [(row.task, row.cost) for row in quality(log, task="poem")] == [("poem", 1_000_000)]
