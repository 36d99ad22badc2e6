"""`Recorded`: the port that writes down what passes."""

from collections.abc import Sequence

from loopwright.calls import Call, Question
from loopwright.ceiling import ends
from loopwright.errors import RunTaken
from loopwright.events import Declined, Ended, Event, Intended, Returned
from loopwright.log.ledger import Shortfall, postings
from loopwright.log.store import Entry, Log
from loopwright.port import Performance, Port, Through
from loopwright.run import Run


class Recorded(Through):
    """A port that writes down what passes, before it counts as a fact."""

    def __init__(self, log: Log, inner: Port) -> None:
        super().__init__(inner)
        self.log = log

    async def record(self, run: Run, events: Sequence[Event]) -> Run:
        if not events:
            return run
        events, rows, parts = self.log.prepared(run.run_id, run.seq, events)
        after = await self.inner.record(run, events)  # what cannot be folded is never written
        try:
            entry = Entry(rows, parts, postings(run, events))
            short = await self.log.group.commit(entry)
        except RunTaken:
            raise RunTaken(self._taken(run, events[0])) from None
        return after if short is None else await self.record(run, _declined(events, short))

    def perform(self, run: Run, call: Call) -> Performance:
        """What a call comes to. It is looked up only when its turn has come: until then somebody
        may have answered."""
        if isinstance(call, Question) or run.facts:
            return self._looked_up(run, call)
        return self.inner.perform(run, call)

    async def _looked_up(self, run: Run, call: Call) -> Event:
        """A question may have been answered in the log meanwhile, also while it is asked: who did
        so was told that it is taken. What the run has from the one that it forked from is not done
        again."""
        if answered := self._answered(run, call):
            return answered
        if fact := run.fact(call):
            return Returned(self.now(), call.id, fact, cached=True)
        came = await self.inner.perform(run, call)
        return self._answered(run, call) or came

    def _answered(self, run: Run, call: Call) -> Returned | None:
        """The answer that the log has, if `call` is a question and somebody has answered."""
        if isinstance(call, Question) and (answer := self.log.answer_to(run.run_id, call)):
            return Returned(self.now(), call.id, answer)
        return None

    def _taken(self, run: Run, event: Event) -> str:
        there = self.log.events(run.run_id)[run.seq]
        by = f"carried on by {self.log.holder(run.run_id)}, which has written event {run.seq + 1}"
        if isinstance(there, Ended):
            by = f"ended by another process ({there.why})"
        return (
            f"run {run.run_id} was {by}: this process was about to write {type(event).__name__} "
            "there, and stops before it does anything more"
        )


def _declined(events: Sequence[Event], short: Shortfall) -> list[Event]:
    """What happened instead: the calls that were intended are not made."""
    at = next(event.time for event in events if isinstance(event, Intended))
    declined = Declined(
        at,
        short.call,
        short.ceiling,
        short.settled,
        short.reserved,
        short.presumed,
        short.asked,
        ends(at, short.ceiling.per),
    )
    return [*(event for event in events if not isinstance(event, Intended)), declined]
