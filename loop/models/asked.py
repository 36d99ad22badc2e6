"""What the options of a call ask of a provider that has its own price: tier, place, extras."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import frozen

from loopwright.calls import Options
from loopwright.errors import BadInput
from loopwright.models import strict
from loopwright.models.prices import vendor
from loopwright.models.usage import amount

STANDARD = frozenset({"", "default", "standard", "standard_only"})
"""The tiers that have the list price."""

TIERS: Mapping[str, frozenset[str]] = {
    "anthropic": frozenset({"auto", "standard_only"}),
    "openai": frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"}),
}
"""The tiers that a provider can be asked for; any other one is not sent to it. From the types of
`service_tier` in the SDKs."""

LISTED = frozenset({("anthropic", "auto"), ("anthropic", "priority"), ("openai", "scale")})
"""What was bought ahead has no price a token: platform.claude.com/docs/en/api/service-tiers, and
openai.com/api-scale-tier."""

ANY_TIER = frozenset({("openai", "auto")})
"""The project's settings say which: the type of `service_tier` in the openai SDK."""

_US_PERCENT = 110
"""Of each price, for inference in the United States alone: the page "Pricing" of
platform.claude.com/docs, section "Data residency"."""

_UNBOUNDED = frozenset(
    {"fallbacks", "mcp_servers", "model", "models", "plugins", "route", "web_search_options"}
) | {"conversation", "previous_response_id", "prompt"}
"""What other servers or models do at the account's cost, by its name in a request's body:
Anthropic's fallbacks and MCP connector, OpenRouter's plugins and routes, Chat's web search; and
what is read that stands at the provider, as much as it may be."""

_SEARCH = 10_000_000
"""Nano-dollars of a web search: 10 USD per thousand, by the section "Web search tool" there."""

_OWN_TOOLS = frozenset({None, "function", "custom"})
"""Types of tools that the provider does not run by itself."""


@frozen
class Terms:
    """What a call is asked at: its tier, its most output tokens, the input tokens that its extras
    add, the percentage of the price, whether it writes to the cache for `long`, and what has no
    bound, or ``""``."""

    tier: str
    output: int
    input: int = 0
    percent: int = 100
    long: bool = False
    unbounded: str = ""


def terms(provider: str, options: Options, max_tokens: int) -> Terms:
    """What a call of `max_tokens` to `provider` is asked at, if it is asked with `options`.

    Raises `BadInput` for a number of tokens in the extras that is none.

    >>> terms("openai", Options(extra={"openai": {"service_tier": "flex"}}), 100)
    Terms(tier='flex', output=100, input=23, percent=100, long=False, unbounded='')
    """
    extra = options.extra.get(provider)
    if not extra:
        return _plain(provider, options.tier, max_tokens)
    written = strict.dumps(extra)
    return Terms(
        tier=_tier(extra, _asked_tier(provider, options.tier)),
        output=_output(extra, max_tokens),
        input=len(written.encode(errors="replace")),
        percent=percent(provider, extra.get("inference_geo")),
        long='"ttl":' in written,
        unbounded=next(filter(None, (_unbounded(key, extra[key]) for key in extra)), ""),
    )


@lru_cache(maxsize=1024)
def _plain(provider: str, tier: str, max_tokens: int) -> Terms:
    """What a call without extras is asked at; most are such calls."""
    return Terms(_asked_tier(provider, tier), max_tokens)


def _asked_tier(provider: str, tier: str) -> str:
    return tier if tier in TIERS.get(vendor(provider), ()) else ""


def percent(provider: str, place: Any) -> int:
    """How much of the price is to be paid for inference at `place`."""
    return _US_PERCENT if (provider, place) == ("anthropic", "us") else 100


def fees(provider: str, counted: Mapping[str, Any]) -> int:
    """What was `counted` besides tokens, in nano-dollars.

    >>> fees("anthropic", {"server_tool_use": {"web_search_requests": 2}})
    20000000
    """
    if provider != "anthropic":
        return 0
    return _SEARCH * (amount(counted, "server_tool_use", "web_search_requests") or 0)


def _tier(extra: Mapping[str, Any], tier: str) -> str:
    if extra.get("speed") == "fast":
        return "fast"
    return str(extra.get("service_tier") or tier)


def _output(extra: Mapping[str, Any], max_tokens: int) -> int:
    names = ("max_tokens", "max_output_tokens", "max_completion_tokens")
    given = [_count(extra, name) for name in names]
    return max(max_tokens, *given) * max(1, _count(extra, "n"))


def _count(extra: Mapping[str, Any], name: str) -> int:
    value = extra.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise BadInput(f"Options(extra=...): {name}={value!r}: give a whole number")
    return value


def _unbounded(key: str, value: Any) -> str:
    if key == "context_management":
        return key if "compact" in strict.dumps(value) else ""
    if key == "tools":
        listed = value if isinstance(value, list | tuple) else ()
        kinds = [tool.get("type") for tool in listed if isinstance(tool, Mapping)]
        return next((str(kind) for kind in kinds if kind not in _OWN_TOOLS), "")
    return key if key in _UNBOUNDED and value else ""
