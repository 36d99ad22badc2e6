"""Regression tests from recorded runs: a run once more, through the loop and policies of today.

Nobody is called: models, tools and people say what they said then.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from loopwright.api import Loop
from loopwright.apps import app
from loopwright.calls import Call
from loopwright.codec import plain
from loopwright.diff import Difference, compared, settings
from loopwright.errors import BadInput
from loopwright.events import (
    Declined,
    Ended,
    Event,
    Failed,
    Intended,
    Paused,
    Reconciled,
    Resumed,
    Returned,
    Started,
    Unwinding,
)
from loopwright.facts import asked
from loopwright.fold import blank, fold, folded
from loopwright.house import House
from loopwright.log import jsonl
from loopwright.log.file import spared
from loopwright.log.store import Log
from loopwright.loop import loop
from loopwright.outcome import Outcome
from loopwright.policy import flat
from loopwright.port import Outcomes, Port, given
from loopwright.replay import asked_again, begun
from loopwright.run import Run
from loopwright.running import finished
from loopwright.task import Task

__all__ = ["Recording", "app", "export_test", "recorded", "save_test"]

INSIDE = 100_000
"""Characters of a recording that stands in the test itself: what an editor opens at once, and a
code review still shows. A longer one is put beside it."""


def _events(events: Iterable[Event]) -> tuple[Event, ...]:
    return tuple(events)


@frozen
class Recording:
    """The events of a run, as a log holds them: what `check` compares the code of today with.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright.models import Scripted
    >>> from loopwright.policies import Retry
    >>> task = Task("6 * 7?", checks=[lambda answer: None if answer == "42" else "No."])
    >>> with TemporaryDirectory() as folder:
    ...     loop_ = Loop(Scripted(["41", "42"]), policies=[Retry(times=1)], log=f"{folder}/runs.db")
    ...     text = recorded(loop_.log, loop_.run_now(task).run_id)
    >>> Recording.of(text).check(loop_, task)
    >>> Recording.of(text).difference(Loop(Scripted([])), task).step
    1
    """

    events: tuple[Event, ...] = field(converter=_events, repr=False)

    @classmethod
    def of(cls, text: str) -> "Recording":
        """The recording that such a text holds. Raises `LogError` for what is none."""
        lines = [line for line in text.split("\n") if line.strip()]
        return cls(event for _, _, event in jsonl.events(lines))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Recording":
        """The recording in a file."""
        return cls.of(Path(path).read_text(encoding="utf-8"))

    def check(self, loop: Loop, task: Task) -> None:
        """Raise `AssertionError`, with the first difference, if the run goes another way today."""
        __tracebackhide__ = True
        if difference := self.difference(loop, task):
            raise AssertionError(
                "This run goes another way now. a: as it was recorded; b: with the loop and the "
                f"task of today.\n\n{difference}"
            )

    def difference(self, loop: Loop, task: Task) -> Difference:
        """What is another than it was when the run goes through `loop`.

        The model, the policies and the task are those of today. Compared is what was done, decided
        and found, and what the model was told first: other policies are no difference by
        themselves. `loop` needs no log, and no model is there to be asked.
        """
        then, now = folded(self.events, task), self.replayed(loop, task)
        return compared(then, now, [*settings(then, now, ("prompt", "system"))])

    def replayed(self, loop: Loop, task: Task) -> Run:
        """The run once more, as far as it goes as recorded; of a fork, what is its own."""
        return finished(lambda: self._replayed(loop, task))

    async def _replayed(self, carrier: Loop, task: Task) -> Run:
        house = House.of((*carrier.policies, *flat(task.limits or ())))
        at = begun(self.events)
        first = self.events[at]
        assert isinstance(first, Started)
        run = fold(blank(first.run, task), *self.events[:at])
        run = fold(run, _begun_today(first, carrier, task, house))
        tape = Tape(self.events, run)
        while run.seq < len(self.events) and not tape.parted:
            event, before = self.events[run.seq], run.seq
            if _from_outside(self.events, run.seq):
                run = fold(run, _today(event, run, task, house))
            elif run.open:
                run = await _carried(run, house, tape)
            if run.seq == before:
                break
        return run


async def _carried(run: Run, house: House, tape: "Tape") -> Run:
    """Through the loop, up to where the tape ends, was interrupted, or says something else."""
    tape.run = run
    try:
        async for _ in loop(run, house.policies, tape):
            pass
    except TapeEnds:
        pass
    return tape.run


def _begun_today(first: Started, carrier: Loop, task: Task, house: House) -> Started:
    if first.base:  # the prompt was the base's
        return evolve(first, setting=house.setting(task, first.setting.model))
    inputs = _inputs(first)
    return evolve(
        first,
        task=task.title,
        prompt=task.filled(inputs),
        system=task.system,
        max_tokens=task.max_tokens,
        options=task.options,
        media=task.media(inputs),
        setting=house.setting(task, carrier.model),
    )


def _inputs(first: Started) -> Mapping[str, Any]:
    """The inputs as they were given: of an image, a log holds the data, and not what it is."""
    media = [(plain(one), one) for one in first.media]

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return [given(one) for one in value]
        return next((one for data, one in media if data == value), value)

    return {name: given(value) for name, value in first.inputs.items()}


def _today(event: Event, run: Run, task: Task, house: House) -> Event:
    if isinstance(event, Resumed):
        return evolve(event, setting=house.setting(task, run.model))
    return event


def _from_outside(events: Sequence[Event], at: int) -> bool:
    """Whether the event followed from nothing in the run: somebody or something broke in."""
    match events[at]:
        case Resumed() | Reconciled() | Started():
            return True
        case Intended():
            return asked_again(events, at)
        case Ended(outcome=outcome):
            return outcome is Outcome.cancelled
        case Unwinding():
            return isinstance(events[at - 1], Resumed)
    return False


class TapeEnds(Exception):
    """What was recorded goes no further from here, or goes another way."""


class Tape(Port):
    """A port that answers each call with what was recorded, as long as all goes as recorded.

    `run` is the run as far as it came; `parted` says whether it went another way there.
    """

    def __init__(self, events: Sequence[Event], run: Run) -> None:
        super().__init__()
        self.events = events
        self.run = run
        self.parted = False
        self.made: dict[str, Call] = {}

    def now(self) -> float:
        """What the clock showed then, so that what depends on time is decided as it was."""
        return self.events[min(self.run.seq, len(self.events) - 1)].time

    async def record(self, run: Run, events: Sequence[Event]) -> Run:
        """Take `events` as facts, if they are those that were recorded here."""
        if not events:
            return run
        there = self._there(run.seq, len(events))
        if there and isinstance(there[-1], Declined):  # what other runs used is on the tape only
            events = [*(e for e in events if not isinstance(e, Intended)), there[-1]]
        whole = len(there) == len(events)
        self.run = fold(run, *events[: len(there)])
        if [type(e) for e in there] != [type(e) for e in events[: len(there)]]:
            self.run, self.parted = fold(run, *events), True
        if self.parted or not whole:
            raise TapeEnds
        self.made |= {e.call.id: e.call for e in there if isinstance(e, Intended)}
        return self.run

    def _there(self, at: int, count: int) -> list[Event]:
        """The events recorded here, up to where somebody broke in; a refusal of the ledger ends
        them, too."""
        there: list[Event] = []
        for place in range(at, min(at + count, len(self.events))):
            if _from_outside(self.events, place):
                break
            there.append(self.events[place])
            if isinstance(there[-1], Declined):
                break
        return there

    def _made(self, name: str, call: Call) -> bool:
        """Whether this call was made, or none of that name."""
        return name not in self.made or asked(self.made[name]) == asked(call)

    def outcomes(self, run: Run) -> Outcomes:
        """What came of the calls that are under way, in the order in which it came."""
        return Outcomes(map(given, self._came(run)))

    def _came(self, run: Run) -> Iterator[Event]:
        calls = dict(run.in_flight)
        if any(
            name in self.made and asked(self.made[name]) != asked(calls[name]) for name in calls
        ):
            self.parted = True
            raise TapeEnds
        at = run.seq
        while calls:
            event = self.events[at] if at < len(self.events) else None
            if not isinstance(event, Returned | Failed | Paused) or event.call not in calls:
                raise TapeEnds
            del calls[event.call]
            at += 1
            yield event


# --------------------------------------------------------------------------------- as pytest files

_IMPORT = "from loopwright.regression import Recording"
"""By this line a test is known as one that was saved here."""

_TEST = '''\
"""Run {run} of {title}, as it went on {day}. Nothing is called.

It passes as long as the loop and the task decide what was decided then, and fails with the first
difference. Below stands what models, tools and people said.
"""

from loopwright.regression import Recording, app


def test_{name}() -> None:
    Recording.{recording}.check(*app({app!r}, __file__))
'''


def export_test(log: Log, run_id: str, *, app: str, beside: str = "") -> str:
    """The text of a pytest file that replays a run of `log` against your own loop and task.

    `app` says where these are: ``FILE_OR_MODULE[:LOOP[:TASK]]``, by default ``loop`` and ``task``;
    each may also be a function without parameters that makes one. A file is looked for in the
    working folder, and then beside the test. The recording stands in the text, or, with `beside`,
    in a file of that name beside it, which `recorded` gives the text of. Secrets are masked, as in
    the log. The test needs no key. It calls nobody, and no tool.

    Raises `RunNotFound`, and `BadInput` for an `app` that cannot be.
    """
    text = recorded(log, run_id)
    first = next(e for e in log.events(run_id) if isinstance(e, Started))
    if not app.isprintable() or not app:
        raise BadInput(f"app={app!r}: say where the loop and the task are, as FILE:loop:task")
    words = "_".join(re.findall(r"[a-z0-9]+", first.task.lower()))[:40].strip("_")
    name = re.sub(r"\W", "_", f"{words}_{run_id[-6:]}", flags=re.ASCII).strip("_").lower()
    day = datetime.fromtimestamp(first.time, UTC).date()
    recording = f"read(Path(__file__).with_name({beside!r}))" if beside else "of(RECORDED)"
    held = _TEST.format(
        run=re.sub(r"[^\w.-]", "?", run_id, flags=re.ASCII),
        title=words.replace("_", " ") or "a task",
        day=day,
        name=name,
        recording=recording,
        app=app,
    )
    if beside:
        return held.replace("from loopwright", "from pathlib import Path\n\nfrom loopwright", 1)
    quoted = text.replace("'", "\\u0027")  # JSON, in which a quote can stand only in a text
    return f"{held}\n\nRECORDED = r'''\n{quoted}'''\n"


def recorded(log: Log, run_id: str) -> str:
    """The recording of a run: JSON lines of printable ASCII.

    Secrets are masked, as in the log, and on which machine the run was carried out is left out.
    """
    events, _, _ = log.prepared(run_id, 0, log.events(run_id))
    lines = (jsonl.line(run_id, i, _anywhere(event)) for i, event in enumerate(events, 1))
    return "".join(f"{line}\n" for line in lines)


def _anywhere(event: Event) -> Event:
    if isinstance(event, Started | Resumed):
        return evolve(event, setting=evolve(event.setting, by=""))
    return event


def save_test(log: Log, run_id: str, path: str | os.PathLike[str], *, app: str) -> tuple[Path, ...]:
    """Write the test to `path`, and a long recording to a file beside it; which files these are.

    Over 100,000 characters are long: that is what an editor opens at once. What was saved so before
    is replaced. Raises `BadInput` where anything else is, and for what `export_test` refuses.
    """
    test, text = Path(path), recorded(log, run_id)
    spared(test)
    before = test.read_text(encoding="utf-8", errors="replace") if test.is_file() else ""
    _ours(test, _IMPORT in before)
    if len(text) <= INSIDE:
        test.write_text(export_test(log, run_id, app=app), encoding="utf-8")
        return (test,)
    data = test.with_suffix(".jsonl")
    _ours(data, repr(data.name) in before)
    data.write_text(text, encoding="utf-8")
    test.write_text(export_test(log, run_id, app=app, beside=data.name), encoding="utf-8")
    return test, data


def _ours(path: Path, ours: bool) -> None:
    if path.exists() and not ours:
        raise BadInput(f"{path} is there already, and is no test of a run: choose another name")
