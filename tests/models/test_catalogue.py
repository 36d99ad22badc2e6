"""Prices are exact, bounds are bounds, and what nobody knows is not guessed."""

from decimal import Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import NANO, Usage
from loopwright.errors import BadInput
from loopwright.models import catalogue, provider, resolve
from loopwright.models.catalogue import cost, priced, quote, set_price

OPUS, HAIKU, SOL = "anthropic:claude-opus-5-5", "anthropic:claude-haiku-5-5", "openai:gpt-6-sol"


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
    name, version, digest = cost(OPUS, "", Usage(1)).table.split()
    assert name == "genai-prices"
    assert version.startswith("0.2")
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
