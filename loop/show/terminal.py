"""`Progress`: a run in the terminal, a line a step."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from loopwright.calls import NANO, Delta
from loopwright.events import Ended, Event, Intended, Paused
from loopwright.run import Run
from loopwright.show.lines import Line, Lines, joined
from loopwright.show.spoken import Spoken
from loopwright.show.text import cut, end, short, tail, visible, width

PAUSE = 0.1
"""Seconds between two looks at what models say while they say it: one reads no faster."""


class Progress:
    """Shows a run in the terminal, one line a step, plain where it is no terminal.

    A `watch` for `Loop`: several runs at once are told apart by the end of their ids.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.gathered: dict[str, Lines] = {}
        self.speaking: dict[str, Spoken] = {}
        self.several = False
        self.passed = 0.0

    def __call__(self, run: Run, event: Event | Delta) -> None:
        if isinstance(event, Delta):
            self._speaks(run, event)
        else:
            self._happened(run, event)

    def _speaks(self, run: Run, delta: Delta) -> None:
        """The last words so far, on the line that the step is on."""
        gathered = self.gathered.get(run.run_id)
        if gathered is None or not _wipes(self.stream or sys.stderr):
            return
        if run.run_id not in self.speaking:
            self.speaking[run.run_id] = Spoken()
        spoken = self.speaking[run.run_id]
        spoken.add(delta)
        if time.monotonic() - self.passed >= PAUSE:
            self.passed = time.monotonic()
            words = visible(tail(spoken.words(), 60))
            self._write(run, f"{gathered.line.step:>3}  {delta.kind}: ", words, passing=True)

    def _happened(self, run: Run, event: Event) -> None:
        if run.run_id not in self.gathered:
            self.gathered[run.run_id] = joined(run.events, event)
        gathered = self.gathered[run.run_id]
        self.several |= len(self.gathered) > 1
        if spoken := self.speaking.get(run.run_id):
            spoken.happened(event)
        if done := gathered.add(event):
            self._print(run, done)
        if isinstance(event, Ended | Paused):
            self._print(run, gathered.line)
            self._end(run)
            del self.gathered[run.run_id]
            self.speaking.pop(run.run_id, None)
            self.several &= bool(self.gathered)
        elif isinstance(event, Intended):
            what = visible(gathered.line.what)
            self._write(run, f"{gathered.line.step:>3}  {what} …", passing=True)

    def _print(self, run: Run, line: Line) -> None:
        self._write(run, "  ".join(part for part in _columns(run, line) if part))

    def _end(self, run: Run) -> None:
        verified = ", verified" if run.verified else ""
        why = f": {visible(run.why)}" if run.why else ""
        self._write(
            run, f"     {run.outcome}{verified}{why}  [{run.cost:.6f} USD, {run.seconds:.1f} s]"
        )

    def _write(self, run: Run, text: str, words: str = "", *, passing: bool = False) -> None:
        """A line; one in passing is wiped by the next, and shown only where that can be done.

        Of the `words` in passing the end is shown.
        """
        mark = f"{visible(run.run_id[-4:])} " if self.several else ""
        out: TextIO | None = self.stream or sys.stderr
        if out is None:  # as under pythonw
            return
        with suppress(OSError, ValueError, LookupError):  # nobody looks any more; the run goes on
            line = _sayable(f"{mark}{text}", out)
            if (wiping := _wipes(out)) or not passing:
                line = _fitted(line, _sayable(words, out), out) if passing else f"{line}\n"
                out.write(f"\r\x1b[K{line}" if wiping else line)
                out.flush()


def _wipes(out: TextIO | None) -> bool:
    """Whether a line can be wiped, and so one in passing be shown."""
    with suppress(OSError, ValueError):
        return out is not None and out.isatty() and os.environ.get("TERM") != "dumb"
    return False


def _fitted(line: str, words: str, out: TextIO) -> str:
    """The line and the end of the words, as far as there is room for them."""
    most = max(1, _wide(out) - 1)
    line = cut(line, most)
    room = most - width(line)
    return f"{line}{end(words, room)}" if room else line


def _sayable(text: str, out: TextIO) -> str:
    """`text` with what the stream has no letter for escaped."""
    encoding = getattr(out, "encoding", None) or "utf-8"  # a StringIO has none
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _wide(out: TextIO) -> int:
    """The columns of this very terminal, which need not be that of the standard output."""
    with suppress(OSError):
        if columns := os.get_terminal_size(out.fileno()).columns:
            return columns
    return shutil.get_terminal_size().columns


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
