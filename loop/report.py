"""Reports: the rows that a question to the log gives, as values, as dicts, and as a table."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

from attrs import frozen

from loopwright.calls import NANO
from loopwright.errors import BadInput, LogError
from loopwright.log.store import Log
from loopwright.show.markup import escaped, row
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

    >>> report = Report((), {"runs": 0})
    >>> len(report), report.rows(), report.summary["runs"]
    (0, [], 0)
    """

    items: tuple[Item, ...]
    summary: Mapping[str, Any]

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
        return ", ".join(f"{name} {_told(value)}" for name, value in self.summary.items())

    def _repr_html_(self) -> str:
        """Nothing in it is taken as markup."""
        rows = [item.row() for item in self.items[:SHOWN]]
        head = row("th", rows[0]) if rows else ""
        body = "".join(row("td", map(_told, held.values())) for held in rows)
        more = f"<div>and {len(self) - SHOWN} more</div>" if len(self) > SHOWN else ""
        table = f"<table><thead>{head}</thead>{body}</table>{more}"
        return f"<div>{escaped(str(self))}{table}</div>"


def _told(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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
    return Log(log)


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
    return [row["run"] for row in log.db.query(query, (_seconds(since), title, title))]


def _seconds(since: Since) -> float:
    try:
        at = datetime.fromisoformat(since) if isinstance(since, str) else None
    except ValueError:
        at = None
    if at is not None:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if isinstance(since, str | bool) or not isinstance(since, int | float | None):
        raise BadInput(
            f"since={since!r}: give an ISO date such as '2025-06-15', or seconds since 1970"
        )
    return since or 0.0
