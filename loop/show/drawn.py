"""Drawn: small SVG drawings. Places are shares of the width, so that they fit any screen."""

from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from loopwright.show.axis import Axis
from loopwright.show.figures import clock, span
from loopwright.show.markup import escaped

FINEST = 1 / 800
"""Of very many bars, those within this share of the width are drawn as one: two pixels."""

MANY = 1_000
"""Bars up to which each one is drawn by itself."""

TOLD = 0.03
"""The share of the width from which on a wait is told in words: those of its label."""

ROW = 18
"""Pixels from one row of bars to the next."""


@frozen
class Bar:
    """A call in a timeline: from `x` to `y`, shares of the width, in this row; `to` is its place in
    the page."""

    x: float
    y: float
    row: int
    kind: str
    to: str
    title: str


def percent(share: float) -> str:
    """A share as SVG wants it.

    >>> percent(0.123456)
    '12.346%'
    """
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"


def timeline(bars: Sequence[Bar], heads: Sequence[tuple[int, str]], axis: Axis) -> str:
    """Calls as bars on rows, with the `heads` of groups of rows, the waits that are cut and times.

    Where there are very many bars, those that would touch are drawn as one.
    """
    height = (
        max((bar.row for bar in bars), default=max((row for row, _ in heads), default=0)) + 1
    ) * ROW
    inner = [_cut(axis, begin, end, height) for begin, end in axis.cuts]
    inner += [_head(row, text) for row, text in heads]
    inner += [_bar(bar) for bar in (bars if len(bars) <= MANY else _fewer(bars))]
    marks = (0.0, 1.0) if axis.cuts else (0.0, 0.25, 0.5, 0.75, 1.0)
    inner += [_tick(axis, share, height) for share in marks]
    label = f"Timeline of {len(bars):,} calls; the steps below tell the same in words."
    dense = " dense" if len(bars) > MANY else ""
    return _svg(f"timeline{dense}", height + 22, label, inner)


def _svg(kind: str, height: int, label: str, inner: Iterable[str]) -> str:
    return (
        f'<svg class="{kind}" role="img" width="100%" height="{height}" '
        f'aria-label="{escaped(label)}">{"".join(inner)}</svg>'
    )


def _bar(bar: Bar) -> str:
    width = percent(max(bar.y - bar.x, 0.0015))
    return (
        f'<rect class="{bar.kind}" data-to="{bar.to}" x="{percent(bar.x)}" y="{bar.row * ROW + 3}" '
        f'width="{width}" height="{ROW - 6}" rx="2"><title>{escaped(bar.title)}</title></rect>'
    )


def _fewer(bars: Sequence[Bar]) -> list[Bar]:
    """Of those on one row and of one kind that are very near, one from the first to the last."""
    last: dict[tuple[int, str], int] = {}
    drawn: list[Bar] = []
    for bar in bars:
        at = last.get((bar.row, bar.kind), -1)
        if at >= 0 and bar.y - drawn[at].x < FINEST:
            drawn[at] = evolve(drawn[at], y=max(drawn[at].y, bar.y))
            continue
        last[bar.row, bar.kind] = len(drawn)
        drawn.append(bar)
    return drawn


def _head(row: int, text: str) -> str:
    return f'<text class="head" x="0" y="{row * ROW + 13}">{escaped(text)}</text>'


def _cut(axis: Axis, begin: float, end: float, height: int) -> str:
    x, y = axis.at(begin), axis.at(end)
    if y - x < FINEST:
        return ""
    told = span(end - begin)
    middle = (x + y) / 2
    free = y - x > TOLD and TOLD < middle - TOLD < 1 - 3 * TOLD  # of the labels at both ends
    label = _label(middle, height, f"+{told}", "middle") if free else ""
    return (
        f'<rect class="cut" x="{percent(x)}" y="0" width="{percent(y - x)}" height="{height}">'
        f"<title>{told} of waiting, drawn short</title></rect>{label}"
    )


def _tick(axis: Axis, share: float, height: int) -> str:
    place = {0.0: "start", 1.0: "end"}.get(share, "middle")
    return _label(share, height, clock(axis.when(share) - axis.times[0]), place)


def _label(share: float, height: int, text: str, place: str) -> str:
    return (
        f'<text class="tick" x="{percent(share)}" y="{height + 16}" text-anchor="{place}">'
        f"{text}</text>"
    )


# ------------------------------------------------------------------------------------ curves

TALL = 84
"""Pixels of the height of a curve."""

OFF = 4
"""How many times the curve a limit may be before it is told in words, and not drawn to scale."""


@frozen
class Curve:
    """What grows over a run: its points (place, certain, at most), and its limit, if any."""

    name: str
    points: Sequence[tuple[float, float, float]]
    limit: float | None
    told: str
    limit_told: str


def curve(drawn: Curve) -> str:
    """What has been spent for certain as a line, at most as an area behind it, and the limit."""
    top = max((most for *_, most in drawn.points), default=0) or 1
    near = drawn.limit is not None and drawn.limit <= OFF * top
    top = max(top, (drawn.limit if near else None) or 0) * 1.12
    inner = [
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" width="100%" height="{TALL}">'
        f'<path class="most" d="{_path(drawn.points, top, 2)}V100H0Z"/>'
        f'<path class="sure" d="{_path(drawn.points, top, 1)}"/></svg>',
        f'<line class="base" x1="0" x2="100%" y1="{TALL}" y2="{TALL}"/>',
    ]
    if near and drawn.limit is not None:
        y = f"{TALL * (1 - drawn.limit / top):.1f}"
        inner.append(f'<line class="limit" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
    where = "" if near or drawn.limit is None else ", above this scale"
    said = f"limit {drawn.limit_told}{where}" if drawn.limit is not None else "no limit"
    label = f"{drawn.name} over time: {drawn.told} in the end; {said}."
    told = f"<b>{escaped(drawn.name)}</b> {escaped(drawn.told)} <span>{escaped(said)}</span>"
    svg = _svg("curve", TALL + 1, label, inner)
    return f"<figure><figcaption>{told}</figcaption>{svg}</figure>"


def _path(points: Sequence[tuple[float, float, float]], top: float, which: int) -> str:
    """Steps: an amount holds until the next."""
    parts = ["M0 100"]
    for point in points:
        parts.append(f"H{point[0] * 1000:.1f}V{100 - 100 * point[which] / top:.2f}")
    return "".join([*parts, "H1000"])


def meter(share: float, label: str, *, plain: bool = False) -> str:
    """A bar that is filled to `share`; where it is not `plain`, one that is nearly full warns."""
    kind = "" if plain else "full" if share >= 1 else "near" if share >= 0.8 else ""
    width = percent(min(max(share, 0.0), 1.0))
    rail = '<rect class="rail" width="100%" height="6" rx="3"/>'
    return _svg(
        "meter", 6, label, [rail, f'<rect class="{kind}" width="{width}" height="6" rx="3"/>']
    )
