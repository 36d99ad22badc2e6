"""How long a provider asks to wait before the next try."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", re.ASCII)

_SPOKEN = re.compile(r"retry in ([0-9]{1,12}(?:\.[0-9]{1,12})?) ?s\b", re.IGNORECASE | re.ASCII)


def retry_after(
    headers: Mapping[str, str],
    now: datetime | None = None,
    error: Mapping[str, Any] | None = None,
) -> float | None:
    """Seconds that the provider asks to wait: a number above 0, or `None`.

    Milliseconds are the most exact, so they come first; then seconds, then an HTTP date; then what
    the `error` object says, as Google's do. What is negative, past or no number is ignored, and so
    are headers that say when limits are reset: the limit that was met may be another.

    >>> retry_after({"retry-after-ms": "1500", "retry-after": "9"})
    1.5
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    return _number(said) or _until(said, now or datetime.now(UTC)) or _in(error or {})


def _number(text: str) -> float | None:
    return float(text) or None if _NUMBER.fullmatch(text.strip()) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _in(error: Mapping[str, Any]) -> float | None:
    """A ``google.rpc.RetryInfo`` in the details, or the same in words."""
    delays = (str(detail.get("retryDelay")) for detail in details(error))
    found = next((n for delay in delays if (n := _number(delay.removesuffix("s")))), None)
    spoken = _SPOKEN.search(str(error.get("message"))[:2000])
    return found or (float(spoken[1]) or None if spoken else None)


def details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What Google puts beside the message of an error."""
    found = error.get("details")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
