"""`Timeout`: how long one model call may take."""

from fnmatch import fnmatchcase
from typing import Any, ClassVar

from attrs import evolve, field, frozen

from loopwright.calls import ModelCall
from loopwright.decisions import Amend, Decision
from loopwright.errors import BadInput
from loopwright.policies.given import text
from loopwright.policy import Policy
from loopwright.run import Run


def _positive(policy: object, attribute: object, seconds: Any) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < float("inf"):
        raise BadInput(f"Timeout(seconds={seconds!r}): give a positive number of seconds")


@frozen(str=False)
class Timeout(Policy):
    """Gives each model call at most so many `seconds`; then it has failed as ``"timeout"``.

    It holds for the models whose names, ``"provider:model"``, fit the pattern `model`. There is no
    default: a call without a `Timeout` has 600 seconds, and the rest of the run's time at most. A
    tool has a timeout of its own; a `Deadline` is for the whole run.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> model = Scripted(["Hello."])
    >>> Loop(model, policies=[Timeout(5)]).run_now(Task("Hi.")).output, model.requests[0].timeout
    ('Hello.', 5)
    """

    seconds: float = field(validator=_positive)
    model: str = field(default="*", validator=text, kw_only=True)
    models: ClassVar[tuple[str, ...]] = ()

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ModelCall):
            return None
        if not fnmatchcase(call.model, self.model):
            return None
        if call.timeout is not None and call.timeout <= self.seconds:
            return None
        return Amend(evolve(call, timeout=self.seconds), f"a call has {self.seconds:g} s")
