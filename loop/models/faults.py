"""What a `Rehearsal` can do instead of answering well: each a value that stands in its script.

Where a function takes `then`, it is the step that is spoilt: an answer as it stands in a script.
Where it takes `name` and `arguments`, these are of a tool that is called.

>>> script = [rate_limited(retry_after=1), cut_stream(after=100), "All is well."]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from attrs import evolve, field, frozen

from loopwright.models.script import CallTool, Data, Response, Say
from loopwright.models.wire import ends


@frozen
class Status:
    """An HTTP error. `anthropic` and `openai` are the error's type and code on the wires."""

    status: int
    anthropic: str
    openai: str
    message: str
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Page:
    """A body that is no answer, under any HTTP status. A body that is shorter than a
    ``content-length`` among its `headers` ends with the connection."""

    status: int
    body: str
    kind: str = "text/html"
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Cut:
    """The answer `then` ends after so many bytes: cleanly, or with the connection, which can be
    `reset`."""

    after: int
    then: Any
    cleanly: bool = False
    reset: bool = False


@frozen
class Pause:
    """Nothing for so many seconds, and then the answer `then`, or the end of the connection, which
    can be `reset`."""

    seconds: float
    then: Any = None
    reset: bool = False


@frozen
class Stall:
    """The answer `then` begins, and after so many events nothing comes any more; with `pings`,
    nothing but signs of life every so many seconds."""

    after: int
    then: Any
    pings: float | None = None


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


@frozen
class Edited:
    """The answer `then`, whose events are what `change` makes of them; of an answer that comes at
    once it is given the body."""

    then: Any
    change: Callable[[Sequence[Data]], Iterable[Data]]


@frozen
class Flood:
    """So many megabytes, made while they are sent; `packed` with gzip, they are a thousandth."""

    megabytes: int
    packed: bool = False
    status: int = 200


Fault = Status | Page | Cut | Pause | Stall | Drip | Broken | Edited | Flood

_WORDS = "Here is an answer that is long enough to be cut somewhere in its middle."


# ------------------------------------------------------------------ try again later, or never


def rate_limited(retry_after: float | str | datetime | None = 1) -> Status:
    """429, and please wait: a number of seconds goes into ``retry-after-ms``; a text, such as
    ``"3600"``, and a time go into ``Retry-After``; `None` says nothing."""
    said = "This request would exceed your rate limit."
    return Status(429, "rate_limit_error", "rate_limit_exceeded", said, _wait(retry_after))


def _wait(retry_after: float | str | datetime | None) -> Mapping[str, str]:
    match retry_after:
        case None:
            return {}
        case str():
            return {"retry-after": retry_after}
        case datetime():
            return {"retry-after": format_datetime(retry_after.astimezone(UTC), usegmt=True)}
    return {"retry-after-ms": str(round(retry_after * 1000))}


def quota_exhausted() -> Status:
    """429 that no waiting cures: the money is used up."""
    said = "You exceeded your current quota, please check your plan and billing details."
    return Status(429, "billing_error", "insufficient_quota", said)


def payment_required() -> Status:
    """402: the money is used up, and the status says so."""
    said = "Your credit balance is too low to access the API."
    return Status(402, "billing_error", "billing_not_active", said)


def overloaded() -> Status:
    """529: too many others ask at the same time."""
    return Status(529, "overloaded_error", "server_overloaded", "Overloaded")


def overloaded_midway(then: Any = _WORDS) -> Broken:
    """The same, in the middle of an answer that came with HTTP status 200."""
    return Broken("overloaded_error", "server_overloaded", "Overloaded", then)


def overloaded_in_body() -> Status:
    """The same, as a body of its own that came with HTTP status 200."""
    return evolve(overloaded(), status=200)


def request_timeout() -> Status:
    """408: the server did not want to wait for the request."""
    return Status(408, "timeout_error", "request_timeout", "Request timed out.")


def conflict() -> Status:
    """409: something else is done to the same thing at the same time."""
    return Status(409, "conflict_error", "conflict", "Another request is under way.")


def should_retry(fault: Status, retry: bool) -> Status:
    """`fault` with the header ``x-should-retry``, which says whether to send it again."""
    said = {"x-should-retry": "true" if retry else "false"}
    return evolve(fault, headers={**fault.headers, **said})


def server_error() -> Page:
    """500 with an HTML page."""
    return Page(500, "<html><body><h1>Internal Server Error</h1></body></html>")


def bad_gateway() -> Page:
    """502 with the HTML page of a proxy."""
    return Page(502, "<html><head><title>502 Bad Gateway</title></head></html>")


def unavailable() -> Page:
    """503 with the HTML page of a proxy."""
    return Page(503, "<html><head><title>503 Service Unavailable</title></head></html>")


def gateway_timeout() -> Page:
    """504 with the HTML page of a proxy."""
    return Page(504, "<html><head><title>504 Gateway Time-out</title></head></html>")


def failed(then: Any = _WORDS) -> Response:
    """The model fails: in the Responses API a response that failed, with HTTP status 200."""
    return Response(then, finish="error")


# ------------------------------------------------------------------ the request is not accepted


def bad_request(message: str = "messages: at least one message is required") -> Status:
    """400: the request is wrong."""
    return Status(400, "invalid_request_error", "invalid_value", message)


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


def too_large() -> Status:
    """413: the request has too many bytes."""
    return Status(413, "request_too_large", "request_too_large", "Request exceeds the maximum size")


def unprocessable() -> Status:
    """422: the request is wrong in a way that only its reader sees."""
    said = "max_tokens: value is not a valid integer"
    return Status(422, "invalid_request_error", "unprocessable_entity", said)


def filtered() -> Status:
    """400: what was asked is against the rules of the provider."""
    said = "The response was filtered due to the prompt triggering the content management policy."
    return Status(400, "invalid_request_error", "content_filter", said)


TOO_LONG: Mapping[str, str] = {
    "anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    "anthropic max_tokens": "input length and `max_tokens` exceed context limit: 190000 + 20000 > "
    "200000, decrease input length or `max_tokens` and try again",
    "openai": "This model's maximum context length is 128000 tokens. However, your messages "
    "resulted in 208310 tokens. Please reduce the length of the messages.",
    "responses": "Your input exceeds the context window of this model. Please adjust your input.",
    "gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed "
    "(1048576).",
    "xai": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "groq": "Please reduce the length of the messages or completion.",
    "openrouter": "This endpoint's maximum context length is 128000 tokens. However, you requested "
    "about 208310 tokens (188310 of text input, 20000 in the output).",
    "llama.cpp": "the request exceeds the available context size, try increasing it",
    "lm studio": "The number of tokens to keep from the initial prompt is greater than the context "
    "length.",
}
"""How providers say that the context is too long."""


def context_too_long(shape: str = "anthropic") -> Status:
    """400: the conversation does not fit into the model's context, in the words of `TOO_LONG`."""
    code = "context_length_exceeded" if shape in ("anthropic", "openai", "responses") else "400"
    return Status(400, "invalid_request_error", code, TOO_LONG[shape])


# --------------------------------------------------------------------------- what is no answer


def captive_portal() -> Page:
    """200 with an HTML page, as hotels and proxies send it."""
    return Page(200, "<html><body>Please log in to the network.</body></html>")


def invalid_json() -> Page:
    """200 with JSON that is cut."""
    return Page(200, '{"id": "msg_1", "content": [{"te', "application/json")


def wrong_length() -> Page:
    """200 with JSON that is shorter than its ``content-length``."""
    return evolve(invalid_json(), headers={"content-length": "4096"})


def empty_body() -> Page:
    """200 with nothing at all."""
    return Page(200, "", "text/event-stream")


def not_a_number() -> Page:
    """200 with an event that says NaN, which is not JSON."""
    return Page(200, 'data: {"type": "ping", "usage": NaN}\n\n', "text/event-stream")


def nested(levels: int = 10_000) -> Page:
    """200 with JSON that is so many levels deep."""
    return Page(200, '{"a":' * levels + "1" + "}" * levels, "application/json")


def nested_event(levels: int = 10_000) -> Page:
    """The same as an event of a stream."""
    return Page(200, f"data: {nested(levels).body}\n\n", "text/event-stream")


def redirect(to: str) -> Page:
    """307 to another address."""
    return Page(307, "", headers={"location": to})


def flood(megabytes: int = 200) -> Flood:
    """200 with an answer that is larger than any answer is."""
    return Flood(megabytes)


def gzip_bomb(megabytes: int = 1000, status: int = 200) -> Flood:
    """A body that is small on the wire and fills the memory once it is unpacked."""
    return Flood(megabytes, packed=True, status=status)


# ------------------------------------------------------------------------------ the connection


def slow(seconds: float, then: Any = _WORDS) -> Pause:
    """Nothing for so many seconds, then the answer `then`."""
    return Pause(seconds, then)


def hang(seconds: float = 3600) -> Pause:
    """Nothing for so many seconds, then the connection is closed."""
    return Pause(seconds)


def closed() -> Pause:
    """The connection is closed without an answer."""
    return Pause(0)


def reset() -> Pause:
    """The connection is reset without an answer."""
    return Pause(0, reset=True)


def cut_stream(after: int = 300, then: Any = _WORDS, cleanly: bool = False) -> Cut:
    """The answer `then` ends after so many bytes: the connection breaks, or ends cleanly."""
    return Cut(after, then, cleanly)


def reset_midway(after: int = 300, then: Any = _WORDS) -> Cut:
    """The connection is reset after so many bytes of the answer `then`."""
    return Cut(after, then, reset=True)


def silence(after: int = 4, then: Any = _WORDS) -> Stall:
    """After so many events of the answer `then` nothing comes, and nobody hangs up."""
    return Stall(after, then)


def only_pings(after: int = 0, every: float = 0.05, then: Any = _WORDS) -> Stall:
    """After so many events there come only signs of life, every so many seconds."""
    return Stall(after, then, every)


def drip(seconds: float, then: Any = _WORDS) -> Drip:
    """One byte every so many seconds, so that no single read takes long."""
    return Drip(seconds, then)


# ------------------------------------------------------------------------ events in wrong order


def without_end(then: Any = _WORDS) -> Edited:
    """All of the stream of `then` but the events that say that it is over; it ends cleanly."""
    return Edited(then, lambda events: [event for event in events if not ends(event)])


def uncounted(then: Any = _WORDS) -> Edited:
    """The answer `then`, of which nobody says how many tokens it has."""
    return Edited(then, lambda events: map(_uncounted, events))


def _uncounted(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _uncounted(inner) for key, inner in value.items() if key != "usage"}


_INDICES = ("index", "output_index")


def repeated_index(name: str, *arguments: Mapping[str, Any]) -> Edited:
    """Calls of one tool with these `arguments`, which all have the same index in the stream."""
    calls = [CallTool(name, given) for given in arguments]
    return Edited(calls, lambda events: [_indexed(event, lambda n: 0) for event in events])


def reordered(name: str, *arguments: Mapping[str, Any]) -> Edited:
    """Calls of one tool with these `arguments`, whose indices in the stream run backwards."""
    calls, last = [CallTool(name, given) for given in arguments], len(arguments) - 1
    return Edited(calls, lambda events: [_indexed(event, lambda n: last - n) for event in events])


def missing_index(name: str, *arguments: Mapping[str, Any]) -> Edited:
    """Calls of one tool with these `arguments`; after the first one an index is left out."""
    calls = [CallTool(name, given) for given in arguments]
    skipped = lambda n: n + 1 if n else 0  # noqa: E731
    return Edited(calls, lambda events: [_indexed(event, skipped) for event in events])


def _indexed(event: Data, number: Callable[[int], int]) -> Data:
    """`event` with other indices of blocks, items or tool calls; that of a choice stays."""
    own = {key: number(event[key]) for key in _INDICES if key in event}
    choices = [_choice(choice, number) for choice in event.get("choices") or ()]
    return {**event, **own, **({"choices": choices} if choices else {})}


def _choice(choice: Data, number: Callable[[int], int]) -> Data:
    calls = choice.get("delta", {}).get("tool_calls")
    if not calls:
        return choice
    moved = [{**call, "index": number(call["index"])} for call in calls]
    return {**choice, "delta": {**choice["delta"], "tool_calls": moved}}


# ------------------------------------------------------------------------ what the model writes


def refusal(words: str = "I cannot help with that.") -> Say:
    """The model refuses."""
    return Say(words, "refusal")


def lone_surrogate() -> str:
    """A text with half of a surrogate pair, which has no UTF-8."""
    return "half \ud83d of a smile"


def nul_byte() -> str:
    """A text with a NUL in it."""
    return "before\0after"


def repeated_ids(name: str, *arguments: Mapping[str, Any]) -> list[CallTool]:
    """Calls of one tool with these `arguments`, all with the same id."""
    return [CallTool(name, given, id="call_1") for given in arguments]


def missing_ids(name: str, *arguments: Mapping[str, Any]) -> list[CallTool]:
    """Calls of one tool with these `arguments`, without any id."""
    return [CallTool(name, given, id="") for given in arguments]


def many_calls(name: str, arguments: Mapping[str, Any], times: int = 2000) -> list[CallTool]:
    """The same call so many times in one reply."""
    return [CallTool(name, arguments)] * times


def cut_call(name: str, arguments: str) -> Response:
    """A call that ends where the tokens ended: `arguments` are the beginning of a JSON text."""
    return Response(CallTool(name, arguments), finish="length")


def cut_call_unsaid(name: str, arguments: str) -> Response:
    """The same, by a server that takes the call for whole (vLLM, issue 53269)."""
    return Response(CallTool(name, arguments), finish="tool_calls")


def nested_arguments(name: str, levels: int = 10_000) -> CallTool:
    """A call whose arguments are so many levels deep."""
    return CallTool(name, '{"a":' * levels + "1" + "}" * levels)
