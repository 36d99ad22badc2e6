"""`Deadline`: nothing begins too late, and nothing waits or works past it."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from moments import CALL, TOOL, Clock, answered, before, failed

from loopwright import BadInput, Budget, Loop, Outcome, Run, Task
from loopwright.calls import Failure, ModelCall, Sleep, ToolCall
from loopwright.decisions import Amend, Decision, Stop
from loopwright.models import Rehearsal, Scripted
from loopwright.models.rehearsal import faults
from loopwright.policies import Deadline, Retry

AT = 1_750_000_000.0
WALL = Deadline(at=AT)
TOLD = "the deadline, 2025-06-15 15:06:40 UTC"
PASSED = Stop(f"{TOLD}, has passed", Outcome.exhausted)
SLEEP = Sleep("s1", 30.0)


def amended(call: ModelCall | ToolCall, left: float) -> Amend:
    return Amend(evolve(call, timeout=left), f"{left:g} s are left until the deadline")


TABLE: dict[str, tuple[Deadline, Run, Decision | None]] = {
    "there is time": (WALL, before(time=AT - 1000), None),
    "less time than the call may take": (WALL, before(time=AT - 90), amended(CALL, 90.0)),
    "the call knows already": (WALL, before(evolve(CALL, timeout=90.0), time=AT - 89.5), None),
    "it knew, and time has passed": (
        WALL,
        before(evolve(CALL, timeout=90.0), time=AT - 30),
        amended(CALL, 30.0),
    ),
    "a tool": (WALL, before(TOOL, time=AT - 5), amended(TOOL, 5.0)),
    "a wait that fits": (WALL, before(SLEEP, time=AT - 31), None),
    "a wait that does not": (
        WALL,
        before(SLEEP, time=AT - 29),
        Stop(f"sleeping 30 s would pass {TOLD}", Outcome.exhausted),
    ),
    "it has passed": (WALL, before(time=AT), PASSED),
    "it has passed before a wait": (WALL, before(SLEEP, time=AT + 1), PASSED),
    "after a failure": (WALL, failed(time=AT + 1), None),
    "after an answer": (WALL, answered("Wrong.", time=AT + 1), None),
    "working time is left": (Deadline(60), before(seconds=59.0), None),
    "working time is over": (
        Deadline(60),
        before(seconds=60.0),
        Stop("the limit of 60 s is reached: 60 s are used", Outcome.exhausted),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    deadline, run, expected = TABLE[name]
    assert deadline.decide(run) == expected


@given(st.floats(0, 2000), st.none() | st.floats(0.001, 2000), st.floats(0.001, 100))
def test_what_it_lets_through_ends_in_time(left: float, own: float | None, slept: float) -> None:
    for call in (evolve(CALL, timeout=own), evolve(TOOL, timeout=own), Sleep("s", slept)):
        run = before(call, time=AT - left)
        decision = WALL.decide(run)
        if isinstance(decision, Amend):
            run = run.but(call=decision.call)
            assert WALL.decide(run) is None
        if not isinstance(decision, Stop):
            ends = getattr(run.call, "seconds", None) or getattr(run.call, "timeout", None) or 600
            assert ends <= left + 1.001


def test_seconds_are_those_of_a_budget() -> None:
    loop = Loop(Scripted([]), policies=[Deadline(1200), Budget(seconds=3000)])
    assert loop.house.limits["seconds"] == 1200
    assert Loop(Scripted([]), policies=[Deadline(at=AT)]).house.limits["seconds"] == 600
    assert Deadline(at=datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)) == WALL


def test_backoff_does_not_pass_it() -> None:
    busy = Scripted([Failure("overloaded", "busy", 30.0, True, 529)] * 9)
    policies = [Retry(times=9), Deadline(at=AT + 100)]
    run = Loop(busy, policies=policies, ports=[Clock(AT)]).run_now(Task("x"))
    assert len(busy.requests) == 4
    assert run.why.startswith("sleeping 30 s would pass the deadline")
    assert run.time < AT + 100


def test_on_the_wire_it_bounds_the_call() -> None:
    model = "anthropic:claude-haiku-4-5"
    with Rehearsal(["Hello.", faults.hang()]) as rehearsal:
        provider = rehearsal.anthropic()
        Loop(model, providers=[provider]).run_now(Task("Hi."))  # which loads the SDK
        policies = [Retry(times=9, backoff=1), Deadline(at=time.time() + 1.5)]
        run = Loop(model, providers=[provider], policies=policies).run_now(Task("Hi."))
    assert (run.outcome, len(rehearsal.requests)) == (Outcome.exhausted, 2)
    assert [d.policy for d in run.decisions] == ["Deadline", "Retry", "Deadline"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "Deadline(...) needs seconds=, or at="),
        ({"at": datetime(2030, 1, 1)}, "give the time with its time zone"),
        ({"at": "tomorrow"}, "give a datetime, or seconds since 1970"),
        ({"seconds": -1}, "give a number of at least 0"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Deadline(**wrong)
