"""`Retry`: the same call again, on the same model."""

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from loopwright.calls import Call, Failure, ModelCall, ToolCall
from loopwright.decisions import Decision, Stop, TryAgain
from loopwright.errors import BadInput
from loopwright.outcome import Outcome
from loopwright.policies.given import at_least, fraction, kinds
from loopwright.policy import Policy
from loopwright.run import Run


def _by_kind(on: Any) -> tuple[tuple[str, int], ...]:
    pairs = tuple(on.items()) if isinstance(on, Mapping) else on
    if not isinstance(pairs, tuple) or not all(isinstance(one, tuple) for one in pairs):
        raise BadInput(f"Retry(on={on!r}): give times by kind, such as {{'rate_limited': 5}}")
    kinds("Retry(on=...)", (kind for kind, _ in pairs))
    for kind, times in pairs:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise BadInput(f"Retry(on={{{kind!r}: {times!r}}}): give a whole number of at least 0")
    return pairs


@frozen(str=False)
class Retry(Policy):
    """Tries again: after a failure that may pass, and after a rejected answer, with feedback.

    `times` is how often the same answer is tried again on the same model (which makes `times` + 1
    attempts) and, counted apart, how often in a row a failed call is repeated; both SDKs repeat a
    call twice. `on` says it for kinds of failures: ``{"rate_limited": 5, "timeout": 0}``.

    After a failure it waits as long as the provider asked with Retry-After, or else for `backoff`
    seconds, doubled each time up to `longest`, less up to a quarter that is drawn from a hash of
    run and attempt, so that a thousand runs do not come back together, and a replay waits the same.
    The defaults are those of both SDKs (half a second, doubled, at most 8 s, jitter downwards).

    A Retry-After above `patience` seconds (two minutes: a person may still be looking) is not
    waited for, so that a policy below, such as `Fallback`, may speak. A wait that would pass the
    run's limit of seconds stops the run as exhausted at once, rather than when it is over. A tool
    is repeated only if its effect class is `read` or `idempotent`; where there is no time to wait
    for it, or for a judge, its failure stands.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> short = lambda answer: None if len(answer) < 10 else "Use less than ten characters."
    >>> loop = Loop(Scripted(["Hello, dear Ada!", "Hi Ada"]), policies=[Retry(times=1)])
    >>> loop.run_now(Task("Greet Ada.", checks=[short])).output
    'Hi Ada'
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    times: int = field(default=2, validator=at_least(0, whole=True))
    backoff: float = field(default=0.5, validator=at_least(0))
    longest: float = field(default=8.0, validator=at_least(0))
    patience: float = field(default=120.0, validator=at_least(0))
    on: tuple[tuple[str, int], ...] = field(default=(), converter=_by_kind, kw_only=True)

    def decide(self, run: Run) -> Decision | None:
        if run.moment == "failure":
            return self._after_failure(run)
        if run.moment == "answer" and run.problems and run.attempt <= self.times:
            why = f"attempt {run.attempt} of {self.times + 1} was rejected"
            return TryAgain(f"{why}: {run.problems[0].text}", feedback=run.feedback)
        return None

    def _after_failure(self, run: Run) -> Decision | None:
        failure, failures = run.failure, run.failures_of(run.call)
        if failure is None or not _repeatable(run.call, failure):
            return None
        after = self.delay(run, failure, failures)
        if failures > dict(self.on).get(failure.kind, self.times) or after > self.patience:
            return None
        limit = run.limits.get("seconds", float("inf"))
        if run.seconds + after > limit:
            return _too_late(run, after, limit)
        said = " as the provider asked" if failure.retry_after is not None else ""
        return TryAgain(f"{failure.kind}, try {failures + 1} in {after:.3g} s{said}", after=after)

    def delay(self, run: Run, failure: Failure, failures: int) -> float:
        """The seconds to wait before try number `failures` + 1.

        A provider is not always ours: it may ask for what is no time.
        """
        if failure.retry_after is not None:
            return max(0.0, failure.retry_after)
        waited = self.backoff * 2.0 ** min(failures - 1, _ENOUGH)
        return min(waited, self.longest) * (1 - 0.25 * fraction(f"{run.run_id} {run.seq}"))


_ENOUGH = 64
"""Doublings after which every backoff is longer than anybody waits, and a float still holds it."""


def _too_late(run: Run, after: float, limit: float) -> Decision | None:
    """A run cannot go on without its answer; without a tool or a judge it can."""
    if not isinstance(run.call, ModelCall) or run.call.purpose != "answer":
        return None
    why = f"sleeping {after:.4g} s would pass the limit of {limit:g} s"
    return Stop(f"{why}: {run.seconds:.4g} s are used", Outcome.exhausted)


def _repeatable(call: Call | None, failure: Failure) -> bool:
    if isinstance(call, ToolCall):
        return call.effect in ("read", "idempotent")
    return isinstance(call, ModelCall) and failure.may_resend
