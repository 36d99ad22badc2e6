"""`Escalate`: up the ladder, never down, with what the next rung has to know."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import answered, attempt, before, failed

from loopwright import BadInput, Loop, Outcome, Run, Task
from loopwright.calls import Answer
from loopwright.decisions import Ask, Decision, Switch, TryAgain
from loopwright.models import Rehearsal, Scripted
from loopwright.policies import Escalate, Retry
from loopwright.policy import Policies

LADDER = Escalate("b:mid", "c:strong")
PERSON = Escalate("b:mid", person=True)
MID, STRONG = ("a:weak", "b:mid"), ("a:weak", "b:mid", "c:strong")
HEARD = {"escalated to a person": Answer("no")}

TABLE: dict[str, tuple[Escalate, Run, str | None]] = {
    "rejected": (LADDER, answered("Wrong."), "b:mid"),
    "rejected on the first rung": (LADDER, answered("Wrong.", models=MID), "c:strong"),
    "rejected on the last rung": (LADDER, answered("Wrong.", models=STRONG), None),
    "begun above a rung": (LADDER, answered("Wrong.", models=("a:weak", "c:strong")), None),
    "fallen back to another": (LADDER, answered("Wrong.", models=(*MID, "d:spare")), "c:strong"),
    "accepted": (LADDER, answered(), None),
    "failed": (LADDER, failed(), None),
    "before a call": (LADDER, before(), None),
    "a person is left": (PERSON, answered("Wrong.", models=MID), "ask"),
    "a person was asked": (PERSON, answered("Wrong.", models=MID, answers=HEARD), None),
    "attempts are left": (Escalate("b:mid", attempts=3), answered("Wrong.", attempt=2), "again"),
    "no attempts are left": (Escalate("b:mid", attempts=3), answered("No.", attempt=3), "b:mid"),
    "attempts on the last rung": (
        Escalate("b:mid", attempts=[1, 2]),
        answered("Wrong.", models=MID),
        "again",
    ),
    "a person was asked, with attempts left": (
        Escalate(person=True, attempts=3),
        answered("Wrong.", answers=HEARD),
        None,
    ),
}


def said(decision: Decision | None) -> str | None:
    match decision:
        case Switch(to):
            return to
        case Ask(purpose="answer"):
            return "ask"
        case TryAgain():
            return "again"
    return None


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    escalate, run, expected = TABLE[name]
    assert said(escalate.decide(run)) == expected


def test_the_best_attempt_goes_up_with_the_feedback() -> None:
    run = answered("Wrong.", "Too long.", best=attempt("Too long.", text="nearly"))
    decision = LADDER.decide(run)
    assert isinstance(decision, Switch)
    assert decision.feedback == (
        "Your answer was not accepted:\n- Wrong.\n- Too long.\nGive a complete new answer.\n"
        "The best answer so far, by a:weak, was:\nnearly\nIts problems were:\n- Too long."
    )
    assert LADDER.decide(answered("Wrong.")).feedback == answered("Wrong.").feedback  # type: ignore[union-attr]


def test_the_person_sees_the_best_attempt() -> None:
    run = answered("Wrong.", "Too long.", models=MID, best=attempt("Too long.", text="nearly"))
    asked = PERSON.decide(run)
    assert isinstance(asked, Ask)
    assert "nearly" in asked.question


def test_above_a_retry_it_is_a_limit() -> None:
    run = answered("Wrong.", attempt=2)
    limit = Escalate("b:mid", attempts=2)
    assert said(Policies([limit, Retry(times=5)]).decide(run)) == "b:mid"
    assert said(Policies([Retry(times=5), limit]).decide(run)) == "again"


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_each_rung_answers_as_often_as_it_may(attempts: list[int], rungs: int) -> None:
    stronger = [Scripted(["no"] * 3, name=f"rung-{i}") for i in range(rungs)]
    weak = Scripted(["no"] * 3, name="weak")
    ladder = Escalate(*(f"{s.name}:{s.name}" for s in stronger), attempts=attempts)
    task = Task("x", checks=[lambda answer: "Say yes."])
    run = Loop(weak, providers=stronger, policies=[ladder]).run_now(task)
    expected = [*attempts, *[attempts[-1]] * rungs][: rungs + 1]
    assert [len(model.requests) for model in (weak, *stronger)] == expected
    assert run.outcome is Outcome.rejected


def test_on_the_wire_the_strong_model_reads_the_feedback() -> None:
    with Rehearsal(["six", "42"]) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5",
            providers=[rehearsal.anthropic(), rehearsal.openai()],
            policies=[Escalate("openai:gpt-6-sol")],
        )
        digits = Task("6 * 7?", checks=[lambda a: None if a.isdigit() else "Give a number."])
        run = loop.run_now(digits)
    assert (run.output, run.verified) == ("42", True)
    assert "Give a number." in str(rehearsal.requests[1].body)
    assert "Give a number." not in str(rehearsal.requests[0].body)


@pytest.mark.parametrize("attempts", [0, (), (1, 0), True, "2"])
def test_attempts_that_cannot_be(attempts: Any) -> None:
    with pytest.raises(BadInput, match=re.escape("give whole numbers of at least 1")):
        Escalate("a:b", attempts=attempts)
