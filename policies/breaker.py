"""`Breaker`: a model that keeps failing is left alone for a while, by everybody."""

from fnmatch import fnmatchcase

from attrs import field, frozen

from loopwright.budget import WINDOWS
from loopwright.calls import ModelCall
from loopwright.decisions import Decision, Refuse, Switch
from loopwright.errors import BadInput
from loopwright.events import Ceiling, Declined
from loopwright.outcome import Outcome
from loopwright.policies.given import at_least, named, text
from loopwright.policy import Policy
from loopwright.run import Run


@frozen(str=False)
class Breaker(Policy):
    """Makes no more calls to a model that failed often, until its window of time is over.

    After `failures` failed calls in one window `per` (``"minute"``, ``"hour"``, ... of the calendar
    in UTC) to models whose names fit the pattern `model`, the next call goes to the model `to`, or,
    without one, ends the run as failed; a judge's verdict is then undecided. When the window is
    over, calls are made again. Failures count that may pass, those after which the same may be sent
    again. The defaults, 5 and a minute, are those of pybreaker.

    The failures are counted in the log, over all runs and processes that use it. What counts
    together has the same `name`: by default the pattern.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Log, Loop, Task
    >>> from loopwright.calls import Failure
    >>> from loopwright.models import Scripted
    >>> broken = Scripted(lambda request: Failure("server_error", "500", may_resend=True))
    >>> with TemporaryDirectory() as folder:
    ...     log = Log(f"{folder}/runs.db")
    ...     loop = Loop(broken, policies=[Breaker(2, per="month")], log=log)
    ...     runs = [loop.run_now(Task("Hi.")) for _ in range(3)]
    ...     log.close()
    >>> runs[-1].why
    'scripted:scripted failed 2 times this month, and is left alone until the next'
    >>> len(broken.requests)
    2
    """

    failures: int = field(default=5, validator=at_least(1, whole=True))
    per: str = field(default="minute", kw_only=True)
    model: str = field(default="*", validator=text, kw_only=True)
    to: str = field(default="", validator=text, kw_only=True)
    shared: str = field(default="", validator=text, kw_only=True, alias="name")

    def __attrs_post_init__(self) -> None:
        if self.per not in WINDOWS:
            raise BadInput(f"Breaker(per={self.per!r}): say one of {', '.join(WINDOWS)}")
        named("Breaker", self.models)
        if self.to and fnmatchcase(self.to, self.model):
            said = f"Breaker(to={self.to!r}, model={self.model!r})"
            raise BadInput(
                f"{said}: the pattern must not cover the spare: it would be left alone, too"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it may switch to."""
        return (self.to,) if self.to else ()

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """How many failures the runs that use it share."""
        name = self.shared or f"breaker of {self.model}"
        return (Ceiling(f"{name}: failures", self.failures, self.per, "failures", self.model),)

    def decide(self, run: Run) -> Decision | None:
        declined = declined_by(self.ceilings, run)
        if declined is None or not isinstance(run.call, ModelCall):
            return None
        why = (
            f"{run.call.model} failed {declined.settled} times this {self.per}, "
            "and is left alone until the next"
        )
        if self.to and self.to not in (run.call.model, *run.models):
            return Switch(self.to, why)
        return Refuse(why, Outcome.failed if run.call.purpose == "answer" else None)


def declined_by(ceilings: tuple[Ceiling, ...], run: Run) -> Declined | None:
    """Why the ledger has just declined the run's call, if that was for one of `ceilings`."""
    if run.call is None or not run.declined:
        return None
    last = run.declined[-1]
    return last if last.call == run.call.id and last.ceiling in ceilings else None
