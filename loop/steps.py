"""Steps: which step of a run each of its events belongs to, and where a step ends."""

from collections.abc import Iterable, Iterator, Sequence

from loopwright.calls import Question
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
)

_CAME = (Intended, Returned, Failed, Paused, Inspected)
"""What makes up a step; what was decided after it leads on to the next one."""


def numbered(events: Iterable[Event]) -> Iterator[tuple[int, Event]]:
    """Each event with the number of its step, which is the run's `step` right after it."""
    step, questions, others = 0, set[str](), set[str]()
    for event in events:
        match event:
            case Intended(call=call):
                step += not (questions or others)
                (questions if isinstance(call, Question) else others).add(call.id)
            case Returned(call=name) | Failed(call=name):
                questions.discard(name)
                others.discard(name)
            case Started() | Resumed():
                others.clear()
            case _:
                pass
        yield step, event


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
