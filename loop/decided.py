"""What each decision does to a run: one fold a decision, for each of the three moments."""

from attrs import evolve

from loopwright.calls import (
    Call,
    Failure,
    ModelCall,
    Question,
    Sleep,
    ToolCall,
    ToolResult,
)
from loopwright.decisions import Accept, Amend, Ask, Refuse, Stop, Switch, TryAgain
from loopwright.draft import aside, compacted, having, model_call, put, resulted, told, without
from loopwright.events import Decided
from loopwright.run import Run


def decided(run: Run, event: Decided) -> None:
    """What follows from a decision, by the moment at which it was made."""
    if isinstance(event.decision, Stop):
        return  # the end follows; a run that is resumed from here is decided anew
    due = any(call.id == event.about for call in run.pending)
    if run.unwinding and event.moment == "call" and not due:
        return  # of a call that older versions had left due
    if event.moment == "call":
        _decided_before(run, event)
    elif event.moment == "failure":
        _decided_on_failure(run, event)
    else:
        _decided_on_answer(run, event)


def _decided_before(run: Run, event: Decided) -> Run:
    match event.decision:
        case Refuse(why, ending):
            call = next(due for due in run.pending if due.id == event.about)
            ends = isinstance(call, ModelCall) and (ending or _asks(call))
            return run if ends else _refused(run, call, why)
        case Amend(call):
            return _amended(run, evolve(call, id=event.about))
        case TryAgain(feedback=feedback, after=after):
            later = next(call for call in run.pending if call.id == event.about)
            return _once_more(_dropped(run, event.about), later, feedback, after, idle=True)
        case Switch() as switch:
            return _switched_before(run, switch, event.about)
        case Ask() as ask:
            asked = next(call for call in run.pending if call.id == event.about)
            return _asked(_dropped(run, event.about), ask, asked)
    return run


def _amended(run: Run, amended: Call) -> Run:
    """Messages that are left out of a call for the answer are left out of those after it, too."""
    if _asks(amended) and isinstance(amended, ModelCall):
        compacted(run, amended.compaction)
    due = tuple(amended if call.id == amended.id else call for call in run.pending)
    return put(run, pending=due)


def _dropped(run: Run, call: str) -> Run:
    return put(run, pending=tuple(due for due in run.pending if due.id != call))


def _refused(run: Run, call: Call, why: str) -> Run:
    put(_dropped(run, call.id), doubtful=without(run.doubtful, call.id))
    if isinstance(call, ToolCall) and call.purpose == "undo":
        return run  # it is undone, and the model has no part in that
    if call.id in run.batch:
        return resulted(run, call.id, ToolResult(call.id, why, error=True))
    return aside(run, call.id, Failure("refused", why))


def _switched_before(run: Run, switch: Switch, about: str) -> Run:
    call = next(due for due in run.pending if due.id == about)
    if isinstance(call, ModelCall):
        return _switched(_dropped(run, about), switch, call)
    return _on(run, switch.to)


def _switched(run: Run, switch: Switch, call: ModelCall) -> Run:
    """`call` is made on the other model; only a call for the answer moves the whole run there."""
    if not _asks(call):
        return put(run, pending=(*run.pending, evolve(call, model=switch.to)))
    run = _on(told(run, switch.feedback), switch.to)
    return put(run, pending=(*run.pending, model_call(run)))


def _on(run: Run, model: str) -> Run:
    return put(
        run,
        model=model,
        models=(*run.models, model),
        attempt=1,
        failures=0,
        answer=None,
        counted=(0, 0),
    )


def _asked(run: Run, ask: Ask, about: Call | None = None) -> Run:
    """The question is due; the call that it is about waits for the answer."""
    question = Question(
        f"q{run.seq}", ask.question, ask.purpose, ask.choices, about.id if about else "", ask.digest
    )
    held = having(run.held, question.id, about) if about else run.held
    return put(run, pending=(*run.pending, question), held=held)


def _decided_on_failure(run: Run, event: Decided) -> Run:
    (call, failure), *rest = run.failed
    put(run, failed=tuple(rest))
    match event.decision:
        case TryAgain(feedback=feedback, after=after):
            return _once_more(run, call, feedback, after)
        case Switch() as switch if isinstance(call, ModelCall):
            return _switched(run, switch, call)
        case Switch(to):
            return _taken(_on(run, to), call, failure)
        case Ask() as ask:
            return _asked(run, ask, _renewed(run, call))
        case Accept():
            return _taken(run, call, failure)
    return run


def _asks(call: Call) -> bool:
    return isinstance(call, ModelCall) and call.purpose == "answer"


def _renewed(run: Run, call: Call) -> Call:
    """The call as it is made again: a model call sees the messages that there are now."""
    return model_call(run) if _asks(call) else call


def _once_more(run: Run, call: Call, feedback: str, after: float, idle: bool = False) -> Run:
    return _again(told(run, feedback) if _asks(call) else run, call, after, idle)


def _again(run: Run, call: Call, after: float, idle: bool = False) -> Run:
    call = _renewed(run, call)
    if after <= 0:
        return put(run, pending=(*run.pending, call))
    sleep = Sleep(f"s{run.seq}", after, call.id, idle)
    return put(run, pending=(*run.pending, sleep), held=having(run.held, sleep.id, call))


def _taken(run: Run, call: Call, failure: Failure) -> Run:
    if isinstance(call, ToolCall):
        outside = run.task is not None and run.task.is_outside(call.name)
        return resulted(run, call.id, ToolResult(call.id, failure.message, True, outside))
    return aside(run, call.id, failure)


def _decided_on_answer(run: Run, event: Decided) -> Run:
    match event.decision:
        case TryAgain(feedback=feedback, after=after):
            put(told(run, feedback), attempt=run.attempt + 1, answer=None)
            return _again(run, model_call(run), after)
        case Switch() as switch:
            run = _on(told(run, switch.feedback), switch.to)
            return put(run, pending=(model_call(run),))
        case Ask() as ask if ask.purpose == "answer":
            return _asked(put(run, answer=None), ask)
        case Ask() as ask:
            return _asked(run, ask)
    return run
