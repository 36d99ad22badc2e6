"""Prices: what a call may cost, and what it has cost, in whole nano-dollars.

The prices are those of the package genai-prices, which brings them along; nothing is fetched.
`set_price` adds one or overrides it.
"""

import time
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from attrs import frozen

from loopwright.calls import Cost, Quote, Usage
from loopwright.errors import BadInput
from loopwright.models.prices import FREE, Price, Rate, digest, listed, table

_set: dict[str, tuple[Price, ...]] = {}
_free = {"scripted", "rehearsal", "local"}
_SCALE = 1_000_000
"""Rates are kept in femto-dollars a token: a price with nine decimals stays a whole number."""

_STANDARD = frozenset({"", "default", "standard"})
"""The tiers that have the list price."""


@frozen
class _Priced:
    """The prices of a model by tier, the list price first, and the name of their table."""

    prices: tuple[Price, ...]
    table: str


def quote(model: str, input_tokens_bound: int, max_tokens: int) -> Quote:
    """What one call to `model` (``"provider:model"``) may cost.

    At most: `input_tokens_bound` tokens at the highest price that an input token can have, cache
    writes included, and `max_tokens` at the price of output, both on the dearest step of context
    length that the bound reaches. At least: nothing, since a call that is refused is not billed.

    Raises `BadInput` if nobody knows the price.

    >>> quote("anthropic:claude-opus-5-5", 1000, 100).high
    7000000
    """
    price = _found(model).prices[0]
    high = price.highest_input(input_tokens_bound) * input_tokens_bound
    high += price.highest_output(input_tokens_bound) * max_tokens
    return Quote(0, _nano(high), input_tokens_bound + max_tokens)


def cost(model: str, served_model: str, usage: Usage | None, tier: str = "") -> Cost:
    """What a call to `model` has cost, by the price of the model that was served if it has one.

    Where the served `tier` has no price of its own, `low` and `high` are the least and the most
    that any tier of the model would have cost. An unknown usage costs nothing here: whoever keeps
    the books has to presume the quote. Raises `BadInput` if nobody knows the price.
    """
    priced = _served(model, served_model)
    if usage is None:
        return Cost(0, 0, priced.table)
    amounts = [_nano(price.total(usage)) for price in _of_tier(priced.prices, tier)]
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


def _nano(femto: int) -> int:
    """Rounded up: a ceiling must hold."""
    return -(-femto // _SCALE)


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
    if model in _set and served_model.startswith(name):
        # A dated name of the model whose price was set.
        return _found(model)
    served = _look_up(f"{provider}:{served_model}") if served_model else None
    return served or _found(model)


def _look_up(model: str) -> _Priced | None:
    if model in _set:
        return _Priced(_set[model], f"set_price {digest(repr(_set[model]).encode())}")
    provider, _, name = model.partition(":")
    if provider in _free:
        return _Priced((FREE,), "")
    # Prices change at a given hour, and a process may run for weeks.
    return _listed(provider, name, int(time.time() // 3600))


@lru_cache(maxsize=1024)
def _listed(provider: str, name: str, hour: int) -> _Priced | None:
    prices = listed(provider, name, hour * 3600)
    return _Priced(prices, table()) if prices else None


def _of_tier(prices: tuple[Price, ...], tier: str) -> tuple[Price, ...]:
    if tier in _STANDARD:
        return prices[:1]
    return tuple(price for price in prices if price.tier == tier) or prices
