"""`Deadline`: the time by which a run has to be over."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import evolve, field, frozen

from loopwright.budget import Budget
from loopwright.calls import ModelCall, Sleep, ToolCall
from loopwright.decisions import Amend, Decision, Stop
from loopwright.errors import BadInput
from loopwright.outcome import Outcome
from loopwright.run import Run
from loopwright.use import timeout

MARGIN = 1.0
"""Seconds that a timeout may reach past the deadline: the time of the last event is not quite now,
and amending a call again for milliseconds would only fill the log."""


@frozen(str=False, init=False)
class Deadline(Budget):
    """One deadline for all of a run: its model calls, its tools and its waits between tries.

    `seconds` is working time, which waiting for a person is not; it is the same limit as that of
    ``Budget(seconds=...)``. `at` is a point of time after which nothing happens, whoever was
    waited for: seconds since 1970, or a `datetime` with its time zone. There is no default, since
    every run has a limit of working time anyway.

    What is left bounds the timeout of each call. A call that would begin too late, and a wait that
    would end too late, stop the run as exhausted. Like a budget it may stand anywhere in the list.

    >>> Deadline(seconds=90).limits
    {'seconds': 90.0}
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> run = Loop(Scripted(["Hello."]), policies=[Deadline(at=1_750_000_000)]).run_now(Task("Hi."))
    >>> run.outcome.value, run.why
    ('exhausted', 'the deadline, 2025-06-15 15:06:40 UTC, has passed')
    """

    at: float | None = field(default=None, kw_only=True)

    def __init__(self, seconds: float | None = None, *, at: float | datetime | None = None) -> None:
        if seconds is None and at is None:
            raise BadInput("Deadline(...) needs seconds=, or at=")
        super().__init__(seconds=seconds)
        object.__setattr__(self, "at", _since_1970(at))

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"seconds": self.seconds, "at": self.at}

    def decide(self, run: Run) -> Decision | None:
        late = super().decide(run)
        if late or self.at is None or run.moment != "call":
            return late
        left, call = self.at - run.time, run.call
        if left <= 0:
            return Stop(f"the deadline, {_told(self.at)}, has passed", Outcome.exhausted)
        if isinstance(call, Sleep) and call.seconds > left:
            why = f"sleeping {call.seconds:.4g} s would pass the deadline, {_told(self.at)}"
            return Stop(why, Outcome.exhausted)
        if isinstance(call, ModelCall | ToolCall) and timeout(run, call) > left + MARGIN:
            return Amend(evolve(call, timeout=left), f"{left:.4g} s are left until the deadline")
        return None


def _since_1970(at: Any) -> float | None:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise BadInput(f"Deadline(at={at!r}): give the time with its time zone")
        return at.timestamp()
    if at is None or (isinstance(at, int | float) and not isinstance(at, bool) and at > 0):
        return at
    raise BadInput(f"Deadline(at={at!r}): give a datetime, or seconds since 1970")


def _told(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
