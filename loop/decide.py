"""Decide: ask the policies at the moment that the run is in, and say what follows, as events.

Pure: it calls nobody but the policies, and writes nothing.
"""

from collections.abc import Sequence

from loopwright.calls import Call, ModelCall, Question, ToolCall
from loopwright.decisions import Accept, Refuse, Stop
from loopwright.draft import undoing
from loopwright.events import Decided, Ended, Event, Intended, Unwinding
from loopwright.fold import fold
from loopwright.house import CLEARING, OTHERWISE
from loopwright.inspect import best_output, output
from loopwright.outcome import Outcome
from loopwright.policy import Opinion, Policy, consult
from loopwright.quote import quoted
from loopwright.run import Run
from loopwright.spending import reserved, unpresumed

UNSETTLED = 100
"""Decisions in a row without any call, after which the policies count as broken: nobody changes
the model or amends a call a hundred times and means it."""


def decide(run: Run, policies: Sequence[Policy], now: float) -> list[Event]:
    """What is decided at this moment: decisions, and then the calls to make, or the end.

    Of several calls that are due together either all are made or none: a Stop for one of them
    ends the run before any of them.
    """
    decided: list[Event] = []
    if not run.open or run.in_flight:
        return decided
    for _ in range(UNSETTLED + len(run.pending)):
        if _to_inspect(run):
            return decided
        events = _unwound(_moment(run, policies, now), run)
        decided += events
        if isinstance(events[-1], Intended | Ended):
            return decided
        run = fold(run, *events)
    return [*decided, Ended(now, Outcome.failed, _unsettled(decided), best_output(run))]


def _unsettled(decided: Sequence[Event]) -> str:
    last = next(event for event in reversed(decided) if isinstance(event, Decided))
    said = f"{last.policy}: {type(last.decision).__name__}({last.decision.why!r})"
    without = f"{UNSETTLED} decisions in a row without a call"
    return f"the policies did not settle: {without}, the last one by {said}"


def _to_inspect(run: Run) -> bool:
    """Whether the checks come first: an answer is there, and no verdict on it is still due."""
    answered = run.answer is not None and not run.answer.inspected
    return answered and not run.failed and not run.pending


def _unwound(events: list[Event], run: Run) -> list[Event]:
    """A run that ends badly first takes back what its tools did."""
    end = events[-1]
    if not isinstance(end, Ended) or run.unwinding or not run.undoable:
        return events
    if end.outcome is Outcome.accepted:
        return events
    return [*events[:-1], Unwinding(end.time, end.outcome, end.why, end.output, end.traceback)]


def _unwinding(run: Run, ending: Unwinding, now: float) -> list[Event]:
    if run.undoable:
        call = undoing(*run.undoable[-1])
        return [Intended(now, run.task.resolved(call) if run.task else call)]
    left = f"; not undone: {', '.join(run.not_undone)}" if run.not_undone else ""
    return [Ended(now, ending.outcome, ending.why + left, ending.output, False, ending.traceback)]


def _moment(run: Run, policies: Sequence[Policy], now: float) -> list[Event]:
    if run.unwinding and not run.pending:
        return _unwinding(run, run.unwinding, now)
    if run.failed:
        return _after_failure(run, policies, now)
    if run.pending:
        return _before_calls(run, policies, now)
    if run.answer and run.answer.inspected:
        return _after_answer(run, policies, now)
    return [Ended(now, Outcome.failed, "nothing is left to do")]


def _after_failure(run: Run, policies: Sequence[Policy], now: float) -> list[Event]:
    call, failure = run.failed[0]
    view = run.but(moment="failure", call=call, failure=failure)
    return _facts(_opinion(view, policies), view, now)


def _after_answer(run: Run, policies: Sequence[Policy], now: float) -> list[Event]:
    view = run.but(moment="answer", call=None)
    return _facts(_opinion(view, policies), view, now)


def _opinion(view: Run, policies: Sequence[Policy]) -> Opinion:
    opinion = consult(policies, view) or consult([OTHERWISE], view)
    assert opinion is not None, "Otherwise always has an opinion here"
    return opinion


def _before_calls(run: Run, policies: Sequence[Policy], now: float) -> list[Event]:
    """Everybody is asked about each call that is due, knowing what the calls before it reserve."""
    decided: list[Event] = []
    intended: list[Event] = []
    spent = run.spent
    for call in run.pending:
        ready = _ready(call, run)
        free = unpresumed(spent, run.slices.get(ready.id, 0))
        view = run.before(ready, free)
        opinion = None if isinstance(ready, Question) else consult(_asked(policies, ready), view)
        if opinion is None and run.answers:
            opinion = consult([OTHERWISE], view)
        if opinion is None:
            spent = reserved(free, ready) if call is not run.pending[-1] else free
            intended.append(Intended(now, _untouched(ready, call, run)))
            continue
        events = _facts(opinion, view, now)
        decided += events
        if isinstance(events[-1], Ended):
            return decided
        if not isinstance(opinion.decision, Refuse):
            return decided
    return [*decided, *intended]


def _untouched(ready: Call, call: Call, run: Run) -> Call:
    """The call as everybody was asked about it: what a policy wrote into it does not count."""
    touched = isinstance(ready, ToolCall) and ready.arguments != getattr(call, "arguments", None)
    return _ready(call, run) if touched else ready


def _asked(policies: Sequence[Policy], call: Call) -> Sequence[Policy]:
    """Who is asked about a call: of one that clears up after another, only the house."""
    clears_up = isinstance(call, ToolCall) and call.purpose != "call"
    return CLEARING if clears_up else policies


def _ready(call: Call, run: Run) -> Call:
    """The call as it will be made: with its quote, or its tool's effect class and timeout."""
    if isinstance(call, ModelCall):
        return ModelCall(
            call.id,
            call.model,
            call.upto,
            call.max_tokens,
            call.timeout,
            call.purpose,
            call.messages,
            quoted(call, run.bound(call)),
            call.options,
            call.compaction,
        )
    if isinstance(call, ToolCall) and run.task:
        return run.task.resolved(call)
    return call


def _facts(opinion: Opinion, view: Run, now: float) -> list[Event]:
    decision = opinion.decision
    decided = Decided(
        now,
        view.moment or "call",
        opinion.policy.name,
        decision,
        view.call.id if view.call else "",
        opinion.policy.parameters,
        opinion.others,
        view.spent,
        round(view.seconds, 3),
    )
    ending = _ending(opinion, view, now)
    return [decided] if ending is None else [decided, ending]


def _ending(opinion: Opinion, view: Run, now: float) -> Ended | None:
    match opinion.decision:
        case Stop(why, outcome):
            return Ended(now, outcome, why, best_output(view), False, opinion.traceback)
        case Refuse(why, ending) if not isinstance(view.call, ToolCall):
            if ending or not _of_judge(view.call):
                return Ended(now, ending or Outcome.stopped, why, best_output(view))
        case Accept(why) if view.moment == "answer":
            assert view.answer is not None
            return Ended(now, Outcome.accepted, why, output(view), view.answer.verified)
    return None


def _of_judge(call: Call | None) -> bool:
    return isinstance(call, ModelCall) and call.purpose != "answer"
