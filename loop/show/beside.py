"""What a log knows beside a run: what its tools began, and what is used of its ceilings."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from loopwright.ceiling import window
from loopwright.errors import LogError
from loopwright.events import Ceiling
from loopwright.report import opened
from loopwright.run import Run

MOST = 20
"""Children that are shown below a run: a screen of them, each folded away."""

_USED = "select settled + reserved + presumed from balances where ceiling = ? and window = ?"


def children(run: Run) -> list[Run]:
    """The runs that tools of this one began, in order, if a log has them."""
    if not run.kept or not Path(run.kept).exists():
        return []
    with suppress(LogError), closing(opened(run.kept)) as log:
        return [log.run(one.run) for one in reversed(log.runs(parent=run.run_id, limit=MOST))]
    return []


def used(run: Run, ceiling: Ceiling) -> int:
    """What all runs have used of a shared ceiling, in its unit, in the window that it is now."""
    where = f"{Path(run.kept).as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(where, uri=True)) as connection:
        key = (ceiling.name, window(run.time, ceiling.per))
        found = connection.execute(_USED, key).fetchone()
        return int(found[0]) if found else 0
    return 0
