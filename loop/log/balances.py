"""The balances of the ceilings, as they follow from events: those in the log, and those removed.

What the runs that `vacuum` has removed have posted is kept in the table `carried`, by run; each of
these runs has a row there without a ceiling.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from loopwright.events import Event, Started
from loopwright.fold import blank, fold
from loopwright.log.ledger import Posting, postings

Balances = dict[tuple[str, str], tuple[int, int, int]]
"""What is settled, reserved and presumed, by ceiling and window."""

CARRIED = (
    "create table if not exists carried (run text not null, ceiling text not null,"
    " window text not null, settled integer not null, reserved integer not null,"
    " presumed integer not null, primary key (run, ceiling, window)) strict, without rowid"
)

_BRING = (
    "insert into balances"
    " select ceiling, window, sum(settled), sum(reserved), sum(presumed) from carried"
    " where ceiling <> '' group by 1, 2"
)


def posted(run: str, events: Sequence[Event]) -> list[Posting]:
    """What all events of a run have posted; of a fork only its own, not those that it shares."""
    begun = max(i for i, event in enumerate(events) if isinstance(event, Started))
    return postings(fold(blank(run), *events[:begun]), events[begun:])


def summed(posts: Iterable[Posting]) -> Balances:
    """The balances that postings add up to."""
    return added(
        *({(p.ceiling.name, p.window): (p.settled, p.reserved, p.presumed)} for p in posts)
    )


def added(*all_balances: Balances) -> Balances:
    """The sums of balances, without those in which nothing is left.

    >>> added({("a", ""): (1, 2, 0)}, {("a", ""): (2, -2, 0), ("b", ""): (0, 0, 0)})
    {('a', ''): (3, 0, 0)}
    """
    sums: Balances = {}
    for balances in all_balances:
        for key, (settled, reserved, presumed) in balances.items():
            a, b, c = sums.get(key, (0, 0, 0))
            sums[key] = (a + settled, b + reserved, c + presumed)
    return {key: held for key, held in sums.items() if any(held)}


def carry(connection: sqlite3.Connection) -> None:
    """Make the balances anew of what the removed runs have posted, and of nothing else."""
    connection.execute(CARRIED)
    connection.execute("delete from balances")
    connection.execute(_BRING)
