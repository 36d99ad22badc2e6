"""Reports: the rows that a question to the log gives, as values, as dicts, and as a table."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

from attrs import frozen

from loopwright.calls import NANO
from loopwright.errors import BadInput, LogError
from loopwright.log.file import writable
from loopwright.log.store import Log
from loopwright.show import table
from loopwright.show.plots import Plot
from loopwright.task import Task

SHOWN = 50
"""Rows that a notebook shows of a report: two screens; `rows()` gives all."""


class Row(Protocol):
    """A row of a report."""

    def row(self) -> dict[str, Any]:
        """Its columns, as plain values."""
        ...


Item = TypeVar("Item", bound=Row)


@frozen
class Report(Sequence[Item], Generic[Item]):
    """A sequence of frozen rows, and a `summary` of them.

    In a notebook it is a table, with a small `plot`, and with bars for the column `bar`, if it has
    them. `rows()` gives plain dicts, `to_csv()` a text for spreadsheets.

    >>> report = Report((), {"runs": 0})
    >>> len(report), report.rows(), report.summary["runs"]
    (0, [], 0)
    """

    items: tuple[Item, ...]
    summary: Mapping[str, Any]
    plot: Plot | None = None
    bar: str = ""

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        return self.items[index]

    def rows(self) -> list[dict[str, Any]]:
        """All rows as dicts of plain values: ``pandas.DataFrame(report.rows())``."""
        return [item.row() for item in self.items]

    def __str__(self) -> str:
        return ", ".join(f"{name} {table.told(value)}" for name, value in self.summary.items())

    def to_csv(self) -> str:
        """All rows as CSV, to be opened by a spreadsheet: no text in it is taken for a formula."""
        return table.in_csv(self.rows())

    def _repr_html_(self) -> str:
        """Nothing in it is taken as markup."""
        return table.html(str(self), *self._first(), self.bar, self.plot)

    def _repr_markdown_(self) -> str:
        return table.in_markdown(str(self), *self._first())

    def _first(self) -> tuple[list[dict[str, Any]], int]:
        """The rows that a notebook shows, and how many more there are."""
        return [item.row() for item in self.items[:SHOWN]], len(self) - SHOWN


def usd(nano: int | None) -> float | None:
    """Nano-dollars in USD, for people; what has to be exact stays in nano-dollars.

    >>> usd(3_100_000)
    0.0031
    """
    return None if nano is None else nano / NANO


# --------------------------------------------------------------------------------- which runs

Since = str | float | None
"""An ISO date, in UTC where it names no zone, or seconds since 1970."""


def opened(log: "Log | str | os.PathLike[str]") -> Log:
    """The log, or the one in the file of that path. Raises `LogError` if there is no such file."""
    if isinstance(log, Log):
        return log
    if not Path(log).exists():
        raise LogError(f"there is no log {os.fspath(log)}: give the path of one, or a Log")
    return Log(log, read_only=not writable(log))


def chosen(log: Log, since: Since, task: Task | str | None) -> list[str]:
    """The ids of the runs that began at `since` or later, of one task or of all, oldest first.

    Of all, those that a tool began are left out: they are part of the run that called it.
    """
    title = task.title if isinstance(task, Task) else task
    if not isinstance(title, str | None):
        raise BadInput(f"task={task!r}: give a Task, its title, or None for all tasks")
    query = (
        "select run from events where type = 'Started' and time >= ? "
        "and iif(? is null, coalesce(json_extract(data, '$.parent'), '') = '',"
        " json_extract(data, '$.task') = ?) order by run"
    )
    return [row["run"] for row in log.asked(query, (seconds(since), title, title))]


def seconds(since: Since, name: str = "since") -> float:
    """`since` in seconds since 1970. Raises `BadInput` for what is no time, by its `name`."""
    try:
        at = datetime.fromisoformat(since) if isinstance(since, str) else None
    except ValueError:
        at = None
    if at is not None:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if isinstance(since, str | bool) or not isinstance(since, int | float | None):
        raise BadInput(
            f"{name}={since!r}: give an ISO date such as '2025-06-15', or seconds since 1970"
        )
    return since or 0.0
