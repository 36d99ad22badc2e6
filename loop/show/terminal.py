"""`Progress`: a run in the terminal, a line a step."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from loopwright.calls import NANO, Delta
from loopwright.events import Ended, Event, Intended, Paused, Resumed
from loopwright.log.redaction import Redaction
from loopwright.run import Run
from loopwright.show.lines import Line, Lines
from loopwright.show.text import short, tail, visible


class Progress:
    """Shows a run in the terminal, one line a step, plain where it is no terminal.

    A `watch` for `Loop`: several runs at once are told apart by the end of their ids.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.gathered: dict[str, Lines] = {}
        self.speaking: dict[str, str] = {}
        self.redaction = Redaction()

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
        self._passing(run, f"{step}{delta.kind}: {visible(tail(self.redaction.masked(said), 60))}")

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
    came = " | ".join(short(text, 120) for text in line.came if text)
    yield visible("; ".join(line.said) or came)


def _paid(line: Line) -> str:
    return f"{line.tokens} tokens {line.nano / NANO:.4f} USD" if line.tokens else ""


def _elapsed(run: Run) -> str:
    """Time and money used, against the limits."""
    limits, spent = run.limits, run.spent.settled + run.spent.presumed
    seconds = f"/{limits['seconds']:g}" if "seconds" in limits else ""
    usd = f"/{limits['usd']}" if "usd" in limits else ""
    return f"[{run.seconds:.1f}{seconds} s, {spent / NANO:.4f}{usd} USD]"
