"""Steps: which step of a run each of its events belongs to, and where a step ends."""

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from loopwright.calls import Call, Question
from loopwright.errors import BadInput
from loopwright.events import (
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Resumed,
    Returned,
    Started,
    Unwinding,
)

_CAME = (Intended, Returned, Failed, Paused, Inspected)
"""What makes up a step; what was decided after it leads on to the next one."""


@define
class Count:
    """Which step a run is in, as its events come, and the calls that are under way."""

    step: int = 0
    open: dict[str, Call] = field(factory=dict)

    def take(self, event: Event) -> int:
        """The step of the next event: one begins where nothing is under way."""
        match event:
            case Intended(call=call):
                self.step += not self.open
                self.open[call.id] = call
            case Returned(call=name) | Failed(call=name):
                self.open.pop(name, None)
            case Started() | Resumed():
                self.open = {k: c for k, c in self.open.items() if isinstance(c, Question)}
            case Unwinding():
                self.open = {}
            case _:
                pass
        return self.step


def numbered(events: Iterable[Event]) -> Iterator[tuple[int, Event]]:
    """Each event with the number of its step, which is the run's `step` right after it."""
    count = Count()
    return ((count.take(event), event) for event in events)


def end(events: Sequence[Event], step: int) -> int:
    """How many events there are up to the end of `step`; what was decided then is not among them.

    At 0 the run has just begun. Raises `BadInput` for a step that there is not.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise BadInput(f"at={step!r}: give the number of a step, or 0 for where the run begins")
    ends, last = {0: 1}, 0
    for place, (last, event) in enumerate(numbered(events), 1):
        if isinstance(event, _CAME):
            ends[last] = place
    if step not in ends:
        raise BadInput(f"at={step}: the run has {last} step{'s' * (last != 1)}")
    return ends[step]
