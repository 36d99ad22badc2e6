"""`Axis`: where a moment stands in a drawing of a run. Long waits are drawn short, and marked."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from attrs import frozen

Stretch = tuple[float, float]
"""From when to when, in seconds since 1970."""

WAIT = 0.06
"""The largest share of the working time that one wait is drawn with: seen, and no more."""

WAITS = 0.6
"""The same for all waits together."""


@frozen
class Axis:
    """Moments and the places, from 0 to 1, where they stand; `cuts` are the shortened stretches."""

    times: Sequence[float]
    places: Sequence[float]
    cuts: Sequence[Stretch] = ()

    def at(self, time: float) -> float:
        """Where `time` stands, from 0 to 1."""
        i = bisect_right(self.times, time)
        if i in (0, len(self.times)):
            return float(i > 0)
        t, u, x, y = *self.times[i - 1 : i + 1], *self.places[i - 1 : i + 1]
        return x + (y - x) * (time - t) / (u - t)

    def when(self, place: float) -> float:
        """The moment that stands at `place`."""
        i = min(max(1, bisect_right(self.places, place)), len(self.places) - 1)
        t, u, x, y = *self.times[i - 1 : i + 1], *self.places[i - 1 : i + 1]
        return t + (u - t) * (place - x) / (y - x) if y > x else t


def axis(busy: Iterable[Stretch], first: float, last: float) -> Axis:
    """The axis from `first` to `last`: to scale while something is `busy`, and short in between.

    >>> drawn = axis([(0, 10), (1000, 1010)], 0, 1010)
    >>> [round(drawn.at(t), 2) for t in (0, 10, 1000, 1010)], drawn.cuts
    ([0.0, 0.47, 0.53, 1.0], [(10, 1000)])
    """
    last = max(last, first + 0.001)  # what took no time has a width all the same
    pieces = list(_pieces(_merged(busy), first, last))
    working = sum(end - begin for begin, end, works in pieces if works)
    waits = sum(not works for *_, works in pieces)
    most = working * min(WAIT, WAITS / max(waits, 1)) if working else last - first
    times, places, cuts = [first], [0.0], []
    for begin, end, works in pieces:
        length = end - begin if works else min(end - begin, most)
        if length < end - begin:
            cuts.append((begin, end))
        times.append(end)
        places.append(places[-1] + length)
    whole = places[-1] or 1.0
    return Axis(times, [place / whole for place in places], cuts)


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _pieces(
    busy: Sequence[Stretch], first: float, last: float
) -> Iterable[tuple[float, float, bool]]:
    at = first
    for begin, end in busy:
        if begin > at:
            yield at, begin, False
        if end > max(begin, at):
            yield max(begin, at), end, True
        at = max(at, end)
    if last > at:
        yield at, last, False
