"""`Policy`: one method, one rule.

**The first opinion wins, and a Stop from anyone beats every other opinion.**

A list of policies is itself a policy, read from top to bottom; nesting is flattening; `None` is no
opinion. A bare function of the run is accepted wherever a policy is.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, get_args

import attrs
from attrs import field, frozen

from loopwright.decisions import SENSIBLE, Decision, Stop
from loopwright.errors import BadInput, in_words
from loopwright.outcome import Outcome
from loopwright.run import Run

UNTOLD: Mapping[str, Any] = {"untold": True}
"""Metadata of a field that is none of a policy's `parameters`."""


class Policy:
    """Looks at the run, and may have an opinion.

    Subclass it (best as a frozen attrs class) and write `decide`. It must be plain, pure and
    synchronous: no clock, no random number, no counter kept inside. Whatever it needs to know is in
    the run: times are in the events, counts come from the run.

    >>> from loopwright.decisions import Stop
    >>> class OfficeHours(Policy):
    ...     def decide(self, run):
    ...         return Stop("closed on Sundays") if run.inputs.get("day") == "Sunday" else None
    """

    def decide(self, run: Run) -> Decision | None:
        """The opinion at this moment (`run.moment`), or `None` for none."""
        raise NotImplementedError(f"{type(self).__name__} has no decide(run)")

    def when(self, predicate: Callable[[Run], bool]) -> Policy:
        """This policy, heard only where `predicate(run)` holds."""
        if getattr(self, "ceilings", ()):
            raise BadInput(f"{self}: what runs share holds for all of them: it has no when")
        return When(self, predicate)

    @property
    def name(self) -> str:
        """The name under which its decisions stand in the log."""
        return type(self).__name__

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What it was made with, for the log."""
        kind: Any = type(self)
        if not attrs.has(kind):
            return {}
        told = [f.name for f in attrs.fields(kind) if not f.metadata.get("untold")]
        return {name: _shown(getattr(self, name)) for name in told}

    def __str__(self) -> str:
        said = ", ".join(f"{k}={v}" for k, v in self.parameters.items() if v not in (None, (), ""))
        return f"{self.name}({said})"


def _shown(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_shown(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return getattr(value, "__name__", None) or str(value)


@frozen(str=False)
class When(Policy):
    """A policy that is heard only where the predicate holds."""

    policy: Policy
    predicate: Callable[[Run], bool]

    def decide(self, run: Run) -> Decision | None:
        return self.policy.decide(run) if self.predicate(run) else None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the policy may switch to."""
        return tuple(getattr(self.policy, "models", ()))

    @property
    def inherited(self) -> bool:
        """Whether it holds for the run's delegates, too."""
        return bool(getattr(self.policy, "inherited", True))

    @property
    def name(self) -> str:
        return f"{self.policy.name}.when({getattr(self.predicate, '__name__', '…')})"

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.policy.parameters


@frozen(str=False)
class Function(Policy):
    """A bare function of the run, as a policy."""

    function: Callable[[Run], Decision | None]

    def decide(self, run: Run) -> Decision | None:
        return self.function(run)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {}


def _flat(policies: Any) -> tuple[Policy, ...]:
    return flat(policies)


@frozen(str=False)
class Policies(Policy):
    """A list of policies, as a policy: the first opinion wins, and a Stop from anyone beats it.

    Takes policies, functions, and lists of them at any depth; `members` is the flat list.
    """

    members: tuple[Policy, ...] = field(converter=_flat)

    def when(self, predicate: Callable[[Run], bool]) -> Policy:
        return Policies(tuple(member.when(predicate) for member in self.members))

    def decide(self, run: Run) -> Decision | None:
        opinion = consult(self.members, run)
        return opinion.decision if opinion else None

    @property
    def name(self) -> str:
        return ", ".join(policy.name for policy in self.members)


def flat(policies: Any) -> tuple[Policy, ...]:
    """The policies of a nested list, in order. Raises `BadInput` for what is none."""
    if isinstance(policies, Policies):
        return policies.members
    if isinstance(policies, Policy) and not iscoroutinefunction(policies.decide):
        return (policies,)
    if isinstance(policies, type) and issubclass(policies, Policy):
        raise BadInput(f"{policies.__name__} is a class: pass an object, {policies.__name__}(...)")
    if iscoroutinefunction(policies) or iscoroutinefunction(getattr(policies, "decide", None)):
        raise BadInput(f"{policies!r} is async: a policy is plain and synchronous")
    if callable(policies):
        function: Any = policies
        return (Function(function),)
    if isinstance(policies, Iterable) and not isinstance(policies, str):
        return tuple(member for policy in policies for member in flat(policy))
    raise BadInput(
        f"{policies!r} is no policy: give a Policy, a function of the run, or a list of them"
    )


def switched_to(policies: Sequence[Policy]) -> tuple[str, ...]:
    """The models that policies may switch to."""
    return tuple(name for policy in policies for name in getattr(policy, "models", ()))


@frozen
class Opinion:
    """What was decided, by whom, and whose opinions it overruled."""

    policy: Policy
    decision: Decision
    others: tuple[str, ...] = ()
    traceback: str = ""


def consult(policies: Sequence[Policy], run: Run) -> Opinion | None:
    """Ask everybody; the one rule says which opinion counts."""
    spoken = _spoken(policies, run)
    if not spoken:
        return None
    chosen = next((o for o in spoken if isinstance(o.decision, Stop)), spoken[0])
    if len(spoken) == 1:
        return chosen
    others = tuple(_told(opinion) for opinion in spoken if opinion is not chosen)
    return attrs.evolve(chosen, others=others)


def _told(opinion: Opinion) -> str:
    return f"{opinion.policy.name}: {type(opinion.decision).__name__}"


def _spoken(policies: Sequence[Policy], run: Run) -> list[Opinion]:
    """All opinions. A policy that breaks stops the run; it is never skipped in silence."""
    spoken: list[Opinion] = []
    for policy in policies:
        try:
            decision = policy.decide(run)
        except Exception as error:
            why = f"the policy {policy.name} raised {in_words(error)}"
            stop = Stop(why, Outcome.failed)
            spoken.append(Opinion(policy, stop, traceback=traceback.format_exc()))
            continue
        if decision is not None:
            spoken.append(Opinion(policy, _sensible(policy, decision, run)))
    return spoken


def _sensible(policy: Policy, decision: Any, run: Run) -> Decision:
    assert run.moment is not None
    if isinstance(decision, SENSIBLE[run.moment]):
        return decision
    said = type(decision).__name__ if isinstance(decision, get_args(Decision)) else repr(decision)
    allowed = ", ".join(kind.__name__ for kind in SENSIBLE[run.moment])
    return Stop(
        f"the policy {policy.name} said {said} {_MOMENTS[run.moment]}, where it may say: "
        f"{allowed}, or None",
        Outcome.failed,
    )


_MOMENTS = {
    "call": "before a call",
    "failure": "after a failed call",
    "answer": "after an answer",
}
