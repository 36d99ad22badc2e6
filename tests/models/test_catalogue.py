"""Prices are exact, bounds are bounds, and what nobody knows is not guessed."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import NANO, Options, Usage
from loopwright.errors import BadInput
from loopwright.models import catalogue, prices, provider, resolve
from loopwright.models.catalogue import cost, priced, quote, set_price

OPUS, HAIKU, SOL = "anthropic:claude-opus-5-5", "anthropic:claude-haiku-5-5", "openai:gpt-6-sol"
ASTRA = "openai:gpt-6-astra"


@pytest.fixture(autouse=True)
def _own_prices(monkeypatch):
    monkeypatch.setattr(catalogue, "_set", {})
    monkeypatch.setattr(catalogue, "_free", set(catalogue._free))


def test_a_quote_takes_the_highest_price():
    assert quote(OPUS, 1_000_000, 0).high == 5 * NANO
    assert quote(OPUS, 0, 1_000_000).high == 20 * NANO
    assert quote(OPUS, 10, 20).tokens == 30
    assert quote(OPUS, 10, 20).low == 0


def test_a_long_context_costs_more():
    assert quote(HAIKU, 100_000, 0).high == 100_000 * 125
    assert quote(HAIKU, 100_001, 0).high == 100_001 * 625
    assert quote(HAIKU, 100_001, 1).high - quote(HAIKU, 100_001, 0).high == 2500


amounts = st.integers(0, 400_000)


@given(amounts, amounts, amounts, amounts, amounts, st.sampled_from([OPUS, HAIKU, SOL]))
def test_a_cost_is_what_genai_prices_says_to_the_nano(fresh, read, short, long, out, model):
    long = 0 if model == SOL else long
    ours = cost(model, "", Usage(fresh, read, short, long, out), "")
    keys = {"cache_write_1h_tokens": long} if long else {}
    counted = Counted(
        input_tokens=fresh + read + short + long,
        cache_read_tokens=read,
        cache_write_tokens=short + long,
        output_tokens=out,
        **keys,
    )
    name, _, bare = model.partition(":")
    theirs = Fraction(calc_price(counted, bare, provider_id=name).total_price) * NANO
    assert ours.low == ours.high
    assert 0 <= ours.high - theirs < 1


@given(amounts, amounts, amounts, st.integers(0, 10_000), st.sampled_from([OPUS, HAIKU, SOL]))
def test_no_cost_is_above_its_quote(fresh, read, short, out, model):
    usage = Usage(fresh, read, short, 0, out // 2, out - out // 2)
    assert cost(model, "", usage, "").high <= quote(model, usage.input, out).high


buckets = st.builds(Usage, *[amounts] * 6)
usd = st.decimals(0, 1000, places=6)


@given(buckets, *[usd] * 4)
def test_a_cost_is_price_times_bucket_to_the_nano(usage, into, out, read, write):
    set_price("own:model", into, out, cache_read=read, cache_write=write)
    written = usage.cache_write_short + usage.cache_write_long
    parts = [
        (usage.input_uncached, into),
        (usage.cache_read, read),
        (written, write),
        (usage.output_visible + usage.output_reasoning, out),
    ]
    nano = sum(Fraction(price) * tokens for tokens, price in parts) * NANO / 10**6
    assert cost("own:model", "", usage).high == ceil(nano)
    assert cost("own:model", "", usage).low == ceil(nano)


def _asked(model: str, **options: object) -> int:
    return quote(model, 1000, 100, Options(**options)).high


SERVED = [
    # What is asked, and in which tiers the provider may serve it.
    (SOL, "", ["default"]),
    (SOL, "default", ["default"]),
    (SOL, "flex", ["flex", "default"]),
    (SOL, "priority", ["priority", "fast", "default"]),
    (SOL, "fast", ["priority", "fast", "default"]),
    (SOL, "auto", ["flex", "priority", "fast", "default", "nobody knows"]),
    (ASTRA, "ultrafast", ["ultrafast", "priority", "default"]),
    (OPUS, "", ["standard", "priority"]),
    (OPUS, "auto", ["standard", "priority"]),
    (OPUS, "standard_only", ["standard"]),
    (OPUS, "flex", ["standard"]),
    (SOL, "scale", ["scale", "default"]),
]


@given(st.sampled_from(SERVED), st.data(), *[amounts] * 3, st.integers(0, 10_000))
def test_no_tier_that_may_serve_a_call_costs_more_than_its_quote(asked, data, a, b, c, out):
    model, tier, served = asked
    usage = Usage(a, b, c, 0, out)
    found = cost(model, "", usage, data.draw(st.sampled_from(served)))
    assert found.low <= found.high <= quote(model, usage.input, out, Options(tier=tier)).high


def test_a_quote_is_for_the_dearest_tier_that_may_serve():
    assert _asked(SOL, tier="default") == _asked(SOL)
    assert _asked(SOL, tier="flex") == _asked(SOL)
    assert _asked(SOL, tier="priority") == 2 * _asked(SOL)
    assert _asked(SOL, tier="auto") == 2 * _asked(SOL)
    assert _asked(ASTRA, tier="ultrafast") == 6 * _asked(ASTRA)
    assert _asked(OPUS, tier="standard_only") == _asked(OPUS, tier="auto") == _asked(OPUS)
    set_price(SOL, 1, 1)
    assert _asked(SOL, tier="nobody knows") == 1100 * 1000


def test_a_tier_that_the_provider_does_not_have_is_not_asked_for():
    for model in (OPUS, SOL):
        assert _asked(model, tier="brand_new") == _asked(model)


@pytest.mark.parametrize("model", [SOL, OPUS])
def test_a_tier_whose_price_nobody_knows_has_no_quote(model):
    with pytest.raises(BadInput, match="in the tier 'brand_new' is unknown"):
        _asked(model, extra={model.partition(":")[0]: {"service_tier": "brand_new"}})
    with pytest.raises(BadInput, match="in the tier 'ultrafast' is unknown"):
        _asked(SOL, tier="ultrafast")


def test_what_the_extras_ask_for_is_in_the_quote():
    def asked(model: str, **extra: object) -> int:
        return _asked(model, extra={model.partition(":")[0]: extra, "other": {"n": 9}})

    plain = quote(OPUS, 1000, 100).high
    assert asked(OPUS) == plain
    assert asked(SOL, service_tier="priority") > 2 * _asked(SOL)
    assert asked(OPUS, inference_geo="us") >= plain * 11 // 10
    assert asked(OPUS, max_tokens=1000) >= quote(OPUS, 1000, 1000).high
    assert asked(SOL, max_output_tokens=1000) >= quote(SOL, 1000, 1000).high
    assert asked(SOL, n=3) >= quote(SOL, 1000, 300).high
    cached = {"type": "ephemeral", "ttl": "1h"}
    assert asked(OPUS, cache_control=cached) >= cost(OPUS, "", Usage(0, 0, 0, 1000, 100)).high
    assert asked(OPUS, system="words" * 100) >= quote(OPUS, 1500, 100).high


@pytest.mark.parametrize("name", ["max_tokens", "max_output_tokens", "n"])
@pytest.mark.parametrize("odd", [64000.0, "64000", True])
def test_extras_that_do_not_say_how_much_comes_out_have_no_quote(name, odd):
    with pytest.raises(BadInput, match=rf"{name}={odd!r}: give a whole number"):
        _asked(OPUS, extra={"anthropic": {name: odd}})


@pytest.mark.parametrize("tools", [None, 5, "words"])
def test_extras_without_tools_are_none(tools):
    assert _asked(OPUS, extra={"anthropic": {"tools": tools}}) > 0


def test_speed_has_its_price_or_no_quote():
    """The first tables of genai-prices 0.2 lack it."""
    fast = {"anthropic": {"speed": "fast"}}
    tiers = {price.tier for price in prices.listed("anthropic", "claude-opus-5-5", time.time())}
    if "fast" in tiers:
        assert _asked(OPUS, extra=fast) > 2 * _asked(OPUS)
    else:
        with pytest.raises(BadInput, match="in the tier 'fast' is unknown"):
            _asked(OPUS, extra=fast)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "mcp"}]}, "mcp"),
        ({"mcp_servers": [{"url": "https://example.org"}]}, "mcp_servers"),
        ({"fallbacks": [{"model": "claude-opus-5"}]}, "fallbacks"),
        ({"model": "claude-fable-5-1"}, "model"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
    ],
)
def test_what_a_provider_runs_by_itself_has_no_bound(extra, named):
    with pytest.raises(BadInput, match=named):
        _asked(OPUS, extra={"anthropic": extra})
    assert _asked("scripted:scripted", extra={"scripted": extra}) == 0


def test_own_tools_in_the_extras_have_a_bound():
    tools = {"tools": [{"name": "mine", "input_schema": {}}, {"type": "function"}]}
    assert _asked(OPUS, extra={"anthropic": tools}) > _asked(OPUS)
    cleared = {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
    assert _asked(OPUS, extra={"anthropic": cleared}) > 0


@given(st.integers(0, 1000))
def test_a_search_of_the_providers_own_costs_a_cent(searches):
    counted = {"server_tool_use": {"web_search_requests": searches, "web_fetch_requests": 9}}
    plain, searched = (Usage(1000, output_visible=10, raw=raw) for raw in ({}, counted))
    assert cost(OPUS, "", searched).high - cost(OPUS, "", plain).high == searches * NANO // 100
    assert cost(SOL, "", searched) == cost(SOL, "", plain)


def test_inference_in_one_country_costs_more():
    usage = Usage(1000, output_visible=100, raw={"inference_geo": "us"})
    assert cost(OPUS, "", usage).high * 10 == 11 * cost(OPUS, "", Usage(1000, 0, 0, 0, 100)).high
    assert cost(SOL, "", usage) == cost(SOL, "", Usage(1000, 0, 0, 0, 100))


def test_a_vendor_has_one_price_whatever_the_protocol():
    for tier in ("", "flex", "priority", "auto"):
        assert _asked("openai-chat:gpt-6-sol", tier=tier) == _asked(SOL, tier=tier)
    assert priced("gemini:gemini-2.5-pro")


def test_a_server_of_ones_own_is_nobody_that_is_known():
    for name in ("my-openai", "openai-local", "anthropic2", "OpenAI"):
        assert not priced(f"{name}:gpt-6-sol")
        assert not priced(f"{name}:claude-opus-5-5")


def test_a_model_that_shares_the_price_of_another():
    for model, other in (("mythos-5", "fable-5"), ("mythos-5-1", "fable-5-1")):
        ours, theirs = (quote(f"anthropic:claude-{name}", 10, 10) for name in (model, other))
        assert ours == theirs


def test_the_served_model_and_tier_make_the_price():
    usage = Usage(1000, output_visible=100)
    assert cost(SOL, "gpt-6-sol-2026-09-01", usage, "default") == cost(SOL, "", usage, "")
    assert cost(SOL, "gpt-6-astra", usage).high == cost("openai:gpt-6-astra", "", usage).high
    assert cost(SOL, "nobody knows", usage) == cost(SOL, "", usage)
    assert cost(SOL, "", usage, "priority").high == 2 * cost(SOL, "", usage).high
    assert cost(SOL, "", usage, "flex").high * 2 == cost(SOL, "", usage).high


def test_an_unknown_tier_is_between_the_least_and_the_most():
    usage = Usage(1000, output_visible=100)
    unknown = cost(SOL, "", usage, "brand_new")
    assert unknown.low == cost(SOL, "", usage, "flex").high
    assert unknown.high == cost(SOL, "", usage, "priority").high


def test_the_table_says_where_a_price_is_from():
    name, version, day, digest = cost(OPUS, "", Usage(1)).table.split()
    assert name == "genai-prices"
    assert version.startswith("0.2")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(f"{day}T00:00Z")).days) <= 1
    assert len(digest) == 12
    set_price(OPUS, 1, 2)
    assert cost(OPUS, "", Usage(1)).table.startswith("set_price ")


def test_an_unknown_usage_has_no_cost():
    assert cost(OPUS, "", None).high == 0


def test_an_unknown_model_is_refused_with_a_remedy():
    for model in ("anthropic:nobody", "nobody:knows", "openai:", ""):
        assert not priced(model)
        with pytest.raises(BadInput, match="set_price"):
            quote(model, 1, 1)
        with pytest.raises(BadInput, match="set_price"):
            cost(model, "", Usage(1))


def test_a_price_can_be_set():
    set_price("own:model", "0.5", Decimal("1.25"), cache_read="0.05", cache_write=1)
    assert quote("own:model", 1_000_000, 0).high == NANO
    usage = Usage(1_000_000, 1_000_000, 0, 0, 1_000_000)
    assert cost("own:model", "model-2026-11-01", usage) == cost("own:model", "", usage)
    assert cost("own:model", "", usage).high == NANO // 2 + NANO // 20 + NANO * 5 // 4
    set_price("own:model", 0, 0)
    assert quote("own:model", 10**6, 10**6).high == 0


@pytest.mark.parametrize("odd", [1.5, "-1", "nan", "much", None, True, "inf"])
def test_a_price_that_is_no_amount_is_refused(odd):
    with pytest.raises(BadInput, match="no amount"):
        set_price("own:model", odd, 1)


def test_what_runs_here_is_free():
    assert quote("scripted:scripted", 10**6, 10**6).high == 0
    assert cost("local:llama", "", Usage(10**6)).high == 0


def test_a_name_without_a_provider_is_refused_with_a_proposal():
    for odd, proposal in (
        ("claude-opus-5-5", "anthropic:claude-opus-5-5"),
        ("gpt-6-sol", "openai:gpt-6-sol"),
        ("openai:", "anthropic:"),
        (":x", "anthropic:"),
    ):
        with pytest.raises(BadInput, match=proposal):
            resolve(odd)


def test_an_unknown_provider_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="Did you mean 'anthropic'"):
        provider("antropic")
    with pytest.raises(BadInput, match="'anthropic', 'openai'"):
        provider("scripted")


def test_importing_the_models_loads_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, loopwright.models, loopwright.models.catalogue, loopwright.models.scripted;"
    code += "heavy = {'anthropic', 'openai', 'pydantic', 'httpx', 'httpx2', 'genai_prices'};"
    code += "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    run = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    assert subprocess.run(run, capture_output=True, text=True, check=False).stderr == ""
