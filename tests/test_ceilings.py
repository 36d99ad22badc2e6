"""Ceilings: what fits, what is refused and in which words, and what a bill does to them."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from spending import balances, driven

from loopwright import (
    BadInput,
    Budget,
    Log,
    Loop,
    Outcome,
    Policy,
    RunNotFound,
    RunTaken,
    Task,
    unlimited,
)
from loopwright.calls import Failure, ModelCall, Reply, Request, Sleep, Text, Usage
from loopwright.ceiling import LARGEST, ends, nano, window
from loopwright.decisions import Amend, Decision, Switch, TryAgain
from loopwright.events import (
    Ceiling,
    Declined,
    Intended,
    Setting,
    Started,
)
from loopwright.fold import blank
from loopwright.house import House
from loopwright.log import Recorded
from loopwright.loop import loop
from loopwright.models import Scripted, set_price
from loopwright.policies import Escalate, Judge, Retry
from loopwright.port import Inline
from loopwright.run import Run

# ------------------------------------------------------------------------------ to the nano-dollar

set_price("exact:weak", 0, "0.001")  # one nano-dollar a token
set_price("exact:strong", 0, "0.003")
ACCEPT = '{"reason": "Good.", "verdict": "accept"}'


def told_in(tokens: int, text: str) -> Reply:
    return Reply((Text(text),), "stop", Usage(1, output_visible=tokens))


def exact(request: Request) -> Reply:
    """The weak model says no, the strong one yes, and a judge accepts; all use what they may."""
    judges = "Judge an answer" in request.messages[0].text
    answer = "yes" if request.model == "strong" else "no"
    return told_in(request.max_tokens, ACCEPT if judges else answer)


def judges(number: int) -> list[Judge]:
    return [Judge("Good.", name=f"judge {n}", max_tokens=50) for n in range(number)]


def yes(answer: str) -> str | None:
    return None if answer == "yes" else "Say yes."


STEPS: dict[str, tuple[Task, list[Policy], int]] = {
    "a judge": (Task("x", checks=judges(1), max_tokens=100), [], 150),
    "two judges at once": (Task("x", checks=judges(2), max_tokens=100), [], 200),
    "an escalation": (Task("x", checks=[yes], max_tokens=100), [Escalate("exact:strong")], 400),
}


@pytest.mark.parametrize("shared", ["", "a name"])
@pytest.mark.parametrize("step", STEPS)
def test_nothing_crosses_the_line_by_one_nano_dollar(log: Log, step: str, shared: str) -> None:
    task, policies, cost = STEPS[step]
    for limit, outcome in ((cost, Outcome.accepted), (cost - 1, Outcome.exhausted)):
        model = Scripted(exact, name="exact")
        budget = Budget(f"{limit}e-9", name=f"{shared} {limit}" if shared else "")
        loop = Loop("exact:weak", providers=[model], policies=[*policies, budget], log=log)
        run = loop.run_now(task)
        assert run.outcome is outcome, run.why
        assert run.spent.settled == (cost if outcome is Outcome.accepted else 100)
        assert run.spent.reserved == run.spent.presumed == 0
        assert len(model.requests) == run.spent.model_calls
    assert run.spent.model_calls == 1


def test_one_more_try_crosses_the_line_by_one_nano_dollar(log: Log) -> None:
    for limit, calls in ((200, 2), (199, 1)):
        policies = [Retry(5), Budget(f"{limit}e-9")]
        loop = Loop("exact:weak", providers=[Scripted(exact, name="exact")], policies=policies)
        run = loop.run_now(Task("x", checks=[yes], max_tokens=100))
        assert (run.spent.model_calls, run.outcome) == (calls, Outcome.exhausted)


# ---------------------------------------------------------------------------------- what is refused


@frozen(str=False)
class Shares(Policy):
    """A ceiling of any unit, and what is said when it declines."""

    ceiling: Ceiling
    says: Callable[[Run], Decision | None] = lambda run: None

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        return (self.ceiling,)

    def decide(self, run: Run) -> Decision | None:
        return self.says(run) if run.moment == "call" and run.declined else None


def a_loop(log: Log, *policies: Any, says: Any = exact) -> Loop:
    model = Scripted(says, name="exact")
    return Loop("exact:weak", providers=[model], policies=policies, log=log)


ANSWER = Task("x", max_tokens=100)
TOLD = {
    "0.000000150 USD": "the ceiling 'c' of 0.00000015 USD could be passed: 0.0000001 settled, "
    "0.000000 reserved, 0.000000 presumed, and this call to exact:weak may cost 0.0000001",
    "day": "the ceiling 'c' of 0.00000015 USD a day could be passed: 0.0000001 settled, "
    "0.000000 reserved, 0.000000 presumed, and this call to exact:weak may cost 0.0000001",
    "tokens": "the ceiling 'c' of 250 tokens an hour could be passed: 101 settled, 0 reserved, "
    "0 presumed, and this call to exact:weak may cost 245",
    "requests": "the ceiling 'c' of 1 requests a month could be passed: 1 settled, 0 reserved, "
    "0 presumed, and this call to exact:weak may cost 1",
}
SHARED: dict[str, Policy] = {
    "0.000000150 USD": Budget("150e-9", name="c"),
    "day": Budget("150e-9", name="c", per="day"),
    "tokens": Shares(Ceiling("c", 250, "hour", "tokens")),
    "requests": Shares(Ceiling("c", 1, "month", "requests")),
}


@pytest.mark.parametrize("shared", TOLD)
def test_a_refusal_says_what_is_used_of_what(log: Log, shared: str) -> None:
    loop = a_loop(log, SHARED[shared])
    assert loop.run_now(ANSWER).outcome is Outcome.accepted
    second = a_loop(log, SHARED[shared]).run_now(ANSWER)
    assert second.outcome is Outcome.exhausted
    assert second.why == TOLD[shared]
    (declined,) = [event for event in second.events if isinstance(event, Declined)]
    assert declined.until == ends(declined.time, declined.ceiling.per)


def test_failures_close_a_ceiling_but_are_not_reserved(log: Log) -> None:
    """Two calls at once may both fail, though only one more failure is allowed."""
    broken = Shares(Ceiling("c", 1, "day", "failures", "exact:*"))
    failing = lambda request: Failure("overloaded", "busy", None, True, 529)  # noqa: E731
    task = Task("x", checks=judges(2), max_tokens=100)
    assert a_loop(log, broken).run_now(task).spent.model_calls == 3
    run = a_loop(log, broken, says=failing).run_now(ANSWER)
    assert (run.outcome, run.spent.model_calls) == (Outcome.failed, 1)
    run = a_loop(log, broken).run_now(ANSWER)
    assert run.why == "the ceiling 'c' of 1 failed calls a day is reached: 1 settled"


def test_a_declined_call_can_be_made_smaller_or_elsewhere(log: Log) -> None:
    set_price("exact:other", 0, "0.0001")

    def smaller(run: Run) -> Decision | None:
        assert isinstance(run.call, ModelCall)
        if run.quote.high < run.declined[-1].asked:
            return None
        return Amend(evolve(run.call, max_tokens=run.call.max_tokens // 2), "it is too long")

    def elsewhere(run: Run) -> Decision | None:
        return None if run.model == "exact:other" else Switch("exact:other")

    for says, settled in ((smaller, 25), (elsewhere, 10)):
        ceiling = Ceiling(says.__name__, 30)
        run = a_loop(log, Shares(ceiling, says)).run_now(ANSWER)
        assert run.outcome is Outcome.accepted
        assert run.spent.settled == settled
        assert run.declined == ()

        assert balances(log)[says.__name__, "all"] == (settled, 0, 0)


def test_a_judge_moves_to_a_model_that_the_ceiling_does_not_count(log: Log) -> None:
    ceiling = Ceiling("c", 1, "", "requests", "exact:weak")
    away = Shares(ceiling, lambda run: Switch("exact:strong") if "weak" in _asks(run) else None)
    run = a_loop(log, away).run_now(Task("x", checks=judges(1), max_tokens=100))
    assert run.outcome is Outcome.accepted
    assert run.spent.settled == 100 + 150


def _asks(run: Run) -> str:
    return run.call.model if isinstance(run.call, ModelCall) else ""


def test_waiting_for_a_ceiling_is_no_call_that_it_refuses(log: Log) -> None:
    def later(run: Run) -> Decision | None:
        if not isinstance(run.call, ModelCall):
            return None
        return TryAgain("too fast", after=run.declined[-1].until - run.time)

    pace = Shares(Ceiling("c", 1, "minute", "requests"), later)
    house = House.of((pace,))
    port = Recorded(log, Inline({"exact": Scripted(exact, name="exact")}))
    for name in ("first", "second"):
        setting = Setting("exact:weak", limits=house.limits, ceilings=house.ceilings)
        begin = Started(port.now(), name, "x", "x", setting, max_tokens=100)
        run = driven(_carried(begin, house, port))
        assert run.outcome is Outcome.accepted, run.why
    slept = [e.call for e in run.events if isinstance(e, Intended) and isinstance(e.call, Sleep)]
    assert len(slept) == 1
    assert sorted(used for _, used in balances(log).items()) == [(1, 0, 0), (1, 0, 0)]


async def _carried(begin: Started, house: House, port: Recorded) -> Run:
    run = await port.record(blank(begin.run, ANSWER), [begin])
    async for after in loop(run, house.policies, port):
        run = after
    return run


# -------------------------------------------------------------------------------------- wrong bills


@pytest.mark.parametrize(("tokens", "settled"), [(5000, 5000), (10**30, LARGEST)])
def test_a_bill_above_its_reservation_is_settled_and_nothing_follows(
    log: Log, tokens: int, settled: int
) -> None:
    budget = Budget("2000e-9", name="c")
    run = a_loop(log, budget, says=lambda request: told_in(tokens, "no")).run_now(ANSWER)
    assert (run.outcome, run.spent.settled) == (Outcome.accepted, tokens)
    assert balances(log) == {("c", "all"): (settled, 0, 0)}
    assert a_loop(log, budget).run_now(ANSWER).outcome is Outcome.exhausted
    if tokens == settled:
        query = "select excess_nano from ledger where run = ? and entry = 'settled'"
        assert log.connection.execute(query, (run.run_id,)).fetchone() == (4900,)
        remaining = log.connection.execute("select remaining from ceilings").fetchone()
        assert remaining == pytest.approx((-0.000003,))


@pytest.fixture
def doubtful(log: Log) -> Run:
    """A run that was interrupted in its call, of 100 nano-dollars at most, under a ceiling."""

    def breaks(request: Request) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_loop(log, Budget("150e-9", name="c"), says=breaks).run_now(ANSWER)
    return log.run(log.ids()[0])


def test_what_was_interrupted_is_presumed_until_it_is_reconciled(log: Log, doubtful: Run) -> None:
    budget = Budget("150e-9", name="c")
    assert balances(log) == {("c", "all"): (0, 0, 100)}
    assert "0.0000001 presumed" in a_loop(log, budget).run_now(ANSWER).why
    log.reconcile(doubtful.run_id, "m1", "0.000000030", by="the bill")
    assert balances(log) == {("c", "all"): (30, 0, 0)}
    assert a_loop(log, budget).run_now(ANSWER).outcome is Outcome.accepted
    query = "select outcome, cost_nano, seconds from runs where run = ?"
    outcome, cost, _ = log.connection.execute(query, (doubtful.run_id,)).fetchone()
    assert (outcome, cost) == ("cancelled", 30)
    assert log.run(doubtful.run_id).spent.settled == 30


def test_a_run_that_went_on_without_the_ceiling_is_reconciled_with_it(
    log: Log, doubtful: Run
) -> None:
    assert a_loop(log).resume_now(doubtful.run_id, ANSWER).outcome is Outcome.accepted
    assert balances(log) == {("c", "all"): (0, 0, 100)}
    log.reconcile(doubtful.run_id, "m1", 0)
    assert balances(log) == {}


def test_a_bill_may_turn_out_higher_than_what_was_presumed(log: Log, doubtful: Run) -> None:
    log.reconcile(doubtful.run_id, "m1", "0.000000170")
    assert balances(log) == {("c", "all"): (170, 0, 0)}
    assert a_loop(log, Budget("150e-9", name="c")).run_now(ANSWER).outcome is Outcome.exhausted


BILLS: dict[str, tuple[Any, str]] = {
    "below zero": ("-1", "'-1' is no amount of USD: give Decimal, text or int, from 0 to 9007199"),
    "a float": (0.1, "0.1 is no amount"),
    "words": ("ten", "'ten' is no amount"),
    "a truth": (True, "True is no amount"),
    "no number": ("nan", "'nan' is no amount"),
    "without end": ("inf", "'inf' is no amount"),
    "more than there is": (10**9, "1000000000 is no amount"),
    "nothing": (None, "None is no amount"),
}


@pytest.mark.parametrize("bill", BILLS)
def test_a_bill_that_is_none(log: Log, doubtful: Run, bill: str) -> None:
    usd, message = BILLS[bill]
    with pytest.raises(BadInput, match=message):
        log.reconcile(doubtful.run_id, "m1", usd)
    assert balances(log) == {("c", "all"): (0, 0, 100)}


def test_only_what_is_in_doubt_is_reconciled(log: Log, doubtful: Run) -> None:
    with pytest.raises(BadInput, match="nothing is presumed spent for the call 'm7'"):
        log.reconcile(doubtful.run_id, "m7", 0)
    run = a_loop(log).run_now(ANSWER)
    with pytest.raises(BadInput, match="nothing is presumed spent for the call 'm1'"):
        log.reconcile(run.run_id, "m1", 0)
    with pytest.raises(RunNotFound):
        log.reconcile("nobody", "m1", 0)


def test_who_carries_on_what_is_reconciled_loses_it(log: Log) -> None:
    replies = iter([Reply((Text("no"),), "stop", None)])

    def model(request: Request) -> Reply:
        if reply := next(replies, None):
            return reply
        log.reconcile(log.ids()[0], "m1", 0)
        return told_in(1, "yes")

    with pytest.raises(RunTaken):
        a_loop(log, Retry(1), says=model).run_now(Task("x", checks=[yes], max_tokens=100))


def test_nobody_posts_while_the_balances_are_made_anew(log: Log, doubtful: Run) -> None:
    other = sqlite3.connect(log.path, timeout=0, isolation_level=None)
    locked: list[str] = []

    def try_to_write(statement: str) -> None:
        if statement.startswith(("delete", "insert", "select")):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("begin immediate")
            locked.append(statement)

    log.connection.set_trace_callback(try_to_write)
    log.rebuild()
    log.connection.set_trace_callback(None)
    assert len(locked) > 3
    assert balances(log) == {("c", "all"): (0, 0, 100)}
    other.close()


# ----------------------------------------------------------------------------------- how it is said

SAID: dict[str, tuple[Callable[[], object], str]] = {
    "no name": (lambda: Budget(50, per="day"), "give the ceiling a name, by which runs share it"),
    "a strange name": (lambda: Budget(50, name=5), r"Budget\(name=5\): a name is a text"),  # type: ignore[arg-type]
    "a year": (lambda: Budget(50, per="year", name="c"), "say one of minute, hour, day, week, mon"),
    "no amount": (lambda: Budget(per="day", name="c"), "a shared ceiling is an amount of usd"),
    "no end": (lambda: Budget(unlimited, name="c"), "a shared ceiling is an amount of usd"),
    "tokens": (
        lambda: Budget(5, tokens=5, name="c"),
        "put other limits into a Budget of their own",
    ),
    "when": (lambda: Budget(5, name="c").when(bool), "it has no when"),
    "no log": (lambda: Loop(Scripted([]), policies=[Budget(5, name="c")]), "is kept in a log"),
    "two": (
        lambda: House.of((Budget(5, name="c"), Budget(6, name="c"))),
        "two ceilings have the name 'c'",
    ),
}


@pytest.mark.parametrize("wrong", SAID)
def test_what_cannot_be_a_ceiling(wrong: str) -> None:
    make, message = SAID[wrong]
    with pytest.raises(BadInput, match=message):
        make()


def test_one_ceiling_may_be_named_twice() -> None:
    assert len(House.of((Budget(5, name="c"), Budget(5, name="c"))).ceilings) == 1


def test_a_shared_budget_allows_what_has_no_price(log: Log) -> None:
    budget = Budget(5, name="c", unpriced="allow")
    model = Scripted(["ok"], name="anthropic")  # its name has prices, but this model has none
    loop = Loop("anthropic:tomorrow", providers=[model], policies=[budget], log=log)
    assert loop.run_now(ANSWER).outcome is Outcome.accepted


@given(st.floats(0, 4e9), st.sampled_from(["minute", "hour", "day", "week", "month"]))
def test_a_window_ends_when_the_next_begins(time: float, per: str) -> None:
    end = ends(time, per)
    assert time < end
    assert window(time, per) == window(end - 1, per) != window(end, per)


def test_amounts_are_rounded_up() -> None:
    assert nano("0.0000000011") == 2
    assert ends(1.0, "") == 0.0


COLUMNS = {
    "ledger": "run seq time call model entry settled_nano reserved_nano presumed_nano excess_nano "
    "settled_usd reserved_usd presumed_usd by",
    "ceilings": "ceiling window unit model allowed settled reserved presumed remaining",
}


@pytest.mark.parametrize("view", COLUMNS)
def test_the_columns_of_the_views_are_public(log: Log, view: str) -> None:
    cursor = log.connection.execute(f"select * from {view}")
    assert [name for name, *_ in cursor.description] == COLUMNS[view].split()


def test_the_views_tell_where_the_money_is(log: Log, doubtful: Run) -> None:
    log.reconcile(doubtful.run_id, "m1", "0.000000030", by="the bill")
    query = "select seq, entry, settled_nano, reserved_nano, presumed_nano, by from ledger"
    assert log.connection.execute(query).fetchall() == [
        (2, "reserved", 0, 100, 0, ""),
        (3, "presumed", 0, -100, 100, ""),
        (4, "reconciled", 30, 0, -100, "the bill"),
    ]
    fast = Shares(Ceiling("fast", 500, "", "tokens"))
    a_loop(log, fast, Budget("200e-9", name="c")).run_now(ANSWER)
    rows = log.connection.execute("select * from ceilings").fetchall()
    assert rows == [
        ("c", "all", "usd", "*", 2e-07, 1.3e-07, 0, 0, 7e-08),
        ("fast", "all", "tokens", "*", 500, 101, 0, 0, 399),
    ]
