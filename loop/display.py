"""What people see of a run: a line a step in the terminal, a small table in a notebook."""

import html as markup
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TextIO

from attrs import define, field

from loopwright.calls import (
    NANO,
    Answer,
    Call,
    Delta,
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
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Resumed,
    Returned,
)
from loopwright.run import Run


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
            return f"{name}({_short(canonical(arguments), 60)})"
        case Question():
            return "a person"
        case Sleep(seconds=seconds):
            return f"sleep {seconds:.3g} s"


def _result(result: Any) -> str:
    match result:
        case Reply() if result.tool_calls:
            return f"calls {', '.join(call.name for call in result.tool_calls)}"
        case Reply():
            return _short(result.text, 60)
        case ToolResult(content=content):
            return _short(content, 60)
        case Answer(text=text, by=by):
            return f"{by or 'a person'}: {text}"
    return ""


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tail(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"…{text[1 - most :]}"


def visible(text: str) -> str:
    """`text` with everything escaped that would not show, or would steer a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def lines(events: Iterable[Event]) -> Iterator[Line]:
    """The lines of a run, one a step."""
    gathered = Lines()
    for event in events:
        if done := gathered.add(event):
            yield done
    if gathered.line.step:
        yield gathered.line


# ------------------------------------------------------------------------------------- terminal


class Progress:
    """Shows a run in the terminal, one line a step, plain where it is no terminal.

    A `watch` for `Loop`: several runs at once are told apart by the end of their ids.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.gathered: dict[str, Lines] = {}
        self.speaking: dict[str, str] = {}

    def __call__(self, run: Run, event: Event | Delta) -> None:
        if isinstance(event, Delta):
            self._speaks(run, event)
        else:
            self._happened(run, event)

    def _speaks(self, run: Run, delta: Delta) -> None:
        """The last words so far, on the line that the step is on."""
        said = self.speaking.get(delta.call, "") + delta.text
        self.speaking = {delta.call: said[-200:]}
        gathered = self.gathered.get(run.run_id)
        step = f"{gathered.line.step:>3}  " if gathered else ""
        self._passing(run, f"{step}{delta.kind}: {visible(_tail(said, 60))}")

    def _happened(self, run: Run, event: Event) -> None:
        before = run.step if isinstance(event, Resumed) else 0
        gathered = self.gathered.setdefault(run.run_id, Lines(before))
        if done := gathered.add(event):
            self._print(run, done)
        if isinstance(event, Ended | Paused):
            self._print(run, gathered.line)
            self._end(run)
            del self.gathered[run.run_id]
        elif isinstance(event, Intended):
            self._passing(run, f"{gathered.line.step:>3}  {gathered.line.what} …")

    def _print(self, run: Run, line: Line) -> None:
        text = "  ".join(part for part in _columns(run, line) if part)
        self._write(run, f"{_clear(self._out)}{text}\n")

    def _end(self, run: Run) -> None:
        verified = ", verified" if run.verified else ""
        why = f": {visible(run.why)}" if run.why else ""
        self._write(
            run, f"     {run.outcome}{verified}{why}  [{run.cost:.6f} USD, {run.seconds:.1f} s]\n"
        )

    def _passing(self, run: Run, text: str) -> None:
        if self._out.isatty():
            self._write(run, f"{_clear(self._out)}{text[:78]}")

    def _write(self, run: Run, text: str) -> None:
        several = len(self.gathered) > 1 and not text.startswith("\r")
        mark = f"{run.run_id[-4:]} " if several else ""
        with suppress(OSError):  # nobody looks any more; the run goes on
            self._out.write(mark + text)
            self._out.flush()

    @property
    def _out(self) -> TextIO:
        return self.stream or sys.stderr


def _clear(out: TextIO) -> str:
    return "\r\x1b[K" if out.isatty() else ""


def _columns(run: Run, line: Line) -> Iterator[str]:
    yield f"{line.step:>3}"
    yield f"{visible(line.what):<28}"
    yield f"{_paid(line):>22}"
    yield _elapsed(run)
    came = " | ".join(_short(text, 120) for text in line.came if text)
    yield visible("; ".join(line.said) or came)


def _paid(line: Line) -> str:
    return f"{line.tokens} tokens {line.nano / NANO:.4f} USD" if line.tokens else ""


def _elapsed(run: Run) -> str:
    """Time and money used, against the limits."""
    limits, spent = run.limits, run.spent.settled + run.spent.presumed
    seconds = f"/{limits['seconds']:g}" if "seconds" in limits else ""
    usd = f"/{limits['usd']}" if "usd" in limits else ""
    return f"[{run.seconds:.1f}{seconds} s, {spent / NANO:.4f}{usd} USD]"


# ------------------------------------------------------------------------------------- notebook


_CELL = "text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:break-word"


def html(run: Run) -> str:
    """The run as a small table, for a notebook. Nothing in it is taken as markup."""
    head = row("th", ("step", "called", "what came of it", "tokens", "USD", "decided, and why"))
    body = "".join(row("td", _cells(line)) for line in lines(run.events))
    outcome = run.outcome or "open"
    verified = " (verified)" if run.verified else ""
    title = f"{escaped(run.title)}: <b>{escaped(outcome)}</b>{verified}"
    facts = f"{run.cost:.6f} USD, {run.seconds:.1f} s, run {escaped(run.run_id)}"
    why = f"<div>{escaped(run.why)}</div>" if run.why else ""
    return f"<div>{title} — {facts}{why}<table><thead>{head}</thead>{body}</table></div>"


def _cells(line: Line) -> tuple[str, ...]:
    usd = f"{line.nano / NANO:.6f}" if line.nano else ""
    came, said = "\n".join(line.came), "\n".join(line.said)
    return str(line.step), line.what, came, str(line.tokens or ""), usd, said


def row(tag: str, cells: Iterable[str]) -> str:
    """A row of a table; nothing in it is taken as markup."""
    inner = "".join(f'<{tag} style="{_CELL}">{escaped(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"


def escaped(text: str) -> str:
    """`text` as markup that shows it, and does nothing else."""
    return markup.escape(visible(text).replace("\\n", "\n"))
