"""Decisions: the opinions that a policy can have, a closed set of frozen values."""

from typing import Literal

from attrs import frozen

from loopwright.calls import Call
from loopwright.outcome import Outcome

Moment = Literal["call", "failure", "answer"]
"""When policies are asked: before a call, after a failed call, after an answer."""


@frozen
class TryAgain:
    """Make the same call again, `after` so many seconds; `feedback` is told to the model."""

    why: str = ""
    feedback: str = ""
    after: float = 0.0


@frozen
class Switch:
    """Go on with another model, named ``"provider:model"``; `feedback` is told to it."""

    to: str
    why: str = ""
    feedback: str = ""


@frozen
class Refuse:
    """Do not make this call; a model that asked for a tool reads `why` as the tool's result."""

    why: str


@frozen
class Ask:
    """Ask a person first. Everybody is asked again once the answer is there.

    `digest` is what the answer will be found under: ``run.answered(digest)``.
    """

    question: str
    why: str = ""
    purpose: Literal["approval", "doubt", "answer"] = "approval"
    choices: tuple[str, ...] = ()
    digest: str = ""


@frozen
class Amend:
    """Make this call in place of the one proposed; everybody is asked again."""

    call: Call
    why: str = ""


@frozen
class Accept:
    """Take it as it is: the answer as the task's output, a tool's failure as its result."""

    why: str = ""


@frozen
class Stop:
    """End the run. Beats every other opinion, wherever it comes from."""

    why: str
    outcome: Outcome = Outcome.stopped


Decision = TryAgain | Switch | Refuse | Ask | Amend | Accept | Stop

SENSIBLE: dict[Moment, tuple[type[Decision], ...]] = {
    "call": (Refuse, Ask, Amend, Switch, Stop),
    "failure": (TryAgain, Switch, Ask, Accept, Stop),
    "answer": (TryAgain, Switch, Ask, Accept, Stop),
}
"""Which opinions make sense at which moment."""
