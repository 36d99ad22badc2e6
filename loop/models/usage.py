"""What a provider counted, in disjoint buckets, or nothing at all where that makes no sense."""

from collections.abc import Iterable, Mapping
from typing import Any

from loopwright.calls import Usage

_MOST = 10**12
"""Tokens in one call above which a number is noise: a million times the largest context."""


def amount(counted: Mapping[str, Any], *path: str, missing: int | None = 0) -> int | None:
    """The number at `path`, `missing` if there is none, and `None` for what is no amount."""
    value: Any = counted
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return missing
    return value if type(value) is int and 0 <= value < _MOST else None


def usage(counted: Mapping[str, Any], **buckets: int | None) -> Usage | None:
    """`buckets` as a `Usage`; unknown, which is not zero, if one of them is no amount.

    A call that read nothing in is none either.

    >>> usage({}, input_uncached=-1)
    """
    known = {name: n for name, n in buckets.items() if n is not None and n >= 0}
    if len(known) < len(buckets):
        return None
    found = Usage(**known, raw=dict(counted))
    return found if found.input else None


def less(total: int | None, *parts: int | None) -> int | None:
    """What is left of `total` without its parts, as far as all of them are known.

    >>> less(10, 3, 4), less(10, None)
    (3, None)
    """
    known = [part for part in parts if part is not None]
    return None if total is None or len(known) < len(parts) else total - sum(known)


def total(parts: Iterable[int | None]) -> int | None:
    """The sum of `parts`, if all of them are known.

    >>> total([3, 4]), total([3, None])
    (7, None)
    """
    known = list(parts)
    return None if None in known else sum(part for part in known if part is not None)
