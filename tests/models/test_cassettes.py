"""What real providers once answered is read as they meant it: nothing misread or misbilled."""

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from attrs import frozen
from genai_prices import Usage as Counted
from genai_prices import calc_price
from models.cassettes import FOLDER, Recorded, Replayed, read, replay, served
from models.recordings import CASES, UNCOUNTED, Case, buckets, counted

from loopwright.calls import NANO, Failure, Reply
from loopwright.models import catalogue

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the recorded conversations are not at {FOLDER}"
)


def _provider(case: Case, url: str) -> Any:
    if case.wire == "anthropic":
        from loopwright.models import Anthropic

        return Anthropic(api_key="k-123456", base_url=url.removesuffix("/v1"))
    if case.wire == "openai":
        from loopwright.models import OpenAI

        return OpenAI(api_key="k-123456", base_url=url)
    from loopwright.models.chat import Chat

    return Chat(case.provider, base_url=url, api_key="k-123456")


@cache
def _replayed(name: str) -> list[Replayed]:
    recorded = read(FOLDER / name)
    with served(recorded) as server:
        return replay(_provider(CASES[name], server.url), recorded, server)


def _each(holds: Callable[[Case], bool] = lambda _: True) -> pytest.MarkDecorator:
    """With each recording for whose case this holds."""
    names = [name for name, case in CASES.items() if holds(case)]
    return pytest.mark.parametrize("name", names, ids=["/".join(n.split("/")[-2:]) for n in names])


def _replies(name: str) -> list[tuple[Recorded, Reply]]:
    """What the model said, and the record of it."""
    done = [(each.recorded, each.result) for each in _replayed(name)]
    found = [(recorded, reply) for recorded, reply in done if isinstance(reply, Reply)]
    assert found
    return found


def _failures(name: str) -> list[Failure]:
    found = [each.result for each in _replayed(name) if isinstance(each.result, Failure)]
    assert found
    return found


def test_each_recording_is_replayed():
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")} == set(CASES)


@_each()
def test_it_ends_as_the_provider_meant(name):
    results = [each.result for each in _replayed(name)]
    ends = tuple(r.finish if isinstance(r, Reply) else r.kind for r in results)
    assert ends == CASES[name].ends


@_each(lambda case: case.spoken)
def test_words_and_arguments_are_what_was_received(name):
    for recorded, reply in _replies(name):
        received = _message(CASES[name].wire, recorded)
        calls = [(call.name, call.arguments) for call in reply.tool_calls]
        assert reply.text == received.text
        assert calls == [(called.name, json.loads(called.arguments)) for called in received.calls]
        assert not any(call.malformed for call in reply.tool_calls)


@_each(lambda case: case.spoken)
def test_usage_is_what_the_provider_reported(name):
    wire = CASES[name].wire
    for recorded, reply in _replies(name):
        reported = counted(wire, recorded)
        expected = buckets(wire, reported)
        if name in UNCOUNTED and not sum(expected.values()):
            assert reply.usage is None
            continue
        assert reply.usage is not None
        assert {name: getattr(reply.usage, name) for name in expected} == expected
        assert reply.usage.tokens == _total(wire, reported)
        assert dict(reply.usage.raw) == reported


@_each(lambda case: case.priced)
def test_the_cost_is_price_times_bucket_to_the_nano_dollar(name):
    provider = CASES[name].provider.replace("chat", "openai")
    for _, reply in _replies(name):
        if reply.usage is not None:
            found = catalogue.cost(f"{provider}:{reply.model}", reply.model, reply.usage)
            assert found.low == found.high
            assert 0 <= found.high - _price(provider, reply) < 1


@_each(lambda case: case.goes_on)
def test_what_was_received_goes_back_as_it_came(name):
    for before, after in pairwise(_replayed(name)):
        if isinstance(before.result, Reply):
            assert _gone_back(CASES[name].wire, before.recorded, after.sent)


@_each(lambda case: case.failed)
def test_what_failed_tells_no_part_of_a_key_and_whether_to_resend(name):
    for failure in _failures(name):
        assert "***" not in failure.message
        # Groq's model wrote a call that its tools do not take: the next one may be another.
        assert failure.may_resend is (CASES[name].provider == "groq")


# ------------------------------------------------------------ the recordings, read independently


@frozen
class Called:
    """A tool call on the wire."""

    id: str
    name: str
    arguments: str


@frozen
class Received:
    """What a model said, on any wire."""

    text: str
    calls: tuple[Called, ...]


def _message(wire: str, recorded: Recorded) -> Received:
    if wire == "anthropic":
        return _from_blocks(_blocks(recorded))
    return _from_items(_output(recorded)) if wire == "openai" else _from_choice(recorded)


def _from_blocks(blocks: Sequence[Any]) -> Received:
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return Received(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        tuple(Called(c["id"], c["name"], json.dumps(c["input"])) for c in calls),
    )


def _from_items(items: Sequence[Any]) -> Received:
    said = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = [item for item in items if item["type"] == "function_call"]
    return Received(
        "".join(part["text"] for part in said),
        tuple(Called(c["call_id"], c["name"], c["arguments"]) for c in calls),
    )


def _from_choice(recorded: Recorded) -> Received:
    if recorded.streamed:
        return _from_chunks([choice["delta"] for e in recorded.events for choice in e["choices"]])
    message = json.loads(recorded.text)["choices"][0]["message"]
    return Received(message.get("content") or message.get("refusal") or "", _called(message))


def _called(message: Mapping[str, Any]) -> tuple[Called, ...]:
    calls = message.get("tool_calls") or ()
    return tuple(Called(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls)


def _from_chunks(deltas: Sequence[Any]) -> Received:
    pieces = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    first = [piece for piece in pieces if piece.get("id")]
    calls = (
        Called(
            head["id"],
            head["function"]["name"],
            "".join(p["function"]["arguments"] for p in pieces if p["index"] == head["index"]),
        )
        for head in first
    )
    return Received("".join(delta.get("content") or "" for delta in deltas), tuple(calls))


def _blocks(recorded: Recorded) -> list[Any]:
    """The content blocks of a message of Anthropic's."""
    if not recorded.streamed:
        return list(json.loads(recorded.text)["content"])
    grown = [dict(e["content_block"]) for e in recorded.events if e["type"].endswith("block_start")]
    for event in recorded.events:
        if event["type"] == "content_block_delta":
            block, delta = grown[event["index"]], event["delta"]
            key = "text" if delta["type"] == "text_delta" else "partial_json"
            block[key] = block.get(key, "") + delta[key]
    for block in grown:
        if written := block.pop("partial_json", ""):
            block["input"] = json.loads(written)
    return grown


def _output(recorded: Recorded) -> list[Any]:
    """The output items of a response of OpenAI's."""
    whole = recorded.events[-1]["response"] if recorded.streamed else json.loads(recorded.text)
    return list(whole["output"])


# -------------------------------------------------------------------------------------- money


def _total(wire: str, counted: Mapping[str, Any]) -> int:
    if wire != "anthropic":
        return int(counted["total_tokens"])
    cached = counted["cache_creation_input_tokens"] + counted["cache_read_input_tokens"]
    return int(counted["input_tokens"] + cached + counted["output_tokens"])


def _price(provider: str, reply: Reply) -> Fraction:
    """What genai-prices itself makes of the usage, in nano-dollars."""
    used = reply.usage
    assert used is not None
    counted = Counted(
        input_tokens=used.input,
        cache_read_tokens=used.cache_read,
        cache_write_tokens=used.cache_write_short,
        output_tokens=used.output,
    )
    return Fraction(calc_price(counted, reply.model, provider_id=provider).total_price) * NANO


# -------------------------------------------------------------------------------- the way back


def _gone_back(wire: str, recorded: Recorded, sent: Mapping[str, Any]) -> bool:
    if wire == "anthropic":
        content = [_unmarked(m["content"]) for m in sent["messages"] if m["role"] == "assistant"]
        return _blocks(recorded) in content
    if wire == "openai":
        return all(any(_same(item, back) for back in sent["input"]) for item in _output(recorded))
    return any(_same_call(recorded, back) for back in sent["messages"])


def _unmarked(blocks: Sequence[Any]) -> list[Any]:
    """Without the marks of the cache, which are ours."""
    return [{k: v for k, v in block.items() if k != "cache_control"} for block in blocks]


def _same(item: Mapping[str, Any], back: Mapping[str, Any]) -> bool:
    """Reasoning as it came, byte for byte; of a call what binds its result to it."""
    if item["type"] != "function_call":
        return json.dumps(item) == json.dumps(back)
    keys = ("type", "call_id", "name")
    return [item[key] for key in keys] == [back.get(key) for key in keys] and (
        json.loads(item["arguments"]) == json.loads(back["arguments"])
    )


def _same_call(recorded: Recorded, back: Mapping[str, Any]) -> bool:
    received, returned = _from_choice(recorded), _called(back)
    return (
        back["role"] == "assistant"
        and (back.get("content") or "") == received.text
        and list(map(_bare, returned)) == list(map(_bare, received.calls))
    )


def _bare(called: Called) -> tuple[str, str, Any]:
    return called.id, called.name, json.loads(called.arguments)
