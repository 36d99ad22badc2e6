"""The ledger: what runs that share a ceiling reserve, settle and presume spent.

Money is reserved in the transaction that writes the intent to spend it, so that the ceiling holds
over threads, runs and processes: at every instant settled + reserved + presumed is at most the
ceiling. A process that dies leaves its reservations behind, and they count until somebody knows
better.

The bill is the bill: what a provider reports beyond the reservation of its call is settled in full,
shows as an excess, and nothing more is let through. Nor can a failure be reserved: a ceiling of
failures says when no call is made any more, and those under way may still fail.
"""

import sqlite3
from collections.abc import Iterator, Sequence

from attrs import frozen

from loopwright.calls import ModelCall, Reply
from loopwright.ceiling import LARGEST, asked, covers, window
from loopwright.events import (
    Ceiling,
    Ended,
    Event,
    Failed,
    Intended,
    Reconciled,
    Resumed,
    Returned,
    Started,
)
from loopwright.fold import fold
from loopwright.outcome import Outcome
from loopwright.run import Run
from loopwright.spending import unbilled


@frozen
class Posting:
    """What one event changes in one window of a ceiling, in its unit.

    `asks` is what has to fit for `call` to be made.
    """

    ceiling: Ceiling
    window: str
    settled: int
    reserved: int
    presumed: int
    asks: int = 0
    call: str = ""


@frozen
class Shortfall(Exception):
    """The reservation for `call` does not fit: the balance without it, and what it asks."""

    call: str
    ceiling: Ceiling
    settled: int
    reserved: int
    presumed: int
    asked: int


def postings(run: Run, events: Sequence[Event]) -> list[Posting]:
    """What `events`, which follow on `run`, change in the ceilings that it stands under.

    What a call settles counts in the window in which it was reserved, and what is reconciled in the
    ceilings under which the call was made, even if the run has been carried on without them.
    """
    if run.seq and not run.setting.ceilings and _CHANGES.isdisjoint(map(type, events)):
        return []
    posted: list[Posting] = []
    for event in events:
        posted += _posted(run, event)
        run = fold(run, event)
    return posted


_CHANGES: frozenset[type[Event]] = frozenset({Started, Resumed, Reconciled})
"""What may change under which ceilings a run stands, or what was posted there."""


def _posted(run: Run, event: Event) -> Iterator[Posting]:
    match event:
        case Intended(time, ModelCall() as call):
            yield from _reserved(run, call, time)
        case Returned(call=name) | Failed(call=name):
            call_ = run.in_flight[name]
            if isinstance(call_, ModelCall):
                yield from _settled(run, call_, event)
        case Ended():
            yield from _presumed(run)
        case Resumed() if run.outcome in (None, Outcome.waiting):
            yield from _presumed(run)
        case Reconciled():
            yield from _reconciled(run, event)
        case _:
            return


def _over(run: Run, call: ModelCall) -> list[Ceiling]:
    return [one for one in run.setting.ceilings if covers(one, call)]


def _reserved(run: Run, call: ModelCall, time: float) -> Iterator[Posting]:
    for one in _over(run, call):
        amount = asked(one, call)
        asks = 1 if one.unit == "failures" else amount
        yield Posting(one, window(time, one.per), 0, amount, 0, asks, call.id)


def _settled(run: Run, call: ModelCall, event: Returned | Failed) -> Iterator[Posting]:
    for one in _over(run, call):
        amount, counts = asked(one, call), one.unit in ("usd", "tokens")
        time = event.time if one.unit == "failures" else _reserved_at(run, call.id)
        if counts and not _known(event):
            yield Posting(one, window(time, one.per), 0, -amount, amount)
        else:
            used = min(_used(one, event), LARGEST)
            yield Posting(one, window(time, one.per), used, -amount, 0)


def _used(ceiling: Ceiling, event: Returned | Failed) -> int:
    if isinstance(event, Failed):
        passing = ceiling.unit == "failures" and event.failure.may_resend
        return 1 if passing or ceiling.unit == "requests" else 0
    if ceiling.unit == "requests":
        return 0 if event.cached else 1
    used = isinstance(event.result, Reply) and event.result.usage
    amounts = {"usd": event.cost.high, "tokens": used.tokens if used else 0, "failures": 0}
    return amounts[ceiling.unit]


def _presumed(run: Run) -> Iterator[Posting]:
    """What was reserved for calls under way may have been used: nobody waits for them any more."""
    for call in (c for c in run.in_flight.values() if isinstance(c, ModelCall)):
        for one in _over(run, call):
            amount = asked(one, call)
            yield Posting(one, window(_reserved_at(run, call.id), one.per), 0, -amount, amount)


def _reserved_at(run: Run, call: str) -> float:
    events = (run.events[i] for i in range(run.seq - 1, -1, -1))
    return next(e.time for e in events if isinstance(e, Intended) and e.call.id == call)


def _reconciled(run: Run, event: Reconciled) -> Iterator[Posting]:
    doubts = in_doubt(run).get(event.call, [])
    for doubt in doubts:
        settled = event.cost if doubt is doubts[-1] else 0
        for ceiling in (one for one in doubt.ceilings if one.unit == "usd"):
            at = window(doubt.time, ceiling.per)
            yield Posting(ceiling, at, settled, 0, -doubt.amount)


@frozen
class InDoubt:
    """A call that may have been billed: when it was made, under what, and how much at most."""

    time: float
    ceilings: tuple[Ceiling, ...]
    amount: int


def in_doubt(run: Run) -> dict[str, list[InDoubt]]:
    """What is presumed spent, by call: one that a crash made repeat may stand there twice."""
    doubts: dict[str, list[InDoubt]] = {}
    open_: dict[str, InDoubt] = {}
    ceilings: tuple[Ceiling, ...] = ()
    for event in run.events:
        match event:
            case Started():  # a fork has nothing to do with what its base presumed
                doubts, open_, ceilings = {}, {}, event.setting.ceilings
            case Resumed() | Ended():
                for call, doubt in open_.items():
                    doubts.setdefault(call, []).append(doubt)
                open_ = {}
                if not isinstance(event, Ended):
                    ceilings = event.setting.ceilings
            case Intended(time, ModelCall() as made):
                over = tuple(one for one in ceilings if covers(one, made))
                open_[made.id] = InDoubt(time, over, made.quote.high)
            case Returned(call=call) | Failed(call=call) if call in open_:
                doubt = open_.pop(call)
                if not _known(event):
                    doubts.setdefault(call, []).append(doubt)
            case Reconciled(call=call):
                doubts.pop(call, None)
            case _:
                pass
    return doubts


def _known(event: Returned | Failed) -> bool:
    """Whether it is known what the call has cost."""
    if isinstance(event, Failed):
        return unbilled(event.failure)
    return isinstance(event.result, Reply) and event.result.usage is not None


# ----------------------------------------------------------------------------------- in the file

_POST = (
    "insert into balances values (?, ?, ?, ?, ?) on conflict do update set"
    " settled = settled + excluded.settled, reserved = reserved + excluded.reserved,"
    " presumed = presumed + excluded.presumed"
)
_BALANCE = "select settled, reserved, presumed from balances where ceiling = ? and window = ?"


def post(connection: sqlite3.Connection, posted: Sequence[Posting]) -> None:
    """Write `posted` into the balances, one by one. Raises `Shortfall` where one does not fit.

    Must stand in a transaction, which is to be taken back on a shortfall.
    """
    for one in posted:
        enter(connection, [one])
        if one.asks:
            _fits(connection, one)


def enter(connection: sqlite3.Connection, posted: Sequence[Posting]) -> None:
    """Write `posted` into the balances, whether it fits or not: it has happened."""
    for one in posted:
        row = (one.ceiling.name, one.window, one.settled, one.reserved, one.presumed)
        connection.execute(_POST, row)


def _fits(connection: sqlite3.Connection, one: Posting) -> None:
    query = connection.execute(_BALANCE, (one.ceiling.name, one.window))
    settled, reserved, presumed = query.fetchone()
    reserved -= one.reserved
    if settled + reserved + presumed + one.asks > one.ceiling.limit:
        raise Shortfall(one.call, one.ceiling, settled, reserved, presumed, one.asks)
