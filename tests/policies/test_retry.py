"""`Retry`: when it tries again, how long it waits, and that it never waits too long."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import JUDGING, SENDING, TOOL, answered, before, failed, limited

from loopwright import BadInput, Budget, Log, Loop, Outcome, Run, Task
from loopwright.calls import Sleep
from loopwright.decisions import Stop, TryAgain
from loopwright.events import Intended
from loopwright.models import Rehearsal
from loopwright.models.rehearsal import faults
from loopwright.policies import Fallback, Retry
from loopwright.policies.given import KINDS
from loopwright.policy import Policies

AGAIN = "again"
LATE = limited(seconds=10.0)

TABLE: dict[str, tuple[Retry, Run, str | None]] = {
    "a failure that may pass": (Retry(), failed(), AGAIN),
    "one that does not": (Retry(), failed(may_resend=False), None),
    "the last time": (Retry(times=2), failed(failures=2), AGAIN),
    "once too often": (Retry(times=2), failed(failures=3), None),
    "a kind of its own": (Retry(on={"overloaded": 5}), failed(failures=5), AGAIN),
    "a kind of its own, once too often": (Retry(on={"overloaded": 5}), failed(failures=6), None),
    "a kind that is not repeated": (Retry(on={"overloaded": 0}), failed(), None),
    "another kind": (Retry(on={"timeout": 0}), failed(), AGAIN),
    "as long as the provider asks": (Retry(), failed(wait=120.0), AGAIN),
    "no time that there is": (Retry(), failed(wait=float("nan")), AGAIN),
    "a time that is over": (Retry(), failed(wait=-1.0), AGAIN),
    "longer than it is patient": (Retry(), failed(wait=121.0), None),
    "past the deadline": (Retry(), failed(wait=9.0, setting=LATE, seconds=1.5), "stop"),
    "just in time": (Retry(), failed(wait=9.0, setting=LATE, seconds=1.0), AGAIN),
    "a judge, past the deadline": (Retry(), failed(call=JUDGING, wait=11.0, setting=LATE), None),
    "a tool that reads": (Retry(), failed("tool_error", TOOL, may_resend=False), AGAIN),
    "a tool, past the deadline": (Retry(), failed(call=TOOL, wait=11.0, setting=LATE), None),
    "a tool that acts": (Retry(), failed("tool_error", SENDING), None),
    "a rejected answer": (Retry(), answered("Too long."), AGAIN),
    "a third rejected answer": (Retry(times=2), answered("Too long.", attempt=3), None),
    "an answer without problems": (Retry(), answered(), None),
    "before a call": (Retry(), before(), None),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    retry, run, expected = TABLE[name]
    decision = retry.decide(run)
    said = {TryAgain: AGAIN, Stop: "stop", type(None): None}[type(decision)]
    assert said == expected


def test_a_wait_past_the_deadline_is_said_in_words() -> None:
    run = failed(wait=9.0, setting=limited(seconds=10.0), seconds=1.5)
    why = "sleeping 9 s would pass the limit of 10 s: 1.5 s are used"
    assert Retry().decide(run) == Stop(why, Outcome.exhausted)


waits = st.none() | st.floats(0, 1e6)


@given(
    st.sampled_from(KINDS),
    st.integers(1, 200),
    waits,
    st.floats(0, 1000),
    st.floats(0, 100),
    st.text(max_size=5),
)
def test_no_wait_passes_the_deadline_or_the_patience(
    kind: Any, failures: int, wait: float | None, seconds: float, longest: float, run_id: str
) -> None:
    retry = Retry(times=200, longest=longest)
    run = failed(kind, failures=failures, wait=wait, seconds=seconds, run_id=run_id)
    decision = retry.decide(run.but(setting=limited(seconds=500.0)))
    if isinstance(decision, TryAgain):
        assert seconds + decision.after <= 500
        assert decision.after <= retry.patience
        assert wait is None or decision.after == wait
        assert wait is not None or 0 <= decision.after <= longest
        assert decision == retry.decide(run.but(setting=limited(seconds=500.0)))


def test_runs_do_not_come_back_together() -> None:
    delays = {Retry().decide(failed(run_id=f"run {i}")).after for i in range(50)}  # type: ignore[union-attr]
    assert len(delays) == 50
    assert all(0.375 <= delay <= 0.5 for delay in delays)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"times": -1}, "Retry(times=-1): give a whole number of at least 0"),
        ({"times": True}, "Retry(times=True): give a whole number"),
        ({"backoff": float("nan")}, "Retry(backoff=nan): give a number of at least 0"),
        ({"on": {"overlaoded": 3}}, "did you mean 'overloaded'?"),
        ({"on": {"timeout": -1}}, "give a whole number of at least 0"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Retry(**wrong)


def test_on_the_wire_each_kind_has_its_number_of_times(log: Log) -> None:
    script = [faults.rate_limited(0.01), faults.rate_limited(0.01), faults.overloaded(), "Hello."]
    retry = Retry(0, on={"rate_limited": 2, "overloaded": 0}, backoff=0)
    with Rehearsal(script) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5",
            providers=[rehearsal.anthropic()],
            policies=[retry],
            log=log,
        )
        run = loop.run_now(Task("Hi."))
    assert len(rehearsal.requests) == 3
    assert run.why.startswith("overloaded: ")
    waits = [e.call.seconds for e in run.events if isinstance(e, Intended) and _sleeps(e)]  # type: ignore[union-attr]
    assert waits == [0.01, 0.01]


def _sleeps(event: Intended) -> bool:
    return isinstance(event.call, Sleep)


def test_on_the_wire_nothing_waits_past_the_deadline(log: Log) -> None:
    with Rehearsal([faults.rate_limited(30)]) as rehearsal:
        loop = Loop(
            "openai:gpt-6-luna",
            providers=[rehearsal.openai()],
            policies=[Retry(), Budget(seconds=20)],
            log=log,
        )
        run = loop.run_now(Task("Hi."))
    assert run.outcome is Outcome.exhausted
    (why,) = [row["why"] for row in log.db.query("select why from decisions")]
    assert why.startswith("sleeping 30 s would pass the limit of 20 s")


def test_what_it_does_not_wait_for_falls_back() -> None:
    policies = Policies([Retry(patience=5), Fallback("b:spare")])
    assert type(policies.decide(failed(wait=4.0))).__name__ == "TryAgain"
    assert type(policies.decide(failed(wait=6.0))).__name__ == "Switch"
