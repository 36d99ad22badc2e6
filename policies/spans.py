"""`spans`: where patterns fit a text."""

import re
from collections.abc import Iterable
from functools import cache


def spans(patterns: Iterable[str], text: str, flags: int = 0) -> list[tuple[int, int]]:
    """Where any of `patterns` fits, from left to right; what overlaps is one.

    Each is tried by itself and on the whole text: in one expression the flags of one, and the
    numbers and names of its groups, would be those of all.

    >>> spans(["b+", "(?i)A.", r"(c)\\1"], "-abbcc")
    [(1, 4), (4, 6)]
    """
    tried = (compiled(pattern, flags) for pattern in patterns)
    found = sorted(match.span() for pattern in tried for match in pattern.finditer(text))
    apart: list[tuple[int, int]] = []
    for start, end in found:
        if apart and start < apart[-1][1]:
            start, last = apart.pop()
            end = max(end, last)
        apart.append((start, end))
    return apart


@cache
def compiled(pattern: str, flags: int) -> re.Pattern[str]:
    """The pattern as it is tried. Python itself keeps 512, fewer than a list of names may have."""
    return re.compile(pattern, flags)
