"""What holds of every policy and check: it does its work on the wire, and says what it is not."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve, field, frozen
from moments import Clock

from loopwright import BadInput, Log, Loop, Run, Task, policies
from loopwright.calls import ModelCall
from loopwright.events import Decided, Intended
from loopwright.models import Rehearsal
from loopwright.models.rehearsal import CallTool, faults
from loopwright.models.script import Response
from loopwright.policies import (
    Agrees,
    Approve,
    AskPerson,
    Breaker,
    Budget,
    CacheReplies,
    Cites,
    Compact,
    Deadline,
    Degrade,
    Escalate,
    Fallback,
    Judge,
    Matches,
    MaxWords,
    NoPlaceholders,
    NoProgress,
    Pace,
    Permit,
    Redact,
    Retry,
    Route,
    Timeout,
    Vote,
)
from loopwright.tools import tool

SPARE = "openai:gpt-6-luna"
START = 1_750_000_000.0


@tool(effect="read")
def look(where: str) -> str:
    """Look there."""
    return "Nothing but dust. " * 200


@frozen
class Case:
    """A script that the rehearsal plays, and what `subject` does about it: what stands in the log,
    or in the problems, and to how many requests it comes."""

    subject: Any
    script: list[Any]
    said: str
    requests: int
    runs: int = 1
    task: Task = field(factory=lambda: Task("Write to ada@example.org."), kw_only=True)


def again(where: str) -> CallTool:
    return CallTool("look", {"where": where})


def rejected(answer: str) -> str | None:
    return "Give a number." if answer == "no" else None


LOOKING = Task("Find it.", tools=[look])
STRICT = Task("6 * 7?", checks=[rejected])
REJECTS = json.dumps({"reason": "Too cold.", "verdict": "reject"})

CASES: dict[str, Case] = {
    "Agrees": Case(Agrees(SPARE), ["41", "42"], "came to another result", 2),
    "Approve": Case(Approve("look"), [again("a"), "ok"], "look needs approval", 2, task=LOOKING),
    "AskPerson": Case(
        AskPerson("Go on?", at=lambda run: run.moment == "call"), ["ok"], "how to go on", 1
    ),
    "Breaker": Case(Breaker(1), [faults.overloaded()], "is left alone until", 1, 2),
    "Budget": Case(Budget(usd="0.000001"), [], "the limit of 0.000001 USD could be passed", 0),
    "CacheReplies": Case(CacheReplies(60), ["ok"], "there are no checks", 1, 3),
    "Cites": Case(Cites(), ["See https://made.up."], "stand in no source", 1),
    "Compact": Case(
        Compact(tokens=1, keep=1, longest=9),
        [again("a"), again("b"), "ok"],
        "shorter is cheaper",
        3,
        task=LOOKING,
    ),
    "Deadline": Case(Deadline(at=START + 60), ["ok"], "60 s are left until the deadline", 1),
    "Degrade": Case(Degrade(), ["ok"], "output tokens instead of 500000", 1),
    "Escalate": Case(Escalate(SPARE), ["no", "42"], f"{SPARE} is stronger", 2, task=STRICT),
    "Fallback": Case(Fallback(SPARE), [faults.overloaded(), "ok"], "takes its place", 2),
    "Judge": Case(Judge("It is warm."), ["Go.", REJECTS], "Too cold.", 2),
    "Matches": Case(Matches("^Dear", why="Begin with Dear."), ["Hi."], "Begin with Dear.", 1),
    "MaxWords": Case(MaxWords(1), ["Hi there."], "The answer has 2 words", 1),
    "NoPlaceholders": Case(NoPlaceholders(), ["Dear [Name]"], "left open: [Name]", 1),
    "NoProgress": Case(
        NoProgress(2), [again("a")] * 4, "no progress: look gave the same", 4, task=LOOKING
    ),
    "Pace": Case(Pace(1), ["ok"] * 2, "1 requests a minute are used up", 2, 2),
    "Permit": Case(
        Permit({"see": True}), [again("a"), "ok"], "look is not permitted here", 2, task=LOOKING
    ),
    "Redact": Case(Redact(r"\w+@\S+"), ["ok"], "what must not leave is masked", 1),
    "Retry": Case(Retry(), [faults.overloaded(), "ok"], "overloaded, try 2 in", 2),
    "Route": Case(Route(lambda run: SPARE, SPARE), ["ok"], f"{SPARE} first", 1),
    "Timeout": Case(Timeout(5), ["ok"], "a call has 5 s", 1),
    "Vote": Case(Vote([SPARE]), ["41", "42", "42"], "2 of 3 answers to this came to", 3),
}


def test_every_policy_has_its_case() -> None:
    """`Policies` is the list, `Policy` what all of them are, and `unlimited` a number."""
    assert set(CASES) == {*policies.__all__} - {"Policies", "Policy", "unlimited"}


@pytest.mark.parametrize("name", CASES)
def test_on_the_wire(name: str, log: Log) -> None:
    case = CASES[name]
    with Rehearsal(case.script) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5",
            providers=[rehearsal.anthropic(), rehearsal.openai()],
            log=log,
            ask=lambda question, run: question.choices[0],
            **_place(case.subject),
        )
        runs = [loop.run_now(_task(case)) for _ in range(case.runs)]
        asked = len([seen for seen in rehearsal.requests if seen.body])
    assert case.said in " | ".join(text for run in runs for text in _told(run))
    assert asked == case.requests
    assert all(run.spent.reserved == 0 for run in runs)


def _place(subject: Any) -> dict[str, Any]:
    """Policies stand in the list, what wraps a port among the ports, and checks in the task."""
    clock = [Clock(START)]
    if isinstance(subject, policies.Policy):
        return {"policies": [subject], "ports": clock}
    return {"ports": [subject, *clock] if hasattr(subject, "port") else clock}


def _task(case: Case) -> Task:
    if isinstance(case.subject, Degrade):
        return evolve(case.task, max_tokens=500_000)
    placed = isinstance(case.subject, policies.Policy) or hasattr(case.subject, "port")
    return case.task if placed else evolve(case.task, checks=[case.subject])


def _told(run: Run) -> list[str]:
    decided = [event for event in run.events if isinstance(event, Decided)]
    return [run.why, *(d.decision.why for d in decided), *(p.text for p in run.problems)]


def test_a_timeout_and_a_mask_go_over_the_wire(log: Log) -> None:
    """What an amended call says is what is sent, whichever of the two stands above the other."""
    pair = [Timeout(5), Redact(r"\w+@\S+")]
    for ladder in (pair, pair[::-1]):
        with Rehearsal([Response("ok")]) as rehearsal:
            loop = Loop(SPARE, providers=[rehearsal.openai()], policies=ladder, log=log)
            run = loop.run_now(Task("Write to ada@example.org."))
            sent = str(rehearsal.requests[-1].body)
        calls = [event.call for event in run.events if isinstance(event, Intended)]
        assert [call.timeout for call in calls if isinstance(call, ModelCall)] == [5]
        assert "[redacted]" in sent
        assert "ada@example.org" not in sent


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "Agrees": (lambda: Agrees("a:b", key=5), "Agrees(key=5): give a function"),  # type: ignore[arg-type]
    "Approve": (lambda: Approve("send", expires=0), "give a positive number of seconds"),
    "AskPerson": (lambda: AskPerson("?", at=5), "AskPerson(at=5): give a function of the run"),  # type: ignore[arg-type]
    "Breaker": (lambda: Breaker(model=5), "Breaker(model=5): give a text"),  # type: ignore[arg-type]
    "Budget": (lambda: Budget(usd="sNaN"), "Budget(usd='sNaN'): give a number of at least 0"),
    "Budget, too much": (lambda: Budget(usd=10**7), "give at most 9007199, or unlimited"),
    "Budget, too many": (lambda: Budget(tokens=10**30), "give at most 9007199254740992"),
    "CacheReplies": (lambda: CacheReplies(0), "CacheReplies(seconds=0): give a number of at least"),
    "Cites": (lambda: Cites(field=5), "Cites(field=5): give a text"),  # type: ignore[arg-type]
    "Compact": (lambda: Compact(True), "Compact(True): give the share as a number above 0"),
    "Deadline": (lambda: Deadline(-1), "Deadline(seconds=-1): give a number of at least 0"),
    "Deadline, no zone": (
        lambda: Deadline(at=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)),
        "give the time with its time zone",
    ),
    "Degrade": (lambda: Degrade("a:b"), "Degrade: 'a:b': give a list of models, ['a:b']"),  # type: ignore[arg-type]
    "Escalate": (lambda: Escalate("strong"), "name a model as 'provider:model'"),
    "Fallback": (lambda: Fallback("a:b", on=5), "give a list of kinds of failures"),  # type: ignore[arg-type]
    "Judge": (lambda: Judge(" "), "Judge(' '): say what a good answer is"),
    "Judge, its model": (lambda: Judge("Warm.", "cheap"), "name a model as 'provider:model'"),
    "Matches": (lambda: Matches("("), "give a regular expression"),
    "MaxWords": (lambda: MaxWords(0), "MaxWords(most=0): give a whole number of at least 1"),
    "NoPlaceholders": (lambda: NoPlaceholders("TODO"), "give a list of regular expressions"),
    "NoProgress": (lambda: NoProgress(1), "give a whole number of at least 2"),
    "Pace": (lambda: Pace(5, name=5), "Pace(name=5): give a text"),  # type: ignore[arg-type]
    "Permit": (lambda: Permit({}, outside=5), "give a list of names of tools"),
    "Redact": (lambda: Redact("x", mask=5), "and a text as its mask"),  # type: ignore[arg-type]
    "Retry": (lambda: Retry(on="timeout"), "such as {'rate_limited': 5}"),
    "Route": (lambda: Route.classified("a:a", 5), "needs two kinds or more"),  # type: ignore[arg-type]
    "Route, kinds alike": (
        lambda: Route.classified("a:a", {"hard": "b:b", "Very hard": "c:c"}),
        "whoever says 'Very hard' says 'hard', too",
    ),
    "Timeout": (lambda: Timeout(5, model=5), "Timeout(model=5): give a text"),  # type: ignore[arg-type]
    "Vote": (lambda: Vote(judge="Judge"), "Vote(judge='Judge'): give a Judge"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_says_what_to_do(name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(BadInput, match=re.escape(message)):
        make()


def test_every_policy_refuses_something() -> None:
    assert {name.split(",")[0] for name in WRONG} == set(CASES)
