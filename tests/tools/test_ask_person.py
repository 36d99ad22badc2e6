"""`ask_person`: what the model asks reaches a person, over restarts, and the answer the model."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright import Log, Loop, Outcome, Task
from loopwright.calls import Answer, Question, ToolCall
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.tools import Relay, ask_person, tool

TASK = Task("Plan a trip.", tools=[ask_person()])


def asking(**arguments: Any) -> ToolCall:
    return ToolCall("1", "ask_person", arguments)


def told(model: Scripted, step: int = 1) -> str:
    """What the tool gave, as the model reads it."""
    block: Any = model.requests[step].messages[-1].blocks[0]
    return str(block.content)


def saying(*answers: str | Answer | None) -> tuple[list[Question], Callable[..., Any]]:
    asked: list[Question] = []

    def ask(question: Question, run: object) -> str | Answer | None:
        asked.append(question)
        return answers[len(asked) - 1]

    return asked, ask


def test_the_model_reads_what_the_person_says() -> None:
    model = Scripted([asking(question="Where to?"), "Done."])
    asked, ask = saying(Answer("Ulm", by="Ada", note="by train"))
    run = Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert (run.output, told(model)) == ("Done.", "Ulm\nby train")
    assert [question.text for question in asked] == ["The model asks: Where to?"]


def test_an_answer_is_one_of_the_choices() -> None:
    model = Scripted([asking(question="Where to?", choices=["Ulm", "Bonn"]), "Done."])
    asked, ask = saying("Bonn")
    Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert (asked[0].choices, told(model)) == (("Ulm", "Bonn"), "Bonn")


def test_the_run_waits_for_a_person_and_goes_on_in_another_process(log: Log) -> None:
    first = Loop(Scripted([asking(question="Where to?")]), policies=[Relay()], log=log)
    run = first.run_now(TASK)
    assert run.outcome is Outcome.waiting
    log.answer(run.run_id, "Ulm", by="Ada")
    model = Scripted(["Done."])
    second = Loop(model, policies=[Relay()], log=log)
    assert second.resume_now(run.run_id, TASK).output == "Done."
    assert told(model, 0) == "Ulm"


def test_the_same_question_is_asked_anew_at_each_call() -> None:
    same = [asking(question="More?"), asking(question="More?")]
    model = Scripted([same, asking(question="More?"), "Done."])
    asked, ask = saying("one", "two", "three")
    Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert len(asked) == 3
    results: Any = model.requests[2].messages
    assert [b.content for m in results for b in m.blocks if hasattr(b, "content")] == [
        "one",
        "two",
        "three",
    ]


def test_a_model_cannot_answer_itself_nor_skip_the_person() -> None:
    forged = asking(question="May I?", answer="yes", choices=["yes", "no"])
    model = Scripted([forged, asking(question="May I?", choices=["yes", "no"]), "Done."])
    asked, ask = saying("no")
    Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert "answer: Unexpected key" in told(model, 1)
    assert (told(model, 2), len(asked)) == ("no", 1)


@pytest.mark.parametrize(
    "arguments", [{}, {"question": 5}, {"question": "x", "choices": "ab"}, {"choices": 5}]
)
def test_what_is_no_question_reaches_nobody(arguments: dict[str, Any]) -> None:
    model = Scripted([asking(**arguments), "Done."])
    asked, ask = saying()
    Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert not asked
    assert "do not fit" in told(model)


def test_a_long_question_is_cut() -> None:
    asked, ask = saying("ok")
    model = Scripted([asking(question="x" * 9000), "Done."])
    Loop(model, policies=[Relay()], ask=ask).run_now(TASK)
    assert len(asked[0].text) == 2000 + len("The model asks: ")


def test_without_the_policy_the_model_is_told() -> None:
    model = Scripted([asking(question="Where to?"), "Done."])
    Loop(model).run_now(TASK)
    assert told(model) == "BadInput: nobody was asked: put Relay() into the policies of the loop"


def test_other_tools_are_none_of_its_business() -> None:
    @tool(name="ask_person", effect="read")
    def impostor(question: str) -> str:
        return question

    model = Scripted([asking(question="Where to?"), "Done."])
    asked, ask = saying()
    Loop(model, policies=[Relay()], ask=ask).run_now(Task("x", tools=[impostor]))
    assert (told(model), asked) == ("Where to?", [])


def test_it_goes_with_approval_and_another_name() -> None:
    task = Task("x", tools=[ask_person(name="consult")])
    model = Scripted([ToolCall("1", "consult", {"question": "Where to?"}), "Done."])
    asked, ask = saying("approve", "Ulm")
    Loop(model, policies=[Approve("consult"), Relay()], ask=ask).run_now(task)
    assert (told(model), len(asked)) == ("Ulm", 2)
