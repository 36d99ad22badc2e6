"""The fold: how each event changes the run, one function an event.

Every event of `loopwright.events` has its function in the table at the end of this file, and
nothing else changes a run. What a decision does stands in `loopwright.decided`.
"""

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from loopwright.calls import (
    SUMMARY,
    Answer,
    Block,
    Call,
    Compaction,
    Failure,
    Message,
    ModelCall,
    Question,
    Reply,
    Sleep,
    Slept,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.decided import decided
from loopwright.draft import (
    CHANGED,
    NONE,
    aside,
    change,
    compacted,
    having,
    model_call,
    moved,
    put,
    resulted,
    said,
    undone,
    without,
)
from loopwright.errors import LogError
from loopwright.events import (
    Decided,
    Declined,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Reconciled,
    Resumed,
    Returned,
    Setting,
    Spent,
    Started,
    Unwinding,
)
from loopwright.fixed import fixed
from loopwright.outcome import Outcome
from loopwright.run import PER_MESSAGE, Attempt, Run
from loopwright.spending import reserved, settled, unpresumed, unsettled
from loopwright.task import Task


def blank(run_id: str, task: Task | None = None) -> Run:
    """A run to which nothing has happened yet."""
    return Run.blank(run_id, task)


def _started(run: Run, event: Started) -> None:
    if event.base:
        _forked(run, event)
        return
    put(
        run,
        setting=event.setting,
        parent=event.parent,
        inputs=event.inputs,
        title=event.task,
        prompt=event.prompt,
        system=event.system,
        version=event.version,
        label=event.label,
        outside=event.outside,
        max_tokens=event.max_tokens,
        options=event.options,
        model=event.setting.model,
        models=(event.setting.model,),
        started=event.time,
    )
    said(run, Message("user", (*event.media, Text(event.prompt))))
    put(run, pending=(model_call(run),))


def folded(events: Iterable[Event], task: Task | None = None) -> Run:
    """The run whose events these are; the first is a `Started`."""
    first, *rest = events
    if not isinstance(first, Started):
        raise LogError(f"a run begins with Started, but here stands {type(first).__name__} first")
    return fold(blank(first.run, task), first, *rest)


def fold(run: Run, *events: Event) -> Run:
    """The run after these events.

    All is folded into one copy, which nobody else has seen yet: `put` changes it in place.
    """
    draft = run.but()
    held = draft.__dict__
    for event in events:
        past = event.time - draft.time
        if past > 0.0 and not _rested(draft, event):
            held["seconds"] = draft.seconds + past
        held["events"] = draft.events.push(event)
        _FOLDS[type(event)](draft, event)
        held["time"] = event.time
    return draft


def _rested(run: Run, event: Event) -> bool:
    """Whether nothing was worked up to an event: people or the run's turn were waited for."""
    if type(event) is Returned:
        waited = type(event.result) is Answer or type(event.result) is Slept
        return waited and all(map(_idle, run.in_flight.values()))
    return type(event) in _IDLE


_IDLE = (Started, Resumed, Reconciled)
"""Before these nobody worked: the run was not carried on, or somebody looked after its books."""


def _idle(call: Call) -> bool:
    return isinstance(call, Question) or (isinstance(call, Sleep) and call.idle)


# --------------------------------------------------------------------------- one fold an event


def _resumed(run: Run, event: Resumed | Started) -> None:
    """What was under way is due again, in doubt; only questions simply stay open."""
    questions = {k: call for k, call in run.in_flight.items() if isinstance(call, Question)}
    cut = [_left(call, run, event) for k, call in run.in_flight.items() if k not in questions]
    spent = evolve(run.spent, presumed=run.spent.presumed + run.spent.reserved, reserved=0)
    tools = [call for call in cut if isinstance(call, ToolCall)]
    doubtful = {call.id: run.seq for call in tools if run.fact(call) is None}
    priced = {call.id: call.quote.high for call in tools if call.quote.high}
    if run.setting.checks != event.setting.checks and run.answer:
        judging = run.answer.judging
        cut = [call for call in cut if call.id not in judging]
        due = tuple(call for call in run.pending if call.id not in judging)
        answer = evolve(run.answer, inspected=False, judging=())
        put(run, answer=answer, verdicts=NONE, pending=due)
    changed = _changes(run.setting, event.setting)
    put(
        run,
        setting=event.setting,
        spent=spent,
        counted=(0, 0) if changed else run.counted,
        in_flight=fixed(questions),
        pending=(*cut, *run.pending),
        doubtful=fixed({**run.doubtful, **doubtful}),
        slices=fixed({**run.slices, **priced}),
        changed=tuple(dict.fromkeys((*run.changed, *changed))),
        outcome=None,
        why="",
    )


def _forked(run: Run, event: Started) -> None:
    """Another run goes on from here: what came before is not its own to pay for or to take back."""
    under_way = [call.id for call in run.in_flight.values() if isinstance(call, ToolCall)]
    _resumed(run, event)
    due = {call.id: call for call in (*run.pending, *run.held.values())}
    known = {one.call: (due[one.call], one) for one in event.facts if one.call in due}
    facts = {**run.facts, **known}
    doubtful = {**run.doubtful, **dict.fromkeys(event.doubts, run.seq)}
    by = _by(run, event)
    theirs = dict.fromkeys(event.doubts, event.base) | dict.fromkeys(under_way, by)
    put(
        run,
        run_id=event.run,
        parent=event.parent,
        base=event.base,
        started=event.time,
        seconds=0.0,
        spent=Spent(),
        slices=NONE,
        declined=(),
        changed=(),
        answers=fixed({k: a for k, a in run.answers.items() if not k.startswith(CHANGED)}),
        undoable=(),
        not_undone=(),
        facts=fixed(facts),
        doubtful=fixed({call: seq for call, seq in doubtful.items() if call not in facts}),
        owners=fixed({**theirs, **run.owners}),
    )
    if event.setting.model != run.model:
        moved(run, event.setting.model)


def _by(run: Run, fork: Started) -> str:
    """The run that went on last before the fork began."""
    begun = [one.run for one in run.events if isinstance(one, Started)]
    if len(begun) < 2:
        raise LogError(f"the run {fork.run} is a fork of {fork.base}, whose events are not here")
    return begun[-2]


def _changes(old: Setting, new: Setting) -> tuple[str, ...]:
    """What of the task is another than when the run was last carried on."""
    tools = sorted(old.tools.items() ^ new.tools.items())
    changed = [f"the tool {name}" for name in dict.fromkeys(name for name, _ in tools)]
    if old.output != new.output:
        changed.append("the output type")
    if old.version != new.version:
        changed.append("the prompt")
    return tuple(changed)


def _left(call: Call, run: Run, event: Resumed | Started) -> Call:
    if isinstance(call, Sleep):
        return evolve(call, seconds=max(0.0, call.seconds - (event.time - run.time)))
    return call


def _intended(run: Run, event: Intended) -> None:
    call = event.call
    put(
        run,
        step=run.step if run.in_flight else run.step + 1,
        spent=reserved(run.spent, call),
        in_flight=having(run.in_flight, call.id, call),
        pending=tuple([due for due in run.pending if due.id != call.id]),
    )
    if run.doubtful or run.declined:
        put(run, doubtful=without(run.doubtful, call.id), declined=())
    if isinstance(call, ToolCall):
        _dispatched(run, call)


def _dispatched(run: Run, call: ToolCall) -> None:
    """What is dispatched may have happened, whatever comes of it, and is to be undone."""
    if call.undoable and call.purpose == "call" and _own(run, call):
        put(run, undoable=(*run.undoable, (call, "")))
    if call.purpose == "undo":
        put(run, undoable=tuple(one for one in run.undoable if one[0].id != undone(call)))
    if call.id in run.slices:
        spent = unpresumed(run.spent, run.slices[call.id])
        put(run, spent=spent, slices=without(run.slices, call.id))


def _own(run: Run, call: ToolCall) -> bool:
    return call.id not in run.owners and run.fact(call) is None


def _declined(run: Run, event: Declined) -> None:
    """The call stays due: everybody is asked again, and knows now that it does not fit."""
    put(run, declined=(*run.declined, event))


def _reconciled(run: Run, event: Reconciled) -> None:
    spent = run.spent
    put(
        run,
        spent=evolve(
            spent, settled=spent.settled + event.cost, presumed=spent.presumed - event.presumed
        ),
    )


def _returned(run: Run, event: Returned) -> None:
    if run.unwinding and event.call not in run.in_flight:
        return  # a question that older versions had left open
    call = run.in_flight[event.call]
    put(run, in_flight=without(run.in_flight, event.call))
    match event.result:
        case Reply() as reply:
            assert isinstance(call, ModelCall)
            settled(run, call, reply, event)
            _replied(run, call, reply)
        case ToolResult() as result:
            assert isinstance(call, ToolCall)
            _used(run, call, result, event)
        case Answer() as answer if isinstance(call, ToolCall):
            put(run, pending=(*run.pending, evolve(call, purpose="call")))  # it did not happen
        case Answer() as answer:
            assert isinstance(call, Question)
            _heard(run, call, answer)
        case Slept():
            _released(run, call.id)


def _used(run: Run, call: ToolCall, result: ToolResult, event: Returned) -> None:
    if call.quote.high:
        spent = run.spent
        left, paid = spent.reserved - call.quote.high, spent.settled + event.cost.high
        put(run, spent=evolve(spent, reserved=left, settled=paid))
    if call.purpose == "undo":
        return
    if call.undoable:
        results = [(c, result.content if c.id == call.id else r) for c, r in run.undoable]
        put(run, undoable=tuple(results))
    resulted(run, call.id, result)


def _replied(run: Run, call: ModelCall, reply: Reply) -> Run:
    if call.purpose == SUMMARY and (reply.finish != "stop" or not reply.text.strip()):
        return aside(run, call.id, Failure("malformed", f"no summary, but {reply.finish}"))
    if call.purpose == SUMMARY:
        compacted(run, Compaction(call.upto, reply.text))
    if call.purpose != "answer":
        return aside(run, call.id, reply)
    whole, calls = reply.finish in ("stop", "tool_calls"), reply.tool_calls
    blocks = reply.blocks if whole else tuple(b for b in reply.blocks if type(b) is not ToolCall)
    run = _remembered(run, blocks)
    if reply.finish == "paused":
        return put(run, pending=(model_call(run),))
    if whole and calls:
        return put(run, pending=calls, batch=tuple([call.id for call in calls]), results=NONE)
    return put(run, answer=Attempt(reply.text, call.model, reply.finish), verdicts=NONE)


def _remembered(run: Run, blocks: tuple[Block, ...]) -> Run:
    """The reply as a message. Its tokens were counted with the usage, all but the framing."""
    if not blocks:
        return run
    size = run.size
    run = said(run, Message("assistant", blocks))
    if run.counted[0]:
        grown = run.size - size - PER_MESSAGE
        return put(run, counted=(run.counted[0] + grown, run.counted[1]))
    return run


def _heard(run: Run, question: Question, answer: Answer) -> Run:
    answers = having(run.answers, question.digest or question.id, answer)
    if answer.text == "go on" and question.digest == change(run):
        put(run, changed=())
    if question.purpose == "answer":
        attempt = Attempt(answer.text, answer.by or "a person")
        return put(run, answers=answers, answer=attempt, verdicts=NONE)
    return _released(put(run, answers=answers), question.id)


def _released(run: Run, waiting: str) -> Run:
    """The call that waited for a question or a sleep is due."""
    if waiting not in run.held:
        return run
    return put(run, pending=(*run.pending, run.held[waiting]), held=without(run.held, waiting))


def _failed(run: Run, event: Failed) -> None:
    call, failure = run.in_flight[event.call], event.failure
    if isinstance(call, ToolCall) and call.purpose != "call":
        _not_told(run, call, failure)
        return
    if isinstance(call, ToolCall) and call.quote.high:
        high, spent = call.quote.high, run.spent
        spent = evolve(spent, reserved=spent.reserved - high, presumed=spent.presumed + high)
        put(run, spent=spent)
    if isinstance(call, ModelCall):
        put(run, spent=unsettled(run.spent, call, failure), failures=run.failures + 1)
    put(
        run,
        in_flight=without(run.in_flight, event.call),
        failed=(*run.failed, (call, failure)),
    )


def _not_told(run: Run, call: ToolCall, failure: Failure) -> None:
    """Whether it happened could not be told, or it could not be undone: for people to see to."""
    put(run, in_flight=without(run.in_flight, call.id))
    if call.purpose == "undo":
        put(run, not_undone=(*run.not_undone, f"{call.name} ({failure.message})"))
        return
    put(
        run,
        pending=(*run.pending, evolve(call, purpose="call")),
        doubtful=having(run.doubtful, call.id, run.seq),
        unreconciled=(*run.unreconciled, call.id),
    )


def _paused(run: Run, event: Paused) -> None:
    call = run.in_flight.get(event.call)  # older versions had left questions open in unwinding
    why = waits_for(call.text, event.why) if isinstance(call, Question) else event.why
    put(run, outcome=Outcome.waiting, why=why)


def waits_for(question: str, why: str) -> str:
    """What a person is asked, and why none was reached, where somebody was to be."""
    return f"{question} ({why})" if why else question


def _inspected(run: Run, event: Inspected) -> None:
    assert run.answer is not None
    attempt = evolve(
        run.answer,
        problems=event.problems,
        undecided=event.undecided,
        checks=event.checks,
        inspected=not event.judging,
        judging=tuple(call.id for call in event.judging),
    )
    best = _better(run.best, attempt) if attempt.inspected else run.best
    put(run, answer=attempt, best=best, pending=(*run.pending, *event.judging))


def _better(best: Attempt | None, new: Attempt) -> Attempt:
    """Fewer problems are better; of equals the newer, since it knew the feedback."""
    return best if best and len(best.problems) < len(new.problems) else new


def _unwinding(run: Run, event: Unwinding) -> None:
    answer = run.answer and evolve(run.answer, inspected=True)
    put(run, unwinding=event, pending=(), failed=(), batch=(), answer=answer)
    put(run, in_flight=NONE, held=NONE)  # questions: what they are about is not done any more


def _ended(run: Run, event: Ended) -> None:
    spent = run.spent
    if spent.reserved:  # nobody waits any more for what was under way
        spent = evolve(spent, presumed=spent.presumed + spent.reserved, reserved=0)
    put(
        run,
        spent=spent,
        outcome=event.outcome,
        why=event.why,
        output_data=event.output,
        verified=event.verified,
    )


_FOLDS: dict[type[Event], Any] = {
    Started: _started,
    Resumed: _resumed,
    Decided: decided,
    Intended: _intended,
    Declined: _declined,
    Returned: _returned,
    Failed: _failed,
    Paused: _paused,
    Inspected: _inspected,
    Unwinding: _unwinding,
    Ended: _ended,
    Reconciled: _reconciled,
}
