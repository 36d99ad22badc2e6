"""`Retry`: the same call again, on the same model."""

import hashlib

from attrs import field, frozen, validators

from loopwright.calls import Failure, ModelCall, ToolCall
from loopwright.decisions import Decision, TryAgain
from loopwright.policy import Policy
from loopwright.run import Run


@frozen(str=False)
class Retry(Policy):
    """Tries again: after a failure that may pass, and after a rejected answer, with feedback.

    `times` is how often the same answer is tried again on the same model (which makes `times` + 1
    attempts) and, counted apart, how often in a row a failed call is repeated.

    After a failure it waits as long as the provider asked with Retry-After, or else for `backoff`
    seconds, doubled each time up to `longest`, less up to a quarter that is drawn from a hash of
    run and attempt, so that a thousand runs do not come back together, and a replay waits the same.
    The defaults are those of both SDKs (half a second, doubled, at most 8 s, jitter downwards); a
    Retry-After above `patience` seconds is not waited for, so that a policy below may speak. A tool
    is repeated only if its effect class is `read` or `idempotent`.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> short = lambda answer: None if len(answer) < 10 else "Use less than ten characters."
    >>> loop = Loop(Scripted(["Hello, dear Ada!", "Hi Ada"]), policies=[Retry(times=1)])
    >>> loop.run_now(Task("Greet Ada.", checks=[short])).output
    'Hi Ada'
    """

    times: int = field(default=2, validator=[validators.instance_of(int), validators.ge(0)])
    backoff: float = field(default=0.5, validator=validators.ge(0))
    longest: float = field(default=8.0, validator=validators.ge(0))
    patience: float = field(default=120.0, validator=validators.ge(0))

    def decide(self, run: Run) -> Decision | None:
        if run.moment == "failure":
            return self._after_failure(run)
        if run.moment == "answer" and run.problems and run.attempt <= self.times:
            why = f"attempt {run.attempt} of {self.times + 1} was rejected"
            return TryAgain(f"{why}: {run.problems[0].text}", feedback=run.feedback)
        return None

    def _after_failure(self, run: Run) -> Decision | None:
        failure, failures = run.failure, run.failures_of(run.call)
        if failure is None or failures > self.times or not _repeatable(run, failure):
            return None
        after = self.delay(run, failure, failures)
        if after > self.patience:
            return None
        said = " as the provider asked" if failure.retry_after is not None else ""
        return TryAgain(f"{failure.kind}, try {failures + 1} in {after:.3g} s{said}", after=after)

    def delay(self, run: Run, failure: Failure, failures: int) -> float:
        """The seconds to wait before try number `failures` + 1."""
        if failure.retry_after is not None:
            return failure.retry_after
        waited = min(self.backoff * 2.0 ** (failures - 1), self.longest)
        return waited * (1 - 0.25 * _fraction(f"{run.run_id} {run.seq}"))


def _repeatable(run: Run, failure: Failure) -> bool:
    if isinstance(run.call, ToolCall):
        return run.call.effect in ("read", "idempotent")
    return isinstance(run.call, ModelCall) and failure.may_resend


def _fraction(seed: str) -> float:
    """A number from 0 to 1 that is the same for the same seed."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
