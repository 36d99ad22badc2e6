"""Runs at the three moments at which policies are asked, made by hand; and a clock that is told."""

from typing import Any

from attrs import evolve

from loopwright import Attempt, Task
from loopwright.calls import Call, Failure, ModelCall, Quote, Sleep, Slept, ToolCall
from loopwright.events import Ceiling, Declined, Event, Problem, Returned, Setting
from loopwright.fold import blank
from loopwright.port import Port, Through
from loopwright.run import Run

CALL = ModelCall("m1", "a:weak", quote=Quote(0, 1000, 100))
JUDGING = evolve(CALL, purpose="Judge")
TOOL = ToolCall("t1", "look", effect="read")
SENDING = ToolCall("t1", "send", effect="unsafe")


def a_run(**changes: Any) -> Run:
    """A run on `a:weak` to which nothing has happened yet."""
    run = blank("r", Task("Do it."))
    return run.but(**{"model": "a:weak", "models": ("a:weak",), "prompt": "Do it.", **changes})


def limited(**limits: Any) -> Setting:
    """A setting with these limits."""
    return Setting("a:weak", limits=limits)


def before(call: Call = CALL, **changes: Any) -> Run:
    """Before `call`."""
    return a_run(moment="call", call=call, **changes)


def failed(kind: Any = "overloaded", call: Call = CALL, **changes: Any) -> Run:
    """After `call` failed, so that it may be sent again; `wait` is its Retry-After."""
    resend = changes.pop("may_resend", True)
    failure = Failure(kind, "it failed", changes.pop("wait", None), resend)
    return a_run(
        **{"failures": 1, **changes, "moment": "failure", "call": call, "failure": failure}
    )


def attempt(*problems: str, text: str = "no", by: str = "a:weak") -> Attempt:
    """An answer, and what was wrong with it."""
    found = tuple(Problem("check", problem) for problem in problems)
    return Attempt(text, by, problems=found, checks=1, inspected=True)


def answered(*problems: str, **changes: Any) -> Run:
    """After an answer with these problems."""
    last = attempt(*problems)
    return a_run(**{"answer": last, "best": last, **changes, "moment": "answer"})


def declined(ceiling: Ceiling, used: int, call: Call = CALL, **more: Any) -> tuple[Declined, ...]:
    """That the ledger has declined `call`, since so much of `ceiling` is used."""
    return (Declined(0.0, call.id, ceiling, used, 0, 0, more.pop("asked", 1), **more),)


class Clock:
    """Wraps a port: time passes only by a millisecond a look, and by sleeping, which is at once."""

    def __init__(self, start: float) -> None:
        self.time = start

    def port(self, inner: Port, log: Any) -> Port:
        """The port around `inner`, on this clock."""
        return _Clocked(inner, self)

    def look(self) -> float:
        """What the clock shows."""
        self.time = round(self.time + 0.001, 3)
        return self.time


class _Clocked(Through):
    def __init__(self, inner: Port, clock: Clock) -> None:
        super().__init__(inner)
        self.clock = clock

    def now(self) -> float:
        return self.clock.look()

    async def perform(self, run: Run, call: Call) -> Event:
        if isinstance(call, Sleep):
            self.clock.time += call.seconds
            return Returned(self.now(), call.id, Slept())
        return evolve(await super().perform(run, call), time=self.now())
