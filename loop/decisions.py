"""Decisions: the opinions that a policy can have, a closed set of frozen values."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, in_, instance_of, matches_re

from loopwright.calls import Call, ModelCall
from loopwright.outcome import Outcome

Moment = Literal["call", "failure", "answer"]
"""When policies are asked: before a call, after a failed call, after an answer."""


ENDINGS = (Outcome.stopped, Outcome.exhausted, Outcome.rejected, Outcome.failed)
"""The outcomes that a policy can end a run with; only an answer can be accepted."""


def _words() -> Any:
    return field(default="", validator=instance_of(str))


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(str, texts))


@frozen
class TryAgain:
    """Make the same call again, `after` so many seconds; `feedback` is told to the model.

    Before a call it means: not now, but after so many seconds.
    """

    why: str = _words()
    feedback: str = _words()
    after: float = field(default=0.0, validator=[instance_of((int, float)), ge(0)])


@frozen
class Switch:
    """Go on with another model, named ``"provider:model"``; `feedback` is told to it."""

    to: str = field(validator=matches_re("[^:]+:.+"))
    why: str = _words()
    feedback: str = _words()


@frozen
class Refuse:
    """Do not make this call; a model that asked for a tool reads `why` as the tool's result.

    A run cannot go on without its model's answer, and ends as stopped; without a judge's verdict it
    can. With an `ending` it ends so for want of either.
    """

    why: str = field(validator=instance_of(str))
    ending: Outcome | None = field(default=None, validator=in_((None, *ENDINGS)))


@frozen
class Ask:
    """Ask a person first. Everybody is asked again once the answer is there.

    `digest` is what the answer will be found under: ``run.answered(digest)``.
    """

    question: str = field(validator=instance_of(str))
    why: str = _words()
    purpose: Literal["approval", "doubt", "answer"] = "approval"
    choices: tuple[str, ...] = field(default=(), converter=_texts)
    digest: str = _words()


def _workable(amend: Any, attribute: Any, call: Any) -> None:
    if isinstance(call, ModelCall) and not isinstance(call.max_tokens, int):
        raise TypeError(f"max_tokens={call.max_tokens!r}: give a whole number")


@frozen
class Amend:
    """Make this call in place of the one proposed; everybody is asked again."""

    call: Call = field(validator=[instance_of(get_args(Call)), _workable])
    why: str = _words()


@frozen
class Accept:
    """Take it as it is: the answer as the task's output, a tool's failure as its result."""

    why: str = _words()


@frozen
class Stop:
    """End the run. Beats every other opinion, wherever it comes from."""

    why: str = field(validator=instance_of(str))
    outcome: Outcome = field(default=Outcome.stopped, validator=in_(ENDINGS))


Decision = TryAgain | Switch | Refuse | Ask | Amend | Accept | Stop

SENSIBLE: dict[Moment, tuple[type[Decision], ...]] = {
    "call": (Refuse, Ask, Amend, TryAgain, Switch, Stop),
    "failure": (TryAgain, Switch, Ask, Accept, Stop),
    "answer": (TryAgain, Switch, Ask, Accept, Stop),
}
"""Which opinions make sense at which moment."""
