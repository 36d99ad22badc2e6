"""`Price`: what a model's tokens cost, as whole numbers, and the table of genai-prices."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import Any

from attrs import fields, frozen

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
        if not self.steps:
            return self.base
        return next((rate for start, rate in reversed(self.steps) if tokens > start), self.base)

    def times(self, factor: int) -> "Rate":
        """`factor` times the rate."""
        return Rate(self.base * factor, tuple((start, rate * factor) for start, rate in self.steps))

    def highest(self, tokens: int) -> int:
        """The highest rate that a call with at most so many input tokens can have."""
        if not self.steps:
            return self.base
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

    def highest(self, input_tokens: int, output_tokens: int, long: bool = False) -> int:
        """The most that a call with at most so many tokens can cost, in femto-dollars.

        Long-lived cache entries, the dearest of all, count only if they are asked for.
        """
        written = self.cache_write_long if long else self.cache_write_short
        into = max(
            self.input.highest(input_tokens),
            self.cache_read.highest(input_tokens),
            self.cache_write_short.highest(input_tokens),
            written.highest(input_tokens),
        )
        visible = self.output_visible.highest(input_tokens)
        out = max(visible, self.output_reasoning.highest(input_tokens))
        return into * input_tokens + out * output_tokens

    def times(self, factor: int, tier: str) -> "Price":
        """The price of a `tier` at which everything costs `factor` times as much."""
        rates = (getattr(self, name).times(factor) for name in _RATES)
        return Price(tier, *rates)

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


_RATES = tuple(rate.name for rate in fields(Price) if rate.name != "tier")

FREE = Price("", *(Rate(),) * 6)


# --------------------------------------------------------------------------------- genai-prices

_SAME: Mapping[str, str] = {
    "claude-mythos-5": "claude-fable-5",
    "claude-mythos-5-1": "claude-fable-5-1",
}
"""Models that genai-prices lacks, each with the one whose limits and prices it shares: the pages
"Models" and "Pricing" of platform.claude.com/docs."""

_VENDORS: Mapping[str, str] = {"openai-chat": "openai", "gemini": "google"}
"""Providers by another protocol of the same vendor, at the same price."""

_ULTRAFAST = 6
"""Times the list price: developers.openai.com/api/docs, pricing of the tier `ultrafast`, which only
these models have."""

_ULTRAFAST_MODELS = frozenset({"gpt-6-astra"})


def listed(provider: str, model: str, now: float) -> tuple[Price, ...]:
    """The prices of `model` at the time `now`, by tier, the list price first; none if unknown."""
    found = _model(provider, model)
    if found is None:
        return ()
    date = datetime.fromtimestamp(now, UTC)
    contexts = [("", {}), *((_tier(v.when), v.when) for v in found.price_variants or ())]
    prices = [_price(tier, found.get_prices(date, when)) for tier, when in contexts]
    known = tuple(price for price in prices if price is not None) if prices[0] else ()
    if known and found.id in _ULTRAFAST_MODELS and vendor(provider) == "openai":
        return (*known, known[0].times(_ULTRAFAST, "ultrafast"))
    return known


def context(provider: str, model: str) -> int | None:
    """The most tokens that go into `model`, if the table says it."""
    found = _model(provider, model)
    return found.context_window if found else None


def vendor(provider: str) -> str:
    """The name under which the tables know `provider`."""
    return _VENDORS.get(provider, provider)


def _model(provider: str, model: str) -> Any:
    # By its very name: genai-prices would take an own server "my-openai" for OpenAI.
    found = _providers().get(vendor(provider))
    try:
        named = _SAME.get(model, model)
        return found and _snapshot().find_provider_model(named, found, None, None)[1]
    except LookupError:
        return None


@cache
def _providers() -> Mapping[str, Any]:
    return {provider.id: provider for provider in _snapshot().providers}


@cache
def _snapshot() -> Any:
    """The table that came with the package, whatever else the process may have loaded into it."""
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers, from_auto_update=False)


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


def table(now: float) -> str:
    """The name of the price table, its version, the day of the prices and a digest of its numbers.

    One table holds prices of several dates: with its digest the day says which of them.
    """
    name, numbers = _table()
    return f"{name} {datetime.fromtimestamp(now, UTC):%Y-%m-%d} {numbers}"


@cache
def _table() -> tuple[str, str]:
    from importlib.metadata import version
    from pathlib import Path

    from genai_prices import data

    assert data.__file__ is not None
    numbers = (
        Path(data.__file__).read_bytes()
        + repr((_SAME, _VENDORS, _ULTRAFAST, _ULTRAFAST_MODELS)).encode()
    )
    return f"genai-prices {version('genai-prices')}", digest(numbers)


def digest(content: bytes) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:12]
