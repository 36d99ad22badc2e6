"""Inspect: the one place where an answer is looked at. Pure but for the checks themselves."""

import inspect as signatures
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from loopwright.calls import SUMMARY, Failure, Message, ModelCall, Reply
from loopwright.errors import BadInput, Mismatch, in_words
from loopwright.events import Event, Inspected, Problem
from loopwright.run import Attempt, Run

_CUT = {
    "length": "The answer was cut off because it was too long: give a shorter one, complete.",
    "refusal": "The model refused to answer.",
    "filter": "The provider's content filter withheld the answer.",
    "error": "The answer ended with an error.",
}


@frozen
class Ballot:
    """One of the model calls that a judge asks for: these `messages`, and nothing of the task.

    `model` is ``"provider:model"``; without it, it is the judge's own, or else that of the run.
    """

    messages: tuple[Message, ...]
    model: str = ""


@frozen
class Findings:
    """What was found: problems, and what could not be told."""

    problems: tuple[Problem, ...] = ()
    undecided: tuple[Problem, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(self.problems + other.problems, self.undecided + other.undecided)


def inspect(run: Run, now: float) -> list[Event]:
    """What is wrong with the answer, if there is one that was not yet looked at.

    All checks that are plain functions speak. Judges, which cost model calls, are called only if
    none of those complained; their verdicts are read when all have returned. `ask(run)` of a judge
    gives the messages of one call, whose reply its `read` is given; or it gives several ballots,
    whose replies and failures its `count` is given, in their order, and then the run.
    """
    attempt = run.answer
    if attempt is None or attempt.inspected or not run.open:
        return []
    if not attempt.judging:
        return [_looked_at(run, attempt, now)]
    if all(call in run.verdicts for call in attempt.judging):
        return [_judged(run, attempt, now)]
    return []


def _checks(run: Run) -> tuple[list[Callable[..., Any]], list[Any]]:
    checks = run.task.checks if run.task else ()
    judges = [check for check in checks if hasattr(check, "ask")]
    return [check for check in checks if callable(check) and check not in judges], judges


def _looked_at(run: Run, attempt: Attempt, now: float) -> Inspected:
    plain, judges = _checks(run)
    whole = _whole(attempt)
    value = _value(run, attempt) if not whole.problems else None
    found = whole + value if isinstance(value, Findings) else whole
    if not found.problems:
        for check in plain:
            found += _said(name_of(check), lambda check=check: _call(check, value, run))
    count = len(plain) + len(judges)
    if found.problems or not judges:
        return Inspected(now, found.problems, found.undecided, count)
    try:
        calls = tuple(call for i, judge in enumerate(judges) for call in _asked(run, judge, i))
    except Exception as error:
        found += Findings((), (Problem("judges", in_words(error)),))
        calls = ()
    return Inspected(now, (), found.undecided, count, calls)


def _whole(attempt: Attempt) -> Findings:
    if attempt.finish in _CUT:
        return Findings((Problem(attempt.finish, _CUT[attempt.finish]),))
    if not attempt.text.strip():
        return Findings((Problem("empty", "The answer was empty."),))
    return Findings()


def _value(run: Run, attempt: Attempt) -> Any:
    """The answer as a value of the output type, or what is wrong with it."""
    schema = run.task.schema if run.task else None
    if schema is None:
        return attempt.text
    try:
        return schema.parse_json(attempt.text)
    except Mismatch as mismatch:
        return Findings(tuple(Problem("output", problem) for problem in mismatch.problems))


def _call(check: Callable[..., Any], value: Any, run: Run) -> Any:
    return check(value, run) if _wants_run(check) else check(value)


def _wants_run(check: Callable[..., Any]) -> bool:
    kinds = (signatures.Parameter.POSITIONAL_ONLY, signatures.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signatures.signature(check).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) > 1


def _said(name: str, ask: Any) -> Findings:
    """A problem, or none; a check that raises, or gives no words, could not tell."""
    try:
        said = ask()
    except Exception as error:
        return Findings((), (Problem(name, in_words(error)),))
    if said is None:
        return Findings()
    if isinstance(said, str) and said.strip():
        return Findings((Problem(name, said),))
    wrong = f"the check returned {said!r}; it should return None or the problem in words"
    return Findings((), (Problem(name, wrong),))


def name_of(check: Any) -> str:
    """The name under which a check stands in the log."""
    return str(getattr(check, "__name__", None) or getattr(check, "name", type(check).__name__))


def _asked(run: Run, judge: Any, index: int) -> list[ModelCall]:
    """The calls of one judge. They are told from those of others by the number in their ids."""
    return [
        _ballot_call(run, judge, ballot, f"j{run.seq + 1}-{index}-{i}")
        for i, ballot in enumerate(_ballots(judge, run))
    ]


def _ballots(judge: Any, run: Run) -> Sequence[Ballot]:
    asked = tuple(judge.ask(run))
    if asked and all(isinstance(one, Ballot) for one in asked):
        return asked
    if not asked or not all(isinstance(one, Message) for one in asked):
        raise TypeError(f"{name_of(judge)}.ask(run) gave {asked!r:.100}, and no messages")
    return (Ballot(asked),)


def _ballot_call(run: Run, judge: Any, ballot: Ballot, call: str) -> ModelCall:
    purpose = name_of(judge)
    return ModelCall(
        id=call,
        model=ballot.model or getattr(judge, "model", "") or run.model,
        max_tokens=judge.max_tokens,
        purpose=f"the judge {purpose}" if purpose in ("answer", SUMMARY) else purpose,
        messages=ballot.messages,
    )


def _judged(run: Run, attempt: Attempt, now: float) -> Inspected:
    _, judges = _checks(run)
    found = Findings((), attempt.undecided)
    for i, judge in enumerate(judges):
        said = [run.verdicts[call] for call in attempt.judging if call.split("-")[1] == str(i)]
        found += _said(name_of(judge), lambda j=judge, s=said: _verdict(j, s, run))
    return Inspected(now, found.problems, found.undecided, attempt.checks)


def _verdict(judge: Any, said: Sequence[Reply | Failure], run: Run) -> Any:
    failed = [reply for reply in said if isinstance(reply, Failure)]
    if len(failed) == len(said):
        raise RuntimeError(f"{failed[0].kind}: {failed[0].message}")
    return judge.count(said, run) if hasattr(judge, "count") else judge.read(said[0])


def output(run: Run) -> Any:
    """The answer as JSON data: what stands in the log as the run's output."""
    assert run.answer is not None
    return _data(run, run.answer)


def best_output(run: Run) -> Any:
    """The best attempt as JSON data, if there was one."""
    return _data(run, run.best) if run.best else None


def _data(run: Run, attempt: Attempt) -> Any:
    value = _value(run, attempt)
    if isinstance(value, Findings):
        return attempt.text
    schema = run.task.schema if run.task else None
    if schema is None:
        return value
    try:
        return schema.dump(value)
    except BadInput:  # a class that does not give back what it took: then what the model wrote
        return schema.data(attempt.text)
