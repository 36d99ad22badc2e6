"""Grids: the tables of a board, which can be sorted by each of their columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from shlex import join
from typing import Any

from attrs import frozen

from loopwright.show.drawn import meter
from loopwright.show.figures import money, span
from loopwright.show.markup import SUMMARY, badge, escaped
from loopwright.show.text import short

Row = Mapping[str, Any]


@frozen
class Column:
    """A column: its `head`, the `name` of its values, and how a value is shown as markup.

    `numeric` ones stand at the right, and sort by their value.
    """

    head: str
    name: str
    shown: Callable[[Any], str] = lambda value: escaped("" if value is None else str(value))
    numeric: bool = True


def texts(head: str, name: str) -> Column:
    """A column of texts, of which a long one is cut."""
    return Column(head, name, lambda text: escaped(short(str(text or ""), SUMMARY)), numeric=False)


def counts(head: str, name: str) -> Column:
    """A column of whole numbers."""
    return Column(head, name, lambda value: f"{value or 0:,}")


def usd(head: str, name: str = "cost_nano") -> Column:
    """A column of nano-dollars, shown as exact decimals of USD."""
    return Column(head, name, lambda nano: money(int(nano or 0), 6))


def times(head: str, name: str) -> Column:
    """A column of seconds."""
    return Column(head, name, lambda seconds: "" if seconds is None else span(seconds))


def shares(head: str, name: str) -> Column:
    """A column of shares from 0 to 1, shown in per cent."""
    return Column(head, name, lambda share: "" if share is None else f"{100 * share:.0f} %")


def badges(head: str, name: str) -> Column:
    """A column of outcomes."""
    return Column(head, name, lambda value: badge(str(value)), numeric=False)


def commands(head: str, name: str) -> Column:
    """A column of runs: their ids, and the command that shows each, to be copied."""
    return Column(head, name, _command, numeric=False)


def _command(run: Any) -> str:
    """Quoted, since an id may be anything, and what is copied here is pasted into a shell."""
    shown = escaped(str(run))
    command = escaped(join(["loopwright", "show", *["--"][: str(run).startswith("-")], str(run)]))
    return (
        f'<code>{shown}</code> <button class="copy" type="button" '
        f'data-copy="{command}" aria-label="Copy the command that shows {shown}">'
        "copy command</button>"
    )


def grid(name: str, columns: Sequence[Column], rows: Iterable[Row], *, bar: str = "") -> str:
    """A table called `name`; with a bar at the end of each row for the value `bar`."""
    held = list(rows)
    if not held:
        return '<p class="none">None.</p>'
    most = max((row[bar] or 0 for row in held), default=0) if bar else 0
    heads = "".join(_head(column) for column in columns)
    heads += '<td class="bar"></td>' if bar else ""
    lines = "".join(
        f"<tr>{''.join(_cell(column, row) for column in columns)}{_bar(row, bar, most)}</tr>"
        for row in held
    )
    return (
        f'<div class="scroll" role="group" aria-label="{escaped(name)}" tabindex="0"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    looks = ' class="num"' if column.numeric else ""
    return f'<th scope="col"{looks}><button type="button">{escaped(column.head)}</button></th>'


def _cell(column: Column, row: Row) -> str:
    value = row[column.name]
    if not column.numeric:
        return f"<td>{column.shown(value)}</td>"
    sort = "" if value is None else escaped(str(value))
    return f'<td class="num" data-value="{sort}">{column.shown(value)}</td>'


def _bar(row: Row, bar: str, most: float) -> str:
    if not bar:
        return ""
    share = (row[bar] or 0) / most if most else 0.0
    return f'<td class="bar">{meter(share, f"{100 * share:.0f} % of the largest", plain=True)}</td>'
