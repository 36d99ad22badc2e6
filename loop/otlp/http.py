"""How spans are sent over HTTP until an OTLP endpoint has taken them.

Which answers may be tried again, and what partial success means, is said in
https://opentelemetry.io/docs/specs/otlp/.
"""

import gzip
import json
import random
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import field, frozen

from loopwright.errors import BadInput, ExportFailed
from loopwright.otlp.wire import SERVICE, Encoding, protobuf
from loopwright.show.text import short, visible

TYPES = {"json": "application/json", "protobuf": "application/x-protobuf"}

AGAIN = (429, 502, 503, 504)
"""The answers after which the same may be sent again, by the OTLP specification."""

SHOWN = 300
"""Characters of what an endpoint says that an error shows: its first sentences."""


@frozen
class Endpoint:
    """Where spans go: the whole `url`, and the `headers` that it wants, which nobody else sees."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    encoding: Encoding
    timeout: float
    patience: float


# ------------------------------------------------------------------------------- where it is


def endpoint_of(
    url: str,
    headers: Mapping[str, str] | str | None,
    encoding: Encoding,
    timeout: float,
    patience: float,
) -> Endpoint:
    """The endpoint, checked. Raises `BadInput`, and never with a header's value."""
    if encoding not in TYPES:
        raise BadInput(f"encoding={encoding!r}: say 'json' or 'protobuf'")
    if encoding == "protobuf":
        protobuf(SERVICE)
    given = _parsed(headers) if isinstance(headers, str) else dict(headers or {})
    for name, value in given.items():
        _check_header(name, value)
    return Endpoint(_traces(url), given, encoding, timeout, patience)


def _traces(url: str) -> str:
    parts = _parts(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(
            "the endpoint's address has a user, a password or a query in it, which may be secret "
            "and would stand in the log: give what it needs in headers"
        )
    path = parts.path.rstrip("/")
    path = path if path.endswith("/v1/traces") else f"{path}/v1/traces"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except (ValueError, AttributeError):
        pass
    raise BadInput("the endpoint is no address: write it like 'http://localhost:4318'")


def _parsed(text: str) -> dict[str, str]:
    """Headers as in OTEL_EXPORTER_OTLP_HEADERS: ``name=value,name=value``, percent-encoded."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise BadInput("the headers cannot be read: write them like 'name=value,name=value'")
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
"""RFC 9110, 5.1 and 5.5, without the bytes that are no ASCII."""


def _check_header(name: Any, value: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInput("a header has a name that no header can have")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise BadInput(f"the header {name} has a value that no header can have")


# ----------------------------------------------------------------------------- how it is sent


@frozen
class Accepted:
    """What an endpoint said of spans that it took: how many of them it `rejected`, and why."""

    rejected: int = 0
    message: str = ""


def send(client: Any, to: Endpoint, data: bytes) -> Accepted:
    """Send a request until the endpoint has taken it, or patience is at its end.

    `client` is an `httpx.Client`. Raises `ExportFailed`.
    """
    began, tried = time.monotonic(), 0
    while True:
        answer, said = _posted(client, to, data)
        if answer is not None and answer.is_success:
            return _accepted(answer, to)
        if answer is not None and answer.status_code not in AGAIN:
            raise ExportFailed(_refused(to, said))
        left = to.patience - (time.monotonic() - began)
        wait = _wait(answer, tried)
        if wait > left:
            raise ExportFailed(f"{_refused(to, said)}; tried {tried + 1} times")
        time.sleep(wait)
        tried += 1


def _posted(client: Any, to: Endpoint, data: bytes) -> tuple[Any, str]:
    """The answer, if there was one, and what it says; an answer cut off is none."""
    import httpx

    kind = {"Content-Type": TYPES[to.encoding], "Content-Encoding": "gzip"}
    try:
        answer = client.post(to.url, content=gzip.compress(data), headers={**to.headers, **kind})
    except httpx.HTTPError as error:
        return None, _told(to, f"{type(error).__name__}: {error}")
    words = f"{answer.status_code} {answer.reason_phrase}: {_message(answer, to)}"
    return answer, _told(to, words.rstrip(": "))


def _wait(answer: Any, tried: int) -> float:
    """Seconds until the next try: as the endpoint says, or twice as long each time, with jitter."""
    asked = _asked(answer.headers.get("retry-after", "")) if answer is not None else None
    return min(0.5 * 2**tried, 30.0) * random.uniform(0.5, 1.0) if asked is None else asked


def _asked(text: str) -> float | None:
    """A Retry-After, in seconds or as a date."""
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _accepted(answer: Any, to: Endpoint) -> Accepted:
    """Spans that were rejected are not sent again: the specification forbids it."""
    if to.encoding == "protobuf":
        return _accepted_in_protobuf(answer.content, to)
    part = _object(_object(_data(answer)).get("partialSuccess"))
    rejected = str(part.get("rejectedSpans", 0))
    number = int(rejected) if re.fullmatch(r"\d{1,18}", rejected) else 0
    return Accepted(number, _told(to, str(part.get("errorMessage", ""))))


def _accepted_in_protobuf(data: bytes, to: Endpoint) -> Accepted:
    try:
        part = protobuf(SERVICE).ExportTraceServiceResponse.FromString(data).partial_success
    except protobuf("google.protobuf.message").DecodeError:
        return Accepted()
    return Accepted(part.rejected_spans, _told(to, part.error_message))


def _message(answer: Any, to: Endpoint) -> str:
    """The message of a `google.rpc.Status`, which is what an endpoint answers with, or the text."""
    if "json" in answer.headers.get("content-type", ""):
        return str(_object(_data(answer)).get("message", ""))
    return str(answer.text) if to.encoding == "json" else re.sub(r"[^ -~]+", " ", answer.text)


def _data(answer: Any) -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _object(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _told(to: Endpoint, text: str) -> str:
    """What the endpoint says, fit for a terminal, and without the headers that it was sent."""
    for secret in _secrets(to):
        text = text.replace(secret, "…")
    return visible(short(text, SHOWN))


def _secrets(to: Endpoint) -> Iterator[str]:
    """The values of the headers, and the words in them: of ``Bearer x`` the x is what counts."""
    for value in filter(None, to.headers.values()):
        yield value
        yield from (word for word in value.split() if len(word) > len("Bearer"))


def _refused(to: Endpoint, said: str) -> str:
    return f"{to.url} did not take the spans: {said}"
