"""The views as a public API: names and columns; and that totals never change what they say."""

import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import carried

from loopwright import Log, Loop, Outcome, Task
from loopwright.calls import (
    Answer,
    Cost,
    Failure,
    ModelCall,
    Question,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.decisions import TryAgain
from loopwright.events import (
    Decided,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Reconciled,
    Resumed,
    Returned,
    Setting,
    Started,
)
from loopwright.log import rows, totals
from loopwright.log.columns import COLUMNS
from loopwright.log.datasette import views
from loopwright.log.migrations import transaction
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted

PUBLIC = {
    "runs": "run parent task version label inputs model outcome verified why output started "
    "seconds model_calls tool_calls cost_nano cost_usd events attempts root base base_seq",
    "steps": "run step first_seq last_seq time seconds model_calls tool_calls model failures "
    "cost_nano cost_usd decided",
    "model_calls": "run step seq call time model served_model purpose policy state finish "
    "input_uncached cache_read cache_write output_visible output_reasoning cost_nano cost_low_usd "
    "cost_usd quoted_usd possibly_billed_usd price_table seconds first_token_seconds prefix "
    "prefix_changed repairs failure message status retry_after request_id cached "
    "possibly_billed_nano",
    "tool_calls": "run step seq call time tool arguments effect state result failure message "
    "seconds cached purpose",
    "decisions": "run step seq time moment policy decision why switched_to after_seconds feedback "
    "call parameters overruled settled_usd reserved_usd presumed_usd model_calls seconds",
    "problems": "run step seq time verdict check problem",
    "approvals": "run step seq call time policy purpose question about tool arguments answer by "
    "note answered waited_seconds withdrawn",
    "messages": "run seq time role text",
    "trees": "run parent root task version label",
    "tasks": "task version label first_run runs ended accepted at_once acceptance "
    "at_once_acceptance attempts model_calls cost_nano cost_usd usd_per_accepted seconds "
    "longest_seconds",
    "spend": "day root task version model purpose policy model_calls failed input_tokens "
    "output_tokens cost_nano cost_usd possibly_billed_usd run",
    "whatif": "policies run task version outcome cost_nano cost_usd would_be exact at_least_nano "
    "at_least_usd at_most_nano at_most_usd seconds model_calls model_calls_at_most seq step moment "
    "recorded_policy recorded_decision policy decision why",
    "calls": "run step seq call kind time data outcome came came_seq came_time",
    "ledger": "run seq time call model entry settled_nano reserved_nano presumed_nano excess_nano "
    "settled_usd reserved_usd presumed_usd by",
    "ceilings": "ceiling window unit model allowed settled reserved presumed remaining",
}
INNER = {"passes", "stepped", "tops", "unsummed_runs", "unsummed_spend"}


@pytest.mark.parametrize("view", PUBLIC)
def test_the_columns_of_the_views_are_public(log: Log, view: str) -> None:
    cursor = log.connection.execute(f"select * from {view}")
    assert [name for name, *_ in cursor.description] == PUBLIC[view].split()
    assert list(COLUMNS[view]) == PUBLIC[view].split()
    assert all(COLUMNS[view].values())


def test_every_view_is_public_and_told_in_words(log: Log) -> None:
    query = "select name from sqlite_master where type = 'view'"
    names = {name for (name,) in log.connection.execute(query)}
    assert names == views().keys() == {*PUBLIC, *INNER} - {"whatif"}
    assert COLUMNS.keys() == PUBLIC.keys()


def test_views_of_your_own_stay(log: Log) -> None:
    """Also where those of the log are made anew, such as one of yours under the name of one."""
    ended = Loop(Scripted(["Yes."]), log=log).run_now(Task("Say yes."))
    log.db.create_view("mine", "select run from runs")
    for changes in ([], ["drop view runs"], ["drop view runs", "create view Runs as select 1 one"]):
        for change in changes:
            log.connection.execute(change)
        for read_only in (True, False):
            with closing(Log(log.path, read_only=read_only)) as again:
                told = again.asked("select outcome from runs")
                assert told == [{"outcome": "accepted"}]
    assert log.asked("select * from mine") == [{"run": ended.run_id}]


# ----------------------------------------------------------------------------------------- totals

SUMMED = ("runs", "trees", "tasks", "spend")
CALLS = st.sampled_from(["m1", "m2", "t1"])
OUTCOMES = st.sampled_from(list(Outcome))
PRICED = Reply((Text("x"),), "stop", Usage(3, output_visible=4))


def intent(call: str) -> Any:
    return ToolCall(call, "look") if call == "t1" else ModelCall(call, f"a:{call}")


def result(call: str) -> Any:
    return ToolResult("seen") if call == "t1" else PRICED


# What happens in a run, in any order: the views are right about damaged logs, too.
HAPPENED = st.one_of(
    CALLS.map(lambda call: Intended(0, intent(call))),
    CALLS.map(lambda call: Returned(0, call, result(call), 1.0, Cost(3, 5))),
    CALLS.map(lambda call: Failed(0, call, Failure("overloaded", "busy", None, True, 529))),
    CALLS.map(lambda call: Reconciled(0, call, 7, 9)),
    st.just(Decided(0, "answer", "Retry", TryAgain("again"))),
    st.just(Inspected(0)),
    st.just(Paused(0, "q1")),
    st.just(Resumed(0, Setting("a:b"))),
    OUTCOMES.map(lambda outcome: Ended(0, outcome, "why " * 200, "output")),
)
RUNS = ("r0", "r1", "r2", "r3")
DOINGS = st.lists(st.one_of(st.tuples(st.sampled_from(RUNS), HAPPENED), st.none()), max_size=30)
PARENTS = st.tuples(*(st.sampled_from(["", *RUNS[:n]]) for n in range(4)))


def write(log: Log, run: str, seq: int, events: Iterable[Event]) -> None:
    """Events as they are, lawful or not."""
    written, parts = rows.written(run, seq, list(events))
    with log.writing() as connection, transaction(connection):
        connection.executemany("insert or ignore into parts values (?, ?)", parts.items())
        connection.executemany("insert into events values (?, ?, ?, ?, ?, ?, ?)", written)


def told(connection: sqlite3.Connection) -> list[list[tuple[Any, ...]]]:
    """All that the views say which are made of totals."""
    asked = [connection.execute(f"select * from {view}").fetchall() for view in SUMMED]
    return [sorted(found, key=repr) for found in asked]


def computed(log: Log) -> list[list[tuple[Any, ...]]]:
    """The same, made of nothing but the events."""
    log.connection.execute("begin")
    for statement in (
        "delete from run_totals",
        "delete from spend_totals",
        "insert or ignore into unsummed select run from events",
    ):
        log.connection.execute(statement)
    found = told(log.connection)
    log.connection.execute("rollback")
    return found


@settings(max_examples=40)
@given(PARENTS, DOINGS)
def test_totals_never_change_what_the_views_say(
    parents: tuple[str, ...], doings: list[tuple[str, Event] | None]
) -> None:
    """Whenever `sum_up` is called, and whatever is appended afterwards."""
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        seqs: dict[str, int] = dict.fromkeys(RUNS, 1)
        for n, (run, parent) in enumerate(zip(RUNS, parents, strict=True)):
            began = Started(n, run, f"task {n % 2}", "Hi.", Setting("a:b"), "v", parent=parent)
            write(log, run, 0, [began])
        for at, doing in enumerate(doings, 10):
            if doing is None:
                log.sum_up()
                assert told(log.connection) == computed(log)
                continue
            run, event = doing
            write(log, run, seqs[run], [evolve(event, time=at)])
            seqs[run] += 1
        before = told(log.connection)
        assert before == computed(log)
        log.sum_up()
        assert told(log.connection) == before
        ask = log.connection.execute
        assert ask("select count(*) from run_totals").fetchone() == (4,)  # all of it is long ago
        assert log.sum_up() == 0
        log.close()


def began(run: str, **more: Any) -> Started:
    return Started(0.0, run, "t", "Hi.", Setting("a:b"), "v", inputs={"n": run}, **more)


def test_a_run_that_goes_on_is_not_summed_up(log: Log) -> None:
    now = time.time()
    write(log, "open", 0, [evolve(began("open"), time=now)])
    write(log, "over", 0, [evolve(began("over"), time=now), Ended(now, Outcome.accepted)])
    write(log, "left", 0, [evolve(began("left"), time=now - totals.SILENT)])
    assert log.sum_up() == 2
    assert log.connection.execute("select run from unsummed").fetchall() == [("open",)]


def test_many_runs_are_summed_up_a_few_at_a_time(log: Log) -> None:
    many = totals.AT_ONCE + 1
    for n in range(many):
        write(log, f"r{n}", 0, [began(f"r{n}"), Ended(1.0, Outcome.accepted)])
    statements: list[str] = []
    log.connection.set_trace_callback(statements.append)
    assert log.sum_up() == many
    log.connection.set_trace_callback(None)
    assert statements.count("commit") == 2


def test_what_somebody_answered_is_told_of_them_alone(log: Log) -> None:
    """An answer that came too late lends neither its name nor its note to the one that counts."""
    query = "select answer, by, note, answered is null as waits from approvals"
    write(log, "r", 0, [began("r"), Intended(1.0, Question("q1", "May I?"))])
    late = "insert into answers values (1, 'r', 'q1', 2.0, 'deny', 'Bo', 'Never.')"
    log.connection.execute(late)
    assert log.connection.execute(query).fetchall() == [("deny", "Bo", "Never.", 1)]
    write(log, "r", 2, [Returned(3.0, "q1", Answer("approve"))])
    assert log.connection.execute(query).fetchall() == [("approve", "", "", 0)]


def test_what_was_removed_is_still_counted(log: Log) -> None:
    loop = Loop(Scripted(["yes"]), log=log)
    run = loop.run_now(Task("Say {what}."), what="yes")
    log.sum_up()
    query = "select run, outcome, cost_nano, events, inputs, why, output from runs"
    (before,) = log.connection.execute(query).fetchall()
    spent = log.connection.execute("select * from spend").fetchall()
    log.connection.execute("drop trigger events_no_delete")
    log.connection.execute("delete from events")
    assert log.connection.execute(query).fetchall() == [(*before[:4], None, None, None)]
    assert log.connection.execute("select * from spend").fetchall() == spent != []
    assert log.connection.execute("select runs, accepted from tasks").fetchall() == [(1, 1)]
    assert before[0] == run.run_id


def test_a_fork_shows_what_is_its_own(log: Log) -> None:
    paid = [
        Intended(1.0, intent("m1")),
        Returned(2.0, "m1", PRICED, 1.0, Cost(3, 5)),
    ]
    write(log, "base", 0, [began("base"), *paid, Ended(3.0, Outcome.accepted)])
    fork = began("fork", base="base", shared=3)
    write(log, "fork", 3, [fork, *paid, *paid, Ended(3.0, Outcome.accepted)])
    for _ in range(2):
        found = log.connection.execute(
            "select run, base, base_seq, model_calls, cost_nano, inputs from runs order by run"
        ).fetchall()
        assert found == [
            ("base", "", None, 1, 5, '{"n":"base"}'),
            ("fork", "base", 3, 2, 10, '{"n":"fork"}'),
        ]
        query = "select step, first_seq, last_seq from steps where run = 'fork'"
        steps = log.connection.execute(query)
        assert steps.fetchall() == [(1, 5, 6), (2, 7, 9)]
        spent = log.connection.execute("select run, cost_nano from spend order by run").fetchall()
        assert spent == [("base", 5), ("fork", 10)]
        log.sum_up()


def test_what_was_reconciled_is_spent_and_billed_no_more(log: Log) -> None:
    doubt = [Intended(1.0, intent("m1")), Ended(3.0, Outcome.stopped), Reconciled(4.0, "m1", 7, 9)]
    write(log, "r", 0, [began("r"), *doubt])
    query = "select state, cost_nano, possibly_billed_nano from model_calls"
    assert log.connection.execute(query).fetchall() == [("unknown", 7, 0)]
    assert log.connection.execute("select cost_nano from spend").fetchall() == [(7,)]
    assert log.connection.execute("select cost_nano from runs").fetchall() == [(7,)]


def test_a_ceiling_that_no_run_names_any_more(log: Log) -> None:
    """What is used of it is told as before; what it allowed is gone with the events."""
    query = "select ceiling, unit, settled, presumed, allowed, remaining from ceilings"
    carried(log, 1)
    (before,) = log.connection.execute(query).fetchall()
    vacuum(log, before="2030-01-01")
    after = log.connection.execute(query).fetchall()
    assert after == [("all", None, *before[2:4], None, None)]
    carried(log, 1)
    (later,) = log.connection.execute(query).fetchall()
    assert (later[1], later[2], later[4]) == ("usd", 2 * before[2], 9)


def test_several_may_sum_up_at_once_while_others_write(log: Log) -> None:
    for n in range(3 * totals.AT_ONCE):
        write(log, f"r{n}", 0, [began(f"r{n}"), Ended(1.0, Outcome.accepted)])
    others = [Log(log.path, "process") for _ in range(3)]

    def write_more() -> int:
        for n in range(50):
            write(others[2], f"r{n}", 2, [Resumed(2.0, Setting("a:b")), Ended(3.0, Outcome.failed)])
        return 0

    with ThreadPoolExecutor(3) as pool:
        doing = [pool.submit(work) for work in (others[0].sum_up, others[1].sum_up, write_more)]
        summed = [done.result() for done in doing]
    log.sum_up()
    assert sum(summed) >= 3 * totals.AT_ONCE - 50
    query = "select outcome, count(*) from run_totals group by outcome"
    there = dict(log.connection.execute(query).fetchall())
    assert there == {"accepted": 3 * totals.AT_ONCE - 50, "failed": 50}
    assert told(log.connection) == computed(log)
    for other in others:
        other.close()
