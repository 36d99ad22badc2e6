"""The house's own policies: what holds in every loop, as opinions like any other.

`Changed`, `Doubt` and `Fitting` stand before the user's list; `Otherwise` speaks when nobody else
did.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from loopwright import budget
from loopwright.calls import Answer, ModelCall, ToolCall
from loopwright.codec import digest, shown
from loopwright.decisions import Accept, Amend, Ask, Decision, Refuse, Stop, TryAgain
from loopwright.draft import CHANGED, change
from loopwright.errors import Mismatch
from loopwright.events import Ceiling, Setting
from loopwright.inspect import name_of
from loopwright.outcome import Outcome
from loopwright.policy import Policy
from loopwright.run import Run
from loopwright.task import Task


@frozen(str=False)
class Doubt(Policy):
    """A tool call that was under way when the process died is repeated only if that is safe.

    Calls of the effect classes `read` and `idempotent` are. A `reconcilable` tool is asked whether
    the call happened. For the others a person says what is known: ``"happened"``,
    ``"did not happen"`` or ``"run it again"``.
    """

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if not run.doubtful or not isinstance(call, ToolCall) or call.id not in run.doubtful:
            return None
        if call.effect in ("read", "idempotent") or call.purpose == "reconcile":
            return None
        if _can_tell(run, call):
            asking = evolve(call, purpose="reconcile")
            return Amend(asking, f"the call {call.id} is in doubt: {call.name} is asked about it")
        answer = run.answered(_doubt(run, call))
        if answer is None:
            return self._question(run, call)
        if answer.text == "happened":
            note = f" {answer.note}" if answer.note else ""
            return Refuse(f"This call was made before an interruption, and it happened.{note}")
        return None

    def _question(self, run: Run, call: ToolCall) -> Ask:
        return Ask(
            f"The process ended while {call.name}({shown(call.arguments)}) was under way. Its "
            f"effect class is {call.effect or 'unknown'}, so it is not known whether it happened, "
            "and it is not repeated by itself. Did it happen?",
            why=f"the call {call.id} is in doubt, and its effect class forbids a silent repeat",
            purpose="doubt",
            choices=("happened", "did not happen", "run it again"),
            digest=_doubt(run, call),
        )


def _can_tell(run: Run, call: ToolCall) -> bool:
    if call.purpose != "call" or run.task is None or call.id in run.unreconciled:
        return False
    return getattr(run.task.tools.get(call.name), "reconcile", None) is not None


def _doubt(run: Run, call: ToolCall) -> str:
    return f"doubt {call.id} {run.doubtful[call.id]}"


@frozen(str=False)
class Changed(Policy):
    """A run that is resumed with another task waits until a person says that this is meant.

    Another task has other tools, another output type or another prompt than the one that the run
    was carried on with before. New policies, limits and models are no reason to ask.
    """

    def decide(self, run: Run) -> Decision | None:
        if not run.changed or run.moment != "call":
            return None
        changed = ", ".join(run.changed)
        said = [answer.text for name, answer in run.answers.items() if name.startswith(CHANGED)]
        if "stop" in said:  # also where more has changed since that was asked
            return Stop(f"the task has changed: {changed}")
        return Ask(
            f"Since this run was last carried on, this has changed: {changed}. Go on with it?",
            why=f"the task has changed: {changed}",
            choices=("go on", "stop"),
            digest=change(run),
        )


@frozen(str=False)
class Fitting(Policy):
    """A tool call that names no tool, or whose arguments do not fit, goes back to the model."""

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if not isinstance(call, ToolCall) or run.task is None:
            return None
        tool = run.task.tools.get(call.name)
        if tool is None:
            return Refuse(_unknown(call.name, list(run.task.tools)))
        if call.malformed:
            return Refuse(f"The arguments of {call.name} could not be read: {call.malformed}")
        try:
            tool.bind(call.arguments)
        except Mismatch as mismatch:
            listed = "\n".join(f"- {problem}" for problem in mismatch.problems)
            return Refuse(f"The arguments of {call.name} do not fit:\n{listed}")
        return None


def _unknown(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no tool {name!r}.{hint} The tools are: {', '.join(names) or 'none'}."


@frozen(str=False)
class Retries(Policy):
    """A failed tool call is repeated as often as its tool says.

    Stands below the user's list in every loop.
    """

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "failure" or not isinstance(call, ToolCall) or run.task is None:
            return None
        retries = getattr(run.task.tools.get(call.name), "retries", 0)
        tried = run.failures_of(call)
        if tried > retries:
            return None
        return TryAgain(f"try {tried + 1} of {retries + 1}, as {call.name} says")


@frozen(str=False)
class Otherwise(Policy):
    """What happens when nobody speaks.

    After a failed model call the run stops as failed; a failed tool's error goes to the model; a
    judge that failed cannot tell. An answer without problems is accepted, one with problems ends
    the run as rejected. What a person has denied is not done.
    """

    def decide(self, run: Run) -> Decision | None:
        if run.moment == "call":
            return _denied(run)
        if run.moment == "failure":
            return self._failed(run)
        if run.moment == "answer":
            return self._answered(run)
        return None

    def _failed(self, run: Run) -> Decision:
        assert run.failure is not None
        if isinstance(run.call, ModelCall) and run.call.purpose == "answer":
            return Stop(f"{run.failure.kind}: {run.failure.message}", Outcome.failed)
        who = "the model" if isinstance(run.call, ToolCall) else "the verdict"
        return Accept(f"{who} is told: {run.failure.kind}")

    def _answered(self, run: Run) -> Decision:
        if run.problems:
            listed = "; ".join(problem.text for problem in run.problems)
            return Stop(f"the answer has problems: {listed}", Outcome.rejected)
        if run.answer and run.answer.undecided:
            return Accept("no problem was found, but a check could not tell")
        return Accept(
            "all checks agree" if run.answer and run.answer.checks else "there are no checks"
        )


def _denied(run: Run) -> Decision | None:
    """What a person has denied is refused, also where nobody is left of those who had asked."""
    call = run.call
    said = run.answered(approval(run, call)) if isinstance(call, ToolCall) else None
    return denial(said) if said and said.text == "deny" else None


def denial(said: Answer) -> Refuse:
    """That a person denied a call, as the model is told."""
    note = f": {said.note}" if said.note else "."
    return Refuse(f"{said.by or 'a person'} denied this call{note}")


def approval(run: Run, call: ToolCall) -> str:
    """What a person's word about a call holds for: its arguments, and this version of its tool."""
    return digest(call.id, call.name, run.setting.tools.get(call.name, ""), call.arguments)


CLEARING = (Doubt(),)
"""Who is asked about calls that clear up after others."""

OTHERWISE = Otherwise()


@frozen
class House:
    """The policies under which runs stand: the user's, and around them what always holds.

    `default` holds what nobody speaks of, `limits` are the finite limits that follow, `ceilings`
    those that are shared with other runs, `told` is the list in words, for the log.
    """

    policies: tuple[Policy, ...]
    default: budget.Budget
    limits: Mapping[str, Any]
    ceilings: tuple[Ceiling, ...]
    told: tuple[str, ...]

    @classmethod
    def of(cls, theirs: tuple[Policy, ...]) -> "House":
        """The house for the user's policies."""
        default = budget.filling(theirs)
        whole = (Changed(), Doubt(), Fitting(), *theirs, Retries(), default, budget.Ceilings())
        told = tuple(map(str, whole))
        return cls(whole, default, budget.limits(whole), budget.ceilings(whole), told)

    def checked(self) -> "House":
        """Itself, with the limits of the task in it. Raises `BadInput` for a budget with `when`
        that has no effect."""
        budget.check_when(self.policies, self.default)
        return self

    def setting(self, task: Task, model: str, by: str = "") -> Setting:
        """What a run of `task` is carried out with in this house, on `model`, by whom.

        Raises `BadInput` as `checked` does, and if a ceiling of a tool, as delegates have them, is
        another one of the same name: the call could only fail.
        """
        self.checked()
        for tool in task.tools.values():
            budget.agree(self.ceilings, getattr(tool, "ceilings", ()))
        return Setting(
            model=model,
            version=task.version,
            tools=task.digests,
            checks=tuple(map(name_of, task.checks)),
            output=task.expects,
            limits=self.limits,
            policies=self.told,
            ceilings=self.ceilings,
            by=by,
        )
