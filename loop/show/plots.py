"""Small plots: columns over time, as an SVG that needs nothing else."""

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from loopwright.show.markup import escaped

WIDTH, HEIGHT, FOOT = 560, 56, 16
"""In pixels: half the width of a notebook's cell, and three lines of text."""

MOST = 92
"""Columns that have room beside each other, six pixels each: a quarter of a year by day."""


@frozen
class Column:
    """One column of a plot: its `label`, and the heights of its `parts` by their kind.

    A kind is the name of a colour: ``"ok"``, ``"wait"``, ``"bad"`` or ``"accent"``. `told` is what
    it says when one points at it.
    """

    label: str
    parts: Mapping[str, float] = field(factory=dict)
    told: str = ""

    @property
    def height(self) -> float:
        """All its parts together."""
        return sum(self.parts.values())


@frozen
class Plot:
    """Columns side by side; `title` says what they show, and `highest` how much the highest is.

    >>> plot = Plot("USD by day", [Column("2026-11-20", {"accent": 2.0}, "2 USD")], "2 USD")
    >>> plot.svg().count("<rect")
    1
    """

    title: str
    columns: Sequence[Column]
    highest: str = ""

    def svg(self) -> str:
        """The plot as markup, in which nothing is taken as such; of many columns the last."""
        shown = self.columns[-MOST:]
        most = max((column.height for column in shown), default=0) or 1
        wide = _end(shown) / max(1, len(shown))
        bars = "".join(_column(one, i * wide, wide, most) for i, one in enumerate(shown))
        size = f'viewBox="0 0 {WIDTH} {HEIGHT + 2 * FOOT}" width="{WIDTH}"'
        axis = f'<line x1="0" x2="{_end(shown):g}" y1="{HEIGHT + FOOT}" y2="{HEIGHT + FOOT}"/>'
        label = escaped(self.title)
        return f'<svg role="img" aria-label="{label}" {size}>{self._texts(shown)}{bars}{axis}</svg>'

    def _texts(self, shown: Sequence[Column]) -> str:
        title = f"{self.title}, at most {self.highest}" if self.highest else self.title
        texts = _text(0, FOOT - 5, title)
        if shown:
            texts += _text(0, HEIGHT + 2 * FOOT - 3, shown[0].label)
        if len(shown) > 1:
            texts += _text(_end(shown), HEIGHT + 2 * FOOT - 3, shown[-1].label, "end")
        return texts


def _end(shown: Sequence[Column]) -> float:
    """Where the axis ends: few columns are narrow, with room for two labels below them."""
    return min(WIDTH, max(240, 28 * len(shown)))


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped(text)}</text>'


def _column(column: Column, x: float, wide: float, most: float) -> str:
    top, parts = float(HEIGHT + FOOT), ""
    for kind, amount in column.parts.items():
        high = amount / most * HEIGHT
        top -= high
        at = f'x="{x:.1f}" y="{top:.1f}" width="{max(1.0, wide - 2):.1f}" height="{high:.1f}"'
        parts += f'<rect class="{escaped(kind)}" {at}/>' if high else ""
    told = ": ".join(filter(None, (column.label, column.told)))
    return f"<g><title>{escaped(told)}</title>{parts}</g>"
