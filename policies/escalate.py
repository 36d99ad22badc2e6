"""`Escalate`: the same task goes to a stronger model, and in the end to a person."""

from attrs import frozen

from loopwright.decisions import Ask, Decision, Switch
from loopwright.errors import BadInput
from loopwright.policy import Policy
from loopwright.run import Run


@frozen(str=False, init=False)
class Escalate(Policy):
    """A ladder: after a rejected answer, the next stronger model, and then, if asked for, a person.

    `models` are the rungs above the loop's own model, weakest first. The stronger model sees the
    conversation, the rejected answer and what was wrong with it. With ``person=True`` the last rung
    is a person, whose answer is checked like any other.

    Stands below `Retry` in the list: it speaks once that has no opinion any more.

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

    def __init__(self, *models: str, person: bool = False) -> None:
        for model in models:
            if not isinstance(model, str) or ":" not in model:
                raise BadInput(f"Escalate({model!r}): name a model as 'provider:model'")
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "person", person)

    def decide(self, run: Run) -> Decision | None:
        if run.moment != "answer" or not run.problems:
            return None
        found = "; ".join(problem.text for problem in run.problems)
        higher = [model for model in self.models if model not in run.models]
        if higher:
            why = f"{run.model} could not do it ({found}), {higher[0]} is stronger"
            return Switch(higher[0], why, run.feedback)
        if self.person and not run.answered(_KEY):
            return Ask(
                f"No model could do this task:\n{run.prompt}\n{run.feedback}",
                f"{run.model} could not do it ({found}), and it is the last rung",
                purpose="answer",
                digest=_KEY,
            )
        return None


_KEY = "escalated to a person"
