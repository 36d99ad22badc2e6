"""The catalogue: what models can do, what a call may cost and what it has cost.

The prices, in whole nano-dollars, are those of the package genai-prices, which brings them along;
nothing is fetched. `set_price` adds one or overrides it.
"""

import time
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from attrs import frozen

from loopwright.calls import Cost, Options, Quote, Usage
from loopwright.errors import BadInput
from loopwright.models import asked
from loopwright.models.capabilities import Capabilities, capabilities
from loopwright.models.prices import FREE, Price, Rate, digest, listed, table, vendor

__all__ = ["Capabilities", "capabilities", "cost", "free", "priced", "quote", "set_price"]

_set: dict[str, tuple[Price, ...]] = {}
_free = {"scripted", "rehearsal", "local"}
_PLAIN = Options()
_SCALE = 1_000_000
"""Rates are kept in femto-dollars a token: a price with nine decimals stays a whole number."""


@frozen
class _Priced:
    """The prices of a model by tier, the list price first, and the name of their table.

    What a user said, or what is free, holds `always`: whatever the tier.
    """

    prices: tuple[Price, ...]
    table: str
    always: bool = False


_FREE_OF_CHARGE = _Priced((FREE,), "", always=True)
_NOTHING = Cost()


def quote(model: str, input_tokens_bound: int, max_tokens: int, options: Options = _PLAIN) -> Quote:
    """What one call to `model` (``"provider:model"``) may cost if it is asked with `options`.

    At most: `input_tokens_bound` tokens at the highest price that an input token can have, cache
    writes included, and `max_tokens` at the price of output, both on the dearest step of context
    length that the bound reaches, and in the dearest tier that may serve the call. What the extras
    of the options add is counted in. At least: nothing, since a call that is refused is not billed.

    Raises `BadInput` if nobody knows the price of the model or of the tier, or if the extras ask
    for something whose cost has no bound, such as a tool that the provider runs.

    >>> quote("anthropic:claude-opus-5-5", 1000, 100).high
    7000000
    >>> quote("anthropic:claude-opus-5-5", 1000, 100, Options(tier="auto")).high
    7000000
    """
    found = _found(model)
    terms = asked.terms(model.partition(":")[0], options, max_tokens)
    if terms.unbounded and found.prices != (FREE,):
        raise BadInput(
            f"the cost of a call to {model!r} has no bound: its extras ask for {terms.unbounded!r}"
        )
    into, out = input_tokens_bound + terms.input, terms.output
    if found is _FREE_OF_CHARGE:
        return Quote(0, 0, into + out)
    prices = _served_by(model, found, terms.tier)
    high = max(price.highest(into, out, terms.long) for price in prices)
    return Quote(0, _nano(high, terms.percent), into + out)


def cost(model: str, served_model: str, usage: Usage | None, tier: str = "") -> Cost:
    """What a call to `model` has cost, by the price of the model that was served if it has one.

    Where the served `tier` has no price of its own, `low` and `high` are the least and the most
    that any tier of the model would have cost. An unknown usage costs nothing here: whoever keeps
    the books has to presume the quote. Raises `BadInput` if nobody knows the price.
    """
    priced = _served(model, served_model)
    if priced is _FREE_OF_CHARGE:
        return _NOTHING
    if usage is None:
        return Cost(0, 0, priced.table)
    provider = vendor(model.partition(":")[0])
    percent = asked.percent(provider, usage.raw.get("inference_geo"))
    prices = _of_tier(provider, priced, tier) or priced.prices
    fees = asked.fees(provider, usage.raw)
    amounts = [_nano(price.total(usage), percent) + fees for price in prices]
    return Cost(min(amounts), max(amounts), priced.table)


def priced(model: str) -> bool:
    """Whether the price of `model` (``"provider:model"``) is known."""
    return _look_up(model) is not None


def set_price(
    model: str,
    input: Decimal | str | int,
    output: Decimal | str | int,
    cache_read: Decimal | str | int | None = None,
    cache_write: Decimal | str | int | None = None,
) -> None:
    """Say what `model` (``"provider:model"``) costs, in USD per million tokens, for this process.

    The cache's prices are that of `input` where they are not given. ``set_price(model, 0, 0)``
    makes it free. Raises `BadInput` for what is no amount; a float is none, since it is not exact.

    >>> set_price("local:llama", "0.10", "0.40")
    >>> quote("local:llama", 1_000_000, 0).high
    100000000
    """
    into, out = _rate(model, input), _rate(model, output)
    read = into if cache_read is None else _rate(model, cache_read)
    write = into if cache_write is None else _rate(model, cache_write)
    _set[model] = (Price("", into, read, write, write, out, out),)


def free(provider: str) -> None:
    """Say that all models of `provider` cost nothing, unless they have a price of their own."""
    _free.add(provider)


# --------------------------------------------------------------------------------- small pieces


def _nano(femto: int, percent: int = 100) -> int:
    """Rounded up: a ceiling must hold."""
    return -(-femto * percent // (_SCALE * 100))


def _rate(model: str, usd: Decimal | str | int) -> Rate:
    try:
        amount = Decimal(usd) if isinstance(usd, Decimal | str | int) else Decimal("nan")
    except InvalidOperation:
        amount = Decimal("nan")
    if isinstance(usd, bool) or not amount.is_finite() or amount < 0:
        raise BadInput(f"set_price({model!r}): {usd!r} is no amount: give Decimal, text or int")
    return Rate.of(amount)


def _found(model: str) -> _Priced:
    found = _look_up(model)
    if found is None:
        raise BadInput(
            f"the price of {model!r} is unknown: say it in USD per million tokens, with "
            f'set_price({model!r}, input="1.00", output="5.00"), or set_price({model!r}, 0, 0) '
            "if it is free"
        )
    return found


def _served(model: str, served_model: str) -> _Priced:
    provider, _, name = model.partition(":")
    exact = f"{provider}:{served_model}"
    if model in _set and exact not in _set:
        # A dated name of the model whose price was set; or one that is only free like its provider.
        dated, free = served_model.startswith(name), provider in _free
        if dated or free:
            return _found(model)
    served = _look_up(exact) if served_model else None
    return served or _found(model)


def _look_up(model: str) -> _Priced | None:
    if model in _set:
        numbers = digest(repr(_set[model]).encode())
        return _Priced(_set[model], f"set_price {numbers}", always=True)
    provider, _, name = model.partition(":")
    if provider in _free:
        return _FREE_OF_CHARGE
    # Prices change at a given hour, and a process may run for weeks.
    return _listed(provider, name, int(time.time() // 3600))


@lru_cache(maxsize=1024)
def _listed(provider: str, name: str, hour: int) -> _Priced | None:
    prices = listed(provider, name, hour * 3600)
    return _Priced(prices, table(hour * 3600)) if prices else None


def _served_by(model: str, priced: _Priced, tier: str) -> tuple[Price, ...]:
    """The prices that a call may have for which `tier` is asked: one can be served in a lower."""
    provider = vendor(model.partition(":")[0])
    if (provider, tier) in asked.ANY_TIER:
        return priced.prices
    named = _of_tier(provider, priced, tier)
    if not named:
        raise BadInput(f"the price of {model!r} in the tier {tier!r} is unknown")
    return (*priced.prices[:1], *named)


def _of_tier(provider: str, priced: _Priced, tier: str) -> tuple[Price, ...]:
    if priced.always or (provider, tier) in asked.LISTED or tier in asked.STANDARD:
        return priced.prices[:1]
    return tuple(price for price in priced.prices if price.tier == tier)
