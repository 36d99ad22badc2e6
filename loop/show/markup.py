"""Markup: texts of others as HTML or Markdown that shows them, and does nothing else."""

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from loopwright.show.text import short, visible

LONGEST = 10_000
"""Characters that a notebook keeps of one text: some five screens; the log has the rest."""

SUMMARY = 240
"""Characters of a text that are shown before it unfolds: a short paragraph."""

_STEERS = re.compile(
    r"[#$&*<>@\[\\\]^`|~]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
"""What Markdown, its tables, its links and the formulas of notebooks are made of, in the middle of
a line: nobody else's text begins one."""


def escaped(text: str) -> str:
    """`text` as markup that shows it, and does nothing else. Lines and tabs stay what they are.

    >>> escaped("<b>\\x1b[31m")
    '&lt;b&gt;\\\\x1b[31m'
    """
    return html.escape(
        "\n".join("\t".join(map(visible, line.split("\t"))) for line in _split(text))
    )


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def markdown(text: str) -> str:
    """`text` as Markdown that shows it on one line, also in a table, and does nothing else.

    >>> print(markdown("[a|b](http://c)"))
    &#91;a&#124;b&#93;(http&#58;//c)
    """
    return _STEERS.sub(lambda found: f"&#{ord(found[0])};", visible(" ".join(text.split())))


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; nothing in its cells is taken as markup."""
    heads = list(map(markdown, head))
    lines = [heads, ["---"] * len(heads), *(map(markdown, cells) for cells in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def block(inner: str) -> str:
    """What a notebook shows: the markup `inner`, in the look of the library."""
    return f'<div class="loopwright"><style>{_style()}</style>{inner}</div>'


@cache
def _style() -> str:
    return files("loopwright.show").joinpath("notebook.css").read_text("utf-8")


def folded(summary: str, text: str, kind: str = "") -> str:
    """`summary`, below which all of `text` unfolds; just `summary` where there is no more to see.

    Both are texts, and never markup. A long summary is itself cut, and unfolds.
    """
    if len(summary) > SUMMARY:
        summary, text = short(summary, SUMMARY), "\n".join(filter(None, (summary, text)))
    if not text or text == summary:
        return f'<div class="lw-note {kind}">{escaped(summary)}</div>'
    inner = f"<summary>{escaped(summary)}</summary>{pre(text)}"
    return f'<details class="lw-note {kind}">{inner}</details>'


def pre(text: str) -> str:
    """`text` as it is, line by line, and no longer than a notebook should keep."""
    left = len(text) - LONGEST
    more = f"\n… and {left:,} characters more" if left > 0 else ""
    return f"<pre>{escaped(text[:LONGEST] + more)}</pre>"


def badge(outcome: str) -> str:
    """An outcome, in its colour."""
    return f'<b class="lw-badge {_TINTS.get(outcome, "bad")}">{escaped(outcome)}</b>'


_TINTS = {"accepted": "ok", "waiting": "wait", "open": "wait"}
