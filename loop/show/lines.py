"""Lines: what each step of a run did, in the words that terminal and notebook show."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field

from loopwright.calls import (
    Answer,
    Call,
    ModelCall,
    Question,
    Reply,
    Sent,
    Sleep,
    ToolCall,
    ToolResult,
)
from loopwright.codec import canonical
from loopwright.events import (
    Decided,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Resumed,
    Returned,
)
from loopwright.show.text import short


@define
class Line:
    """What one step did: its calls, what came of them, and what was decided and why."""

    step: int
    calls: dict[str, Call] = field(factory=dict)
    came: list[str] = field(factory=list)
    said: list[str] = field(factory=list)
    tokens: int = 0
    nano: int = 0
    time: float = 0.0

    @property
    def what(self) -> str:
        """The calls of the step, by name."""
        return ", ".join(_named(call) for call in self.calls.values())


class Lines:
    """Gathers events into lines; `add` gives a line when it is complete."""

    def __init__(self, step: int = 0) -> None:
        self.line = Line(step)

    def add(self, event: Event) -> Line | None:
        """Take one event; the line before it, if this one begins the next."""
        done = None
        if isinstance(event, Intended) and (self.line.came or not self.line.calls):
            done, self.line = self.line, Line(self.line.step + 1)
        self.line.time = event.time
        _NOTES.get(type(event), _nothing)(self.line, event)
        return done if done and done.calls else None


def _nothing(line: Line, event: Any) -> None:
    """Some events show in the lines of others only."""


def _note_intended(line: Line, event: Intended) -> None:
    line.calls[event.call.id] = event.call


def _note_returned(line: Line, event: Returned) -> None:
    line.nano += event.cost.high
    if isinstance(event.result, Reply) and event.result.usage:
        line.tokens += event.result.usage.tokens
    line.came.append(_result(event.result))
    if isinstance(event.result, Reply):
        _note_sent(line, event.result.sent)


def _note_sent(line: Line, sent: Sent) -> None:
    if sent.changed:
        line.came.append(f"not cached from here on: {sent.changed} is another than before")
    line.came += [f"repaired: {repair}" for repair in sent.repairs]


def _note_failed(line: Line, event: Failed) -> None:
    line.came.append(f"{event.failure.kind}: {event.failure.message}")


def _note_inspected(line: Line, event: Inspected) -> None:
    line.came += [f"problem: {p.text}" for p in event.problems]
    line.came += [f"undecided: {p.check}: {p.text}" for p in event.undecided]


def _note_decided(line: Line, event: Decided) -> None:
    why = getattr(event.decision, "why", "")
    line.said.append(f"{event.policy}: {type(event.decision).__name__}{f', {why}' if why else ''}")


def _note_paused(line: Line, event: Paused) -> None:
    question = line.calls.get(event.call)
    line.came.append(f"waiting: {getattr(question, 'text', 'a person has to answer')}")


def _note_resumed(line: Line, event: Resumed) -> None:
    line.came.append(f"resumed by {event.setting.by}")


_NOTES: dict[type[Event], Callable[[Line, Any], None]] = {
    Intended: _note_intended,
    Returned: _note_returned,
    Failed: _note_failed,
    Inspected: _note_inspected,
    Decided: _note_decided,
    Paused: _note_paused,
    Resumed: _note_resumed,
}


def _named(call: Call) -> str:
    match call:
        case ModelCall(model=model, purpose=purpose):
            return model if purpose == "answer" else f"{purpose} on {model}"
        case ToolCall(name=name, arguments=arguments):
            return f"{name}({short(canonical(arguments), 60)})"
        case Question():
            return "a person"
        case Sleep(seconds=seconds):
            return f"sleep {seconds:.3g} s"


def _result(result: Any) -> str:
    match result:
        case Reply() if result.tool_calls:
            return f"calls {', '.join(call.name for call in result.tool_calls)}"
        case Reply():
            return short(result.text, 60)
        case ToolResult(content=content):
            return short(content, 60)
        case Answer(text=text, by=by):
            return f"{by or 'a person'}: {text}"
    return ""


def lines(events: Iterable[Event]) -> Iterator[Line]:
    """The lines of a run, one a step."""
    gathered = Lines()
    for event in events:
        if done := gathered.add(event):
            yield done
    if gathered.line.step:
        yield gathered.line
