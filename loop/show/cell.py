"""`Cell`: runs in a notebook while they go on, shown in place by a display handle."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from attrs import define, field

from loopwright.calls import NANO, Delta
from loopwright.events import Ended, Event, Paused
from loopwright.run import Run
from loopwright.show import beside
from loopwright.show.lines import DECISION, Line, Lines, joined
from loopwright.show.markup import block, escaped, folded
from loopwright.show.notebook import html, run_markdown, title
from loopwright.show.spoken import Spoken
from loopwright.show.terminal import Progress
from loopwright.show.text import short, tail

PAUSE = 0.2
"""Seconds between two updates: five a second look live, and a front end keeps up with them."""

SOON = 0.9 * PAUSE
"""Seconds between two updates at least: timers of several event loops come at any time, some of
them a little early."""

STILL = 1.0
"""Seconds after which it is updated though nothing has happened, since time is a limit, too."""

LATEST = 4
"""Steps that are shown while a run goes on, beside the one under way."""

MOST = 20
"""Runs of a cell that are shown by name, those that go on first; of all others there is a count."""

WORDS = 400
"""Characters of what a model says that are shown while it speaks: five lines."""


@define
class Shown:
    """What is shown of one run."""

    run: Run
    gathered: Lines
    past: list[Line] = field(factory=list)
    spoken: Spoken = field(factory=Spoken)
    since: float = field(factory=time.monotonic)

    @property
    def over(self) -> bool:
        """Whether it has ended, or waits for a person."""
        return self.run.outcome is not None

    def happened(self, run: Run, event: Event) -> None:
        """Take the next event of the run."""
        self.run, self.since = run, time.monotonic()
        self.spoken.happened(event)
        if done := self.gathered.add(event):
            self.past = [*self.past, done][-LATEST:]


class Cell:
    """Shows the runs of a notebook's cell while they go on: a `watch` for `Loop`.

    Each cell has one display, updated in place: the step under way, the words of the model, and
    what is used of each limit. When its only run is over, it is that run's table. `publish` shows
    markup, and gives a handle to show other markup in the same place; without it, IPython does.
    """

    def __init__(self, publish: "Callable[[Page], Any] | None" = None) -> None:
        self.publish = publish or _display
        self.runs: dict[str, Shown] = {}
        self.cell: Any = None
        self.handle: Any = None
        self.ticking: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self.drawn = 0.0
        self.stale = False
        self.lock = threading.RLock()  # threads have runs of their own, and one display

    def __call__(self, run: Run, event: Event | Delta) -> None:
        shown = self._begin(run, event)
        if isinstance(event, Delta):
            shown.spoken.add(event)
        else:
            shown.happened(run, event)
        self.stale = True
        # After the last there may be no event loop that draws later.
        last = isinstance(event, Ended | Paused) and self._over()
        if last or self.handle is None or not self._later():
            self._draw()

    def _over(self) -> bool:
        return all(shown.over for shown in list(self.runs.values()))  # other threads add some

    def _begin(self, run: Run, event: Event | Delta) -> Shown:
        """What is shown of the run; a cell that is executed shows its own runs only."""
        with self.lock:
            if self.cell != (cell := _executing()):
                self.cell, self.handle, self.runs = cell, None, {}
            if run.run_id not in self.runs:
                self.runs[run.run_id] = Shown(run, joined(run.events, event))
            return self.runs[run.run_id]

    def _later(self) -> bool:
        """Draw in a while, and again as time goes by; without an event loop there is no while."""
        with suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            if loop not in self.ticking:  # each has its own: one of them may be held up
                self.ticking.add(loop)
                loop.call_later(PAUSE, self._tick, loop)
            return True
        return False

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ticking.discard(loop)
        if self._over():
            return
        if time.monotonic() - self.drawn > (SOON if self.stale else STILL):
            self._draw()
        self._later()

    def _draw(self) -> None:
        with self.lock:
            self.stale, self.drawn = False, time.monotonic()
            page = self._page()
            with suppress(Exception):  # whatever becomes of a front end, the run goes on
                if self.handle is None:
                    self.handle = self.publish(page)
                else:
                    self.handle.update(page)

    def _page(self) -> "Page":
        shown = sorted(self.runs.values(), key=lambda one: one.over)
        roots = [one.run for one in shown if one.run.parent not in self.runs]
        if len(roots) == 1 and shown[0].over:
            children = [one.run for one in shown if one.run is not roots[0]]
            return Page(html(roots[0], children), run_markdown(roots[0]))
        parts = [_brief(one) if one.over else _going(one) for one in shown[:MOST]]
        left = len(shown) - MOST
        parts += [f'<div class="lw-soft">and {left} more runs</div>'] if left > 0 else []
        return Page(block("".join(parts)), "")


@define
class Page:
    """What a display shows."""

    html: str
    markdown: str

    def _repr_html_(self) -> str:
        return self.html

    def _repr_markdown_(self) -> str | None:
        return self.markdown or None

    def __repr__(self) -> str:
        return "a run of loopwright"


def progress() -> Cell | Progress:
    """What shows a run while it goes on: in the kernel of a notebook a `Cell`, else `Progress`."""
    return Cell() if getattr(_shell(), "kernel", None) else Progress()


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _executing() -> Any:
    """Which cell is executed."""
    return getattr(_shell(), "execution_count", None)


def _display(page: Page) -> Any:
    from IPython.display import display

    show: Any = display
    return show(page, display_id=True)


# -------------------------------------------------------------------------------- what is shown


def _going(shown: Shown) -> str:
    run, line = shown.run, shown.gathered.line
    head = f'<div class="lw-head">{title(run)}</div>'
    past = "".join(_told(one) for one in shown.past)
    now = f"{line.step}  {line.what} …  {time.monotonic() - shown.since:.0f} s"
    words = tail(shown.spoken.words(), WORDS)  # a notebook is a file, too
    spoken = f'<div class="lw-words lw-soft">{escaped(words)}</div>' if words else ""
    return f"{head}{bars(shown)}{past}{folded(now, '', 'decision')}{spoken}"


def _told(line: Line) -> str:
    came = " | ".join(filter(None, line.came))
    kinds = {note.kind for note in line.notes} - {DECISION}
    bad = next((kind for kind in ("problem", "failure") if kind in kinds), "aside")
    return folded(f"{line.step}  {line.what}  {_short(line, came)}", "", bad)


def _short(line: Line, came: str) -> str:
    """What was decided, or else what came of it, on one line."""
    return short("; ".join(line.said) or came, 160)


def _brief(shown: Shown) -> str:
    run = shown.run
    facts = escaped(f"{run.cost:.6f} USD, {run.seconds:.1f} s, run {run.run_id}")
    return f'<div>{title(run)} <span class="lw-soft">{facts}</span></div>'


def bars(shown: Shown) -> str:
    """How much is used of each limit of the run."""
    return f'<div class="lw-bars">{"".join(_bar(*one) for one in _used(shown))}</div>'


def _used(shown: Shown) -> Iterator[tuple[str, float, float]]:
    run = shown.run
    used = {
        "usd": run.spent.at_most / NANO,
        "tokens": run.spent.tokens,
        "seconds": run.seconds + time.monotonic() - shown.since,
        "model_calls": run.spent.model_calls,
        "tool_calls": run.spent.tool_calls,
        "steps": run.step,
    }
    for name, amount in used.items():
        if name in run.limits:
            yield name, amount, float(run.limits[name])
    for one in run.setting.ceilings:
        shown_in = NANO if one.unit == "usd" else 1
        name = f"{one.unit} of {one.name!r}{f' a {one.per}' if one.per else ''}"
        yield name, beside.used(run, one) / shown_in, one.limit / shown_in


def _bar(name: str, used: float, limit: float) -> str:
    share = min(100.0, 100 * used / limit) if limit else 100.0
    near = " near" if share >= 90 else ""
    usd = name.startswith("usd")
    said = f"{used:.6f}" if usd else f"{used:.0f}"
    label = escaped(name.replace("usd", "USD", 1) if usd else name.replace("_", " "))
    drawn = f'<div class="lw-bar{near}"><i style="width:{share:.1f}%"></i></div>'
    return f"<span>{label}</span>{drawn}<span>{said} of {limit:,.10g}</span>"
