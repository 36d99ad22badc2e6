"""Markup: text and rows of tables as HTML that shows them, and does nothing else."""

import html
from collections.abc import Iterable

from loopwright.show.text import visible

_CELL = "text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:break-word"


def row(tag: str, cells: Iterable[str]) -> str:
    """A row of a table; nothing in it is taken as markup."""
    inner = "".join(f'<{tag} style="{_CELL}">{escaped(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"


def escaped(text: str) -> str:
    """`text` as markup that shows it, and does nothing else."""
    return html.escape(visible(text).replace("\\n", "\n"))
