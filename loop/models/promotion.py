"""The script that a `Rehearsal` plays when it is given none: a demonstration with everything.

The task is "Look up the weather of {day} in {city}, and write a promotion that fits it", with one
tool ``weather(city, date)``, and the answer is JSON with a headline and a body.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from loopwright.models import faults
from loopwright.models.script import CallTool
from loopwright.models.seen import SeenRequest

_STRONG = ("opus", "astra", "sol")
_CITY = re.compile(r"weather (?:of \S+ )?in ([^,.;:!?\n]+?)(?= and | for |[,.;:!?\n]|$)")


class Promotion:
    """Plays the demonstration, any number of times and for many conversations at once.

    The first request of a conversation is turned away with 429; its repeat calls the tool. A weak
    model then forgets the city, and after that writes a headline that is too long; a strong one,
    whose name contains opus, astra or sol, writes what was asked for. All of this is read from the
    conversation; only the 429 needs a memory, which is how often the same opening was seen.
    """

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, int]] = Counter()
        self._lock = Lock()

    def __call__(self, request: SeenRequest) -> Any:
        if request.results or request.answers:
            return _promotion(request)
        if self._count(request) % 2:
            return faults.rate_limited(retry_after=0.2)
        if not request.tools:
            return _promotion(request)
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        name = "weather" if "weather" in request.tools else request.tools[0]
        return CallTool(name, {"city": _city(request), "date": yesterday.isoformat()})

    def _count(self, request: SeenRequest) -> int:
        opening = request.opening, len(request.said)
        with self._lock:
            self._seen[opening] += 1
            return self._seen[opening]


def _promotion(request: SeenRequest) -> str:
    city = _city(request)
    if any(name in request.model for name in _STRONG):
        return _written(f"Rain or shine: {city} reads on", f"It poured in {city}. {_OFFER}")
    if not request.answers:
        return _written("Umbrellas up, prices down", f"It poured yesterday. {_OFFER}")
    longer = f"After all the rain that fell on {city} yesterday, here comes our great umbrella sale"
    return _written(longer, f"It poured in {city}. {_OFFER}")


_OFFER = "Today every umbrella costs a third less, until the sun is back."


def _city(request: SeenRequest) -> str:
    found = _CITY.search(request.opening)
    return found[1].strip() if found else "Shanghai"


def _written(headline: str, body: str) -> str:
    return json.dumps({"headline": headline, "body": body}, ensure_ascii=False)
