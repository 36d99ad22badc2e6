"""What goes wrong between here and a provider, as a `Failure`: the one place that knows how.

The kind is read from the wire: first from the error's own type and code, which stay the same when
an error comes in the middle of a stream with HTTP status 200, then from the status.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.calls import Failure, FailureKind
from loopwright.models import sse, strict
from loopwright.models.waiting import retry_after

LONGEST = 500
"""Characters of a failure's message: it goes into the log and before people's eyes."""

_PASSES: frozenset[FailureKind] = frozenset(
    (
        "rate_limited",
        "overloaded",
        "timeout",
        "connection",
        "cut_stream",
        "server_error",
        "malformed",
    )
)
"""The kinds after which sending the same again may help."""

_BY_CODE: Mapping[str, FailureKind] = {
    "insufficient_quota": "quota_exhausted",
    "billing_error": "quota_exhausted",
    "billing_not_active": "quota_exhausted",
    "billing_hard_limit_reached": "quota_exhausted",
    "context_length_exceeded": "context_too_long",
    "string_above_max_length": "context_too_long",
    "overloaded_error": "overloaded",
    "server_overloaded": "overloaded",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "model_not_found": "no_such_model",
    "not_found_error": "no_such_model",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "invalid_api_key": "not_authenticated",
    "authentication_error": "not_authenticated",
    "permission_error": "not_permitted",
    "request_too_large": "too_large",
    "timeout_error": "timeout",
    "content_filter": "refused",
    "content_policy_violation": "refused",
    "invalid_prompt": "refused",
    "bio_policy": "refused",
    "misalignment_policy_violation": "refused",
    "server_error": "server_error",
    "api_error": "server_error",
    "conflict_error": "server_error",
}
"""Error types and codes: those of the SDKs' own type lists, and those met on the wire."""

_BY_STATUS: Mapping[int, FailureKind] = {
    401: "not_authenticated",
    402: "quota_exhausted",
    403: "not_permitted",
    404: "no_such_model",
    408: "timeout",
    409: "server_error",
    413: "too_large",
    429: "rate_limited",
    529: "overloaded",
}

_TOO_LONG = re.compile(
    r"prompt is too long|exceeds? (?:the )?context (?:window|limit)|maximum context length is"
    r"|exceeds the maximum number of tokens|maximum prompt length is"
    r"|reduce the length of the messages|exceeds the available context size"
    r"|greater than the context length",
    re.IGNORECASE,
)
"""How providers say that the context is too long where they have no code for it."""

_NO_CREDIT = re.compile(r"credit balance is too low|exceeded your current quota", re.IGNORECASE)

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf)[-_][\w\-.*]{6,}|\b(?:AIza|AKIA)[\w\-]{8,}|\bbearer\s+[\w\-.=*]{6,}"
    r"|\S*\*{4,}\S*|(?<=//)[^/\s@]+@|\b(?=[\w\-]*\d)(?=[\w\-]*[A-Za-z])[\w\-]{32,}",
    re.IGNORECASE,
)
"""What looks like an API key, whole or starred, or like credentials in a URL."""


def failed(kind: FailureKind, message: str, **more: Any) -> Failure:
    """A `Failure` whose message holds no secret and is short; resendable if its kind passes."""
    more.setdefault("may_resend", kind in _PASSES)
    return Failure(kind, masked(message), **more)


def masked(message: str, secrets: Sequence[str] = ()) -> str:
    """`message` in one line of at most 500 characters, without anything like an API key."""
    text = " ".join(message[: 20 * LONGEST].split())
    for secret in secrets:
        text = text.replace(secret, "[key]") if len(secret) >= 6 else text
    text = _SECRET.sub("[key]", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def from_error(error: Mapping[str, Any], status: int | None, headers: Mapping[str, str]) -> Failure:
    """The failure that an error object of the wire tells of.

    `status` is the HTTP status that it came with, which is 200 in the middle of a stream; only an
    error status says that nothing was billed.
    """
    names = [str(error[key]) for key in ("code", "type") if error.get(key) is not None]
    message = error.get("message")
    text = message if isinstance(message, str) else ""
    kind = _kind(names, status or 0, text)
    said = ": ".join(filter(None, [" ".join(map(str, filter(None, [status, *names]))), text]))
    return failed(
        kind,
        said or "an error without a message",
        status=status,
        request_id=request_id(headers),
        retry_after=retry_after(headers) if status and status >= 400 else None,
        may_resend=_may_resend(kind, headers),
    )


def _kind(names: Sequence[str], status: int, text: str) -> FailureKind:
    if _NO_CREDIT.search(text) or "insufficient_quota" in names:
        return "quota_exhausted"
    if status in (0, 200, 400, 413) and _TOO_LONG.search(text):
        return "context_too_long"
    for name in names:
        if name in _BY_CODE:
            return _BY_CODE[name]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "bad_request" if 300 <= status < 500 or _ours(names) else "server_error"


def _ours(names: Sequence[str]) -> bool:
    return any(name.startswith("invalid_") for name in names)


def _may_resend(kind: FailureKind, headers: Mapping[str, str]) -> bool:
    said = headers.get("x-should-retry")
    if kind == "quota_exhausted" or said not in ("true", "false"):
        return kind in _PASSES
    return said == "true"


def from_body(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """The failure that a whole body tells of: an error object, or something else altogether."""
    error = _error_object(body)
    if error is not None:
        return from_error(error, status, headers)
    if status >= 300:
        return from_error({"message": _summary(body, headers)}, status, headers)
    return failed(
        "malformed",
        f"the answer is no event stream: {_summary(body, headers)}",
        status=status,
        request_id=request_id(headers),
    )


def _error_object(body: str) -> Mapping[str, Any] | None:
    try:
        value = strict.loads(body)
    except ValueError:
        return None
    return error_in(value)


def error_in(value: Any) -> Mapping[str, Any] | None:
    """The error object inside a body or an event, if there is one."""
    if not isinstance(value, Mapping):
        return None
    error = value.get("error")
    if isinstance(error, str) and error:
        return {"message": error}
    if isinstance(error, Mapping):
        return error
    bare = value.get("type") == "error" or {"message", "code"} <= value.keys()
    return value if bare else None


def _summary(body: str, headers: Mapping[str, str]) -> str:
    if not body.strip():
        place = headers.get("location")
        return f"a redirect to {place}, which is not followed" if place else "an empty body"
    what = "an HTML page" if "<html" in body[:1000].lower() else "a body"
    return f"{what} that begins with {body.strip()[:150]!r}"


def request_id(headers: Mapping[str, str]) -> str:
    """The provider's id of the request, or ``""``."""
    return headers.get("request-id") or headers.get("x-request-id") or ""


# ----------------------------------------------------------------------------------- exceptions


def from_exception(error: BaseException, begun: bool) -> Failure:
    """The failure that an exception of an SDK, of its transport or of our reading tells of.

    `begun` says that the answer had begun to come. Classes are told apart by name, so that no SDK
    has to be loaded for this.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if "APIStatusError" in names:
        return _from_status(error)
    if "APIConnectionError" in names and error.__cause__ is not None:
        return from_exception(error.__cause__, begun)
    kind = _exception_kind(error, names, begun)
    return failed(kind, _said(error), may_resend=kind in _PASSES and not _mistrusted(error))


def _mistrusted(error: BaseException) -> bool:
    return "certificate" in str(error).lower()


def _said(error: BaseException) -> str:
    if isinstance(error, sse.Malformed):
        return str(error)
    if isinstance(error, sse.TooLong):
        return f"the answer is larger than {sse.LARGEST} bytes"
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _exception_kind(error: BaseException, names: set[str], begun: bool) -> FailureKind:
    if isinstance(error, sse.TooLong):
        return "too_large"
    if isinstance(error, sse.Malformed) or "DecodingError" in names:
        return "malformed"
    if isinstance(error, TimeoutError) or names & {"APITimeoutError", "TimeoutException"}:
        return "timeout"
    if names & {"CredentialsError", "SubjectTokenProviderError"} or "authentication" in str(error):
        return "not_authenticated"
    if names & {"UnsupportedProtocol", "LocalProtocolError", "ProxyError"}:
        return "bad_request"
    if names & {"TransportError", "APIConnectionError", "StreamError", "OSError"}:
        return "cut_stream" if begun else "connection"
    return "bad_request"


def _from_status(error: Any) -> Failure:
    status, headers, body = error.status_code, error.response.headers, error.body
    if isinstance(body, Mapping):
        return from_error(error_in(body) or body, status, headers)
    return from_body(status, body if isinstance(body, str) else "", headers)
