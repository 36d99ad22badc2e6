"""The recordings: how each of them must end, and what the providers counted in it."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from attrs import frozen
from models.cassettes import Recorded

from loopwright.calls import FailureKind


@frozen
class Case:
    """A recording: who answered on which wire, and how each of its requests must end."""

    wire: str
    provider: str
    ends: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a request fails."""
        return bool(set(self.ends) & set(get_args(FailureKind)))

    @property
    def spoken(self) -> bool:
        """Whether a request is answered."""
        return not set(self.ends) <= set(get_args(FailureKind))

    @property
    def goes_on(self) -> bool:
        """Whether the conversation goes on after a tool call."""
        return "tool_calls" in self.ends[:-1]

    @property
    def priced(self) -> bool:
        """Whether the price of what is answered is on somebody's list."""
        return self.spoken and self.provider not in ("snowflake", "huggingface")


def _case(wire: str, ends: str, provider: str = "") -> Case:
    return Case(wire, provider or wire, tuple(ends.split()))


LLM, MIRASCOPE = "simonw+llm/tests/cassettes", "Mirascope+mirascope/python/tests/e2e"
PYDANTIC, DATADOG = "pydantic+pydantic-ai/tests", "DataDog+dd-trace-py/tests/contrib"

CASES: Mapping[str, Case] = {
    f"{LLM}/test_tools/test_tool_use_chain_of_two_calls.yaml": _case(
        "chat", "tool_calls tool_calls stop"
    ),
    f"{PYDANTIC}/cassettes/test_dbos/test_dbos_agent_with_model_retry.yaml": _case(
        "chat", "tool_calls tool_calls stop"
    ),
    f"{PYDANTIC}/models/cassettes/test_anthropic/test_multiple_parallel_tool_calls.yaml": _case(
        "anthropic", "tool_calls stop"
    ),
    f"{PYDANTIC}/models/cassettes/test_openai_responses/test_openai_responses_model_retry.yaml": (
        _case("openai", "tool_calls stop")
    ),
    f"{PYDANTIC}/models/cassettes/test_openai/test_run_stream_sync_streams_real_model.yaml": _case(
        "chat", "tool_calls stop"
    ),
    f"{MIRASCOPE}/output/cassettes/test_call_with_tools/anthropic_claude_sonnet_4_0"
    "/async_stream.yaml": _case("anthropic", "tool_calls stop"),
    f"{LLM}/test_openai_responses/test_responses_tool_use_streaming.yaml": _case(
        "openai", "tool_calls stop"
    ),
    f"{LLM}/test_openai_responses/test_responses_round_trips_encrypted_reasoning.yaml": _case(
        "openai", "tool_calls tool_calls stop"
    ),
    f"{PYDANTIC}/models/cassettes/test_snowflake/test_snowflake_tool_calling.yaml": _case(
        "chat", "tool_calls stop", "snowflake"
    ),
    f"{PYDANTIC}/models/cassettes/test_groq/test_tool_use_failed_error.yaml": _case(
        "chat", "malformed tool_calls stop", "groq"
    ),
    f"{PYDANTIC}/models/cassettes/test_huggingface/test_request_structured_response.yaml": _case(
        "chat", "tool_calls", "huggingface"
    ),
    f"{MIRASCOPE}/input/cassettes/test_model_not_found/anthropic_claude_sonnet_4_0.yaml": _case(
        "anthropic", "no_such_model no_such_model"
    ),
    f"{MIRASCOPE}/input/cassettes/test_model_not_found/openai_gpt_4o_responses.yaml": _case(
        "openai", "no_such_model no_such_model"
    ),
    f"{DATADOG}/anthropic/cassettes/anthropic_completion_invalid_api_key.yaml": _case(
        "anthropic", "not_authenticated"
    ),
    f"{DATADOG}/openai/cassettes/v1/chat_completion_error.yaml": _case("chat", "not_authenticated"),
    f"{MIRASCOPE}/output/cassettes/test_refusal/openai_gpt_4o_completions/sync.yaml": _case(
        "chat", "refusal"
    ),
    f"{MIRASCOPE}/output/cassettes/test_max_tokens/openai_gpt_4o_responses/sync.yaml": _case(
        "openai", "length"
    ),
    f"{PYDANTIC}/models/cassettes/test_anthropic/test_anthropic_cache_real_api.yaml": _case(
        "anthropic", "stop stop"
    ),
    f"{DATADOG}/litellm/cassettes/completion_openrouter.yaml": _case("chat", "stop", "openrouter"),
    f"{MIRASCOPE}/input/cassettes/test_openrouter_stream/openrouter_openai_gpt_4o.yaml": _case(
        "chat", "stop", "openrouter"
    ),
}


UNCOUNTED = {name for name in CASES if name.endswith("/test_openai_responses_model_retry.yaml")}
"""Here the provider reported a usage of nothing but zeros."""


def counted(wire: str, recorded: Recorded) -> dict[str, Any]:
    """The usage as the provider reported it."""
    if not recorded.streamed:
        return dict(json.loads(recorded.text)["usage"])
    events = recorded.events
    if wire == "anthropic":
        started = next(e["message"]["usage"] for e in events if e["type"] == "message_start")
        ended = next(e["usage"] for e in events if e["type"] == "message_delta")
        return {**started, **ended}
    reports = [(e.get("response") or e).get("usage") for e in events]
    return dict([report for report in reports if report][-1])


def buckets(wire: str, counted: Mapping[str, Any]) -> dict[str, int]:
    """The usage in the buckets of `Usage`, by the wire's own rules."""
    if wire == "anthropic":
        created = counted.get("cache_creation") or {}
        return {
            "input_uncached": counted["input_tokens"],
            "cache_read": counted["cache_read_input_tokens"],
            "cache_write_short": created["ephemeral_5m_input_tokens"],
            "cache_write_long": created["ephemeral_1h_input_tokens"],
            "output_visible": counted["output_tokens"],
            "output_reasoning": 0,
        }
    into, out = ("prompt", "completion") if wire == "chat" else ("input", "output")
    inside = counted.get(f"{into}_tokens_details") or {}
    cached = inside.get("cached_tokens", counted.get("cached_tokens", 0))
    written = inside.get("cache_write_tokens", 0)
    thought = (counted.get(f"{out}_tokens_details") or {}).get("reasoning_tokens", 0)
    return {
        "input_uncached": counted[f"{into}_tokens"] - cached - written,
        "cache_read": cached,
        "cache_write_short": written,
        "cache_write_long": 0,
        "output_visible": counted[f"{out}_tokens"] - thought,
        "output_reasoning": thought,
    }
