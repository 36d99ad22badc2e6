"""What goes wrong between here and a provider, as a `Failure`: the one place that knows how.

The kind is read from the wire: first from the error's own type and code, which stay the same when
an error comes in the middle of a stream with HTTP status 200, then from the status.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loopwright.calls import Failure, FailureKind, Usage
from loopwright.models import sse, strict
from loopwright.models.waiting import details, retry_after

LONGEST = 500
"""Characters of a failure's message: it goes into the log and before people's eyes."""

PIECE = 8
"""Characters of the beginning or the end of a key that are not told either."""

RANDOM = 20
"""Characters of a key that is no placeholder: its pieces are no words."""

_MARKS = ("…", "...", "*")
"""What stands where something was shortened."""

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

_NAMED: Mapping[FailureKind, str] = {
    "rate_limited": "rate_limit_exceeded rate_limit_error rate_limited RESOURCE_EXHAUSTED",
    "overloaded": """
        overloaded_error server_overloaded server_is_overloaded engine_overloaded_error slow_down
        service_tier_capacity_exceeded capacity_exceeded unavailable_error UNAVAILABLE
        insufficient_system_resource
    """,
    "quota_exhausted": """
        insufficient_quota billing_error billing_not_active billing_hard_limit_reached
        exceeded_current_quota_error insufficient_credits
        linked_organization_billing_unavailable linked_organization_spend_limit_reached
        enforced_spend_limit_reached contract_spend_limit_reached
    """,
    "context_too_long": """
        context_length_exceeded string_above_max_length exceed_context_size_error
    """,
    "too_large": "request_too_large request_body_too_large_after_decoding",
    "no_such_model": """
        model_not_found not_found_error resource_not_found_error invalid_model NotFoundError
        NOT_FOUND DeploymentNotFound model_decommissioned
    """,
    "not_authenticated": """
        invalid_api_key authentication_error invalid_authentication_error account_deactivated
        API_KEY_INVALID UNAUTHENTICATED
    """,
    "not_permitted": """
        permission_error permission_denied permission_denied_error PERMISSION_DENIED
        unsupported_country_region_territory model_terms_required organization_on_hold
        data_residency_mismatch
    """,
    "timeout": "timeout_error DEADLINE_EXCEEDED vector_store_timeout request_body_timeout",
    "refused": """
        content_filter content_policy_violation image_content_policy_violation invalid_prompt
        bio_policy misalignment_policy_violation
    """,
    # What the model wrote breaks the schema of the tools or of the answer: it may do better.
    "malformed": "tool_use_failed json_validate_failed output_parse_failed",
    "server_error": "server_error api_error internal_server_error conflict_error INTERNAL",
    "bad_request": """
        INVALID_ARGUMENT FAILED_PRECONDITION BadRequestError image_too_large image_too_small
        image_parse_error image_file_too_large image_file_not_found empty_image_file
        unsupported_image_media_type failed_to_download_image
    """,
}
"""Types, codes and statuses of errors: those of the SDKs' own type lists, those of the error pages
of Groq, Google (google.rpc.Code), Mistral and DeepSeek, of the servers llama.cpp and vLLM, and
those met on the wire."""

CODES: Mapping[str, FailureKind] = {
    code: kind for kind, codes in _NAMED.items() for code in codes.split()
}

_BY_STATUS: Mapping[int, FailureKind] = {
    401: "not_authenticated",
    402: "quota_exhausted",
    403: "not_permitted",
    404: "no_such_model",
    408: "timeout",
    409: "server_error",
    413: "too_large",
    429: "rate_limited",
    498: "overloaded",
    529: "overloaded",
}
"""498 is Groq's word for a full flex tier: console.groq.com/docs/errors."""

_TOO_LONG = re.compile(
    r"(?:prompt|input) is too long|exceeds? (?:the )?(?:model's )?context (?:window|limit|length)"
    r"|maximum context length|exceeds the maximum number of tokens|input token count.{0,40}exceeds"
    r"|maximum prompt length is|reduce the length of the messages"
    r"|exceeds the available context size|greater than the context length"
    r"|context window exceeds limit|exceeded model token limit|context[_ ]length[_ ]exceeded",
    re.IGNORECASE,
)
"""How providers say that the context is too long where they have no code for it: Anthropic,
Bedrock, OpenAI, vLLM, Mistral, DeepSeek, Gemini, xAI, Groq, llama.cpp, LM Studio, MiniMax, Kimi."""

_TOO_LARGE = re.compile(r"request too large for", re.IGNORECASE)
"""OpenAI and Groq say "rate limit" of a request that is larger than the tokens of a whole minute:
no waiting helps."""

_NO_CREDIT = re.compile(
    r"credit balance is too low|insufficient (?:balance|credits)"
    r"|reached your specified .{0,20}usage limit",
    re.IGNORECASE,
)

_QUOTA = re.compile(r"exceeded your current quota", re.IGNORECASE)
"""OpenAI says so when the money is used up; Google also when a minute is, and then how long to
wait."""

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf)[-_][\w\-.*]{6,}|\b(?:AIza|AKIA)[\w\-]{8,}|\bbearer\s+\S{6,}"
    r"|\S*\*{4,}\S*|(?<=//)[^/\s@]+@|\b(?=[\w\-]*\d)(?=[\w\-]*[A-Za-z])[\w\-]{32,}",
    re.IGNORECASE,
)
"""What looks like an API key, whole or starred, or like credentials in a URL."""


def failed(kind: FailureKind, message: str, **more: Any) -> Failure:
    """A `Failure` whose message holds no secret and is short; resendable if its kind passes."""
    more.setdefault("may_resend", kind in _PASSES)
    return Failure(kind, masked(message), **more)


def masked(message: str, keys: Sequence[str] = (), secrets: Sequence[str] = ()) -> str:
    """`message` in one line of at most 500 characters, without anything like an API key, and
    without the `secrets` and the `keys`, nor pieces of these."""
    text = " ".join(message[: 20 * LONGEST].split())
    for secret in (*keys, *secrets):
        text = text.replace(secret, "[key]") if len(secret) >= 6 else text
    for key in keys:
        for piece, told in _pieces(key, len(text)):
            text = text.replace(piece, told)
    return shortened(_SECRET.sub("[key]", text), LONGEST)


def _pieces(key: str, most: int) -> Iterator[tuple[str, str]]:
    """What may be left of a `key` in a text of `most` characters, and what is told in its place.

    A piece without a digit may be a word of its own: it has to stand where something was cut off.
    """
    if len(key) < RANDOM:
        return
    for size in range(min(len(key) - 1, most), PIECE - 1, -1):
        head, tail = key[:size], key[-size:]
        for mark in _MARKS:
            yield head + mark, "[key]" + mark
            yield mark + tail, mark + "[key]"
        yield from ((piece, "[key]") for piece in (head, tail) if re.search("[0-9]", piece))


def shortened(text: str, most: int) -> str:
    """`text`, or as much of it as `most` characters hold together with a mark of the cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def cut(usage: Usage | None) -> Failure:
    """The failure of an answer that merely ends."""
    said = "the answer ended before its last event"
    return failed("cut_stream", said, usage=usage, status=200)


def from_error(error: Mapping[str, Any], status: int | None, headers: Mapping[str, str]) -> Failure:
    """The failure that an error object of the wire tells of.

    `status` is the HTTP status that it came with. In the middle of a stream that is 200, and a
    status inside the error takes its place; only an error status says that nothing was billed.
    """
    names, text = _names(error), _text(error)
    meant = _meant(names, status)
    bad = status is not None and status >= 400
    wait = retry_after(headers if bad else {}, error=error) if meant >= 400 else None
    kind = _kind(names, meant, text, wait)
    labels = dict.fromkeys(str(name) for name in (status, *names) if name)
    said = ": ".join(filter(None, [" ".join(labels), text]))
    return failed(
        kind,
        said or "an error without a message",
        status=status,
        request_id=request_id(headers, error),
        retry_after=wait,
        may_resend=_may_resend(kind, headers),
    )


def _names(error: Mapping[str, Any]) -> list[str]:
    beside = error.get("details")
    # Anthropic's is the most exact: a spend limit has the type of a rate limit.
    given = [beside.get("error_code")] if isinstance(beside, Mapping) else []
    given += [error.get(key) for key in ("code", "type", "status")]
    given += [detail.get("reason") for detail in details(error)]
    plain = [str(name) for name in given if isinstance(name, str | int) and name != ""]
    return list(dict.fromkeys(plain))


def _text(error: Mapping[str, Any]) -> str:
    """The message, and what a provider behind the provider said."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    said = [error.get("message") or error.get("detail"), raw]
    return ": ".join(one if isinstance(one, str) else _dumped(one) for one in said if one)


def _dumped(value: Any) -> str:
    try:
        return shortened(strict.dumps(value), LONGEST)
    except (RecursionError, TypeError, ValueError):
        return ""


def _meant(names: Sequence[str], status: int | None) -> int:
    """The status that is meant: OpenRouter, Groq and vLLM write it into the error."""
    if status is not None and status >= 300:
        return status
    inside = (int(name) for name in names if re.fullmatch(r"[45][0-9][0-9]", name))
    return next(inside, status or 0)


def _kind(names: Sequence[str], status: int, text: str, wait: float | None) -> FailureKind:
    spent = _QUOTA.search(text) and wait is None
    if spent or _NO_CREDIT.search(text) or "insufficient_quota" in names:
        return "quota_exhausted"
    if _TOO_LARGE.search(text):
        return "too_large"
    if status in (0, 200, 400, 413, 422, 500) and _TOO_LONG.search(text):
        return "context_too_long"
    known: list[FailureKind] = [CODES[name] for name in names if name in CODES]
    # "Bad request" is the least that an error can say of itself.
    better: list[FailureKind] = [kind for kind in known if kind != "bad_request"]
    if better or status in _BY_STATUS:
        return better[0] if better else _BY_STATUS[status]
    ours = 300 <= status < 500 or (status < 300 and (known or _ours(names)))
    return "bad_request" if ours else "server_error"


def _ours(names: Sequence[str]) -> bool:
    return any(name.startswith("invalid_") for name in names)


def _may_resend(kind: FailureKind, headers: Mapping[str, str]) -> bool:
    said = headers.get("x-should-retry")
    if kind == "quota_exhausted" or said not in ("true", "false"):
        return kind in _PASSES
    return said == "true"


def from_body(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """The failure that a whole body tells of: an error object, or something else altogether."""
    try:
        error = error_in(strict.loads(body))
    except ValueError:
        error = None
    if error is not None:
        return from_error(error, status, headers)
    if status >= 300:
        return from_error({"message": _summary(body, headers)}, status, headers)
    return failed(
        "malformed",
        f"the answer cannot be read: {_summary(body, headers)}",
        status=status,
        request_id=request_id(headers),
    )


def error_in(value: Any) -> Mapping[str, Any] | None:
    """The error object inside a body or an event, if there is one. Google sends it in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, str) and error:
        return {"message": error, "code": value.get("code")}
    if isinstance(error, Mapping) and any(error.values()):
        return error
    if value.get("type") == "error" or value.get("object") == "error":
        return value
    if value.get("choices") or value.get("code") in (0, "0"):  # as in Spark's "Success"
        return None
    coded = "code" in value or "request_id" in value
    return value if value.get("detail") or (value.get("message") and coded) else None


def error_event(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error that an event of a stream brings. What one of a type that nobody knows says is
    none, unless it is called one."""
    kind, code = str(event.get("type") or "error"), str(event.get("code"))
    known = kind in CODES or code in CODES or _ours([kind])
    called = kind.lower().endswith("error") or event.get("object") == "error"
    return error_in(event) if known or called else None


def _summary(body: str, headers: Mapping[str, str]) -> str:
    if not body.strip():
        place = headers.get("location")
        return f"a redirect to {place}, which is not followed" if place else "an empty body"
    what = "an HTML page" if "<html" in body[:1000].lower() else "a body"
    return f"{what} that begins with {shortened(body.strip(), 150)!r}"


_IDS = (
    "request-id",
    "x-request-id",
    "apim-request-id",
    "x-ms-request-id",
    "mistral-correlation-id",
    "x-ds-trace-id",
    "x-generation-id",
    "x-goog-request-id",
    "cf-ray",
)
"""Headers with the id of a request: Anthropic's; OpenAI's and Groq's; Azure's two; Mistral's,
DeepSeek's, OpenRouter's and Google's; and that of the proxy in front of most of them."""


def request_id(headers: Mapping[str, str], error: Mapping[str, Any] | None = None) -> str:
    """The provider's id of the request, or ``""``."""
    found = next(filter(None, map(headers.get, _IDS)), None)
    return str(found or (error or {}).get("request_id") or "")


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
    if names & {"ConnectTimeout", "PoolTimeout"}:  # nothing was sent
        return "connection"
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
    if isinstance(body, Mapping | list):
        return from_error(error_in(body) or _only(body), status, headers)
    return from_body(status, body if isinstance(body, str) else "", headers)


def _only(body: Any) -> Mapping[str, Any]:
    return body if isinstance(body, Mapping) else {"message": body}
