"""Replay: a recorded run once more, moment by moment, with other policies looking on.

Nobody is called. `decide` asks the policies, with the run as it was then; what follows is what was
recorded. This is therefore the same only as long as the policies decide what was decided then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from attrs import evolve, fields, frozen

from loopwright.calls import Call, ModelCall, Question, ToolCall
from loopwright.decide import decide
from loopwright.decisions import Decision
from loopwright.events import (
    Decided,
    Declined,
    Ended,
    Event,
    Intended,
    Resumed,
    Setting,
    Started,
    Unwinding,
)
from loopwright.fold import blank, fold
from loopwright.house import House
from loopwright.outcome import Outcome
from loopwright.policy import Function, Policy, When
from loopwright.run import Run
from loopwright.task import Task


@frozen
class Moment:
    """A moment of decision: the `run` as it was, the events `recorded` then, and those of others.

    Both are decisions, and then the calls to make, or the end.
    """

    run: Run
    recorded: Sequence[Event]
    others: Sequence[Event]


def moments(
    events: Sequence[Event], house: House, task: Task | None = None
) -> Iterator[Moment | Run]:
    """Each moment of decision under the policies of `house`, and at last the run as it was left.

    `task` is the run's task, if it is at hand: see `loopwright.whatif.whatif`. What a fork shares
    with its base was decided there, and is no moment of its own.
    """
    at = begun(events)
    first, last = events[0], events[at]
    assert isinstance(first, Started)
    assert isinstance(last, Started)
    known = task if task and _is_of(last.setting, task) else None
    run = fold(blank(first.run, known), *events[:at])
    while at < len(events):
        end = _decided(events, at)
        together = events[at:end] or [_under(events[at], house)]
        if end > at:
            asked = [Then(policy, run.seq, together) for policy in house.policies]
            others = decide(run, asked, together[0].time)
            yield Moment(run, together, others[: len(together)] if _cut(events, end) else others)
        run = fold(run, *together)
        at += len(together)
    yield run


def begun(events: Sequence[Event]) -> int:
    """Where a run begins among `events`: that of a fork does so after what it shares."""
    return max(place for place, event in enumerate(events) if isinstance(event, Started))


def asked_again(events: Sequence[Event], at: int) -> bool:
    """Whether a fork asks here what is open in its base: it does so before anything else."""
    while isinstance(event := events[at], Intended) and isinstance(event.call, Question):
        at -= 1
    return isinstance(event, Started)


def _is_of(setting: Setting, task: Task) -> bool:
    return setting.version == task.version and dict(setting.tools) == dict(task.digests)


def _decided(events: Sequence[Event], at: int) -> int:
    """Where the events end, from `at` on, that were decided and written down together."""
    if asked_again(events, at):
        return at
    end = _while(events, at, (Decided, Unwinding))
    last = events[end] if end < len(events) else None
    if isinstance(last, Intended):
        return _while(events, end, (Intended,))
    cancelled = isinstance(last, Ended) and last.outcome is Outcome.cancelled  # from outside
    return end + (isinstance(last, Ended | Declined) and not cancelled)


def _cut(events: Sequence[Event], end: int) -> bool:
    """Whether what was decided together was lost in part: then the rest was decided anew later."""
    resumed = end < len(events) and isinstance(events[end], Resumed)
    return resumed and isinstance(events[end - 1], Decided)


def _while(events: Sequence[Event], at: int, kinds: tuple[type[Event], ...]) -> int:
    while at < len(events) and isinstance(events[at], kinds):
        at += 1
    return at


def _under(event: Event, house: House) -> Event:
    """A run that is begun or carried on is so under the policies of `house`."""
    if not isinstance(event, Started | Resumed):
        return event
    held = evolve(event.setting, limits=house.limits, policies=house.told, ceilings=house.ceilings)
    return evolve(event, setting=held)


# ------------------------------------------------------------------- policies, as of that time


@frozen(str=False)
class Then(Policy):
    """A policy as of the moment in which `recorded` was decided, after `seq` events.

    It sees each call as it was made then, with the quote and the effect of the record. What is not
    in the log it cannot see: the quote of a call that was not made, and a task that is not given.
    Where it would have to, and spoke then, it says now what it said then.
    """

    policy: Policy
    seq: int
    recorded: Sequence[Event]

    def decide(self, run: Run) -> Decision | None:
        match self._next(run):
            case Intended(call=then) if run.moment == "call" and _same(run.call, then):
                return self.policy.decide(run.but(call=then))
            case Decided() as said if _unseen(run) and self._spoke(said):
                return said.decision
        return self.policy.decide(run)

    def _next(self, run: Run) -> Event | None:
        """What was recorded next about the call in question, or about the answer."""
        about = run.call.id if run.call else ""
        left = self.recorded[run.seq - self.seq :]
        return next((event for event in left if _about(event) == about), None)

    def _spoke(self, event: Decided) -> bool:
        """Only of our own policies name and parameters tell all that they do."""
        ours = type(self.policy).__module__.startswith("loopwright.")
        tells = ours and not isinstance(self.policy, Function | When)
        return tells and event.policy == self.name and event.parameters == self.parameters

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.policy.parameters


def _unseen(run: Run) -> bool:
    return run.task is None or (run.moment == "call" and isinstance(run.call, ModelCall))


def _about(event: Event) -> str:
    if isinstance(event, Intended):
        return event.call.id
    return event.about if isinstance(event, Decided) else ""


def _same(call: Call | None, then: Call) -> bool:
    """Whether it is the call that was made: before that it may have been another, of this id."""
    if isinstance(call, ModelCall) and isinstance(then, ModelCall):
        return bool(_asked(call) == _asked(then))
    if isinstance(call, ToolCall) and isinstance(then, ToolCall):
        return bool(_called(call) == _called(then))
    return call == then


def _all_but(kind: type[ModelCall | ToolCall], name: str) -> Callable[[Any], Any]:
    return attrgetter(*(field.name for field in fields(kind) if field.name != name))


_asked = _all_but(ModelCall, "quote")
_called = _all_but(ToolCall, "effect")
"""What a call is, without what it is given when everybody is asked about it."""
