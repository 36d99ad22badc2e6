"""Facts: what of each event counts when two runs are compared.

Ids, times, costs and reasons in words are each run's own. So is an interruption, and, of calls made
together, the order in which they came back.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen

from loopwright.calls import (
    Answer,
    Call,
    ModelCall,
    Question,
    Quote,
    Reply,
    Sleep,
    ToolCall,
    ToolResult,
)
from loopwright.codec import canonical, plain, shown
from loopwright.decisions import Amend, Ask, Decision, Refuse, TryAgain
from loopwright.events import (
    Decided,
    Declined,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Returned,
    Unwinding,
)
from loopwright.steps import numbered


@frozen
class Fact:
    """One thing that happened in a step: what it is `about`, what counts of it, and in `words`."""

    step: int
    about: str
    counts: Any
    words: str = field(eq=False)


def facts(events: Sequence[Event]) -> list[Fact]:
    """What happened, step by step: the calls, what came of each, what was found and decided."""
    known = _Known()
    told = [
        ((step, *known.place(event)), Fact(step, *fact))
        for step, event in numbered(events)
        if (fact := _FACTS.get(type(event), _none)(known, event))
    ]
    return [fact for _, fact in sorted(told, key=lambda pair: pair[0])]


@frozen
class _Known:
    """The calls of a run by their ids, their order, and the questions that are open."""

    calls: dict[str, Call] = field(factory=dict)
    numbers: dict[str, int] = field(factory=dict)
    open: set[str] = field(factory=set)

    def place(self, event: Event) -> tuple[int, int]:
        if isinstance(event, Intended):
            return 0, 0
        if isinstance(event, Returned | Failed):
            return 1, self.numbers[event.call]
        return 2, 0


Said = tuple[str, Any, str]
"""What a fact is about, what counts of it, and the words."""


def _none(known: _Known, event: Any) -> None:
    """Some events are about this one carrying-out alone."""


def _intended(known: _Known, event: Intended) -> Said | None:
    """A question that is open is asked again by whoever goes on: that is nothing new."""
    call = event.call
    known.calls[call.id] = call
    known.numbers.setdefault(call.id, len(known.numbers))
    if call.id in known.open:
        return None
    if isinstance(call, Question):
        known.open.add(call.id)
    return "the call", asked(call), named(call)


def _returned(known: _Known, event: Returned) -> Said:
    known.open.discard(event.call)
    return _about(known, event.call), _result(event.result), _came(event.result)


def _failed(known: _Known, event: Failed) -> Said:
    known.open.discard(event.call)
    failure = event.failure
    read = failure.message if isinstance(known.calls[event.call], ToolCall) else ""
    words = f"{failure.kind}: {failure.message}"
    return _about(known, event.call), [failure.kind, failure.status, read], words


def _about(known: _Known, call: str) -> str:
    return f"what came of {named(known.calls[call])}"


def _inspected(known: _Known, event: Inspected) -> Said:
    found = [problem.text for problem in event.problems]
    found += [f"undecided: {problem.text}" for problem in event.undecided]
    judges = [asked(call) for call in event.judging]
    judged = "a judge is asked" if len(judges) == 1 else f"{len(judges)} judges are asked"
    words = "; ".join(found) or (judged if judges else "no problem")
    return "what the checks said", plain([event.problems, event.undecided, judges]), words


def _decided(known: _Known, event: Decided) -> Said:
    decision = event.decision
    to, why = getattr(decision, "to", ""), getattr(decision, "why", "")
    feedback = getattr(decision, "feedback", "")
    words = f"{event.policy}: {type(decision).__name__}{f' to {to}' if to else ''}"
    words += f" ({why})" if why else ""
    words += f", and the model is told: {feedback}" if feedback else ""
    about = known.numbers.get(event.about)
    return "the decision", [event.moment, event.policy, about, _decision(decision)], words


def _declined(known: _Known, event: Declined) -> Said:
    return "the ledger", event.ceiling.name, f"declined by {event.ceiling.name}"


def _unwinding(known: _Known, event: Unwinding) -> Said:
    words = f"{event.outcome}, and what was done is taken back: {event.why}"
    return "the end", ["unwinding", event.outcome.value], words


def _ended(known: _Known, event: Ended) -> Said:
    words = event.why if event.output is None else f"{event.why}: {told(event.output)}"
    counts = [event.outcome.value, plain(event.output), event.verified]
    return "the end", counts, f"{event.outcome}, {words}"


_FACTS: dict[type[Event], Callable[[_Known, Any], Said | None]] = {
    Intended: _intended,
    Returned: _returned,
    Failed: _failed,
    Inspected: _inspected,
    Decided: _decided,
    Declined: _declined,
    Unwinding: _unwinding,
    Ended: _ended,
}


# ------------------------------------------------------------------------------------ what counts


def asked(call: Call) -> Any:
    """What counts of a call."""
    match call:
        case ModelCall():
            return plain(evolve(call, id="", quote=Quote()))
        case ToolCall():
            return plain(evolve(call, id="", quote=Quote(), provider="", extra={}))
        case Question():
            return plain(evolve(call, id="", about="", digest=""))
        case Sleep(idle=idle):
            return ["sleep", idle]


def _result(result: Any) -> Any:
    match result:
        case Reply():
            calls = [asked(call) for call in result.tool_calls]
            return [result.text, calls, result.finish]
        case ToolResult():
            return plain(evolve(result, call=""))
    return plain(result)


def _decision(decision: Decision) -> Any:
    """What counts of a decision: its reason only where a model reads it as its tool's result."""
    read = isinstance(decision, Refuse) and decision.ending is None
    bare: Any = decision if read else evolve(decision, why="")
    match bare:
        case TryAgain():
            return plain(evolve(bare, after=0.0))
        case Ask():
            return plain(evolve(bare, digest=""))
        case Amend(call=call):
            return ["Amend", asked(call)]
    return plain(bare)


# --------------------------------------------------------------------------------------- in words


def told(held: Any) -> str:
    """Plain data as it is compared; a text as it is."""
    return held if isinstance(held, str) else canonical(held)


def named(call: Call) -> str:
    """A call, with all its arguments."""
    match call:
        case ModelCall(model=model, purpose=purpose):
            return model if purpose == "answer" else f"{purpose} on {model}"
        case ToolCall(name=name, arguments=arguments, purpose=purpose):
            does = "" if purpose == "call" else f"{purpose} "
            return f"{does}{name}({shown(arguments)})"
        case Question(text=text):
            return f"a person: {text}"
        case Sleep():
            return "sleep"


def _came(result: Any) -> str:
    match result:
        case Reply() if result.tool_calls:
            return f"calls {', '.join(map(named, result.tool_calls))}"
        case Reply():
            return result.text if result.finish == "stop" else f"{result.text} [{result.finish}]"
        case ToolResult(content=content):
            return content
        case Answer(text=text, by=by, note=note):
            return f"{text}{f' by {by}' if by else ''}{f': {note}' if note else ''}"
    return "slept"
