"""`Capabilities`: what a model can do and how much it takes, as far as somebody has said so."""

import re
from collections.abc import Sequence
from functools import lru_cache

from attrs import evolve, frozen

from loopwright.models.prices import context, vendor


@frozen
class Capabilities:
    """What a model can do. Of a model that nobody described, nothing is known: ``None``, false.

    `context` is the most tokens that go in and `output` the most that come out; `structured` says
    that the provider can enforce a JSON schema, on the answer and on the arguments of tools;
    `effort` that it can be said how hard to think; `images` and `documents` that it reads them.
    """

    context: int | None = None
    output: int | None = None
    structured: bool = False
    effort: bool = False
    images: bool = False
    documents: bool = False


@lru_cache(maxsize=1024)
def capabilities(model: str) -> Capabilities:
    """What `model` (``"provider:model"``) can do, by a table that comes with this library.

    >>> capabilities("anthropic:claude-opus-5-5").output
    128000
    >>> capabilities("nobody:knows") == Capabilities()
    True
    """
    provider, _, name = model.partition(":")
    bare = name.lower().removeprefix("ft:")
    found = next((can for row, can in _rows(provider) if row.match(bare)), Capabilities())
    return evolve(found, context=context(provider, name))


def _rows(provider: str) -> Sequence[tuple[re.Pattern[str], Capabilities]]:
    return _TABLES.get(vendor(provider), ())


def _table(
    *rows: tuple[str, int, str],
) -> tuple[tuple[re.Pattern[str], Capabilities], ...]:
    return tuple((re.compile(names), _can(output, words)) for names, output, words in rows)


def _can(output: int, words: str) -> Capabilities:
    return Capabilities(output=output, **dict.fromkeys(words.split(), True))


_READS = "images documents"
_ALL = f"structured effort {_READS}"

# The first row that fits holds. Names: the lists of model names in the installed SDKs
# (anthropic.types.ModelParam, openai.types.ChatModel and ResponsesModel).

_ANTHROPIC = _table(
    # Outputs: the model pages of platform.claude.com/docs/en/models. Structured: its page
    # "Structured outputs", from the 4.5 models on. Effort: the list of supported models on its
    # page "Effort", which leaves out Sonnet 4.5 and Haiku 4.5. All models read images and PDF.
    (r"claude-(fable|mythos|opus|sonnet|haiku)-[5-9]", 128_000, _ALL),
    (r"claude-opus-4-[6-9]", 128_000, _ALL),
    (r"claude-sonnet-4-6|claude-opus-4-5", 64_000, _ALL),
    (r"claude-(sonnet|haiku)-4-5", 64_000, f"structured {_READS}"),
    (r"claude-sonnet-4", 64_000, _READS),
    (r"claude-opus-4", 32_000, _READS),
    (r"claude-3-7", 64_000, _READS),
    (r"claude-3-5", 8_192, _READS),
    (r"claude-3-", 4_096, "images"),
)

_OPENAI = _table(
    # Outputs, structured outputs and inputs: the model pages of developers.openai.com/api/docs.
    # What makes or hears sounds and pictures, or searches, is another kind of model.
    (r".*(audio|realtime|transcribe|tts|image|search|live)", 16_384, ""),
    (r"gpt-5[.\d]*-chat|gpt-5\.3$", 16_384, f"structured {_READS}"),
    (r"gpt-5-pro", 272_000, _ALL),
    (r"gpt-[5-9]", 128_000, _ALL),
    (r"gpt-4\.1", 32_768, f"structured {_READS}"),
    (r"gpt-4o-2024-05-13", 4_096, "images"),
    (r"gpt-4o", 16_384, f"structured {_READS}"),
    (r"gpt-4-(turbo|vision)", 4_096, "images"),
    (r"gpt-4", 8_192, ""),
    (r"gpt-3\.5", 4_096, ""),
    (r"o1-preview", 32_768, ""),
    (r"o1-mini", 65_536, ""),
    (r"o3-mini", 100_000, "structured effort"),
    (r"o\d", 100_000, _ALL),
)

_TABLES = {"anthropic": _ANTHROPIC, "openai": _OPENAI}
