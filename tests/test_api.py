"""Many runs at once, and runs by an id of one's own."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import pytest
from attrs import evolve

from loopwright import BadInput, Log, LogError, Loop, Media, Outcome, Run, Task
from loopwright.calls import Request
from loopwright.decisions import Ask
from loopwright.log.redact import redact
from loopwright.models import Scripted
from loopwright.policies import AskPerson, Degrade, Retry, Vote

LETTER = Task("Answer {letter}.")
LETTERS = [{"letter": name} for name in ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn")]


def echo(request: Request) -> str:
    return f"To: {request.messages[0].text}"


def meddling(log: Log, act: Callable[[Log, str], object]) -> Loop:
    """A loop whose log somebody else acts upon while the answer to Cleo is being written."""

    def said(request: Request) -> str:
        if "Cleo" in request.messages[0].text:
            other = Log(log.path)
            for run_id in other.ids():
                if other.run(run_id).inputs["letter"] == "Cleo":
                    act(other, run_id)
        return echo(request)

    return Loop(Scripted(said), log=log)


def outcomes(runs: list[Run]) -> list[Outcome | None]:
    return [run.outcome for run in runs]


@pytest.mark.parametrize("at_once", [1, 6])
def test_a_run_of_many_that_is_cancelled_leaves_the_others_alone(log: Log, at_once: int) -> None:
    done: list[int] = []
    runs = meddling(log, lambda other, run_id: other.cancel(run_id, by="Ada")).map_now(
        LETTER, LETTERS, at_once=at_once, progress=lambda count, _, run: done.append(count)
    )
    assert outcomes(runs) == [Outcome.cancelled if i == 2 else Outcome.accepted for i in range(6)]
    assert [run.inputs for run in runs] == LETTERS
    assert (runs[2].why, runs[2].task) == ("cancelled by Ada", LETTER)
    assert done == [1, 2, 3, 4, 5, 6]


def test_a_run_of_many_that_is_taken_over_leaves_the_others_alone(log: Log) -> None:
    taking = Loop(Scripted(["Taken over."], name="scripted"))

    def resume(other: Log, run_id: str) -> None:
        taking.log = other
        taking.resume_now(run_id, LETTER)

    runs = meddling(log, resume).map_now(LETTER, LETTERS)
    assert outcomes(runs) == [Outcome.accepted] * 6
    assert [run.output for run in runs if run.output == "Taken over."] == [runs[2].output]


def test_many_runs_end_with_their_log(log: Log) -> None:
    loop = meddling(log, lambda other, run_id: log.close())
    with pytest.raises(LogError):
        loop.map_now(LETTER, LETTERS)


def test_what_a_watch_or_a_progress_raises_ends_many_runs() -> None:
    def listener(*told: Any) -> None:
        raise RuntimeError("no screen")

    with pytest.raises(RuntimeError, match="no screen"):
        Loop(Scripted(echo), watch=listener).map_now(LETTER, LETTERS)
    with pytest.raises(RuntimeError, match="no screen"):
        Loop(Scripted(echo)).map_now(LETTER, LETTERS, progress=listener)


def test_many_runs_that_are_interrupted_are_cancelled(log: Log) -> None:
    async def interrupted() -> None:
        loop = Loop(Scripted(echo, latency=60), log=log)
        carried = asyncio.ensure_future(loop.map(LETTER, LETTERS, at_once=2))
        while len(log.ids()) < 2:
            await asyncio.sleep(0.001)
        carried.cancel()
        await carried

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert outcomes([log.run(run_id) for run_id in log.ids()]) == [Outcome.cancelled] * 2


def test_strictly_all_inputs_are_linted_before_the_first_run() -> None:
    model = Scripted(echo)

    def sends_dan_to_nowhere(run: Run) -> Ask | None:
        return Ask("Dan?") if run.inputs["letter"] == "Dan" and run.moment == "answer" else None

    loop = Loop(model, policies=[Retry(), sends_dan_to_nowhere], strict=True)
    task = evolve(LETTER, checks=[lambda answer: "too short"])
    with pytest.raises(BadInput, match="sends_dan_to_nowhere: asks a person"):
        loop.map_now(task, LETTERS, at_once=1)
    assert model.requests == []


def as_of(loop: Loop, task: Task, **inputs: Any) -> Run:
    return asyncio.run(loop.run_as("letter-7", task, inputs))


def test_a_run_by_its_id_is_made_once(log: Log) -> None:
    model = Scripted(echo)
    loop = Loop(model, log=log)
    photo, day = Media("image/png", "aGk="), {"b": (1, 2.0), "a": None}
    task = Task("Answer {letter} with {photo} of {day}.")
    runs = [as_of(loop, task, letter="half \ud800", photo=photo, day=day) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(model.requests) == 1


def test_a_run_by_its_id_has_the_inputs_that_it_was_begun_with(log: Log) -> None:
    loop, task = Loop(Scripted(echo), log=log), Task("Answer {letter} by {day}.")
    as_of(loop, task, letter="Ada", day="noon")
    with pytest.raises(BadInput) as refused:
        as_of(loop, task, letter="Ben", day="noon")
    assert str(refused.value) == (
        "run letter-7 was begun with other inputs (letter): give another id"
    )
    with pytest.raises(BadInput, match=r"with other inputs \(day\)"):
        as_of(loop, task, letter="Ada")


def test_what_was_masked_in_the_log_is_no_other_input(log: Log) -> None:
    loop, key = Loop(Scripted(["ok"]), log=log), "sk-ant-api03-" + "x1" * 20
    run = as_of(loop, LETTER, letter=f"Ada, {key}")
    assert key not in run.inputs["letter"]
    assert as_of(loop, LETTER, letter=f"Ada, {key}") == run
    redact(log, "Ada, ")
    assert as_of(loop, LETTER, letter=f"Ada, {key}").run_id == run.run_id


def test_a_run_by_its_id_is_one_of_the_same_task(log: Log) -> None:
    loop = Loop(Scripted(echo), log=log)
    done = as_of(loop, LETTER, letter="Ada")
    with pytest.raises(BadInput, match=r"for the task 'Answer {letter}\.', and this is 'Burn"):
        as_of(loop, Task("Burn {letter}."), letter="Ada")
    assert as_of(loop, evolve(LETTER, name="letters"), letter="Ada") == done


def test_another_version_of_its_task_is_asked_about(log: Log) -> None:
    waits = Loop(Scripted(echo), policies=[lambda run: Ask("Now?", digest="now")], log=log)
    first, second = (Task(f"{word} {{letter}}.", name="letters") for word in ("Answer", "Heed"))
    assert as_of(waits, first, letter="Ada").why == "Now?"
    waits.answer("letter-7", "yes")
    assert (
        "has changed: the prompt" in as_of(Loop(Scripted(echo), log=log), second, letter="Ada").why
    )


def test_a_child_is_what_the_call_of_its_parent_made_it(log: Log) -> None:
    loop = Loop(Scripted(echo), log=log)
    first, second = (
        asyncio.run(loop.run_as("top.m1-0", LETTER, {"letter": name}, parent="top"))
        for name in ("Ada", "Ben")
    )
    assert first == second


@pytest.mark.parametrize(
    ("made", "name"),
    [(Degrade, "models"), (Vote, "models"), (AskPerson, "choices")],
)
def test_a_list_of_texts_is_typed_as_one(made: type, name: str) -> None:
    """What type checkers say of an argument follows from its converter."""
    assert get_type_hints(vars(made)["__init__"])[name] == Iterable[str]
