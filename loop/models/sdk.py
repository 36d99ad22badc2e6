"""What all adapters do with their SDK: one client per event loop, one request, one answer.

The SDK keeps what it is good at, which is credentials, transport and its environment variables.
The request is posted as plain JSON, because the typed methods walk the whole history at each call,
and the answer is read as raw events, because the typed ones take a cut stream for a whole one.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import httpx2
from attrs import evolve

from loopwright.calls import Failure, Reply, Sent, Usage
from loopwright.deadline import within
from loopwright.errors import BadInput
from loopwright.models import failures, strict
from loopwright.models.sse import LARGEST, Events, Malformed, TooLong
from loopwright.models.switch import ensure_allowed

DRAIN = 1.0
"""Seconds to wait for the end of a body whose last event has come, so that the connection can be
used again."""

CONNECT = 10.0
"""Seconds to make a connection: twice what both SDKs take (their `DEFAULT_TIMEOUT`)."""

LARGEST_ERROR = 65_536
"""Bytes that are read of the body of an HTTP error, as they come over the wire: the error objects
of all providers have less than four thousand."""

PACKED_ERROR = 4096
"""Bytes of the body of an error that is packed: they unpack to a thousand times as many at most."""

NO_ADMIN = {"bearer_auth": True, "admin_api_key_auth": False}
"""The option `security` of OpenAI's SDK: else an administrator's key in OPENAI_ADMIN_KEY would be
sent where there is no API key."""

_Read = TypeVar("_Read")

_SHAPES = (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError)
"""What is raised by reading data that has another shape than it should."""


class Assembly(Protocol):
    """Puts an answer together from its events."""

    @property
    def usage(self) -> Usage | None:
        """What is known to be used so far."""
        ...

    @property
    def done(self) -> bool:
        """Whether the terminal event has come."""
        ...

    @property
    def begun(self) -> bool:
        """Whether the model has said anything."""
        ...

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event. Raises `Malformed` if it cannot be one."""
        ...

    def whole(self, value: Mapping[str, Any]) -> None:
        """Take an answer that came at once. Raises `Malformed` if it cannot be one."""
        ...

    def answer(self, headers: Mapping[str, str]) -> Reply | Failure:
        """The whole answer, or why there is none."""
        ...


class Clients:
    """One client of an SDK for each event loop: one that two loops use breaks.

    A client is closed when its event loop shuts down its asynchronous generators, which
    `asyncio.run` does at its end. `kind` is the name of the class of clients. Raises `BadInput` for
    a `given` client that is of another one.
    """

    def __init__(self, kind: str, make: Callable[[], Any], given: Any = None) -> None:
        self._make = make
        self._given = given if given is None else _fitting(given, kind)
        self._spares: list[Any] = []
        self._open: WeakKeyDictionary[Any, tuple[Any, AsyncGenerator[Any, None]]]
        self._open = WeakKeyDictionary()

    def first(self) -> Any:
        """A client that has not been used yet, to look at."""
        if self._given is not None:
            return self._given
        if not self._spares:
            self._spares.append(self._made())
        return self._spares[-1]

    async def current(self) -> Any:
        """The client of the running event loop."""
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            client = self._unused()
            held = self._held(loop, client)
            await anext(held)
            self._open[loop] = client, held
        return self._open[loop][0]

    def _unused(self) -> Any:
        try:
            return self._spares.pop()
        except IndexError:
            return self._made()

    def _made(self) -> Any:
        return _capped(_usable(self._make()))

    async def _held(self, loop: Any, client: Any) -> AsyncGenerator[Any, None]:
        try:
            yield client
        finally:
            self._open.pop(loop, None)
            await client.close()

    async def close(self) -> None:
        """Close the client of the running event loop, if it has one; a given one stays open."""
        _, held = self._open.get(asyncio.get_running_loop(), (None, None))
        if held is not None:
            await held.aclose()


def _fitting(client: Any, kind: str) -> Any:
    """A synchronous client would send the request, and its answer would be lost; those of other
    clouds rewrite a request that they see before it is written."""
    if kind in {one.__name__ for one in type(client).__mro__}:
        return client
    raise BadInput(f"{type(client).__name__} is not the client that speaks here: give an {kind}")


_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""What may stand in a header: visible ASCII, as the transport wants it."""


def _usable(client: Any) -> Any:
    """Raises `BadInput` for what can never be sent, before anything is spent."""
    url = client.base_url
    if url.scheme not in ("http", "https") or not url.host:
        said = failures.masked(str(url))
        raise BadInput(f"the base_url {said!r} is no address: it begins with http:// or https://")
    for name in _CREDENTIALS:
        secret = getattr(client, name, None)
        if isinstance(secret, str) and secret and not _HEADER.fullmatch(secret):
            raise BadInput(
                f"the key for {url.host} cannot be sent: it has a line end, a blank at an end, or "
                "characters that are not ASCII; take them out"
            )
    return client


_CREDENTIALS = ("api_key", "auth_token")
"""Where the clients of the SDKs keep their keys."""


class _Beginning(httpx2.AsyncByteStream):
    """The first bytes of a body."""

    def __init__(self, whole: Any, most: int) -> None:
        self._whole = whole
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._whole:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._whole.aclose()


async def _cap(response: httpx2.Response) -> None:
    if response.status_code >= 300:
        packed = "content-encoding" in response.headers
        response.stream = _Beginning(response.stream, PACKED_ERROR if packed else LARGEST_ERROR)


def _capped(client: Any) -> Any:
    """Let the SDK, which reads the whole body of an error before it raises, read its beginning.

    The SDKs have no public way to the HTTP client that they made for themselves.
    """
    http = getattr(client, "_client", None)
    if http is not None and _cap not in http.event_hooks["response"]:
        hooks = http.event_hooks
        http.event_hooks = {**hooks, "response": [*hooks["response"], _cap]}
    return client


async def ask(
    client: Any,
    path: str,
    written: tuple[bytes, Sent],
    timeout: float,
    assembly: Assembly,
    **options: Any,
) -> Reply | Failure:
    """Post the JSON that was `written` once, and put the answer together within `timeout` seconds.

    The answer says what it means that this was sent. `options` are more options of the SDK's
    `post`. Raises `RealCallForbidden`, and lets a cancellation pass; nothing else.
    """
    ensure_allowed(client.base_url)
    (body, sent), noted = written, dict[str, Any]()
    try:
        with within(timeout):
            result = await _asked(client, path, body, timeout, assembly, options, noted)
    except TimeoutError:
        said = f"no complete answer within {timeout:g} s"
        return failures.failed("timeout", said, usage=assembly.usage)
    except Exception as error:
        result = failures.from_exception(error, begun=False)
    if result.sent.repairs:
        sent = evolve(sent, repairs=sent.repairs + result.sent.repairs)
    result = evolve(result, sent=sent, **noted)
    return _without_keys(client, result) if isinstance(result, Failure) else result


def _without_keys(client: Any, failure: Failure) -> Failure:
    keys = [getattr(client, name, None) for name in _CREDENTIALS]
    known = [key for key in keys if isinstance(key, str)]
    return evolve(failure, message=failures.masked(failure.message, known))


async def _asked(
    client: Any,
    path: str,
    body: bytes,
    timeout: float,
    assembly: Assembly,
    options: Mapping[str, Any],
    noted: dict[str, Any],
) -> Reply | Failure:
    """The answer; what else is to stand in it is `noted`, since a value is copied as a whole."""
    begun = time.perf_counter()
    response = await client.post(
        path,
        content=body,
        cast_to=httpx2.Response,
        stream=True,
        # A redirect would carry the key to wherever the answer says.
        options={
            "max_retries": 0,
            "timeout": httpx2.Timeout(timeout, connect=min(timeout, CONNECT)),
            "follow_redirects": False,
            **options,
        },
    )
    first = None
    try:
        if _plain(response.headers):
            result = _at_once(await _text(response), assembly, response.headers)
        else:
            first = await _stream(response, assembly)
            result = _shaped(assembly.answer, response.headers)
    except Exception as error:
        failure = failures.from_exception(error, begun=True)
        result = evolve(failure, usage=assembly.usage, status=200)
    finally:
        await response.aclose()
    noted["request_id"] = failures.request_id(response.headers)
    if first is not None and isinstance(result, Reply):
        noted["first_token"] = round(first - begun, 6)
    return result


def _at_once(text: str, assembly: Assembly, headers: Mapping[str, str]) -> Reply | Failure:
    return _whole(text, assembly, headers) or _shaped(assembly.answer, headers)


def _shaped(read: Callable[[Any], _Read], value: Any) -> _Read:
    """What `read` makes of `value`. Raises `Malformed` for one of another shape."""
    try:
        return read(value)
    except Malformed:
        raise
    except _SHAPES as error:
        kind = value.get("type") if isinstance(value, dict) else None
        what = f"an event {kind!r:.40}" if kind else "the answer"
        raise Malformed(f"{what} has the wrong shape: {type(error).__name__} {error}") from None


def _whole(text: str, assembly: Assembly, headers: Mapping[str, str]) -> Failure | None:
    """Feed the assembly an answer that came at once, if it is one."""
    try:
        value = strict.loads(text)
    except ValueError:
        return failures.from_body(200, text, headers)
    # A response that failed has an error inside, and was counted all the same.
    counted = isinstance(value, dict) and isinstance(value.get("usage"), dict)
    if not isinstance(value, dict) or (failures.error_in(value) is not None and not counted):
        return failures.from_body(200, text, headers)
    _shaped(assembly.whole, value)
    return None


def _plain(headers: Mapping[str, str]) -> bool:
    """Whether the body says of itself that it is something other than an event stream."""
    said = headers.get("content-type", "")
    return any(kind in said for kind in ("json", "html", "xml"))


async def _text(response: Any) -> str:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST:
            raise TooLong
    return body.decode(errors="replace")


async def _stream(response: Any, assembly: Assembly) -> float | None:
    """Feed the assembly; when the first words came, on the clock of `time.perf_counter`."""
    events, first, chunks = Events(), None, response.aiter_bytes()
    async for chunk in chunks:
        for event in events.feed(chunk):
            _shaped(assembly.take, event)
        if first is None and assembly.begun:
            first = time.perf_counter()
        if assembly.done:
            await _drained(chunks)
            return first
    if not events.count and not _cut(events):
        raise Malformed(f"the answer is no event stream: {_beginning(events.head)}")
    return first


def _beginning(head: bytes) -> str:
    return f"it begins with {head[:150].decode(errors='replace')!r}" if head else "an empty body"


def _cut(events: Events) -> bool:
    return events.head.startswith((b"event:", b"data:", b":", b"id:", b"retry:"))


async def _drained(chunks: Any) -> None:
    with suppress(Exception), within(DRAIN):
        async for _ in chunks:
            pass
