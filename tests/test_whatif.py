"""What-if: the same policies decide the same, other ones what they would really have decided."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import (
    World,
    beginning,
    budgets,
    carried,
    driven,
    person,
    rules,
    setting,
    tasks,
    timeless,
    world,
    worlds,
)
from test_laws import house as policies_of

from loopwright import BadInput, Budget, Log, LogError, Loop, Outcome, Policy, Task, unlimited
from loopwright.calls import Failure, Reply, Text, ToolCall, Usage
from loopwright.decisions import Ask, Decision, Refuse, Stop, Switch, TryAgain
from loopwright.events import Decided, Declined, Event, Resumed, Started
from loopwright.fold import blank, folded
from loopwright.house import House
from loopwright.models.catalogue import set_price
from loopwright.policies import Approve, Escalate, Retry
from loopwright.policy import flat
from loopwright.port import Inline
from loopwright.replay import Moment, moments
from loopwright.report import Report
from loopwright.run import Run
from loopwright.tools import tool
from loopwright.whatif import Replayed, replayed, whatif

set_price("priced:weak", input=100, output=100)
set_price("priced:strong", input=200, output=200)


def house(rules: Any) -> House:
    return House.of(flat(rules))


def recorded(script: Sequence[Reply | Failure], rules: Sequence[Policy], task: Task) -> Run:
    """A run whose events tell the version of the prompt, and the tools, as those of a log do."""
    policies = policies_of(rules)
    port = Inline({"world": world(script)}, person)
    begin = told(beginning(policies, port), task)
    return driven(carried(blank("r", task), begin, policies, port))


def told(event: Started | Resumed, task: Task) -> Any:
    setting = evolve(event.setting, version=task.version, tools=task.digests)
    return evolve(event, setting=setting)


# ------------------------------------------------------------------------------------------- laws


@given(worlds, rules, tasks, st.booleans())
def test_the_same_policies_decide_what_was_decided(
    script: list[Reply | Failure], rules: list[Policy], task: Task, known: bool
) -> None:
    if not known:  # an approval is bound to the version of a tool, which only the task tells
        rules = [rule for rule in rules if not isinstance(rule, Approve)]
    run = recorded(script, rules, task)
    for moment in moments(run.events, house(rules), task if known else None):
        if isinstance(moment, Moment):
            assert _bare(moment.others, known) == _bare(moment.recorded, known)
    row = replayed(run.events, house(rules), task if known else None)
    assert row.divergence is None
    assert (row.would_be, row.exact) == (run.outcome, True)
    assert (row.at_least, row.cost) == (run.spent.settled, run.spent.settled)
    assert (row.seconds, row.model_calls) == (run.seconds, run.spent.model_calls)


def _bare(events: Sequence[Event], known: bool) -> list[Event]:
    """Without the task nobody knows the quote of a call anew, nor who else would have spoken; what
    was decided is known."""
    if known:
        return list(events)
    return [evolve(event, others=()) for event in events if isinstance(event, Decided)]


@settings(max_examples=60)
@given(worlds, rules, tasks, st.data())
def test_a_run_that_was_interrupted_is_decided_as_it_was(
    script: list[Reply | Failure], rules: list[Policy], task: Task, data: st.DataObject
) -> None:
    whole = recorded(script, rules, task)
    cut = data.draw(st.integers(1, whole.seq - 1), label="events before the crash")
    before = folded(whole.events[:cut], task)
    policies = policies_of(rules)
    port = Inline({"world": world(script, before.spent.model_calls)}, lambda *_: None)
    port.clock = before.time
    again = told(Resumed(port.now(), setting(policies)), task)
    resumed = driven(carried(before, again, policies, port))
    row = replayed(resumed.events, house(rules), task)
    assert row.divergence is None
    assert (row.would_be, row.at_least) == (resumed.outcome, resumed.spent.settled)


others = st.builds(lambda rules, budget: [*rules, budget], rules, budgets | st.builds(Budget))


@given(worlds, rules, others, tasks)
def test_other_policies_decide_what_they_really_would(
    script: list[Reply | Failure], rules: list[Policy], others: list[Policy], task: Task
) -> None:
    before, really = recorded(script, rules, task), recorded(script, others, task)
    row = replayed(before.events, house(others), task)
    if row.divergence is None:
        assert _effects(before) == _effects(really)
    if row.exact:
        assert (row.would_be, row.at_least) == (really.outcome, really.spent.settled)
        assert (row.seconds, row.model_calls) == (really.seconds, really.spent.model_calls)
        assert row.at_most == really.spent.at_most
    if row.divergence:
        _parts(row, before, really)


def _parts(row: Replayed, before: Run, really: Run) -> None:
    """Both are the same up to the divergence, where each decides what the row says."""
    assert row.divergence is not None
    at = row.divergence.seq - 1
    same = folded(really.events[:at])
    assert (row.at_least, row.model_calls) == (same.spent.settled, same.spent.model_calls)
    assert _effects(before)[:at] == _effects(really)[:at]
    there = really.events[at]
    assert row.seconds == pytest.approx(same.seconds + there.time - same.time)
    if row.divergence.other:
        assert timeless([there]) == timeless([row.divergence.other])
    if row.divergence.recorded:
        assert before.events[at] == row.divergence.recorded
    assert row.at_most is not None
    assert row.at_least <= really.spent.settled <= row.at_most
    assert row.model_calls <= really.spent.model_calls <= (row.model_calls_at_most or 0)


def _effects(run: Run) -> list[Any]:
    """What happened, without who decided it and why."""
    return [
        (e.moment, e.about, type(e.decision)) if isinstance(e, Decided) else type(e)
        for e in run.events
    ]


# -------------------------------------------------------------------------------------- scenarios


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


@tool(effect="unsafe")
def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


SUM = Task("6 * 7?", checks=[digits], tools=[send], name="sum", max_tokens=10)
TOLD = Reply((Text("no idea"),), "stop", Usage(10, output_visible=2))
RIGHT = Reply((Text("42"),), "stop", Usage(20, output_visible=2))
FREE = Budget(usd="5")


def carry_out(log: Log, script: Sequence[Any], *policies: Any, task: Task = SUM) -> Run:
    return Loop(
        "priced:weak", policies=[*policies, FREE], log=log, providers=[World(script, "priced")]
    ).run_now(task)


def test_a_policy_less_ends_the_run_where_the_record_went_on(log: Log) -> None:
    run = carry_out(log, [TOLD, RIGHT], Retry(times=1))
    (row,) = whatif(log, [FREE])
    assert row.divergence is not None
    assert (row.outcome, row.would_be, row.exact) == (Outcome.accepted, Outcome.rejected, True)
    assert (row.cost, row.at_least, row.at_most) == (3_400_000, 1_200_000, 1_200_000)
    assert row.model_calls == row.model_calls_at_most == 1
    recorded, other = row.divergence.recorded, row.divergence.other
    assert isinstance(recorded, Decided)
    assert recorded == run.events[row.divergence.seq - 1]
    assert other is not None
    assert (recorded.policy, other.policy) == ("Retry", "Otherwise")
    assert row.divergence.why == "the answer has problems: Give a number."


def test_a_policy_more_has_bounds_and_no_guess(log: Log) -> None:
    carry_out(log, [TOLD])
    (row,) = whatif(log, [Escalate("priced:strong"), Budget(usd="0.25", model_calls=3)])
    assert (row.outcome, row.would_be, row.exact) == (Outcome.rejected, None, False)
    assert (row.at_least, row.at_most) == (1_200_000, 250_000_000)
    assert (row.model_calls, row.model_calls_at_most) == (1, 3)
    assert row.divergence is not None
    assert row.divergence.other is not None
    assert isinstance(row.divergence.other.decision, Switch)


def test_without_a_limit_there_is_no_bound(log: Log) -> None:
    carry_out(log, [TOLD])
    report = whatif(log, [Retry(), Budget(usd=unlimited, model_calls=unlimited)])
    assert (report[0].at_most, report[0].model_calls_at_most) == (None, None)
    assert report.summary["at_most_usd"] is None


def test_another_reason_is_no_divergence_and_what_the_model_reads_is(log: Log) -> None:
    carry_out(log, [TOLD, RIGHT], Retry(times=1))
    again = "Your answer was not accepted:\n- Give a number.\nGive a complete new answer."

    def patient(run: Run) -> Decision | None:
        return TryAgain("so be it", again) if run.moment == "answer" and run.problems else None

    def curt(run: Run) -> Decision | None:
        return TryAgain("so be it", "Again.") if run.moment == "answer" and run.problems else None

    assert whatif(log, [patient, FREE])[0].divergence is None
    assert whatif(log, [curt, FREE])[0].divergence is not None


def test_of_two_calls_the_first_one_counts(log: Log) -> None:
    calls = [ToolCall(to, "send", {"to": to}) for to in "ab"]
    both = Reply(calls, "tool_calls", Usage(1))
    run = carry_out(log, [both, RIGHT], _denies("b"))
    (row,) = whatif(log, [_denies("a"), FREE])
    assert row.divergence is not None
    assert row.divergence.recorded is None
    assert row.divergence.other is not None
    assert row.divergence.other.about == "m1-0"
    (row,) = whatif(log, [FREE])
    assert row.divergence is not None
    assert row.divergence.other is None
    assert row.divergence.recorded == next(e for e in run.events if isinstance(e, Decided))
    assert row.divergence.why == "nobody objects, and the call goes ahead"


def _denies(to: str, why: str = "not there") -> Any:
    def denies(run: Run) -> Decision | None:
        call = run.call
        mine = isinstance(call, ToolCall) and call.arguments["to"] == to
        return Refuse(why) if mine and run.moment == "call" else None

    return denies


def test_a_call_that_does_not_fit_is_known_with_and_without_the_task(log: Log) -> None:
    misfit = Reply((ToolCall("a", "send", {"whom": "a"}),), "tool_calls", Usage(1))
    carry_out(log, [misfit, RIGHT])
    assert whatif(log, [FREE])[0].divergence is None
    assert whatif(log, [FREE], task=SUM)[0].divergence is None


def test_a_run_of_another_version_is_replayed_without_the_task(log: Log) -> None:
    misfit = Reply((ToolCall("a", "send", {"whom": "a"}),), "tool_calls", Usage(1))
    carry_out(log, [misfit, RIGHT])
    other = Task("6 * 8?", name="sum")
    assert whatif(log, [FREE], task=other)[0].divergence is None


def test_the_limits_of_the_task_hold_as_well(log: Log) -> None:
    carry_out(log, [TOLD, RIGHT], Retry(times=1))
    tight = Task("6 * 7?", name="sum", limits=Budget(model_calls=1))
    (row,) = whatif(log, [Retry(times=1), FREE], task=tight)
    assert (row.would_be, row.exact, row.at_least) == (Outcome.exhausted, True, 1_200_000)


def test_a_run_that_waits_is_as_it_was_left(log: Log) -> None:
    asks = Reply((ToolCall("a", "send", {"to": "a"}),), "tool_calls", Usage(1))
    carry_out(log, [asks], Approve("send"))
    (row,) = whatif(log, [Approve("send"), FREE], task=SUM)
    assert (row.outcome, row.would_be, row.divergence) == (Outcome.waiting, Outcome.waiting, None)
    (row,) = whatif(log, [FREE])
    assert (row.outcome, row.would_be, row.exact) == (Outcome.waiting, None, False)


def test_a_ceiling_that_declined_is_a_fact_as_long_as_it_is_in_force(log: Log) -> None:
    shared = Budget(usd="0.05", name="support")
    run = carry_out(log, [TOLD], shared)
    assert run.outcome is Outcome.exhausted
    assert [row.divergence for row in whatif(log, [shared, FREE])] == [None]
    (row,) = whatif(log, [FREE])
    assert row.divergence is not None
    assert isinstance(row.divergence.recorded, Declined)
    assert (row.row()["recorded_decision"], row.row()["decision"]) == ("Declined", None)
    assert (row.would_be, row.exact) == (None, False)


def test_a_ceiling_that_was_not_in_force_leaves_the_run_unknown(log: Log) -> None:
    carry_out(log, [RIGHT])
    (row,) = whatif(log, [Budget(usd="50", name="support"), FREE])
    assert row.divergence is not None
    assert (row.would_be, row.exact, row.at_least, row.model_calls) == (None, False, 0, 0)
    assert "'support' was not in force" in row.divergence.why


def test_a_policy_that_breaks_stops_the_run(log: Log) -> None:
    def broken(run: Run) -> Decision | None:
        if run.moment == "answer":
            raise KeyError("gone")
        return None

    carry_out(log, [RIGHT])
    (row,) = whatif(log, [broken, FREE])
    assert (row.would_be, row.exact) == (Outcome.failed, True)


def test_a_bad_end_that_is_undone_first_is_known_and_its_undoing_is_not(log: Log) -> None:
    undone: list[str] = []

    def cancel(seat: str) -> None:
        undone.append(seat)

    @tool(effect="unsafe", undo=cancel)
    def book(seat: str) -> str:
        """Book it."""
        return f"booked {seat}"

    trip = Task("Book a seat.", tools=[book], name="trip")
    books = Reply([ToolCall("a", "book", {"seat": "4b"})], "tool_calls", Usage(1))
    run = carry_out(log, [books, RIGHT], task=trip)
    assert run.outcome is Outcome.accepted

    def never(run: Run) -> Decision | None:
        return Stop("never") if run.moment == "answer" else None

    (row,) = whatif(log, [never, FREE], task=trip)
    assert (row.would_be, row.exact) == (Outcome.stopped, False)
    assert row.at_least == row.cost
    assert undone == []
    again = carry_out(log, [books, RIGHT], never, task=trip)
    assert (again.outcome, undone) == (Outcome.stopped, ["4b"])
    (_, row) = whatif(log, [never, FREE], task=trip)
    assert (row.divergence, row.would_be) == (None, Outcome.stopped)


def test_a_run_that_is_part_of_another_counts_only_where_it_is_meant(log: Log) -> None:
    run = carry_out(log, [RIGHT])
    first, *rest = run.events
    assert isinstance(first, Started)
    log.append_now("part", 0, [evolve(first, run="part", parent=run.run_id), *rest])
    assert [row.run for row in whatif(log, [])] == [run.run_id]
    assert {row.run for row in whatif(log, [], task=SUM)} == {run.run_id, "part"}


def test_what_the_model_reads_of_a_refusal_counts(log: Log) -> None:
    calls = Reply([ToolCall("b", "send", {"to": "b"})], "tool_calls", Usage(1))
    carry_out(log, [calls, RIGHT], _denies("b"))
    assert whatif(log, [_denies("b"), FREE])[0].divergence is None
    assert whatif(log, [_denies("b", "not today"), FREE])[0].divergence is not None


def test_a_call_that_was_made_keeps_its_quote_though_prices_move(log: Log) -> None:
    set_price("moving:moving", input=1, output=1)
    Loop("moving:moving", log=log, providers=[World([RIGHT], "moving")]).run_now(SUM)
    set_price("moving:moving", input=100_000, output=100_000)
    for task in (SUM, None):
        (row,) = whatif(log, [], task=task)
        assert (row.divergence, row.cost) == (None, 22_000)


def test_what_was_spent_is_in_the_bound_though_it_is_above_the_limit(log: Log) -> None:
    def asks(run: Run) -> Decision | None:
        return Ask("Is it good?", purpose="answer") if run.moment == "answer" else None

    carry_out(log, [Reply((Text("42"),), "stop", Usage(100_000))])
    (row,) = whatif(log, [asks, FREE])
    assert (row.exact, row.at_least, row.at_most) == (False, 10_000_000_000, 10_000_000_000)


def test_what_ends_before_any_ceiling_is_asked_is_known(log: Log) -> None:
    carry_out(log, [RIGHT])
    (row,) = whatif(log, [Budget(usd="50", name="support"), Budget(model_calls=0)])
    assert (row.would_be, row.exact, row.at_most) == (Outcome.exhausted, True, 0)
    assert row.divergence is not None
    assert row.divergence.other is not None
    assert row.divergence.other.policy == "Budget"


def test_a_call_in_doubt_is_in_the_bound_until_it_is_reconciled(log: Log) -> None:
    run = carry_out(log, [Failure("connection", "the line went dead")])
    (row,) = whatif(log, [FREE])
    assert (row.cost, row.at_least, row.at_most) == (0, 0, run.spent.presumed)
    log.reconcile(run.run_id, "m1", "0.0001")
    (row,) = whatif(log, [FREE])
    assert (row.cost, row.at_least, row.at_most) == (100_000, 100_000, 100_000)


# ------------------------------------------------------------------------------------ the report


def test_which_runs_are_asked_about(log: Log) -> None:
    first = carry_out(log, [RIGHT])
    second = carry_out(log, [RIGHT], task=Task("Other?", name="other"))
    assert [row.run for row in whatif(log, [])] == [first.run_id, second.run_id]
    assert [row.run for row in whatif(log, [], task=SUM)] == [first.run_id]
    assert [row.run for row in whatif(log, [], task="other")] == [second.run_id]
    assert [row.run for row in whatif(log, [], since=second.started)] == [second.run_id]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert list(whatif(log, [], since=tomorrow.isoformat())) == []
    assert len(whatif(log, [], since="2025-06-15")) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"since": "last week"}, "since='last week': give an ISO date such as '2025-06-15'"),
        ({"since": True}, "since=True: give an ISO date"),
        ({"task": 3}, "task=3: give a Task, its title, or None"),
        ({"policies": [3]}, "3 is no policy"),
        ({"policies": [Budget(usd=2).when(bool)]}, "the default of 1 usd holds beside it"),
    ],
)
def test_what_cannot_be_asked(log: Log, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        whatif(log, **{"policies": [], **wrong})


def test_a_log_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no log"):
        whatif(tmp_path / "gone.db", [])
    assert not (tmp_path / "gone.db").exists()


def test_the_rows_stand_in_the_log_once_for_each_question(log: Log) -> None:
    carry_out(log, [TOLD, RIGHT], Retry(times=1))
    for policies in ([], [], [Retry(times=1)]):
        report = whatif(Path(log.path), [*policies, FREE])
    stored = list(log.db.query("select * from whatif order by policies"))
    assert len(stored) == 2
    assert {"policies": stored[1]["policies"], **report.rows()[0]} == stored[1]
    assert "Retry(times=1" in stored[1]["policies"]
    assert [row["exact"] for row in stored] == [1, 1]
    assert [row["decision"] for row in stored] == ["Stop", None]


def test_the_summary_counts_what_is_known(log: Log) -> None:
    carry_out(log, [RIGHT])
    carry_out(log, [TOLD])
    report = whatif(log, [Retry(times=1), Budget(usd="0.5")])
    counted = {"runs": 2, "diverged": 1, "exact": 1, "accepted": 1, "rejected": 1}
    counted |= {"accepted_at_least": 1, "accepted_at_most": 2}
    counted |= {"rejected_at_least": 0, "rejected_at_most": 1}
    money = {"cost_usd": 0.0034, "at_least_usd": 0.0034, "at_most_usd": 0.5022}
    assert report.summary == {**counted, **money}
    assert str(report).startswith("runs 2, diverged 1, exact 1, accepted 1, accepted_at_least 1")


def test_in_a_notebook_nothing_is_taken_as_markup(log: Log) -> None:
    def curt(run: Run) -> Decision | None:
        return Stop("<script>") if run.moment == "answer" else None

    carry_out(log, [RIGHT], task=Task("<b>?", name="<img>"))
    shown = whatif(log, [curt])._repr_html_()
    assert "&lt;img&gt;" in shown
    assert "&lt;script&gt;" in shown
    assert "<img" not in shown
    assert "<script" not in shown


def test_a_notebook_shows_the_first_rows_only() -> None:
    @frozen
    class One:
        def row(self) -> dict[str, Any]:
            return {"one": None}

    assert Report((One(),) * 50, {})._repr_html_().count("<tr>") == 51
    assert "and 1 more" in Report((One(),) * 51, {})._repr_html_()
