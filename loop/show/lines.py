"""Lines: what each step of a run did, in the words that terminal, notebook and page show."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

from attrs import define, field, frozen

from loopwright.calls import (
    NANO,
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
from loopwright.codec import plain, shown
from loopwright.events import (
    Decided,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Resumed,
    Returned,
    Started,
)
from loopwright.fold import waits_for
from loopwright.show.text import short
from loopwright.steps import Count

DECISION = "decision"
"""The kind of the notes that are decisions."""


@frozen
class Note:
    """One thing that a step led to: its `text` on one line, and `whole` where there is more.

    `kind` is ``"reply"``, ``"result"``, ``"answer"``, ``"failure"``, ``"problem"``,
    ``"undecided"``, ``"decision"``, ``"waiting"`` or ``"aside"``.
    """

    kind: str
    text: str
    whole: str = ""


@define
class Line:
    """What one step did: its calls, what came of them, and what was decided and why.

    `began` and `time` are when its first and its last event happened, in seconds since 1970; `nano`
    is what it cost, in nano-dollars. In a notebook it shows itself.
    """

    step: int
    calls: dict[str, Call] = field(factory=dict)
    notes: list[Note] = field(factory=list)
    tokens: int = 0
    nano: int = 0
    began: float = 0.0
    time: float = 0.0

    @property
    def what(self) -> str:
        """The calls of the step, by name."""
        return ", ".join(map(named, self.calls.values()))

    @property
    def came(self) -> list[str]:
        """What came of the calls."""
        return [note.text for note in self.notes if note.kind != DECISION]

    @property
    def said(self) -> list[str]:
        """What was decided, by whom and why."""
        return [note.text for note in self.notes if note.kind == DECISION]

    @property
    def seconds(self) -> float:
        """From the first event of the step to its last."""
        return self.time - self.began

    def _repr_html_(self) -> str:
        from loopwright.show.notebook import step

        line: Any = self
        return step(line)

    def _repr_markdown_(self) -> str:
        from loopwright.show.notebook import step_markdown

        line: Any = self
        return step_markdown(line)


class Lines:
    """Gathers events into lines; `add` gives a line when it is complete."""

    def __init__(self, step: int = 0) -> None:
        self.line = Line(step)
        self.count = Count(step)

    def add(self, event: Event) -> Line | None:
        """Take one event; the line before it, if this one begins the next.

        What was decided before the first call of a step shows with that call.
        """
        done, line = None, self.line
        if self.count.take(event) > line.step:
            done = line if line.calls else None
            notes = [] if done else line.notes
            self.line = Line(self.count.step, notes=notes, began=event.time)
        self.line.time = event.time
        _NOTES.get(type(event), _nothing)(self.line, event)
        return done


def _nothing(line: Line, event: Any) -> None:
    """Some events show in the lines of others only."""


def _note_started(line: Line, event: Started) -> None:
    line.began = line.began or event.time
    if base := getattr(event, "base", ""):
        line.notes.append(Note("aside", f"forked from {base} here"))


def _note_intended(line: Line, event: Intended) -> None:
    line.calls[event.call.id] = event.call


def _note_returned(line: Line, event: Returned) -> None:
    line.nano += event.cost.high
    if isinstance(event.result, Reply) and event.result.usage:
        line.tokens += event.result.usage.tokens
    line.notes.append(_result(event.result))
    if isinstance(event.result, Reply):
        _note_sent(line, event.result.sent)


def _note_sent(line: Line, sent: Sent) -> None:
    if sent.changed:
        told = f"not cached from here on: {sent.changed} is another than before"
        line.notes.append(Note("aside", told))
    line.notes += [Note("aside", f"repaired: {repair}") for repair in sent.repairs]


def _note_failed(line: Line, event: Failed) -> None:
    text = f"{event.failure.kind}: {event.failure.message}"
    line.notes.append(Note("failure", text, "\n\n".join(filter(None, (text, event.traceback)))))


def _note_inspected(line: Line, event: Inspected) -> None:
    line.notes += [Note("problem", f"problem: {p.text}") for p in event.problems]
    line.notes += [Note("undecided", f"undecided: {p.check}: {p.text}") for p in event.undecided]


def _note_decided(line: Line, event: Decided) -> None:
    why = getattr(event.decision, "why", "")
    text = f"{event.policy}: {type(event.decision).__name__}{f', {why}' if why else ''}"
    line.notes.append(Note(DECISION, text, "\n".join(_circumstances(event))))


def _circumstances(event: Decided) -> Iterator[str]:
    yield _MOMENTS[event.moment]
    if event.parameters:
        yield f"{event.policy} with {shown(event.parameters)}"
    if event.others:
        yield f"overruled: {', '.join(event.others)}"
    spent = event.spent
    amounts = {"settled": spent.settled, "reserved": spent.reserved, "presumed": spent.presumed}
    yield "by then:"
    yield from (f"{nano / NANO:.6f} USD {name}" for name, nano in amounts.items() if nano)
    yield f"{spent.model_calls} model calls, {spent.tool_calls} tool calls, {spent.tokens} tokens"
    yield f"{event.seconds:.1f} s"
    if feedback := getattr(event.decision, "feedback", ""):
        yield f"\nthe model is told:\n{feedback}"


_MOMENTS = {"call": "before a call", "failure": "after a failed call", "answer": "after an answer"}


def _note_paused(line: Line, event: Paused) -> None:
    call = line.calls.get(event.call)
    asked = waits_for(call.text, event.why) if isinstance(call, Question) else event.why
    line.notes.append(Note("waiting", f"waiting: {asked or 'a person has to answer'}"))


def _note_resumed(line: Line, event: Resumed) -> None:
    line.notes.append(Note("aside", f"resumed by {event.setting.by}"))


_NOTES: dict[type[Event], Callable[[Line, Any], None]] = {
    Started: _note_started,
    Intended: _note_intended,
    Returned: _note_returned,
    Failed: _note_failed,
    Inspected: _note_inspected,
    Decided: _note_decided,
    Paused: _note_paused,
    Resumed: _note_resumed,
}


def named(call: Call) -> str:
    """A call on one line."""
    match call:
        case ModelCall(model=model, purpose=purpose):
            return model if purpose == "answer" else f"{purpose} on {model}"
        case ToolCall(name=name, arguments=arguments):
            return f"{name}({short(shown(arguments), 60)})"
        case Question():
            return "a person"
        case Sleep(seconds=seconds):
            return f"sleep {seconds:.3g} s"


def whole(call: Call) -> str:
    """All that a call says, line by line; nothing where its name says it."""
    match call:
        case ToolCall(arguments=arguments) if arguments:
            return pretty(arguments)
        case Question(text=text, choices=choices):
            return "\n".join((text, *choices))
        case ModelCall(messages=messages):
            return "\n\n".join(f"{one.role}:\n{one.text}" for one in messages)
    return ""


def pretty(data: Any) -> str:
    """JSON data as people read it; a text is itself."""
    return data if isinstance(data, str) else json.dumps(plain(data), indent=2, ensure_ascii=False)


def _result(result: Any) -> Note:
    match result:
        case Reply() if result.tool_calls:
            names = ", ".join(call.name for call in result.tool_calls)
            return Note("reply", f"calls {names}", result.text)
        case Reply():
            return Note("reply", short(result.text, 60), result.text)
        case ToolResult(content=content):
            return Note("result", short(content, 60), content)
        case Answer(text=text, by=by, note=note):
            told = f"{by or 'a person'}: {text}"
            return Note("answer", told, f"{told}\n{note}" if note else "")
    return Note("aside", "")


def joined(events: Iterable[Event], event: Any) -> Lines:
    """Lines that go on where those before `event` left off; what they told is left out."""
    gathered = Lines()
    for before in takewhile(lambda one: one is not event, events):
        gathered.add(before)
    gathered.line = Line(gathered.line.step, dict(gathered.count.open))
    return gathered


def lines(events: Iterable[Event]) -> Iterator[Line]:
    """The lines of a run, one a step."""
    gathered = Lines()
    for event in events:
        if done := gathered.add(event):
            yield done
    if gathered.line.step or gathered.line.notes:
        yield gathered.line
