"""How long a provider asks to wait before the next try."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", re.ASCII)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the provider asks to wait: a number above 0, or `None`.

    Milliseconds are the most exact, so they come first; then seconds, then an HTTP date. What is
    negative, past or no number is ignored.

    >>> retry_after({"retry-after-ms": "1500", "retry-after": "9"})
    1.5
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    return _number(said) or _until(said, now or datetime.now(UTC))


def _number(text: str) -> float | None:
    return float(text) or None if _NUMBER.fullmatch(text.strip()) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
