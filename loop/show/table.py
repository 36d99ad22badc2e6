"""Tables: rows of plain values, as a notebook shows them."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.show.markup import badge, block, escaped, markdown, markdown_table
from loopwright.show.plots import Plot

Rows = Sequence[Mapping[str, Any]]

LONG = 32
"""Characters of a text that stands on one line: the longest names of models have fewer."""

OUTCOMES = ("outcome", "would_be")
"""Columns that hold outcomes."""


def html(told: str, rows: Rows, more: int, bar: str = "", plot: Plot | None = None) -> str:
    """What is `told` of the rows, a `plot` of them, and the rows themselves, as a table.

    `more` is how many are not shown; the column `bar` is drawn as bars, too. Nothing is taken as
    markup.
    """
    alike = constant(rows)
    kinds = {name: _kind(name, rows) for name in columns(rows) if name not in alike}
    most = max((row.get(bar) or 0 for row in rows), default=0)
    head = "".join(_cell("th", _name(name), kind) for name, kind in kinds.items())
    head += "<th></th>" if bar else ""
    body = "".join(f"<tr>{_cells(row, kinds)}{_bar(row, bar, most)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    left = f'<div class="lw-soft">and {more} more</div>' if more > 0 else ""
    shown = f'<div class="lw-scroll">{table}</div>{left}' if rows else ""
    drawn = plot.svg() if plot and len(plot.columns) > 1 else ""
    same = ", ".join(f"{name} {value}" for name, value in alike.items())
    all_ = f'<div class="lw-soft">all: {escaped(same)}</div>' if same else ""
    return block(f"<div>{escaped(told)}</div>{all_}{drawn}{shown}")


def _name(name: str) -> str:
    """The name of a column, which may be broken between its words."""
    return escaped(name).replace("_", "_<wbr>")


def _cells(row: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    return "".join(_cell("td", _value(name, row[name]), kind) for name, kind in kinds.items())


def _cell(tag: str, inner: str, kind: str) -> str:
    return f'<{tag} class="{kind}">{inner}</{tag}>' if kind else f"<{tag}>{inner}</{tag}>"


def _kind(name: str, rows: Rows) -> str:
    """Numbers stand at the right, ids in a type of their own; only long texts are broken."""
    if name in ("run", "root", "parent"):
        return "lw-id"
    held = [row[name] for row in rows if row[name] is not None]
    if held and all(isinstance(value, int | float) for value in held):
        return "n"
    return "t" if any(len(cell(name, value)) > LONG for value in held) else "s"


def _value(name: str, value: Any) -> str:
    return badge(str(value)) if name in OUTCOMES and value else escaped(cell(name, value))


def _bar(row: Mapping[str, Any], bar: str, most: float) -> str:
    if not bar:
        return ""
    share = 100 * (row[bar] or 0) / most if most else 0
    return f'<td class="lw-share"><div class="lw-bar"><i style="width:{share:.1f}%"></i></div></td>'


def columns(rows: Rows) -> list[str]:
    """The columns worth showing: those that hold something, and no amount twice."""
    names = list(rows[0]) if rows else []
    held = [n for n in names if n in OUTCOMES or any(row[n] not in (None, "") for row in rows)]
    twice = {name.removesuffix("_usd") + "_nano" for name in held if name.endswith("_usd")}
    return [name for name in held if name not in twice]


def constant(rows: Rows) -> dict[str, str]:
    """The texts that are the same in all rows of several: they are told once."""
    texts = [name for name in columns(rows) if isinstance(rows[0][name], str)]
    same = [
        name for name in texts if name not in OUTCOMES and len({row[name] for row in rows}) == 1
    ]
    return {name: rows[0][name] for name in same} if len(rows) > 1 else {}


def in_markdown(summary: str, rows: Rows, more: int) -> str:
    """The same rows in Markdown."""
    names = columns(rows)
    table = markdown_table(names, ([cell(name, row[name]) for name in names] for row in rows))
    left = f"\nand {more} more\n" if more > 0 else ""
    return f"{markdown(summary)}\n\n{table if rows else ''}{left}"


def cell(name: str, value: Any) -> str:
    """A plain value of the column `name`, as people read it."""
    if isinstance(value, float) and name.endswith("_usd"):
        return f"{value:.6f}"
    if name == "started" and isinstance(value, str):
        return value[:19].replace("T", " ")
    return told(value)


def told(value: Any) -> str:
    """A plain value, as people read it."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def in_csv(rows: Rows) -> str:
    """All columns of the rows as CSV (RFC 4180), in which no text is taken for a formula.

    >>> print(in_csv([{"who": "=cmd()", "usd": -1.5}]))
    who,usd
    '=cmd(),-1.5
    <BLANKLINE>
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(_harmless, rows[0] if rows else ()))
    writer.writerows([_harmless(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """A leading apostrophe makes a text of it (OWASP, CSV injection)."""
    formula = isinstance(value, str) and value.lstrip().startswith(_FORMULA)
    return f"'{value}" if formula or str(value)[:1] in ("\t", "\r", "\n") else value


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula; some spreadsheets take the full-width characters for the same."""
