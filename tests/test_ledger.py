"""The ledger: whatever runs, crashes and providers do, what runs share is not spent twice."""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from spending import Balances, balances, driven

from loopwright import (
    BadInput,
    Log,
    Outcome,
)
from loopwright.calls import Cost, Failure, ModelCall, Quote, Reply, Text, Usage
from loopwright.events import (
    Ceiling,
    Declined,
    Ended,
    Failed,
    Intended,
    Resumed,
    Returned,
    Setting,
    Started,
)
from loopwright.fold import blank
from loopwright.log import Recorded
from loopwright.log.ledger import window
from loopwright.port import Inline
from loopwright.run import Run
from loopwright.running import Carried

CEILINGS = (
    Ceiling("daily", 100, "day"),
    Ceiling("ever", 400),
    Ceiling("fast", 90, "hour", "tokens"),
    Ceiling("pace", 6, "minute", "requests", "m:a"),
    Ceiling("broken", 2, "hour", "failures"),
)
BEGUN = 1_750_000_000.0


@define
class Made:
    """One time that a call was made, as somebody would note it who has seen everything."""

    run: str
    call: ModelCall
    time: float
    ceilings: tuple[Ceiling, ...]
    state: str = "reserved"
    cost: int = 0
    tokens: int = 0
    failed: float = 0.0
    billed: int | None = None

    def amounts(self, unit: str) -> tuple[int, int, int]:
        """Settled, reserved and presumed of it."""
        if unit == "failures":
            return (0, 0, 0)
        if unit == "requests":
            asked = {"reserved": (0, 1, 0), "crashed": (0, 0, 1)}
            return asked.get(self.state, (1, 0, 0))
        if unit == "usd" and self.billed is not None:
            return (self.billed, 0, 0)
        quote = self.call.quote.high if unit == "usd" else self.call.quote.tokens
        used = self.cost if unit == "usd" else self.tokens
        unknown = (0, 0, quote)
        states = {"reserved": (0, quote, 0), "crashed": unknown, "unknown": unknown}
        return states.get(self.state, (used, 0, 0))

    @property
    def in_doubt(self) -> bool:
        return self.state in ("crashed", "unknown") and self.billed is None

    @property
    def excess(self) -> int:
        """What the provider reported beyond what was reserved, in whatever unit is more."""
        cost = self.billed if self.billed is not None else self.cost
        return max(0, cost - self.call.quote.high, self.tokens - self.call.quote.tokens)


@define
class Books:
    """All balances, from what was seen, by nothing but sums."""

    made: list[Made] = field(factory=list)

    def balances(self) -> Balances:
        sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for one in self.made:
            for ceiling in one.ceilings:
                at = (ceiling.name, window(one.time, ceiling.per))
                sums[at] = [a + b for a, b in zip(sums[at], one.amounts(ceiling.unit), strict=True)]
                if one.failed and ceiling.unit == "failures":
                    sums[ceiling.name, window(one.failed, ceiling.per)][0] += 1
        return {at: (a, b, c) for at, (a, b, c) in sums.items() if a or b or c}

    def excess(self, at: tuple[str, str]) -> int:
        return sum(
            one.excess
            for one in self.made
            for ceiling in one.ceilings
            if at == (ceiling.name, window(one.time, ceiling.per))
        )

    def open(self, run: str, call: str) -> Made:
        return next(
            one for one in self.made if (one.run, one.call.id, one.state) == (run, call, "reserved")
        )


def counted(call: ModelCall, given: tuple[Ceiling, ...]) -> tuple[Ceiling, ...]:
    return tuple(one for one in given if one.model in ("*", call.model))


quotes = st.builds(Quote, st.just(0), st.integers(0, 40), st.integers(0, 20))
asked = st.lists(st.tuples(st.sampled_from(["m:a", "m:b"]), quotes), min_size=1, max_size=3)
subsets = st.lists(st.sampled_from(CEILINGS), unique=True).map(tuple)
TRIED: list[tuple[str, ...]] = []
"""The steps of every interleaving that was tried."""

TEMPLATE: list[Path] = []
"""An empty log: to copy it is faster than to make one."""


class Runs(RuleBasedStateMachine):
    """Runs in two processes, each with a connection of its own to one file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name) / "runs.db"
        shutil.copy(TEMPLATE[0], path)
        self.logs = [Log(path, "process") for _ in range(2)]
        self.clock = BEGUN
        self.books = Books()
        self.carried: dict[str, Run] = {}
        self.by: dict[str, Log] = {}
        self.steps: list[str] = []

    # ------------------------------------------------------------------------------ small pieces

    def port(self, run: str) -> Recorded:
        return Recorded(self.by[run], Inline())

    def record(self, run: str, *events: Any) -> None:
        self.carried[run] = driven(self.port(run).record(self.carried[run], events))

    def step(self, *what: object) -> None:
        self.steps.append(repr(what))

    def idle(self) -> list[str]:
        return [name for name, run in self.carried.items() if run.open and not run.in_flight]

    def pair(self) -> list[str]:
        """Two idle runs of one process, if there are."""
        for log in self.logs:
            of_one = [run for run in self.idle() if self.by[run] is log]
            if len(of_one) > 1:
                return of_one[:2]
        return []

    def under_way(self) -> list[tuple[str, ModelCall]]:
        """The calls that somebody waits for."""
        return [
            (name, call)
            for name, run in self.carried.items()
            for call in run.in_flight.values()
            if run.open and isinstance(call, ModelCall)
        ]

    def doubts(self) -> list[Made]:
        return [made for made in self.books.made if made.in_doubt]

    def crashed(self, run: str) -> None:
        for one in self.books.made:
            if (one.run, one.state) == (run, "reserved"):
                one.state = "crashed"

    def intents(self, run: str, batch: Sequence[tuple[str, Quote]]) -> list[Intended]:
        """What is due again after a crash comes first, with the id that it had."""
        carried = self.carried[run]
        due = [call for call in carried.pending if isinstance(call, ModelCall)][: len(batch)]
        ids = [call.id for call in due]
        ids += [f"j{carried.seq}-{n}" for n in range(len(batch) - len(due))]
        return [
            Intended(self.clock, ModelCall(name, model, purpose="judge", quote=quote))
            for name, (model, quote) in zip(ids, batch, strict=True)
        ]

    def noted(self, run: str, intents: Sequence[Intended]) -> None:
        """All were made, or none: and if none, then one of them did not fit."""
        carried = self.carried[run]
        given = carried.setting.ceilings
        new = [
            Made(run, e.call, e.time, counted(e.call, given))
            for e in intents
            if isinstance(e.call, ModelCall)
        ]
        short = _shortfall(self.books, new)
        last = carried.events[-1]
        if short is None:
            assert isinstance(last, Intended)
            self.books.made += new
            return
        assert isinstance(last, Declined)
        figures = last.settled, last.reserved, last.presumed, last.asked
        assert (last.call, last.ceiling, figures) == short
        assert sum(figures) > last.ceiling.limit
        assert not carried.in_flight

    # ------------------------------------------------------------------------------------- rules

    @initialize(given=st.lists(subsets, min_size=2, max_size=5))
    def begin(self, given: list[tuple[Ceiling, ...]]) -> None:
        for n, ceilings in enumerate(given):
            run = f"r{n}"
            self.by[run] = self.logs[n % 2]
            self.carried[run] = blank(run)
            setting = Setting("m:a", ceilings=ceilings)
            self.record(run, Started(self.clock, run, "t", "Hello.", setting))

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), batch=asked)
    def intend(self, data: st.DataObject, batch: list[tuple[str, Quote]]) -> None:
        run = data.draw(st.sampled_from(self.idle()))
        self.step("intend", run, batch)
        intents = self.intents(run, batch)
        self.record(run, *intents)
        self.noted(run, intents)

    @precondition(lambda self: self.pair())
    @rule(batch=asked, more=asked)
    def intend_together(self, batch: Any, more: Any) -> None:
        """Two runs of a process in one transaction: what does not fit spoils nothing."""
        one, other = self.pair()
        self.step("intend together", one, other, batch, more)
        intents = {one: self.intents(one, batch), other: self.intents(other, more)}

        async def both() -> list[Run]:
            group = self.by[one].group
            with Carried(group), Carried(group):
                records = (
                    self.port(run).record(self.carried[run], events)
                    for run, events in intents.items()
                )
                return await asyncio.gather(*records)

        for run, after in zip(intents, asyncio.run(both()), strict=True):
            self.carried[run] = after
            self.noted(run, intents[run])

    @precondition(lambda self: self.under_way())
    @rule(
        data=st.data(),
        says=st.sampled_from(["less", "less", "quote", "more", "nothing"]),
        after=st.sampled_from([0.0, 1.0, 70.0, 4000.0, 90_000.0]),
        part=st.integers(0, 100),
    )
    def come_back(self, data: st.DataObject, says: str, after: float, part: int) -> None:
        """Maybe in a later window, and maybe with a report that is wrong."""
        run, call = data.draw(st.sampled_from(self.under_way()))
        self.step("come back", run, call.id, says, after, part)
        self.clock += after
        made, quote = self.books.open(run, call.id), call.quote
        scale = {"less": part, "quote": 100, "more": 100 + part, "nothing": 0}[says]
        made.cost, made.tokens = quote.high * scale // 100, quote.tokens * scale // 100
        made.state = "unknown" if says == "nothing" else "settled"
        usage = None if says == "nothing" else Usage(made.tokens)
        reply = Reply((Text("yes"),), "stop", usage)
        self.record(run, Returned(self.clock, call.id, reply, cost=Cost(0, made.cost)))

    @precondition(lambda self: self.under_way())
    @rule(data=st.data(), status=st.sampled_from([429, 529, None]))
    def fail(self, data: st.DataObject, status: int | None) -> None:
        run, call = data.draw(st.sampled_from(self.under_way()))
        self.step("fail", run, call.id, status)
        made = self.books.open(run, call.id)
        made.state, made.failed = "settled" if status else "unknown", self.clock
        self.record(
            run, Failed(self.clock, call.id, Failure("overloaded", "no", None, True, status))
        )

    @rule(data=st.data(), given=subsets, by=st.integers(0, 1), same=st.booleans())
    def crash(self, data: st.DataObject, given: tuple[Ceiling, ...], by: int, same: bool) -> None:
        """The memory is gone; another process takes the run up, maybe under other ceilings."""
        run = data.draw(st.sampled_from(sorted(self.carried)))
        self.step("crash", run, given, by, same)
        before = _totals(balances(self.logs[0]))
        self.by[run] = self.logs[by]
        self.carried[run] = self.by[run].run(run)
        ceilings = self.carried[run].setting.ceilings if same else given
        self.record(run, Resumed(self.clock, Setting("m:a", ceilings=ceilings)))
        assert _totals(balances(self.logs[0])) == before, "a crash freed money"
        self.crashed(run)

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Interrupted in the middle of its calls: what they cost will never be heard of."""
        run, _ = data.draw(st.sampled_from(self.under_way()))
        self.step("cancel", run)
        ended = Ended(self.clock, Outcome.cancelled)
        self.by[run].append_now(run, self.carried[run].seq, [ended])
        self.carried[run] = self.by[run].run(run)
        self.crashed(run)

    @precondition(lambda self: self.doubts())
    @rule(data=st.data(), usd=st.integers(0, 60))
    def reconcile(self, data: st.DataObject, usd: int) -> None:
        one = data.draw(st.sampled_from(self.doubts()))
        self.step("reconcile", one.run, one.call.id, usd)
        same = [m for m in self.doubts() if (m.run, m.call.id) == (one.run, one.call.id)]
        log = self.by[one.run]
        log.reconcile(one.run, one.call.id, f"0.{usd:09d}", by="a person")
        for made in same:
            made.billed = usd if made is same[-1] else 0
        self.carried[one.run] = log.run(one.run)
        with pytest.raises(BadInput, match="nothing is presumed spent"):
            log.reconcile(one.run, one.call.id, 1)

    @rule(seconds=st.sampled_from([1.0, 30.0, 1800.0, 50_000.0]))
    def wait(self, seconds: float) -> None:
        self.clock += seconds

    @rule()
    def rebuild(self) -> None:
        self.logs[1].rebuild()

    # -------------------------------------------------------------------------------------- laws

    @invariant()
    def the_books_are_right(self) -> None:
        assert balances(self.logs[0]) == self.books.balances()

    @invariant()
    def no_ceiling_is_passed(self) -> None:
        """But by bills above what was reserved, and by no more than those."""
        limits = {one.name: one for one in CEILINGS}
        for at, used in balances(self.logs[0]).items():
            assert min(used) >= 0
            if limits[at[0]].unit != "failures":
                assert sum(used) <= limits[at[0]].limit + self.books.excess(at)

    def teardown(self) -> None:
        TRIED.append(tuple(self.steps))
        kept = balances(self.logs[0])
        self.logs[0].rebuild()
        assert balances(self.logs[0]) == kept
        for run, carried in self.carried.items():
            assert self.logs[0].run(run) == carried
            _the_view_tells_it(self.logs[0], carried)
        for log in self.logs:
            log.close()
        self.folder.cleanup()


def _totals(found: Balances) -> dict[tuple[str, str], int]:
    return {at: sum(used) for at, used in found.items()}


Short = tuple[str, Ceiling, tuple[int, int, int, int]]


def _shortfall(books: Books, new: Sequence[Made]) -> Short | None:
    """The first of `new` that does not fit beside those before it."""
    so_far = Books([*books.made])
    for made in new:
        before = so_far.balances()
        for one in made.ceilings:
            used = before.get((one.name, window(made.time, one.per)), (0, 0, 0))
            asks = 1 if one.unit == "failures" else sum(made.amounts(one.unit))
            if asks and sum(used) + asks > one.limit:
                return made.call.id, one, (*used, asks)
        so_far.made.append(made)
    return None


def _the_view_tells_it(log: Log, run: Run) -> None:
    """The sums of its entries are what the run itself knows."""
    query = (
        "select coalesce(sum(settled_nano), 0), coalesce(sum(reserved_nano + presumed_nano), 0),"
        " coalesce(min(presumed_usd), 0) from ledger where run = ?"
    )
    settled, open_, _ = log.connection.execute(query, (run.run_id,)).fetchone()
    assert (settled, open_) == (run.spent.settled, run.spent.reserved + run.spent.presumed)


def test_what_is_shared_is_never_spent_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Log(tmp_path / "runs.db", "process").close()
    TEMPLATE[:] = [tmp_path / "runs.db"]
    TRIED.clear()
    run_state_machine_as_test(Runs, settings=settings(max_examples=80, stateful_step_count=30))
    with capsys.disabled():
        different, steps = len(set(TRIED)), sum(map(len, TRIED))
        print(f"\nledger: {different} interleavings of {steps} steps tried")
    assert different > 30
