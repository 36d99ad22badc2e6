"""Figures: money, time and texts as people read them on a page."""

from datetime import UTC, datetime

from loopwright.calls import NANO
from loopwright.show.text import visible


def money(nano: int, places: int = 2) -> str:
    """Nano-dollars as an exact decimal of USD, with so many `places` at least.

    Two are those of a cent; in columns six make prices of tokens stand below each other.

    >>> money(3_100_000), money(-500_000_000), money(500_000_000, 6)
    ('0.0031', '-0.50', '0.500000')
    """
    whole, rest = divmod(abs(nano), NANO)
    part = f"{rest:09d}".rstrip("0").ljust(places, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{part}"


def span(seconds: float) -> str:
    """A stretch of time, in its two largest units.

    >>> span(0.25), span(75), span(90_000)
    ('0.25 s', '1 min 15 s', '1 d 1 h')
    """
    if 0 < seconds < 0.01:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    for unit, length, below, part in _UNITS:
        if seconds >= length:
            more = int(seconds % length // part)
            return f"{int(seconds // length)} {unit}{f' {more} {below}' if more else ''}"
    raise AssertionError("a minute is in the table")


_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1))


def clock(seconds: float) -> str:
    """How long after the beginning, to the second where it is long.

    >>> clock(3.19), clock(75), clock(90_061)
    ('3.19 s', '1:15', '25:01:01')
    """
    if seconds < 60:
        return span(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def moment(time: float) -> str:
    """A moment in UTC, to the second.

    >>> moment(1_750_000_000)
    '2025-06-15 15:06:40 UTC'
    """
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def shown(text: str) -> str:
    """`text` with its lines and tabs, and everything else escaped that would not show.

    >>> shown("one\\n\\ttwo\\u202e")
    'one\\n\\ttwo\\\\u202e'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(map(_visible, lines))


def _visible(line: str) -> str:
    return "\t".join(map(visible, line.split("\t")))
