"""Chat Completions over the real SDK: one attempt, and what came of it, whatever the wire does."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from itertools import cycle
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.calls import NANO, Failure, Message, Reply, Request, Text, ToolSpec
from loopwright.models import Anthropic, Chat, OpenAI, catalogue
from loopwright.models.sdk import LARGEST_ERROR

HELLO = (Message("user", [Text("Hello")]),)
COUNTED = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


def chunk(finish=None, usage=None, **said) -> bytes:
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    return event({"model": "gpt-4o-2024-08-06", "choices": [choice], "usage": usage})


def event(value) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = event({"choices": [], "usage": COUNTED})
DONE = b"data: [DONE]\n\n"
HI = chunk(role="assistant", content="Hi")
WHOLE = (HI, chunk("stop"), USAGE, DONE)


class Wire:
    """Answers with the `chunks` of a body; an exception among them is raised."""

    def __init__(self, *chunks: Any, status: int = 200, kind: str = "text/event-stream", **headers):
        self.chunks = chunks
        self.status = status
        self.headers = {"content-type": kind}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.seen: list[httpx2.Request] = []
        self.read = 0
        self.body: Callable[[], AsyncIterator[bytes]] = self._body

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        if self.chunks and isinstance(self.chunks[0], Exception):
            raise self.chunks[0]
        return httpx2.Response(self.status, headers=self.headers, content=self.body())

    async def _body(self) -> AsyncIterator[bytes]:
        for one in self.chunks:
            for piece in [one] if isinstance(one, bytes | Exception) else one:
                if isinstance(piece, Exception):
                    raise piece
                self.read += len(piece)
                yield piece

    def asked(self, name: str = "openai-chat", timeout: float = 10.0, **more: Any) -> Any:
        """What comes of one request; never more than one attempt."""
        return asyncio.run(self.reply(name, Request("gpt-4o", HELLO, timeout=timeout, **more)))

    async def reply(self, name: str, request: Request) -> Reply | Failure:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        url = "http://127.0.0.1:9/v1"
        chat = Chat(name, base_url=url, api_key="k-123456", http_client=http)
        try:
            return await chat.reply(request)
        finally:
            assert len(self.seen) == 1
            await chat.close()


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Wire:
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return Wire(json.dumps(body).encode(), status=status, kind="application/json", **headers)


def page(status: int) -> Wire:
    return Wire(b"<html><body>no</body></html>", status=status, kind="text/html")


# ---------------------------------------------------------------------- what the SDK would repeat

ERRORS = [
    # wire, kind, resend, seconds to wait
    (error(400), "bad_request", False, None),
    (error(401), "not_authenticated", False, None),
    (error(402), "quota_exhausted", False, None),
    (error(403), "not_permitted", False, None),
    (error(404), "no_such_model", False, None),
    (error(408), "timeout", True, None),
    (error(409), "server_error", True, None),
    (error(413), "too_large", False, None),
    (error(422), "bad_request", False, None),
    (error(429), "rate_limited", True, None),
    (error(500), "server_error", True, None),
    (page(500), "server_error", True, None),
    (page(502), "server_error", True, None),
    (page(503), "server_error", True, None),
    (page(504), "server_error", True, None),
    (error(529), "overloaded", True, None),
    (error(429, retry_after="300"), "rate_limited", True, 300),
    (error(429, retry_after="3600"), "rate_limited", True, 3600),
    (error(429, retry_after="0"), "rate_limited", True, None),
    (error(429, retry_after_ms="1500"), "rate_limited", True, 1.5),
    (error(429, retry_after="-1"), "rate_limited", True, None),
    (error(429, retry_after="nan"), "rate_limited", True, None),
    (error(429, x_ratelimit_reset_requests="6m0s"), "rate_limited", True, None),
    (error(400, x_should_retry="true"), "bad_request", True, None),
    (error(429, x_should_retry="false"), "rate_limited", False, None),
    (error(429, code="insufficient_quota"), "quota_exhausted", False, None),
    (
        error(429, code="insufficient_quota", x_should_retry="true"),
        "quota_exhausted",
        False,
        None,
    ),
    (error(400, code="context_length_exceeded"), "context_too_long", False, None),
    (error(400, code="tool_use_failed"), "malformed", True, None),
    (Wire(status=400), "bad_request", False, None),
    (Wire(status=307, location="http://192.0.2.1/"), "bad_request", False, None),
    (Wire(b"[" * 10_000, status=500, kind="application/json"), "server_error", True, None),
]


@pytest.mark.parametrize(("wire", "kind", "resend", "wait"), ERRORS)
def test_an_error_is_one_attempt(wire, kind, resend, wait):
    wire.seen.clear()
    wire.headers["x-request-id"] = "req_1"
    failure = wire.asked()
    assert (failure.kind, failure.may_resend, failure.retry_after) == (kind, resend, wait)
    assert (failure.status, failure.usage, failure.request_id) == (wire.status, None, "req_1")
    assert not [name for name in wire.seen[0].headers if "idempotency" in name]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx2.ConnectError("refused"), "connection"),
        (httpx2.ConnectTimeout("slow"), "connection"),
        (httpx2.PoolTimeout("full"), "connection"),
        (httpx2.ReadTimeout("silence"), "timeout"),
        (httpx2.RemoteProtocolError("peer closed connection"), "connection"),
        (httpx2.ReadError("reset"), "connection"),
        (httpx2.ProxyError("407"), "bad_request"),
    ],
)
def test_what_the_transport_raises_never_leaks(raised, kind):
    failure = Wire(raised).asked()
    assert (failure.kind, failure.status, failure.usage) == (kind, None, None)
    assert failure.may_resend is (kind != "bad_request")


async def quietly(wire: Wire, *pieces: bytes) -> AsyncIterator[bytes]:
    """The pieces over and over, one each hundredth of a second."""
    for piece in cycle(pieces):
        wire.read += len(piece)
        yield piece
        await asyncio.sleep(0.01)


def test_a_cancelled_call_is_gone_at_once():
    wire = Wire()
    wire.body = lambda: quietly(wire, HI)

    async def cancelled() -> None:
        call = asyncio.ensure_future(wire.reply("openai-chat", Request("m", HELLO)))
        while not wire.read:
            await asyncio.sleep(0)
        call.cancel()
        await call

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


# ---------------------------------------------------------------------------------------- streams

COUNTED_ERROR = json.dumps({"error": {"code": 529, "message": "busy"}, "usage": COUNTED}).encode()
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"path": "/a", "conte'}}


@pytest.mark.parametrize(
    ("wire", "kind", "tokens"),
    [
        (Wire(HI, event({"error": {"message": "busy", "code": 529}})), "overloaded", None),
        (Wire(HI, b'event: error\ndata: {"error": {"message": "no"}}\n\n'), "server_error", None),
        (Wire(HI), "cut_stream", None),
        (Wire(HI, DONE), "cut_stream", None),
        (Wire(HI, USAGE), "cut_stream", 1100),
        (Wire(chunk(tool_calls=[CALL])), "cut_stream", None),
        (Wire(HI, httpx2.ReadError("reset")), "cut_stream", None),
        (Wire(HI, USAGE, httpx2.RemoteProtocolError("peer closed")), "cut_stream", 1100),
        (Wire(HI, httpx2.ReadTimeout("silence")), "timeout", None),
        (Wire(), "malformed", None),
        (Wire(DONE), "cut_stream", None),
        (Wire(b"<html>no</html>", kind="text/html"), "malformed", None),
        (Wire(b'{"choices": [{"mess', kind="application/json"), "malformed", None),
        (Wire(b"", kind="application/json"), "malformed", None),
        (Wire(b'{"usage": {}}', kind="application/json"), "malformed", None),
        (Wire(b'{"error": {"code": 429}}', kind="application/json"), "rate_limited", None),
        (Wire(COUNTED_ERROR, kind="application/json"), "overloaded", 1100),
        (Wire(b'data: {"choices": NaN}\n\n'), "malformed", None),
        (Wire(b"data: " + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n\n"), "malformed", None),
        (Wire(HI, event({"choices": "x"})), "malformed", None),
        (Wire(HI, event({"choices": [{"delta": {"content": 7}}]})), "malformed", None),
        (Wire(HI, event({"choices": [{"delta": {"tool_calls": [None]}}]})), "malformed", None),
    ],
)
def test_an_answer_that_is_none(wire, kind, tokens):
    wire.seen.clear()
    failure = wire.asked()
    assert (failure.kind, failure.may_resend) == (kind, True)
    assert (failure.usage and failure.usage.tokens) == tokens


def test_comments_alone_are_no_answer():
    failure = Wire(HI, (b": ping\n\n" for _ in range(50))).asked()
    assert failure.kind == "cut_stream"


@pytest.mark.parametrize("piece", [b"", b": ping\n\n", HI[:1]])
def test_silence_ends_with_the_time_for_the_call(piece):
    wire = Wire()
    wire.body = lambda: quietly(wire, piece)
    failure = wire.asked(timeout=0.1)
    assert (failure.kind, failure.may_resend) == ("timeout", True)


def test_a_call_that_was_cut_is_not_made():
    reply = Wire(chunk(tool_calls=[CALL]), chunk("length"), USAGE, DONE).asked()
    assert reply.finish == "length"
    reply = Wire(chunk(tool_calls=[CALL]), chunk("tool_calls"), USAGE, DONE).asked()
    assert reply.finish == "length"


def test_odd_characters_come_through():
    text = 'NUL \x00, half \ud83d, right to left \u202e, escape \x1b[31m, "'
    wire = Wire(chunk(content=text), chunk("stop"), DONE)
    assert wire.asked().text == text


def test_the_bytes_may_come_in_any_pieces():
    whole = b"\xef\xbb\xbf: hello\r\n\r\n" + b"".join(WHOLE).replace(b"\n", b"\r\n")
    wire = Wire(*(whole[at : at + 1] for at in range(len(whole))))
    assert wire.asked().text == "Hi"


# ------------------------------------------------------------------------------ usage and cost


@pytest.mark.parametrize("streamed", [True, False])
def test_usage_and_cost(streamed):
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"model": "gpt-4o-2024-08-06", "choices": [choice], "usage": COUNTED}
    once = Wire(json.dumps(body).encode(), kind="application/json")
    reply = (Wire(*WHOLE) if streamed else once).asked()
    assert (reply.text, reply.finish, reply.model) == ("Hi", "stop", "gpt-4o-2024-08-06")
    assert (reply.usage.input_uncached, reply.usage.cache_read) == (600, 400)
    assert (reply.usage.output_visible, reply.usage.output_reasoning) == (70, 30)
    assert reply.usage.raw == COUNTED
    assert (reply.first_token is not None) is streamed
    cost = catalogue.cost("openai-chat:gpt-4o", reply.model, reply.usage, reply.tier)
    usd = (600 * Decimal("2.5") + 400 * Decimal("1.25") + 100 * Decimal(10)) / 10**6
    assert cost.low == cost.high == usd * NANO


@pytest.mark.parametrize("type_", ["message", "reasoning", [None], {"a": 1}])
def test_a_type_of_the_message_is_nothing_of_ours(type_):
    reply = Wire(chunk(content="Hi", type=type_, mood="x"), chunk("stop"), USAGE, DONE).asked()
    assert reply.blocks == (Text("Hi", "openai-chat", {"mood": "x"}),)


@pytest.mark.parametrize("type_", [[None], {"a": 1}, 7])
def test_a_part_of_an_odd_type_is_no_exception(type_):
    part = {"type": type_, "x": 1}
    reply = Wire(chunk(content=[part]), chunk("stop"), USAGE, DONE).asked()
    assert reply.blocks[0].data == part


def test_a_refusal_is_an_answer():
    reply = Wire(chunk(refusal="I cannot."), chunk("stop"), USAGE, DONE).asked()
    assert (reply.text, reply.finish, reply.usage.tokens) == ("I cannot.", "refusal", 1100)


def test_a_wait_on_a_success_is_ignored():
    reply = Wire(*WHOLE, retry_after="300").asked()
    assert reply.text == "Hi"
    failure = Wire(HI, event({"error": {"code": 429}}), retry_after="300").asked()
    assert (failure.kind, failure.retry_after) == ("rate_limited", None)


def test_who_listens_hears_the_pieces():
    told = []
    call = {"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{"}}
    rest = {"index": 0, "function": {"arguments": "}"}}
    chunks = [chunk(reasoning="Hm"), HI, chunk(tool_calls=[call]), chunk(tool_calls=[rest])]
    wire = Wire(*chunks, chunk("tool_calls"), USAGE, DONE)
    reply = wire.asked(tools=(ToolSpec("weather", "", {}),), tell=lambda *piece: told.append(piece))
    assert reply.finish == "tool_calls"
    assert told == [
        ("thinking", "Hm"),
        ("text", "Hi"),
        ("tool_call", "weather"),
        ("tool_call", "{"),
        ("tool_call", "}"),
    ]


def test_what_was_sent_is_said():
    assert Wire(*WHOLE).asked().sent.prefix
    assert error(500).asked().sent.prefix


# ------------------------------------------------------------------------------------ too much


@pytest.mark.parametrize("status", [400, 500])
def test_of_a_huge_error_only_the_beginning_is_read(status):
    huge = Wire((b"x" * 16_384 for _ in range(12_800)), status=status, kind="text/html")
    failure = huge.asked()
    assert failure.kind == ("bad_request" if status == 400 else "server_error")
    assert huge.read <= LARGEST_ERROR + 16_384


@pytest.mark.parametrize("kind", [OpenAI, Anthropic])
def test_that_holds_for_every_adapter(kind):
    huge = Wire((b"x" * 16_384 for _ in range(12_800)), status=500, kind="text/html")
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(huge._answer))
    provider = kind(api_key="k-123456", base_url="http://127.0.0.1:9/v1", http_client=http)
    failure = asyncio.run(provider.reply(Request("gpt-4o", HELLO)))
    assert failure.kind == "server_error"
    assert huge.read <= LARGEST_ERROR + 16_384


@pytest.mark.parametrize("status", [200, 500])
def test_what_unpacks_to_too_much_is_given_up(status):
    packed = gzip.compress(b"x" * (80 * 2**20), 1)
    failure = Wire(packed, status=status, content_encoding="gzip").asked()
    assert failure.kind == ("too_large" if status == 200 else "server_error")
    assert len(failure.message) < 500


# ------------------------------------------------------------------------------------- whatever

KEYS = st.sampled_from(
    ["choices", "delta", "message", "index", "content", "type", "text", "usage", "error"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"index": JSON, "delta": JSON, "finish_reason": JSON, "message": JSON}
)
SAID = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)}, optional={"usage": JSON, "error": JSON}
)


@given(st.lists(SAID, max_size=3), st.booleans())
@settings(max_examples=60)
def test_whatever_a_server_says_is_a_reply_or_a_failure(said, streamed):
    if streamed:
        result = Wire(*map(event, said), DONE).asked()
    else:
        body = json.dumps(said[0] if said else {}).encode()
        result = Wire(body, kind="application/json").asked()
    assert isinstance(result, Reply | Failure)
