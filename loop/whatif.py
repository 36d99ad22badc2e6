"""What-if: the runs of a log under other policies, without a call to anybody.

Up to the first decision that is another, nothing in the world would have been another: all figures
up to there are exact. Beyond it nobody knows what a model would have said: there are bounds, and
never a guess.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from attrs import evolve, frozen

from loopwright.ceiling import nano
from loopwright.codec import encode
from loopwright.decisions import Decision, Refuse
from loopwright.events import (
    Decided,
    Declined,
    Ended,
    Event,
    Paused,
    Reconciled,
    Resumed,
    Returned,
    Started,
    Unwinding,
)
from loopwright.fold import fold
from loopwright.house import House
from loopwright.log.migrations import transaction
from loopwright.log.rows import readable
from loopwright.log.store import Log
from loopwright.outcome import Outcome
from loopwright.policy import flat
from loopwright.replay import Moment, begun, moments
from loopwright.report import Report, Since, chosen, opened, usd
from loopwright.run import Run
from loopwright.task import Task


@frozen
class Divergence:
    """The first decision that the other policies make differently, in the place of event `seq`.

    `recorded` is what was decided then, and `other` what the other policies decide; `None` where
    nobody speaks and the call goes ahead.
    """

    seq: int
    step: int
    recorded: Decided | Declined | None
    other: Decided | None
    why: str


@frozen
class Replayed:
    """One recorded run under other policies; money in nano-dollars.

    `outcome` and `cost` are those of the record. `at_least` (what it costs), `seconds` and
    `model_calls` are exact up to the divergence; where `exact`, they are so for the whole run:
    there is no divergence, or the run ends with it. `at_most` and `model_calls_at_most` hold for
    all that may follow, with calls in doubt counted in full; they are `None` where nothing sets a
    limit. `would_be` is the outcome under the other policies, if it is known.
    """

    run: str
    task: str
    version: str
    outcome: Outcome | None
    cost: int
    would_be: Outcome | None
    exact: bool
    at_least: int
    at_most: int | None
    seconds: float
    model_calls: int
    model_calls_at_most: int | None
    divergence: Divergence | None = None

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        return {
            "run": self.run,
            "task": self.task,
            "version": self.version,
            "outcome": self.outcome and self.outcome.value,
            "cost_nano": self.cost,
            "cost_usd": usd(self.cost),
            "would_be": self.would_be and self.would_be.value,
            "exact": int(self.exact),
            "at_least_nano": self.at_least,
            "at_least_usd": usd(self.at_least),
            "at_most_nano": self.at_most,
            "at_most_usd": usd(self.at_most),
            "seconds": round(self.seconds, 3),
            "model_calls": self.model_calls,
            "model_calls_at_most": self.model_calls_at_most,
            **_columns(self.divergence),
        }


def _columns(at: Divergence | None) -> dict[str, Any]:
    recorded = at.recorded if at and isinstance(at.recorded, Decided) else None
    other = at.other if at else None
    spoken = recorded or other
    return {
        "seq": at.seq if at else None,
        "step": at.step if at else None,
        "moment": spoken.moment if spoken else ("call" if at else None),
        "recorded_policy": recorded.policy if recorded else None,
        "recorded_decision": _kind(at.recorded if at else None),
        "policy": other.policy if other else None,
        "decision": _kind(other),
        "why": at.why if at else None,
    }


def _kind(event: Decided | Declined | None) -> str | None:
    if event is None:
        return None
    return type(event.decision if isinstance(event, Decided) else event).__name__


def whatif(
    log: Log | str | os.PathLike[str],
    policies: Any,
    *,
    since: Since = None,
    task: Task | str | None = None,
) -> Report[Replayed]:
    """The runs of `log` under other `policies`: what would have been decided, and at what cost.

    `log` is a `Log` or its path, `policies` what a `Loop` takes. `since` leaves out runs that began
    earlier: an ISO date (in UTC where it names no zone), or seconds since 1970. `task` leaves out
    the runs of other tasks: a `Task`, or its title. By default all runs count but those that a tool
    call of another run led to: these have policies of their own.

    The rows stand in the log's table `whatif`, too; a repeated question replaces its answer.

    Give the `Task` itself where it has limits of its own, or where a policy reads ``run.task``, or
    a tool's effect class before a call that was never made: the log does not hold these. A run that
    was carried out with other tools or another prompt is replayed without it. A call that was made
    has the quote of the record; that of any other one follows from today's prices, and without the
    task it is rather too low: the run may then seem to part earlier than it would. Where a policy
    of this library cannot see what it saw, it says again what it said. What a shared ceiling would
    have declined that was not in force depends on all other runs: of such a run nothing is known
    from its first call on.

    Raises `BadInput` for policies, a date or a task that cannot work, and `LogError` for a log.

    >>> from tempfile import TemporaryDirectory
    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> from loopwright.policies import Retry
    >>> short = lambda answer: None if len(answer) < 10 else "Use less than ten characters."
    >>> with TemporaryDirectory() as folder:
    ...     model = Scripted(["Hello, dear Ada!", "Hi Ada"])
    ...     loop = Loop(model, policies=[Retry(times=1)], log=f"{folder}/runs.db")
    ...     run = loop.run_now(Task("Greet Ada.", checks=[short]))
    ...     (same,) = whatif(loop.log, [Retry(times=1)])
    ...     (other,) = whatif(loop.log, [])
    >>> str(same.would_be), same.divergence
    ('accepted', None)
    >>> str(other.would_be), other.divergence.recorded.policy, other.divergence.why
    ('rejected', 'Retry', 'the answer has problems: Use less than ten characters.')
    """
    log = opened(log)
    given = task if isinstance(task, Task) else None
    own = flat(given.limits) if given and given.limits else ()
    house = House.of((*flat(policies), *own)).checked()
    with readable(log.path):
        began = chosen(log, since, task)
    rows = tuple(replayed(log.events(run), house, given) for run in began)
    _keep(log, house, rows)
    return Report(rows, _summary(rows))


def replayed(events: Sequence[Event], house: House, task: Task | None = None) -> Replayed:
    """One run, by its recorded `events`, under the policies of `house`."""
    own = events[begun(events) :]
    for moment in moments(events, house, task):
        if isinstance(moment, Run):
            return _as_recorded(moment, own)
        if parted := _divergence(moment, _not_in_force(own[0], house), house):
            return _parted(moment, own, parted)
    raise AssertionError("the run itself comes last")


# ------------------------------------------------------------------------------ where they part


def _divergence(moment: Moment, unknown: Sequence[str], house: House) -> Divergence | None:
    """Where the other policies part from what was recorded at this moment, if they do."""
    run, last = moment.run, moment.recorded[-1]
    if unknown and not isinstance(moment.others[-1], Ended):
        why = f"the ceiling {unknown[0]!r} was not in force: what it had declined is not known"
        return Divergence(run.seq + 1, run.step, None, None, why)
    for recorded, other in zip_longest(_decided(moment.recorded), _decided(moment.others)):
        if recorded is None or other is None or not _alike(recorded, other):
            return _between(run, *_earlier(run, recorded, other))
        run = fold(run, recorded)
    if isinstance(last, Declined) and last.ceiling not in house.ceilings:
        why = f"the ceiling {last.ceiling.name!r} is not in force, and the call goes ahead"
        return Divergence(run.seq + 1, run.step, last, None, why)
    return None


def _not_in_force(first: Event, house: House) -> list[str]:
    assert isinstance(first, Started)
    return [one.name for one in house.ceilings if one not in first.setting.ceilings]


def _decided(events: Iterable[Event]) -> list[Decided]:
    return [event for event in events if isinstance(event, Decided)]


def _alike(one: Decided, other: Decided) -> bool:
    """Whether the same follows from both, whoever decided it."""
    if (one.moment, one.about) != (other.moment, other.about):
        return False
    return one.decision == other.decision or _effect(one.decision) == _effect(other.decision)


def _effect(decision: Decision) -> Decision:
    """The decision without its reason, unless a model reads that as its tool's result."""
    read = isinstance(decision, Refuse) and decision.ending is None
    return decision if read else evolve(decision, why="")


def _earlier(
    run: Run, recorded: Decided | None, other: Decided | None
) -> tuple[Decided | None, Decided | None]:
    """Of decisions about two calls the one about the first counts: nobody else speaks of it."""
    if not recorded or not other or recorded.about == other.about:
        return recorded, other
    due = [call.id for call in run.pending]
    first = due.index(recorded.about) < due.index(other.about)
    return (recorded, None) if first else (None, other)


def _between(run: Run, recorded: Decided | None, other: Decided | None) -> Divergence:
    why = other.decision.why if other else "nobody objects, and the call goes ahead"
    return Divergence(run.seq + 1, run.step, recorded, other, why)


# ------------------------------------------------------------------------------- what it comes to


def _as_recorded(run: Run, events: Sequence[Event]) -> Replayed:
    spent = run.spent
    return Replayed(
        *_facts(run, events),
        would_be=run.outcome,
        exact=True,
        at_least=spent.settled,
        at_most=spent.at_most,
        seconds=run.seconds,
        model_calls=spent.model_calls,
        model_calls_at_most=spent.model_calls,
    )


def _parted(moment: Moment, events: Sequence[Event], parted: Divergence) -> Replayed:
    """Up to the divergence as it was recorded, and from there on within the limits."""
    run, limits = moment.run, moment.run.limits
    then, spent = fold(run, *moment.others), run.spent
    known = then.outcome is not None
    ending = [event.outcome for event in moment.others if isinstance(event, Ended | Unwinding)]
    usd_most = max(spent.at_most, nano(limits["usd"])) if "usd" in limits else None
    return Replayed(
        *_facts(run, events),
        would_be=next(iter(ending), None),
        exact=known,
        at_least=spent.settled,
        at_most=spent.at_most if known else usd_most,
        seconds=then.seconds,
        model_calls=spent.model_calls,
        model_calls_at_most=spent.model_calls if known else limits.get("model_calls"),
        divergence=parted,
    )


def _facts(run: Run, events: Sequence[Event]) -> tuple[str, str, str, Outcome | None, int]:
    """What the record says of the whole run: run, task, version, outcome and cost."""
    cost = sum(event.cost.high for event in events if isinstance(event, Returned))
    cost += sum(event.cost for event in events if isinstance(event, Reconciled))
    return run.run_id, run.title, run.version, _outcome(events), cost


def _outcome(events: Sequence[Event]) -> Outcome | None:
    for event in reversed(events):
        if isinstance(event, Ended):
            return event.outcome
        if isinstance(event, Paused):
            return Outcome.waiting
        if isinstance(event, Started | Resumed):
            break
    return None


def _summary(rows: Sequence[Replayed]) -> dict[str, Any]:
    most = [row.at_most for row in rows]
    return {
        "runs": len(rows),
        "diverged": sum(row.divergence is not None for row in rows),
        "exact": sum(row.exact for row in rows),
        **_counts(rows, Outcome.accepted),
        **_counts(rows, Outcome.rejected),
        "cost_usd": usd(sum(row.cost for row in rows)),
        "at_least_usd": usd(sum(row.at_least for row in rows)),
        "at_most_usd": None if None in most else usd(sum(filter(None, most))),
    }


def _counts(rows: Sequence[Replayed], outcome: Outcome) -> dict[str, int]:
    """How many runs ended so, and how many at least and at most would."""
    least = sum(row.would_be is outcome for row in rows)
    unknown = sum(row.would_be is None and not row.exact for row in rows)
    return {
        outcome.value: sum(row.outcome is outcome for row in rows),
        f"{outcome.value}_at_least": least,
        f"{outcome.value}_at_most": least + unknown,
    }


def _keep(log: Log, house: House, rows: Sequence[Replayed]) -> None:
    asked = encode(list(house.told))
    values = [(asked, *row.row().values()) for row in rows]
    with log.writing() as connection, transaction(connection):
        for held in values:
            marks = ", ".join("?" * len(held))
            connection.execute(f"insert or replace into whatif values ({marks})", held)
