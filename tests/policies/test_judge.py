"""`Judge`: what it asks, and what follows from what is said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Log, Loop, Outcome, Task
from loopwright.calls import Failure, Reply, Text
from loopwright.events import Setting
from loopwright.models import Scripted
from loopwright.models.rehearsal import Rehearsal
from loopwright.policies.judge import Judge
from loopwright.run import Attempt, Run

RUN = Run("r", Setting("m:m"), prompt="Greet Ada.").but(answer=Attempt("Hi.", "m:m"))


def reply(**said: Any) -> Reply:
    return Reply((Text(f"Well: {json.dumps(said)}"),))


def verdict(judge: Judge, *said: Reply | Failure) -> str | None:
    """The problem, ``""`` for accept, and `None` for undecided."""
    try:
        return judge.count(said, RUN) or ""
    except ValueError:
        return None


PLAIN, SCORED = Judge("Warm."), Judge("Warm.", threshold=7)
BOTH, GRADED = Judge("Warm.", both_ways=True), Judge("Warm.", threshold=7, both_ways=True)
YES, NO = reply(verdict="accept"), reply(reason="Cold.", verdict="reject")

TABLE: dict[str, tuple[Judge, tuple[Reply | Failure, ...], str | None]] = {
    "accept": (PLAIN, (YES,), ""),
    "reject": (PLAIN, (NO,), "Cold."),
    "reject without a reason": (
        PLAIN,
        (reply(verdict="reject"),),
        "It does not fit the rubric: Warm.",
    ),
    "reject without words": (
        PLAIN,
        (reply(reason=" ", verdict="reject"),),
        "It does not fit the rubric: Warm.",
    ),
    "undecided": (PLAIN, (reply(verdict="undecided"),), None),
    "a verdict that is none": (PLAIN, (reply(verdict=["accept"]),), None),
    "no verdict": (PLAIN, (Reply((Text("I like it."),)),), None),
    "a score above": (SCORED, (reply(score=7),), ""),
    "a score below": (SCORED, (reply(reason="Cold.", score=6.5),), "Cold."),
    "no score": (SCORED, (reply(score=None),), None),
    "a score that is none": (SCORED, (reply(score=11),), None),
    "a word for a score": (SCORED, (reply(score="7"),), None),
    "a truth for a score": (Judge("x", threshold=1), (reply(score=True),), None),
    "both ways accept": (BOTH, (YES, YES), ""),
    "both ways reject": (BOTH, (NO, NO), "Cold."),
    "one way and the other": (BOTH, (YES, NO), None),
    "one of two fails": (BOTH, (YES, Failure("overloaded", "busy")), None),
    "faults are no scores": (GRADED, (reply(score=8), reply(faults=2)), ""),
    "few scores and many faults": (
        GRADED,
        (reply(score=2), reply(faults=8, reason="x")),
        "It does not fit the rubric: Warm.",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    judge, said, expected = TABLE[case]
    assert verdict(judge, *said) == expected


scores = st.floats(0, 10)


@given(scores, scores, scores)
def test_a_higher_score_is_never_worse(threshold: float, low: float, more: float) -> None:
    judge = Judge("x", threshold=threshold)
    below, above = sorted((low, more))
    accepted = [verdict(judge, reply(score=score)) == "" for score in (below, above)]
    assert accepted in ([False, False], [False, True], [True, True])


@given(st.text(max_size=30))
def test_what_the_answer_says_stays_between_its_marks(answer: str) -> None:
    run = RUN.but(answer=Attempt(f"{answer}</answer>{answer}", "m:m"))
    for ballot in BOTH.ask(run):
        assert ballot.messages[0].text.count("</answer>") == 1


def test_both_ways_turn_the_order_round() -> None:
    one, other = (ballot.messages[0].text for ballot in BOTH.ask(RUN))
    assert one.index("<task>") < one.index("<answer>")
    assert other.index("<answer>") < other.index("<task>")
    assert '"accept" | "reject" | "undecided"' in one
    assert '"undecided" | "reject" | "accept"' in other
    assert "10 is best" in GRADED.ask(RUN)[0].messages[0].text
    assert "0 is best" in GRADED.ask(RUN)[1].messages[0].text


def test_a_run_that_is_judged_both_ways(log: Log) -> None:
    def judge(request: Any) -> str:
        text = request.messages[0].text
        favours = text.index("<answer>") < text.index("<task>")
        return json.dumps({"reason": "So.", "verdict": "accept" if favours else "reject"})

    task = Task("Greet.", checks=[Judge("Warm.", "judge:judge", both_ways=True)])
    providers = [Scripted(judge, name="judge")]
    run = Loop(Scripted(["Hi."]), providers=providers, log=log).run_now(task)
    assert (run.outcome, run.verified) == (Outcome.accepted, False)
    assert run.answer is not None
    assert "accepts it one way and rejects it the other" in run.answer.undecided[0].text
    purposes = [row["purpose"] for row in log.db.query("select purpose from model_calls")]
    assert purposes == ["answer", "Judge", "Judge"]
    assert log.run(run.run_id, task) == run


def test_two_judges_and_each_gets_its_own_verdicts() -> None:
    def judge(request: Any) -> str:
        short = "Short." in request.messages[0].text
        return json.dumps({"reason": "Long.", "verdict": "reject" if short else "accept"})

    checks = [Judge("Warm.", "j:j"), Judge("Short.", "j:j", both_ways=True), Judge("Kind.", "j:j")]
    run = Loop(Scripted(["Hi."]), providers=[Scripted(judge, name="j")]).run_now(
        Task("x", checks=checks)
    )
    assert [problem.text for problem in run.problems] == ["Long."]


def test_over_the_wire() -> None:
    with Rehearsal(["Hi.", '{"reason": "Cold.", "score": 3}']) as rehearsal:
        task = Task("Greet.", checks=[Judge("Warm.", "openai:gpt-6-luna", threshold=5)])
        providers = [rehearsal.openai(), rehearsal.anthropic()]
        run = Loop("anthropic:claude-haiku-4-5", providers=providers).run_now(task)
    assert (run.outcome, run.problems[0].text) == (Outcome.rejected, "Cold.")


@pytest.mark.parametrize("threshold", [-1, 11, "7", True])
def test_what_cannot_be(threshold: Any) -> None:
    with pytest.raises(BadInput, match="give a number from 0 to 10"):
        Judge("x", threshold=threshold)
