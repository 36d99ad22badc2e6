"""The cost of quality: what accepted answers have cost, and what each model contributed to them."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from loopwright.calls import Cost, ModelCall, Question, ToolCall
from loopwright.events import Ended, Event, Inspected, Intended, Reconciled, Returned, Started
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.report import Report, Since, chosen, opened, usd
from loopwright.task import Task

PERSON = "a person"
"""The rung of answers that a person gave; it costs nothing."""


@frozen
class Rung:
    """What one model contributed to a task; money in nano-dollars.

    `runs` reached it, `attempts` are the answers that it gave, of which `accepted` ended their run.
    `cost` is all that was spent while the runs were on it: by its own calls, by judges, by agents
    that it called as tools, and, where it is the first, by what chose it.
    """

    model: str
    runs: int
    attempts: int
    accepted: int
    cost: int

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        counts = {"runs": self.runs, "attempts": self.attempts, "accepted": self.accepted}
        return {"model": self.model, **counts, "cost_nano": self.cost, "cost_usd": usd(self.cost)}

    def __str__(self) -> str:
        return f"{self.model}: {self.accepted} of {self.attempts} for {usd(self.cost):.6f} USD"


@frozen
class Quality:
    """The cost of quality of one task and prompt version; money in nano-dollars.

    `first_try` are the runs whose first answer was accepted. `rungs` stand in the order in which
    runs reached them. `always_cheap` and `always_strong` follow the rules of `quality`.
    """

    task: str
    version: str
    runs: int
    accepted: int
    first_try: int
    cost: int
    rungs: tuple[Rung, ...]
    always_cheap: int | None
    always_strong: int | None

    @property
    def cost_of_accepted(self) -> int | None:
        """What an accepted answer cost, rounded up: all that was spent, divided by their number."""
        return _divided(self.cost, self.accepted)

    @property
    def saving(self) -> int | None:
        """What the ladder saved against asking the strongest model always, if that is known."""
        return None if self.always_strong is None else self.always_strong - self.cost

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {
            "task": self.task,
            "version": self.version,
            "runs": self.runs,
            "accepted": self.accepted,
            "first_try": self.first_try,
            "cost_nano": self.cost,
            "cost_usd": usd(self.cost),
            "accepted_usd": usd(self.cost_of_accepted),
            "always_cheap_usd": usd(self.always_cheap),
            "always_strong_usd": usd(self.always_strong),
            "saving_usd": usd(self.saving),
            "rungs": "; ".join(map(str, self.rungs)),
        }


def quality(
    log: Log | str | os.PathLike[str], *, since: Since = None, task: Task | str | None = None
) -> Report[Quality]:
    """What accepted answers have cost, by task and prompt version.

    `log` is a `Log` or its path. `since` leaves out runs that began earlier: an ISO date (in UTC
    where it names no zone), or seconds since 1970. `task` leaves out other tasks: a `Task`, or its
    title. By default all runs count; a run that a tool began is part of the run that called it,
    and has a row of its own only where `task` names its task.

    Costs are what was settled; calls in doubt count once they are reconciled. The rungs stand in
    the order in which the runs reached them; the first is the cheap model, the last one the strong.

    - `always_cheap` is what was spent before a run left the cheap model. It is exact: without the
      ladder each run would have ended there. `None` if a run did not begin on that model.
    - `always_strong` is what the strong model cost a run that reached it, on average and rounded
      up, times the number of runs. It is exact if all runs were on it alone. In a ladder it is
      rather too high: only the harder runs come that far, and it reads the rejected answers as
      well. `None` if no run reached a model.
    - `saving` is what `always_strong` exceeds the cost by.

    Raises `BadInput` for a date or a task that cannot work, and `LogError` for a log.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> from loopwright.policies import Escalate
    >>> weak, strong = Scripted(["no idea"], name="weak"), Scripted(["42"], name="strong")
    >>> digits = lambda answer: None if answer.isdigit() else "Give a number."
    >>> with TemporaryDirectory() as folder:
    ...     ladder = [Escalate("strong:strong")]
    ...     loop = Loop(weak, providers=[strong], policies=ladder, log=f"{folder}/runs.db")
    ...     run = loop.run_now(Task("6 * 7?", checks=[digits]))
    ...     (row,) = quality(loop.log)
    >>> row.runs, row.accepted, row.first_try, [str(rung) for rung in row.rungs]
    (1, 1, 0, ['weak:weak: 0 of 1 for 0.000000 USD', 'strong:strong: 1 of 1 for 0.000000 USD'])
    """
    log = opened(log)
    groups: dict[tuple[str, str], list[Course]] = {}
    for run in chosen(log, since, task):
        went = course(log.events(run))
        groups.setdefault((went.task, went.version), []).append(went)
    rows = tuple(_quality(*key, courses) for key, courses in sorted(groups.items()))
    return Report(rows, _summary(rows))


# ------------------------------------------------------------------------------------ one run


@frozen
class Course:
    """How one run went.

    `legs` are the rungs that it was on, in order, and what was spent there; `answers` are the rungs
    of the answers that were looked at; `accepted` says whether the last of them was. `spent` is all
    that it cost, also where it came to no rung.
    """

    task: str
    version: str
    legs: tuple[tuple[str, int], ...]
    answers: tuple[str, ...]
    accepted: bool
    spent: int

    @property
    def rungs(self) -> tuple[str, ...]:
        """Each rung once."""
        return tuple(dict.fromkeys(rung for rung, _ in self.legs))

    @property
    def by(self) -> str:
        """The rung whose answer was accepted; empty if none was."""
        return self.answers[-1] if self.accepted else ""

    def cost(self, rung: str) -> int:
        """What was spent on one rung."""
        return sum(cost for name, cost in self.legs if name == rung)


def course(events: Sequence[Event]) -> Course:
    """How the run of these events went."""
    first = events[0]
    last = next(event for event in reversed(events) if not isinstance(event, Reconciled))
    assert isinstance(first, Started)
    rungs: list[str] = []
    costs: Counter[int] = Counter()
    on: dict[str, int] = {}
    answers: dict[str, str] = {}
    answer = ""
    for event in events:
        match event:
            case Intended(call=ModelCall() | Question() | ToolCall() as call):
                rung = _rung(call)
                if rung and rungs[-1:] != [rung]:
                    rungs.append(rung)
                answer = call.id if rung else answer
                on[call.id] = max(0, len(rungs) - 1)
            case Returned(call=name, cost=Cost(high=cost)) | Reconciled(call=name, cost=int(cost)):
                if cost:
                    costs[on[name]] += cost
            case Started():  # what a fork shares was paid by its base
                costs.clear()
            case Inspected(judging=()):
                answers[answer] = rungs[-1]
            case _:
                pass
    accepted = isinstance(last, Ended) and last.outcome is Outcome.accepted
    legs = tuple((rung, costs[i]) for i, rung in enumerate(rungs))
    by = tuple(answers.values())
    return Course(first.task, first.version, legs, by, accepted, costs.total())


def _rung(call: ModelCall | Question | ToolCall) -> str:
    """The rung that the call is made on; empty for a judge, an approval and a tool."""
    if call.purpose != "answer":
        return ""
    return call.model if isinstance(call, ModelCall) else PERSON


# ----------------------------------------------------------------------------------- all of them


def _quality(task: str, version: str, courses: Sequence[Course]) -> Quality:
    rungs = tuple(_contributed(rung, courses) for rung in _ladder(courses))
    models = [rung for rung in rungs if rung.model != PERSON]
    return Quality(
        task,
        version,
        runs=len(courses),
        accepted=sum(one.accepted for one in courses),
        first_try=sum(one.accepted and len(one.answers) == 1 for one in courses),
        cost=sum(one.spent for one in courses),
        rungs=rungs,
        always_cheap=_cheap(models[0].model, courses) if models else None,
        always_strong=_divided(models[-1].cost * len(courses), models[-1].runs) if models else None,
    )


def _ladder(courses: Sequence[Course]) -> list[str]:
    """The rungs, lowest first: each as high as any run has it."""
    height: dict[str, int] = {}
    for one in courses:
        for i, rung in enumerate(one.rungs):
            height[rung] = max(i, height.get(rung, 0))
    return sorted(height, key=height.__getitem__)


def _contributed(rung: str, courses: Sequence[Course]) -> Rung:
    return Rung(
        rung,
        runs=sum(rung in one.rungs for one in courses),
        attempts=sum(one.answers.count(rung) for one in courses),
        accepted=sum(one.by == rung for one in courses),
        cost=sum(one.cost(rung) for one in courses),
    )


def _cheap(model: str, courses: Sequence[Course]) -> int | None:
    began = [one.legs[0] for one in courses if one.legs]
    if len(began) < len(courses) or any(rung != model for rung, _ in began):
        return None
    return sum(cost for _, cost in began)


def _divided(cost: int, count: int) -> int | None:
    return -(-cost // count) if count else None


def _summary(rows: Sequence[Quality]) -> dict[str, Any]:
    runs, accepted = sum(row.runs for row in rows), sum(row.accepted for row in rows)
    cost = sum(row.cost for row in rows)
    return {
        "runs": runs,
        "accepted": accepted,
        "first_try": sum(row.first_try for row in rows),
        "cost_usd": usd(cost),
        "accepted_usd": usd(_divided(cost, accepted)),
    }
