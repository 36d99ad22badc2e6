"""`Price`: what a model's tokens cost, as whole numbers, and the table of genai-prices."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import Any

from attrs import frozen

from loopwright.calls import Usage

_FEMTO = 10**9
"""One USD per million tokens is a thousand million femto-dollars a token."""


@frozen
class Rate:
    """Femto-dollars a token: `steps` are (from more than so many input tokens, rate)."""

    base: int = 0
    steps: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, price: Any) -> "Rate":
        """From USD per million tokens, or from genai-prices' prices by context length."""
        if isinstance(price, Decimal):
            return cls(_femto(price))
        return cls(_femto(price.base), tuple((t.start, _femto(t.price)) for t in price.tiers))

    def at(self, tokens: int) -> int:
        """The rate of a call with so many input tokens: that of its step, for all of them."""
        return next((rate for start, rate in reversed(self.steps) if tokens > start), self.base)

    def highest(self, tokens: int) -> int:
        """The highest rate that a call with at most so many input tokens can have."""
        return max([self.base, *(rate for start, rate in self.steps if tokens > start)])


def _femto(usd: Decimal) -> int:
    return int((usd * _FEMTO).to_integral_value(ROUND_CEILING))


@frozen
class Price:
    """The rates of one model at one service tier, ``""`` being the list price."""

    tier: str
    input: Rate
    cache_read: Rate
    cache_write_short: Rate
    cache_write_long: Rate
    output_visible: Rate
    output_reasoning: Rate

    def highest_input(self, tokens: int) -> int:
        """The most that an input token can cost in a call with at most so many.

        Long-lived cache entries, the dearest of all, are never asked for.
        """
        rates = (self.input, self.cache_read, self.cache_write_short)
        return max(rate.highest(tokens) for rate in rates)

    def highest_output(self, tokens: int) -> int:
        """The most that an output token can cost in a call with at most so many input tokens."""
        return max(self.output_visible.highest(tokens), self.output_reasoning.highest(tokens))

    def total(self, usage: Usage) -> int:
        """What `usage` costs, in femto-dollars."""
        tokens = usage.input
        return (
            usage.input_uncached * self.input.at(tokens)
            + usage.cache_read * self.cache_read.at(tokens)
            + usage.cache_write_short * self.cache_write_short.at(tokens)
            + usage.cache_write_long * self.cache_write_long.at(tokens)
            + usage.output_visible * self.output_visible.at(tokens)
            + usage.output_reasoning * self.output_reasoning.at(tokens)
        )


FREE = Price("", *(Rate(),) * 6)


# --------------------------------------------------------------------------------- genai-prices


def listed(provider: str, model: str, now: float) -> tuple[Price, ...]:
    """The prices of `model` at the time `now`, by tier, the list price first; none if unknown."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return ()
    date = datetime.fromtimestamp(now, UTC)
    contexts = [("", {}), *((_tier(v.when), v.when) for v in found.price_variants or ())]
    prices = [_price(tier, found.get_prices(date, when)) for tier, when in contexts]
    return tuple(price for price in prices if price is not None) if prices[0] else ()


def _tier(when: dict[str, str]) -> str:
    """The adapters report a service tier, a speed and a kind of processing under one name."""
    return next(iter(when.values()))


def _price(tier: str, listed: Any) -> Price | None:
    into, out = _rate(listed, "input_mtok"), _rate(listed, "output_mtok")
    if into is None or out is None:
        return None
    write = _rate(listed, "cache_write_mtok", "cache_write_5m_mtok") or into
    long = _rate(listed, "cache_write_1h_mtok") or write
    read = _rate(listed, "cache_read_mtok") or into
    return Price(tier, into, read, write, long, out, _rate(listed, "output_reasoning_mtok") or out)


def _rate(listed: Any, *names: str) -> Rate | None:
    found = next(_priced(listed, names), None)
    return None if found is None else Rate.of(found)


def _priced(listed: Any, names: tuple[str, ...]) -> Iterator[Any]:
    return (price for name in names if (price := getattr(listed, name, None)) is not None)


@cache
def table() -> str:
    """The name of the price table, with its version and a digest of its numbers."""
    from importlib.metadata import version
    from pathlib import Path

    from genai_prices import data

    assert data.__file__ is not None
    return f"genai-prices {version('genai-prices')} {digest(Path(data.__file__).read_bytes())}"


def digest(content: bytes) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:12]
