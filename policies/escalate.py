"""`Escalate`: the same task goes to a stronger model, and in the end to a person."""

from collections.abc import Iterable

from attrs import frozen

from loopwright.decisions import Ask, Decision, Switch, TryAgain
from loopwright.errors import BadInput
from loopwright.policies.given import named
from loopwright.policy import Policy
from loopwright.run import Run


@frozen(str=False, init=False)
class Escalate(Policy):
    """A ladder: after a rejected answer, the next stronger model, and then, if asked for, a person.

    `models` are the rungs above the loop's own model, weakest first. The stronger model sees the
    conversation, the rejected answer and what was wrong with it, and the best answer so far where
    that is another. With ``person=True`` the last rung is a person, whose answer is checked like
    any other.

    `attempts` is how often a model answers on each rung before it goes up: one number for all, or
    one a rung from the loop's own model upwards, of which the last holds for the rest. The default
    is 1: a stronger model costs less than a habit of the weak one. Above `Retry` in the list it is
    a limit; below it, as usual, it speaks once that has no opinion any more.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> weak, strong = Scripted(["no idea"], name="weak"), Scripted(["42"], name="strong")
    >>> digits = lambda answer: None if answer.isdigit() else "Give a number."
    >>> loop = Loop(weak, providers=[strong], policies=[Escalate("strong:strong")])
    >>> run = loop.run_now(Task("6 * 7?", checks=[digits]))
    >>> run.output, run.models
    ('42', ('weak:weak', 'strong:strong'))
    """

    models: tuple[str, ...]
    person: bool = False
    attempts: tuple[int, ...] = (1,)

    def __init__(
        self, *models: str, person: bool = False, attempts: int | Iterable[int] = 1
    ) -> None:
        object.__setattr__(self, "models", named("Escalate", models))
        object.__setattr__(self, "person", person)
        object.__setattr__(self, "attempts", _counts(attempts))

    def decide(self, run: Run) -> Decision | None:
        if run.moment != "answer" or not run.problems or run.answered(_KEY):
            return None
        found = "; ".join(problem.text for problem in run.problems)
        rung = self._rung(run)
        most = self.attempts[min(rung, len(self.attempts) - 1)]
        if run.attempt < most:
            return TryAgain(f"attempt {run.attempt} of {most} was rejected: {found}", run.feedback)
        if rung < len(self.models):
            higher = self.models[rung]
            why = f"{run.model} could not do it ({found}), {higher} is stronger"
            return Switch(higher, why, _carried(run))
        return self._asking(run, found) if self.person else None

    def _rung(self, run: Run) -> int:
        """How many rungs the run has under its feet: those below one that it used are weaker."""
        return max((self.models.index(m) + 1 for m in run.models if m in self.models), default=0)

    def _asking(self, run: Run, found: str) -> Ask:
        return Ask(
            f"No model could do this task:\n{run.prompt}\n{_carried(run)}",
            f"{run.model} could not do it ({found}), and it is the last rung",
            purpose="answer",
            digest=_KEY,
        )


def _carried(run: Run) -> str:
    """What the next rung is told: the problems, and the best answer if the last was worse."""
    best = run.best
    if best is None or best == run.answer:
        return run.feedback
    problems = "\n".join(f"- {problem.text}" for problem in best.problems)
    return (
        f"{run.feedback}\nThe best answer so far, by {best.by}, was:\n{best.text}\n"
        f"Its problems were:\n{problems}"
    )


def _counts(attempts: int | Iterable[int]) -> tuple[int, ...]:
    counts = tuple(attempts) if isinstance(attempts, Iterable) else (attempts,)
    if not counts or not all(type(count) is int and count >= 1 for count in counts):
        raise BadInput(f"Escalate(attempts={attempts!r}): give whole numbers of at least 1")
    return counts


_KEY = "escalated to a person"
