"""What a `Rehearsal` can do instead of answering well: each a value that stands in its script.

>>> script = [rate_limited(retry_after=1), cut_stream(after=100), "All is well."]
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Status:
    """An HTTP error. `anthropic` and `openai` are the error's type and code on the two wires."""

    status: int
    anthropic: str
    openai: str
    message: str
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Page:
    """A body that is no answer, under any HTTP status."""

    status: int
    body: str
    kind: str = "text/html"
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Cut:
    """The answer `then` ends after so many bytes; cleanly, or with a broken connection."""

    after: int
    then: Any
    cleanly: bool = False


@frozen
class Pause:
    """Nothing for so many seconds, and then the answer `then`, or the end of the connection."""

    seconds: float
    then: Any = None


@frozen
class Drip:
    """The answer `then`, one byte every so many seconds."""

    seconds: float
    then: Any


@frozen
class Broken:
    """The answer `then` begins well, and goes on with an error, all under HTTP status 200."""

    anthropic: str
    openai: str
    message: str
    then: Any


Fault = Status | Page | Cut | Pause | Drip | Broken

_WORDS = "Here is an answer that is long enough to be cut somewhere in its middle."


def rate_limited(retry_after: float | None = 1) -> Status:
    """429, and please wait for `retry_after` seconds (sent in milliseconds; `None`: not said)."""
    wait = {} if retry_after is None else {"retry-after-ms": str(round(retry_after * 1000))}
    said = "This request would exceed your rate limit."
    return Status(429, "rate_limit_error", "rate_limit_exceeded", said, wait)


def quota_exhausted() -> Status:
    """429 that no waiting cures: the money is used up."""
    said = "You exceeded your current quota, please check your plan and billing details."
    return Status(429, "billing_error", "insufficient_quota", said)


def overloaded() -> Status:
    """529: too many others ask at the same time."""
    return Status(529, "overloaded_error", "server_overloaded", "Overloaded")


def overloaded_midway(then: Any = _WORDS) -> Broken:
    """The same, in the middle of an answer that came with HTTP status 200."""
    return Broken("overloaded_error", "server_overloaded", "Overloaded", then)


def server_error() -> Page:
    """500 with an HTML page."""
    return Page(500, "<html><body><h1>Internal Server Error</h1></body></html>")


def bad_gateway() -> Page:
    """502 with the HTML page of a proxy."""
    return Page(502, "<html><head><title>502 Bad Gateway</title></head></html>")


def unauthorised() -> Status:
    """401: the key is wrong, and a part of it is repeated, as providers do."""
    said = "Incorrect API key provided: sk-reh**********rsal."
    return Status(401, "authentication_error", "invalid_api_key", said)


def forbidden() -> Status:
    """403: the key may not do this."""
    return Status(403, "permission_error", "permission_denied", "You may not use this model.")


def no_such_model() -> Status:
    """404: nobody serves a model of this name."""
    return Status(404, "not_found_error", "model_not_found", "The model does not exist.")


def context_too_long() -> Status:
    """400: the conversation does not fit into the model's context."""
    said = "prompt is too long: 208310 tokens > 200000 maximum"
    return Status(400, "invalid_request_error", "context_length_exceeded", said)


def too_large() -> Status:
    """413: the request has too many bytes."""
    return Status(413, "request_too_large", "request_too_large", "Request exceeds the maximum size")


def bad_request(message: str = "messages: at least one message is required") -> Status:
    """400: the request is wrong."""
    return Status(400, "invalid_request_error", "invalid_value", message)


def captive_portal() -> Page:
    """200 with an HTML page, as hotels and proxies send it."""
    return Page(200, "<html><body>Please log in to the network.</body></html>")


def invalid_json() -> Page:
    """200 with JSON that is cut."""
    return Page(200, '{"id": "msg_1", "content": [{"te', "application/json")


def empty_body() -> Page:
    """200 with nothing at all."""
    return Page(200, "", "text/event-stream")


def redirect(to: str) -> Page:
    """307 to another address."""
    return Page(307, "", headers={"location": to})


def cut_stream(after: int = 300, then: Any = _WORDS, cleanly: bool = False) -> Cut:
    """The stream of `then` ends after so many bytes: the connection breaks, or ends cleanly."""
    return Cut(after, then, cleanly)


def slow(seconds: float, then: Any = _WORDS) -> Pause:
    """Nothing for so many seconds, then the answer `then`."""
    return Pause(seconds, then)


def hang(seconds: float = 3600) -> Pause:
    """Nothing for so many seconds, then the connection is closed."""
    return Pause(seconds)


def reset() -> Pause:
    """The connection is closed without an answer."""
    return Pause(0)


def drip(seconds: float, then: Any = _WORDS) -> Drip:
    """One byte every so many seconds, so that no single read takes long."""
    return Drip(seconds, then)
