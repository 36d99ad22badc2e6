"""What a model can do is what its provider says of it; of what nobody says, nothing is assumed."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.models.catalogue import Capabilities, capabilities, priced

FEATURES = ("structured", "effort", "images", "documents")


def _named() -> list[str]:
    """The models that the installed SDKs name as current."""
    from anthropic.resources.messages.messages import DEPRECATED_MODELS
    from anthropic.types.model_param import ModelParam
    from openai.types.shared.chat_model import ChatModel

    claude = set(get_args(get_args(ModelParam)[0])) - set(DEPRECATED_MODELS)
    current = [name for name in get_args(ChatModel) if name.startswith(("gpt-5", "gpt-6"))]
    return sorted(f"anthropic:{name}" for name in claude) + [f"openai:{n}" for n in current]


def test_a_model_that_the_sdks_name_is_known_with_its_price_and_limits():
    """All but the few newest, which an SDK may name before a table of prices does."""
    known = [model for model in _named() if priced(model)]
    assert len(known) >= 0.9 * len(_named())
    for model in known:
        found = capabilities(model)
        assert found.context is not None, model
        assert found.output is not None, model
        assert found.output < found.context, model
        assert found.structured, model
        assert found.images, model


@pytest.mark.parametrize(
    ("model", "context", "output", "features"),
    [
        ("anthropic:claude-opus-5-5", 1_000_000, 128_000, FEATURES),
        ("anthropic:claude-mythos-5-1", 1_000_000, 128_000, FEATURES),
        ("anthropic:claude-sonnet-4-6", 1_000_000, 64_000, FEATURES),
        ("anthropic:claude-haiku-4-5-20251001", 200_000, 64_000, FEATURES[:1] + FEATURES[2:]),
        ("anthropic:claude-opus-4-1-20250805", 200_000, 32_000, FEATURES[2:]),
        ("anthropic:claude-3-haiku-20240307", 200_000, 4_096, ("images",)),
        ("openai:gpt-6-sol", 1_050_000, 128_000, FEATURES),
        ("openai:gpt-5-chat-latest", 400_000, 16_384, FEATURES[:1] + FEATURES[2:]),
        ("openai:gpt-4o-2024-08-06", 128_000, 16_384, FEATURES[:1] + FEATURES[2:]),
        ("openai:ft:gpt-4o-mini-2024-07-18:us::x", None, 16_384, FEATURES[:1] + FEATURES[2:]),
        ("openai:gpt-4o-2024-05-13", 128_000, 4_096, ("images",)),
        ("openai:gpt-4o-audio-preview", 128_000, 16_384, ()),
        ("openai:o3", 200_000, 100_000, FEATURES),
        ("openai:gpt-3.5-turbo", 16_385, 4_096, ()),
    ],
)
def test_what_is_said_of_a_model(model, context, output, features):
    found = capabilities(model)
    assert (found.context, found.output) == (context, output)
    assert tuple(name for name in FEATURES if getattr(found, name)) == features


@given(st.text(max_size=20), st.text(max_size=20))
def test_of_an_unknown_model_nothing_is_assumed(provider, name):
    assert capabilities(f"own-{provider}:{name}") == Capabilities()


def test_the_provider_of_a_known_model_may_not_have_what_the_model_has():
    served = capabilities("groq:openai/gpt-oss-120b")
    assert served.context == 131_072
    assert not any(getattr(served, name) for name in FEATURES)
