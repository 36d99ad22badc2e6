"""What all adapters do with the client of their SDK: one request, one answer.

The SDK keeps what it is good at, which is credentials, transport and its environment variables.
The request is posted as plain JSON, because the typed methods walk the whole history at each call,
and the answer is read as raw events, because the typed ones take a cut stream for a whole one.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import httpx2
from attrs import evolve

from loopwright.calls import Failure, Reply, Sent, Usage
from loopwright.deadline import within
from loopwright.models import failures, strict
from loopwright.models.clients import contacted, keys, secrets
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

_BLANKS = 4096
"""Bytes before the first character that tells what a body is."""

_FIELDS = frozenset({b"d", b"e", b"i", b"r", b":"})
"""How the lines of an event stream begin."""

_WHOLE = frozenset({b"{", b"[", b"<"})
"""How objects, lists and pages begin, and no line of an event stream."""

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


_ours: ContextVar[bool] = ContextVar("_ours", default=False)
"""Whether a response is to a request of ours: a client may have an owner, who uses it, too."""


async def _cap(response: httpx2.Response) -> None:
    if _ours.get() and response.status_code >= 300:
        packed = "content-encoding" in response.headers
        response.stream = _Beginning(response.stream, PACKED_ERROR if packed else LARGEST_ERROR)


@contextmanager
def _capped(client: Any) -> Iterator[None]:
    """Let the SDK, which reads the whole body of an error before it raises, read its beginning.

    The SDKs have no public way to their HTTP client.
    """
    http = getattr(client, "_client", None)
    if http is not None and _cap not in http.event_hooks["response"]:
        hooks = http.event_hooks
        http.event_hooks = {**hooks, "response": [*hooks["response"], _cap]}
    _ours.set(True)
    try:
        yield
    finally:
        _ours.set(False)


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
    for host in contacted(client):
        ensure_allowed(host)
    (body, sent), noted = written, dict[str, Any]()
    try:
        with within(timeout), _capped(client):
            result = await _asked(client, path, body, timeout, assembly, options, noted)
    except TimeoutError:
        said = f"no complete answer within {timeout:g} s"
        return failures.failed("timeout", said, usage=assembly.usage)
    except Exception as error:
        result = failures.from_exception(error, begun=False)
    if result.sent.repairs:
        sent = evolve(sent, repairs=sent.repairs + result.sent.repairs)
    result = evolve(result, sent=sent, **noted)
    if isinstance(result, Failure):
        told = failures.masked(result.message, keys(client), secrets(client))
        result = evolve(result, message=told)
    return result


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
        head, chunks = await _opened(response)
        if _plain(head, response.headers):
            result = _at_once(await _text(chunks), assembly, response.headers)
        else:
            first = await _stream(chunks, assembly)
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


async def _opened(response: Any) -> tuple[bytes, AsyncIterator[bytes]]:
    """How a body begins behind its blanks, and all of it."""
    rest, head = response.aiter_bytes(), b""
    async for chunk in rest:
        head += chunk
        if head.strip() or len(head) > _BLANKS:
            break
    return head.lstrip(), _joined(head, rest)


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk


def _plain(head: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a body is something other than an event stream: servers are wrong about its type."""
    if head[:1] in _FIELDS:
        return False
    said = headers.get("content-type", "").lower()
    return head[:1] in _WHOLE or any(kind in said for kind in ("json", "html", "xml"))


async def _text(chunks: AsyncIterator[bytes]) -> str:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LARGEST:
            raise TooLong
    return body.decode(errors="replace")


async def _stream(chunks: AsyncIterator[bytes], assembly: Assembly) -> float | None:
    """Feed the assembly; when the first words came, on the clock of `time.perf_counter`."""
    events, first = Events(), None
    async for chunk in chunks:
        _fed(assembly, events.feed(chunk))
        if first is None and assembly.begun:
            first = time.perf_counter()
        if assembly.done:
            await _drained(chunks)
            return first
    _fed(assembly, events.end())
    if not events.count and not _cut(events):
        raise Malformed(f"the answer is no event stream: {_beginning(events.head)}")
    return first


def _fed(assembly: Assembly, events: Iterator[Mapping[str, Any]]) -> None:
    """Nothing is read behind the last event: the answer is whole, whatever follows."""
    for event in events:
        _shaped(assembly.take, event)
        if assembly.done:
            return


def _beginning(head: bytes) -> str:
    text = failures.shortened(head.decode(errors="replace"), 150)
    return f"it begins with {text!r}" if head else "an empty body"


def _cut(events: Events) -> bool:
    return events.head.startswith((b"event:", b"data:", b":", b"id:", b"retry:"))


async def _drained(chunks: Any) -> None:
    with suppress(Exception), within(DRAIN):
        async for _ in chunks:
            pass
