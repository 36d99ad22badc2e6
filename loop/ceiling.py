"""Ceilings: what they count, over which calendar windows, and in which amounts."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from fnmatch import fnmatchcase

from loopwright.calls import NANO, ModelCall
from loopwright.errors import BadInput
from loopwright.events import Ceiling

_FORMS = {
    "minute": "%Y-%m-%dT%H:%M",
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "": "all",
}


def nano(usd: Decimal | str | int) -> int:
    """An amount of USD in nano-dollars, rounded up. Raises `BadInput` for what is none.

    >>> nano("0.0031")
    3100000
    """
    try:
        amount = Decimal(usd) if isinstance(usd, Decimal | str | int) else Decimal("nan")
    except InvalidOperation:
        amount = Decimal("nan")
    if isinstance(usd, bool) or not amount.is_finite() or not 0 <= amount <= LARGEST // NANO:
        raise BadInput(
            f"{usd!r} is no amount of USD: give Decimal, text or int, from 0 to {LARGEST // NANO}"
        )
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


LARGEST = 2**53
"""The most that one call can post: 9 million USD, or 9 thousand million million tokens. What is
reported above it is noise, and a thousand such reports still fit into SQLite's 64 bits."""


def window(time: float, per: str) -> str:
    """The calendar window, in UTC, that `time` (seconds since 1970) is in.

    >>> window(1_750_000_000, "day"), window(1_750_000_000, "week")
    ('2025-06-15', '2025-W24')
    """
    return datetime.fromtimestamp(time, UTC).strftime(_FORMS[per])


def ends(time: float, per: str) -> float:
    """When the calendar window that `time` is in ends, in seconds since 1970; 0 for all time.

    >>> ends(1_750_000_000, "hour") - 1_750_000_000
    3200.0
    """
    if per in ("", "month"):
        begun = datetime.fromtimestamp(time, UTC).replace(day=28, hour=0, minute=0, second=0)
        after = (begun + timedelta(days=4)).replace(day=1, microsecond=0)
        return after.timestamp() if per else 0.0
    seconds = _SECONDS[per]
    shift = _MONDAY if per == "week" else 0
    return float((int(time) - shift) // seconds * seconds + seconds + shift)


_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_MONDAY = 4 * 86_400
"""1970 began on a Thursday."""


def covers(ceiling: Ceiling, call: ModelCall) -> bool:
    """Whether the ceiling counts this call, by its model."""
    return fnmatchcase(call.model, ceiling.model)


def asked(ceiling: Ceiling, call: ModelCall) -> int:
    """What a call reserves. Failures cannot be reserved: they are counted when they happen."""
    amounts = {"usd": call.quote.high, "tokens": call.quote.tokens, "requests": 1, "failures": 0}
    return amounts[ceiling.unit]
