"""`AskPerson`: a question at the moment that a predicate chooses."""

from typing import Any

import pytest

from loopwright import BadInput, Log, Loop, Outcome, Run, Task
from loopwright.calls import Answer, Failure, ModelCall, Question
from loopwright.decisions import Ask, Decision, Stop
from loopwright.events import Intended, Setting
from loopwright.models import Scripted
from loopwright.policies.ask_person import AskPerson
from loopwright.run import Attempt

DEAR = AskPerson("Dear. Go on?", at=lambda run: run.spent.settled > 10)
RUN = Run("r", Setting("m:m")).but(moment="call", call=ModelCall("m1", "m:m"))


def spent(nano: int, **changes: Any) -> Run:
    return RUN.but(spent=RUN.spent.__class__(settled=nano), **changes)


def answered(text: str) -> dict[str, Answer]:
    return {"go on? Dear. Go on?": Answer(text, "Bob", "Too much." if text == "stop" else "")}


ASKED = Ask(
    "Dear. Go on?",
    "a person is to say how to go on",
    choices=("go on", "stop"),
    digest="go on? Dear. Go on?",
)
STOPPED = Stop("Bob said stop to: Dear. Go on? (Too much.)")

TABLE: dict[str, tuple[Run, Decision | None]] = {
    "it does not hold": (spent(10), None),
    "it holds": (spent(11), ASKED),
    "it holds after a failure": (spent(11, moment="failure"), ASKED),
    "answered": (spent(11, answers=answered("go on")), None),
    "stopped": (spent(11, answers=answered("stop")), STOPPED),
    "stopped, and it holds no more": (spent(0, answers=answered("stop")), STOPPED),
    "after an answer": (
        spent(11, moment="answer", answer=Attempt("Hi.", "m:m")),
        Ask(
            "Dear. Go on?\nHi.",
            "a person is to say how to go on",
            choices=("go on", "stop"),
            digest="go on? Dear. Go on?",
        ),
    ),
    "after a review": (
        spent(11, moment="answer", answers={"go on? Dear. Go on?": Answer("go on")}),
        None,
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    run, expected = TABLE[case]
    assert DEAR.decide(run) == expected


def test_a_failed_call_is_made_again_or_not() -> None:
    at_failure = AskPerson("Again?", at=lambda run: run.moment == "failure")
    for said, calls in (("go on", 2), ("stop", 1)):
        model = Scripted([Failure("overloaded", "busy"), "ok"])
        loop = Loop(model, policies=[at_failure], ask=lambda question, run, said=said: said)
        run = loop.run_now(Task("x"))
        assert len(model.requests) == calls
        assert (run.output, run.outcome) == (
            ("ok", Outcome.accepted) if said == "go on" else (None, Outcome.stopped)
        )


def test_the_run_waits_and_a_text_of_its_own_is_asked_anew(log: Log) -> None:
    each = AskPerson(lambda run: f"Attempt {run.attempt}?", at=lambda run: run.moment == "call")
    run = Loop(Scripted(["ok"]), policies=[each], log=log).run_now(Task("x"))
    assert (run.outcome, run.why) == (Outcome.waiting, "Attempt 1?")
    log.answer(run.run_id, "go on")
    assert (
        Loop(Scripted(["ok"]), policies=[each], log=log).resume_now(run.run_id, Task("x")).output
        == "ok"
    )


def test_a_person_gives_the_answer_and_it_is_checked() -> None:
    def ask(question: Question, run: Run) -> str:
        assert question.text == "Better?\nHello."
        return "Dear Ada"

    better = AskPerson("Better?", at=lambda run: run.moment == "answer", writes=True)
    task = Task("x", checks=[lambda answer: None if "Ada" in answer else "Name Ada."])
    run = Loop(Scripted(["Hello."]), policies=[better], ask=ask).run_now(task)
    assert (run.output, run.verified) == ("Dear Ada", True)


@pytest.mark.parametrize(
    ("says", "outcome"), [("go on", Outcome.accepted), ("stop", Outcome.stopped)]
)
def test_a_person_reviews_the_answer(says: str, outcome: Outcome) -> None:
    review = AskPerson("Good enough?", at=lambda run: run.moment == "answer")
    run = Loop(Scripted(["Hello."]), policies=[review], ask=lambda q, run: says).run_now(Task("x"))
    assert run.outcome is outcome
    assert [question.text for question in _asked(run)] == ["Good enough?\nHello."]


def _asked(run: Run) -> list[Question]:
    calls = [event.call for event in run.events if isinstance(event, Intended)]
    return [call for call in calls if isinstance(call, Question)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": " ", "at": bool}, "give the question"),
        ({"question": "x", "at": "now"}, "give a function of the run that says when"),
        ({"question": "x", "at": bool, "choices": ["yes", "no"]}, "give 'stop' and something"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        AskPerson(**given)
