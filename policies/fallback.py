"""`Fallback`: another model or provider, when this one cannot serve."""

from collections.abc import Iterable

from attrs import frozen

from loopwright.calls import ModelCall
from loopwright.decisions import Decision, Switch
from loopwright.errors import BadInput
from loopwright.policies.given import kinds, named
from loopwright.policy import Policy
from loopwright.run import Run

ON = (
    "quota_exhausted",
    "overloaded",
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "cut_stream",
)
"""The kinds of failures that are the provider's, and that another provider need not have. A request
that is wrong is wrong everywhere, and a key that is wrong should be noticed."""


@frozen(str=False, init=False)
class Fallback(Policy):
    """Goes on with another model after a failed model call: several in their order, each once.

    `models` are named ``"provider:model"``. `on` are the kinds of failures after which it speaks:
    by default those that are the provider's (`ON`), and not those of the request or of the key. A
    call for the answer moves the run; the call of a judge is moved alone.

    Stands below `Retry` in the list: it speaks once that has no opinion any more.

    >>> from loopwright import Loop, Task
    >>> from loopwright.calls import Failure
    >>> from loopwright.models import Scripted
    >>> busy = Scripted([Failure("overloaded", "busy", status=529)], name="busy")
    >>> spare = Scripted(["Hello."], name="spare")
    >>> run = Loop(busy, providers=[spare], policies=[Fallback("spare:spare")]).run_now(Task("Hi."))
    >>> run.output, run.decisions[0].decision.why
    ('Hello.', 'busy:busy: overloaded, so spare:spare takes its place')
    """

    models: tuple[str, ...]
    on: tuple[str, ...] = ON

    def __init__(self, *models: str, on: Iterable[str] = ON) -> None:
        if not models or isinstance(on, str):
            raise BadInput(
                "Fallback(...) needs models, and a list of kinds of failures as on=[...]"
            )
        object.__setattr__(self, "models", named("Fallback", models))
        object.__setattr__(self, "on", kinds("Fallback(on=...)", on))

    def decide(self, run: Run) -> Decision | None:
        call, failure = run.call, run.failure
        if run.moment != "failure" or failure is None or failure.kind not in self.on:
            return None
        if not isinstance(call, ModelCall):
            return None
        spare = next(iter(self._left(run, call)), None)
        why = f"{call.model}: {failure.kind}, so {spare} takes its place"
        return Switch(spare, why) if spare else None

    def _left(self, run: Run, call: ModelCall) -> list[str]:
        """The models behind the one that failed; a run does not come back to one that it left."""
        here = self.models.index(call.model) + 1 if call.model in self.models else 0
        used = run.models if call.purpose == "answer" else ()
        return [model for model in self.models[here:] if model not in used]
