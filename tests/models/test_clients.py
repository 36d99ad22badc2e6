"""How clients are made, what they contact, and what they read of any server, on all three wires."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from loopwright.calls import Reply, Request, Usage
from loopwright.errors import BadInput, RealCallForbidden
from loopwright.models import Chat, failures, provider, wire
from loopwright.models.rehearsal import Rehearsal
from loopwright.models.script import Played, Response
from loopwright.models.sdk import LARGEST_ERROR

WIRES = ("anthropic", "openai", "chat")
HERE = "http://127.0.0.1:9"
KEY = "correct-horse-7-battery-staple-lemon"
MODELS = {"anthropic": "anthropic", "openai": "openai", "chat": "openai-chat"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)


def made(name: str, **options: Any) -> Any:
    """A provider of the wire `name`."""
    kind = type(provider(MODELS[name]))
    return kind("mine", **options) if kind is Chat else kind(**options)


def own(name: str, **options: Any) -> Any:
    """A client of the SDK of the wire `name`, as a user makes it."""
    kind = anthropic.AsyncAnthropic if name == "anthropic" else openai.AsyncOpenAI
    return kind(api_key="k", base_url=HERE, **options)


# ---------------------------------------------------------------------------------- the way there


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    ("variable", "proxy"),
    [("HTTP_PROXY", HERE), ("ALL_PROXY", "socks5://127.0.0.1:9"), ("HTTPS_PROXY", "http://[::1")],
)
def test_no_proxy_stands_between_here_and_here(
    name: str, variable: str, proxy: str, monkeypatch, request_of
) -> None:
    monkeypatch.setenv(variable, proxy)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with Rehearsal(["Hi."]) as rehearsal:
        for key, value in rehearsal.environment.items():
            monkeypatch.setenv(key, value)
        for one in (getattr(rehearsal, name)(), provider(MODELS[name])):
            rehearsal._asked = 0
            assert asyncio.run(one.reply(request_of())).text == "Hi."


def proxied() -> Iterator[dict[str, Any]]:
    """The ways to lead a client through a proxy elsewhere."""
    proxy = "http://user:geheim@192.0.2.1:3128"
    yield {"proxy": proxy}
    yield {"transport": httpx2.AsyncHTTPTransport(proxy=proxy)}
    yield {"mounts": {"all://127.0.0.1": httpx2.AsyncHTTPTransport(proxy=proxy)}}


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("number", range(3))
def test_a_proxy_elsewhere_is_a_real_call(name: str, number: int, request_of) -> None:
    http = httpx2.AsyncClient(**list(proxied())[number])
    request = request_of(timeout=0.5)
    options = {"api_key": "k", "base_url": HERE, "http_client": http}
    if number:
        options = {"client": own(name, http_client=http)}
    with pytest.raises(RealCallForbidden, match=r"192\.0\.2\.1"):
        asyncio.run(made(name, **options).reply(request))


@pytest.mark.parametrize("name", WIRES)
def test_a_proxy_that_is_not_on_the_way_does_not_matter(name: str, request_of) -> None:
    elsewhere = httpx2.AsyncHTTPTransport(proxy="http://192.0.2.1:3128")
    http = httpx2.AsyncClient(mounts={"all://example.com": elsewhere})
    asked = made(name, client=own(name, http_client=http)).reply(request_of())
    assert asyncio.run(asked).kind == "connection"


# ------------------------------------------------------------------------------ an odd environment

ODD = [
    ("ALL_PROXY", "socks5://user:geheim@127.0.0.1:1"),
    ("https_proxy", "ftp://user:geheim@127.0.0.1:1"),
    ("HTTPS_PROXY", "http://user:ge/heim@127.0.0.1:1"),
    ("HTTP_PROXY", "http://[::1"),
    ("SSL_CERT_FILE", "/nowhere/at/all.pem"),
]


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(("variable", "value"), ODD)
def test_variables_that_hinder_are_named_without_their_values(
    name: str, variable: str, value: str, monkeypatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(BadInput, match=f"cannot be made: .* {variable}$") as refused:
        made(name, api_key="k", base_url="https://example.com").check()
    assert "ge" not in str(refused.value).split()
    assert "heim" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:port", "http://h\x01x", "http://user:ge/heim@h"]
)
def test_an_address_that_cannot_be_read_is_named_and_not_repeated(
    name: str, url: str, monkeypatch
) -> None:
    vendor = "ANTHROPIC" if name == "anthropic" else "OPENAI"
    monkeypatch.setenv(f"{vendor}_API_KEY", "k")
    monkeypatch.setenv(f"{vendor}_BASE_URL", url)
    with pytest.raises(BadInput, match=f"no address .* {vendor}_BASE_URL$") as refused:
        provider(MODELS[name]).check()
    assert "heim" not in str(refused.value)
    with pytest.raises(BadInput, match="correct base_url="):
        made(name, api_key="k", base_url=url).check()


# ------------------------------------------------------------------------------ what is not told


@pytest.mark.parametrize("key", [KEY, "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF"])
def test_no_piece_of_a_key_is_left_by_a_cut(key: str) -> None:
    for pad in range(90, 600, 3):
        for body in (f"<html>{'z ' * pad}{key}</html>", json.dumps({"error": "z " * pad + key})):
            message = failures.masked(failures.from_body(401, body, {}).message, [key])
            assert not shared(key, message, 8), message


@pytest.mark.parametrize("echo", [KEY[:20], f"{KEY[:14]}...{KEY[-4:]}", f"...{KEY[-9:]}", KEY])
def test_no_piece_of_a_key_is_told(wire, server, echo: str) -> None:
    body = json.dumps({"error": {"message": f"Invalid token {echo}, sorry"}}).encode()
    failure = server(body, status=401, content_type="application/json").reply(wire, api_key=KEY)
    assert not shared(KEY, failure.message, 8)
    assert failure.message.endswith(", sorry")


PLACEHOLDERS = [
    ("sk-no-key-required", "'messages' is required"),
    ("test-api-key", "invalid x-api-key"),
    ("my-own-server-needs-no-api-key-at-all", "no x-api-key at all: required by my-own-server."),
]


@pytest.mark.parametrize(("key", "said"), PLACEHOLDERS)
def test_words_that_stand_in_a_key_are_told(key: str, said: str) -> None:
    assert failures.masked(said, [key]) == said
    assert failures.masked(f"{said} {key}", [key]) == f"{said} [key]"


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("place", ["default_headers", "default_query"])
def test_words_that_stand_in_headers_or_the_query_are_told(name: str, server, place: str) -> None:
    given = {"X-Team": "billing-requests", "X-Deployment": "gpt-6-sol-in-production"}
    body = json.dumps({"error": {"message": "too many requests for gpt-6-sol"}}).encode()
    said = server(body, status=404, content_type="application/json")
    assert said.reply(name, **{place: given}).message == "404: too many requests for gpt-6-sol"


def shared(key: str, text: str, size: int) -> list[str]:
    """The pieces of `key` that stand in `text`."""
    pieces = [key[at : at + size] for at in range(len(key) - size + 1)]
    return [piece for piece in pieces if piece in text]


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("place", ["default_headers", "default_query"])
def test_what_headers_and_the_query_hold_is_not_told(name: str, server, place: str) -> None:
    given = {"X-My-Key": f"Custom {KEY}", "anthropic-beta": "files-api-2025-04-14"}
    body = json.dumps({"error": {"message": f"no {KEY} with files-api-2025-04-14"}}).encode()
    said = server(body, status=401, content_type="application/json")
    message = said.reply(name, **{place: given}).message
    assert message == "401: no [key] with files-api-2025-04-14"


# --------------------------------------------------------------------------- what servers send

REPLY = Played(Response("Hello"), "a-model", Usage(input_uncached=1))


def stream(name: str) -> bytes:
    counted = {"stream_options": {"include_usage": True}}
    return b"".join(map(wire.sse, wire.events(name, REPLY, counted)))


def whole(name: str) -> bytes:
    return wire.dumped(wire.answered(name, REPLY))


def told(answer: Any) -> tuple[str, bool]:
    assert isinstance(answer, Reply), answer
    return answer.text, answer.usage is not None


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("garbage", [b"data: {oops\n\n", b"data: 7\n\n", b'data: {"error": 1}\n\n'])
def test_nothing_counts_after_the_last_event(name: str, server, garbage: bytes) -> None:
    """The answer is whole and paid: to send it again would pay it twice."""
    assert told(server(stream(name) + garbage).reply(name)) == ("Hello", True)


NEWS = [
    {"detail": "routed to eu"},
    {"message": "cached", "request_id": "r"},
    {"message": "compiled", "code": "print(1)"},
    {"error": "a tool of the provider crashed"},
]


@pytest.mark.parametrize("name", ["anthropic", "openai"])
@pytest.mark.parametrize("news", NEWS)
def test_an_event_of_a_type_that_nobody_knows_is_passed_over(
    name: str, server, news: dict[str, str]
) -> None:
    """The answer is whole and paid: to take news for an error would pay it twice."""
    told_of = wire.sse({"type": "brand.new", **news})
    assert told(server(told_of + stream(name)).reply(name)) == ("Hello", True)


TYPES = ["Application/JSON", "text/plain", "", "Text/Event-Stream; charset=UTF-8", "text/html"]


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("kind", [*TYPES, "application/json"])
def test_the_type_of_a_body_may_say_what_it_likes(name: str, server, kind: str) -> None:
    body = whole(name)
    for chunks in ([body], [b"\n ", b"\n", body[:1], body[1:]]):
        assert told(server(*chunks, content_type=kind).reply(name)) == ("Hello", True)
    events = stream(name)
    for chunks in ([events], [events[:1], events[1:]], [b"\n", b": ping\n\n" + events]):
        assert told(server(*chunks, content_type=kind).reply(name)) == ("Hello", True)


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_lines_may_end_as_the_standard_allows(name: str, server, end: bytes) -> None:
    body = stream(name).replace(b"\n", end)
    assert told(server(body).reply(name)) == ("Hello", True)
    assert told(server(*[body[at : at + 1] for at in range(len(body))]).reply(name))


@pytest.mark.parametrize("name", ["anthropic", "openai"])
def test_a_last_event_without_its_empty_line_does_not_count(name: str, server) -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        body = stream(name).replace(b"\n", end).removesuffix(end)
        assert server(body).reply(name).kind == "cut_stream"


def test_blanks_without_end_are_no_answer(server) -> None:
    assert server(*[b" " * 1000] * 100).reply("openai").kind == "malformed"


# -------------------------------------------------------------------------------- a client's owner


@pytest.mark.parametrize("name", WIRES)
def test_an_http_client_of_your_own_serves_one_event_loop(name: str, server, request_of) -> None:
    one = server(stream(name)).provider(name)

    async def asked() -> list[Any]:
        return [await one.reply(request_of()) for _ in range(2)]

    one.check()
    assert [told(reply) for reply in asyncio.run(asked())] == [("Hello", True)] * 2
    with pytest.raises(BadInput, match=r"http_client= is closed.* leave it out"):
        one.check()
    one = server(stream(name)).provider(name)
    with asyncio.Runner() as first:
        first.run(asked())
        with pytest.raises(BadInput, match="used in another event loop"):
            asyncio.run(one.reply(request_of()))
        assert [told(reply) for reply in first.run(asked())] == [("Hello", True)] * 2


ERROR = b"x" * 1000


@pytest.mark.parametrize("name", WIRES)
def test_of_an_error_only_the_beginning_is_read_with_a_client_of_your_own(
    name: str, server, request_of: Any
) -> None:
    """And its owner reads the whole of errors, as before."""
    read = 0

    async def body() -> Any:
        nonlocal read
        for _ in range(1000):
            read += len(ERROR)
            yield ERROR

    def answer(_: Request) -> Any:
        return httpx2.Response(500, content=body())

    async def asked() -> None:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        client = own(name, http_client=http, max_retries=0)
        failure = await made(name, client=client).reply(request_of())
        assert (failure.kind, failure.status) == ("server_error", 500)
        assert read <= LARGEST_ERROR + len(ERROR)
        theirs = anthropic.APIStatusError if name == "anthropic" else openai.APIStatusError
        with pytest.raises(theirs) as raised:
            await client.get("/models", cast_to=object)
        assert len(raised.value.response.content) == 1000 * len(ERROR)

    asyncio.run(asked())
