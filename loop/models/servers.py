"""Servers that speak Chat Completions, as data: where they are, whose key they take, and in what
they differ from one another."""

import os
from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen


@frozen
class Quirks:
    """In what a server of Chat Completions differs from others.

    `max_tokens` and `effort` are the names of fields of its requests (``"reasoning.effort"`` is a
    field in a field; ``""``: it has none). `usage`: it counts in a stream only if it is asked to.
    `system` is the role of the instructions. `structured` is the type of `response_format` that it
    takes, `beside_tools` says that it takes it in a request with tools, and `strict` that it
    enforces the schema of the arguments of tools. `parallel` is what holds if nothing is said about
    parallel tool calls, and `None` if nothing can be said. `tier` is the service tier where none is
    asked for, and `None` if it has no tiers. `id_length` characters and digits are the ids of its
    tool calls (0: any). `returned` are fields of the model's messages and tool calls that it wants
    back as they came. `vendor` is the provider in the catalogue that knows what its models can do.
    `fields` are put into each request.
    """

    max_tokens: str = "max_tokens"
    effort: str = ""
    usage: bool = True
    system: str = "system"
    structured: Literal["json_schema", "json_object", ""] = ""
    beside_tools: bool = False
    strict: bool = False
    parallel: bool | None = None
    tier: str | None = None
    cache_key: bool = False
    id_length: int = 0
    returned: frozenset[str] = frozenset()
    vendor: str = ""
    fields: Mapping[str, Any] = field(factory=dict)


@frozen
class Server:
    """Where a server is, the name of the variable that holds its key, and its quirks.

    One without a key's variable runs on this machine, and costs nothing. `place` is the name of a
    variable that says where else it is.
    """

    base_url: str
    key: str = ""
    quirks: Quirks = Quirks()
    place: str = ""

    @property
    def home(self) -> str:
        """Where it is: what its variable says, or else its `base_url`."""
        return os.environ.get(self.place) or self.base_url


_EFFORT = "reasoning_effort"
_THOUGHT = frozenset({"reasoning_content"})

SERVERS: Mapping[str, Server] = {
    # github.com/ollama/ollama, docs/openai.md and openai/openai.go: a `format` holds for the whole
    # answer, so that no tool is called; the field of what was thought is `reasoning`.
    "ollama": Server(
        "http://localhost:11434/v1",
        quirks=Quirks(structured="json_schema", effort=_EFFORT, returned=frozenset({"reasoning"})),
    ),
    # github.com/ggml-org/llama.cpp, tools/server/README.md and common/chat.cpp: a grammar of the
    # answer is refused beside tools, and there is one tool call at most if nothing is said.
    "llamacpp": Server(
        "http://localhost:8080/v1",
        quirks=Quirks(structured="json_schema", parallel=False, returned=_THOUGHT),
    ),
    # docs.vllm.ai, "OpenAI-Compatible Server", "Structured Outputs" and "Reasoning Outputs".
    "vllm": Server(
        "http://localhost:8000/v1",
        quirks=Quirks(
            structured="json_schema",
            effort=_EFFORT,
            parallel=True,
            returned=frozenset({"reasoning", "reasoning_content"}),
        ),
    ),
    # console.groq.com/docs: "Structured Outputs" go neither with a stream nor with tools.
    "groq": Server(
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        Quirks(
            max_tokens="max_completion_tokens",
            effort=_EFFORT,
            parallel=True,
            tier="",
            returned=frozenset({"reasoning"}),
        ),
    ),
    # docs.mistral.ai/api: a field that is not known is refused, `stream_options` too, and the last
    # event counts without it. Ids: mistral-common, `validate_tool_call_id`.
    "mistral": Server(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        Quirks(structured="json_schema", usage=False, parallel=True, id_length=9),
    ),
    # api-docs.deepseek.com, "JSON Output" and "Thinking Mode": what was thought before a tool call
    # must come back.
    "deepseek": Server(
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        Quirks(structured="json_object", effort=_EFFORT, returned=_THOUGHT),
    ),
    # openrouter.ai/docs, "Reasoning Tokens" and "PDF Inputs". What a model behind it can enforce,
    # nobody knows here.
    "openrouter": Server(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        Quirks(
            effort="reasoning.effort",
            parallel=True,
            returned=frozenset({"reasoning_details", "annotations"}),
        ),
    ),
    # ai.google.dev/gemini-api/docs/openai and /thought-signatures: `extra_content` of a tool call
    # holds the signature, without which a request is refused.
    "gemini": Server(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        Quirks(structured="json_schema", effort=_EFFORT, returned=frozenset({"extra_content"})),
    ),
    # The types of `chat.completions.create` in the openai SDK, which reads OPENAI_BASE_URL. The
    # tier as in the Responses API: the quote is made for it, and a project's own default may cost
    # twice as much.
    "openai-chat": Server(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        Quirks(
            max_tokens="max_completion_tokens",
            effort=_EFFORT,
            structured="json_schema",
            beside_tools=True,
            strict=True,
            parallel=True,
            tier="default",
            cache_key=True,
            vendor="openai",
            fields={"store": False},
        ),
        place="OPENAI_BASE_URL",
    ),
}
"""The servers that have a name of their own in ``"provider:model"``."""
