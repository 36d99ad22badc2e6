"""`Pace`: so many requests and tokens a minute, shared by everybody."""

from typing import ClassVar

from attrs import field, frozen, validators

from loopwright.budget import WINDOWS
from loopwright.calls import ModelCall, Sleep, Slept
from loopwright.decisions import Decision, TryAgain
from loopwright.errors import BadInput
from loopwright.events import Ceiling, Decided, Declined, Event, Intended, Returned
from loopwright.policies.breaker import declined_by
from loopwright.policies.given import at_least, fraction, text
from loopwright.policy import Policy
from loopwright.run import Run

_COUNT = validators.optional(at_least(1, whole=True))

SPREAD = 1.0
"""Seconds over which those that waited for the same moment come back: the log takes thousands of
intents in one."""


@frozen(str=False)
class Pace(Policy):
    """Waits before a model call for which the rate has no room, until the next window begins.

    At most `requests` calls, and at most `tokens` in and out, are made in one window `per`
    (``"minute"``, the default since providers count so, ``"hour"``, ... of the calendar in UTC) to
    models whose names fit the pattern `model`. Tokens are reserved with the most that a call can
    have, and given back once it is known how many there were. Both are counted in the log, over all
    runs and processes that use it; what counts together has the same `name`: by default the
    pattern. There is no default rate: it is what your provider grants you.

    Each wait stands in the log. A call that would wait longer than `patience` seconds in all (ten
    minutes, the default limit of a run's working time), or that is larger than a whole window, is
    left to the policies below, and refused if they say nothing.

    Raises `BadInput` without a rate. A loop needs a log for it.

    >>> [ceiling.limit for ceiling in Pace(requests=50, tokens=30_000).ceilings]
    [50, 30000]
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    requests: int | None = field(default=None, validator=_COUNT)
    tokens: int | None = field(default=None, validator=_COUNT)
    per: str = field(default="minute", kw_only=True)
    model: str = field(default="*", validator=text, kw_only=True)
    patience: float = field(default=600.0, validator=at_least(0), kw_only=True)
    shared: str = field(default="", validator=text, kw_only=True, alias="name")

    def __attrs_post_init__(self) -> None:
        if self.requests is None and self.tokens is None:
            raise BadInput("Pace(...) needs a rate: requests=, tokens=, or both")
        if self.per not in WINDOWS:
            raise BadInput(f"Pace(per={self.per!r}): say one of {', '.join(WINDOWS)}")

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """The rates that the runs which use it share."""
        name = self.shared or f"pace of {self.model}"
        requests = Ceiling(
            f"{name}: requests", self.requests or 0, self.per, "requests", self.model
        )
        tokens = Ceiling(f"{name}: tokens", self.tokens or 0, self.per, "tokens", self.model)
        return tuple(ceiling for ceiling in (requests, tokens) if ceiling.limit)

    def decide(self, run: Run) -> Decision | None:
        declined = declined_by(self.ceilings, run)
        if declined is None or not isinstance(run.call, ModelCall):
            return None
        ceiling = declined.ceiling
        if ceiling.unit == "tokens" and run.quote.tokens > ceiling.limit:
            return None
        after = max(0.0, declined.until - run.time) + SPREAD * fraction(f"{run.run_id} {run.seq}")
        if run.time - _waits_since(run) + after > self.patience:
            return None
        rate = f"{ceiling.limit} {ceiling.unit} a {self.per}"
        return TryAgain(f"{rate} are used up, the next {self.per} begins", after=after)


def _waits_since(run: Run) -> float:
    """Since when the run does nothing but wait for room."""
    since = run.time
    for index in range(run.seq - 1, -1, -1):
        if not _of_waiting(run.events[index]):
            break
        since = run.events[index].time
    return since


def _of_waiting(event: Event) -> bool:
    match event:
        case Declined() | Decided() | Intended(call=Sleep()) | Returned(result=Slept()):
            return True
    return False
