"""Every way in which a call fails has its kind, its wait, and a word on a repeat."""

import asyncio
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseError

from loopwright.calls import Failure, FailureKind
from loopwright.models import failures, strict
from loopwright.models.rehearsal import Rehearsal, faults
from loopwright.models.waiting import retry_after

FAULTS = [
    (faults.rate_limited(retry_after=1.5), "rate_limited", True, 429),
    (faults.rate_limited(retry_after=None), "rate_limited", True, 429),
    (faults.quota_exhausted(), "quota_exhausted", False, 429),
    (faults.overloaded(), "overloaded", True, 529),
    (faults.overloaded_midway(), "overloaded", True, 200),
    (faults.server_error(), "server_error", True, 500),
    (faults.bad_gateway(), "server_error", True, 502),
    (faults.unauthorised(), "not_authenticated", False, 401),
    (faults.forbidden(), "not_permitted", False, 403),
    (faults.no_such_model(), "no_such_model", False, 404),
    (faults.context_too_long(), "context_too_long", False, 400),
    (faults.too_large(), "too_large", False, 413),
    (faults.bad_request(), "bad_request", False, 400),
    (faults.captive_portal(), "malformed", True, 200),
    (faults.invalid_json(), "malformed", True, 200),
    (faults.empty_body(), "malformed", True, 200),
    (faults.redirect("http://192.0.2.1/elsewhere"), "bad_request", False, 307),
    (faults.cut_stream(after=0), "cut_stream", True, 200),
    (faults.cut_stream(after=350), "cut_stream", True, 200),
    (faults.cut_stream(after=350, cleanly=True), "cut_stream", True, 200),
    (faults.hang(), "timeout", True, None),
    (faults.drip(0.01), "timeout", True, None),
    (faults.reset(), "connection", True, None),
]


@pytest.fixture(scope="module")
def told() -> dict[str, list[Failure]]:
    """What came of each fault, on each wire; each fault is asked for once, with no repeats."""
    return {wire: _told(wire) for wire in ("anthropic", "openai")}


def _told(wire: str) -> list[Failure]:
    from loopwright.calls import Message, Request, Text

    request = Request("m", [Message("user", [Text("Hello")])], timeout=0.4)
    with Rehearsal([fault for fault, *_ in FAULTS]) as rehearsal:
        provider = getattr(rehearsal, wire)()

        async def all_of_them() -> list[Failure]:
            return [await provider.reply(request) for _ in FAULTS]

        heard = asyncio.run(all_of_them())
        assert len(rehearsal.requests) == len(FAULTS)
    return heard


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_each_fault_is_what_it_is(wire, told, number):
    _, kind, may_resend, status = FAULTS[number]
    failure = told[wire][number]
    assert (failure.kind, failure.may_resend, failure.status) == (kind, may_resend, status)
    assert failure.message
    assert len(failure.message) <= failures.LONGEST


def test_the_wait_is_what_the_provider_asked(wire, told):
    assert [failure.retry_after for failure in told[wire][:2]] == [1.5, None]


def test_what_is_known_of_the_usage_is_kept(told):
    assert told["anthropic"][4].usage.input > 0
    assert told["openai"][4].usage is None


def test_a_refused_connection(wire):
    from loopwright.calls import Message, Request, Text

    with Rehearsal([]) as rehearsal:
        provider = getattr(rehearsal, wire)()
    failure = asyncio.run(provider.reply(Request("m", [Message("user", [Text("Hello")])])))
    assert (failure.kind, failure.may_resend, failure.status) == ("connection", True, None)


def spent(code: object, kind: str) -> dict[str, object]:
    """An error of Anthropic's with a code."""
    return {"type": kind, "message": "no", "details": {"error_code": code}}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, 200, "overloaded"),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, 200, "rate_limited"),
        ({"code": "insufficient_quota", "type": "insufficient_quota"}, 429, "quota_exhausted"),
        ({"type": "billing_error"}, 402, "quota_exhausted"),
        ({"message": "Your credit balance is too low"}, 400, "quota_exhausted"),
        ({"code": "context_length_exceeded"}, 400, "context_too_long"),
        ({"code": "model_not_found", "type": "invalid_request_error"}, 400, "no_such_model"),
        ({"type": "not_found_error"}, 404, "no_such_model"),
        ({"code": "unsupported_parameter", "param": "temperature"}, 400, "bad_request"),
        ({"code": "content_filter"}, 400, "refused"),
        ({}, 408, "timeout"),
        ({}, 409, "server_error"),
        ({}, 413, "too_large"),
        ({}, 422, "bad_request"),
        ({}, 498, "overloaded"),
        ({}, 503, "server_error"),
        ({"message": 7}, 504, "server_error"),
        ({"type": "invalid_request_error"}, 503, "server_error"),
        # A status inside the error, as OpenRouter, Groq and vLLM send it.
        ({"code": 429, "message": "Provider returned error"}, 200, "rate_limited"),
        ({"code": 402, "message": "Insufficient credits"}, 200, "quota_exhausted"),
        ({"code": "503", "message": "no provider"}, 200, "server_error"),
        ({"code": 3505, "type": "service_tier_capacity_exceeded"}, 429, "overloaded"),
        ({"code": "1300", "type": "rate_limited"}, 429, "rate_limited"),
        ({"code": "tool_use_failed", "type": "invalid_request_error"}, 400, "malformed"),
        ({"code": "model_decommissioned", "type": "invalid_request_error"}, 400, "no_such_model"),
        ({"code": 503, "type": "unavailable_error", "message": "Loading model"}, 503, "overloaded"),
        ({"message": "Insufficient Balance", "type": "unknown_error"}, 402, "quota_exhausted"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}, 400, "bad_request"),
        ({"code": 503, "status": "UNAVAILABLE", "message": "no"}, 503, "overloaded"),
        (
            {
                "status": "INVALID_ARGUMENT",
                "message": "API key not valid.",
                "details": [{"reason": "API_KEY_INVALID"}],
            },
            400,
            "not_authenticated",
        ),
        ({"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}, 422, "bad_request"),
        # Anthropic names the cause beside the type.
        (spent("enforced_spend_limit_reached", "rate_limit_error"), 429, "quota_exhausted"),
        (spent("contract_spend_limit_reached", "rate_limit_error"), 429, "quota_exhausted"),
        (spent("ramp_limit_exceeded", "rate_limit_error"), 429, "rate_limited"),
        (spent("organization_on_hold", "invalid_request_error"), 400, "not_permitted"),
        (spent("brand_new", "overloaded_error"), 529, "overloaded"),
        (spent(7, "api_error"), 500, "server_error"),
        (
            {"message": "You have reached your specified API usage limits."},
            400,
            "quota_exhausted",
        ),
        # No waiting makes room for what is larger than a whole minute.
        (
            {"code": "rate_limit_exceeded", "message": "Request too large for model `m` on TPM"},
            413,
            "too_large",
        ),
        ({"code": "rate_limit_exceeded", "message": "Request too large for m"}, 429, "too_large"),
        ({"type": "never_heard_of"}, 200, "server_error"),
        ({"type": "invalid_request_error"}, 200, "bad_request"),
    ],
)
def test_error_objects_of_the_wire(error, status, kind):
    assert failures.from_error(error, status, {}).kind == kind


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "context_length_exceeded"}, 400),
        ({"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096}, 400),
        *(
            ({"message": said, "type": "invalid_request_error"}, status)
            for status in (400, 200)
            for said in (
                "prompt is too long: 208310 tokens > 200000 maximum",
                "input length and `max_tokens` exceed context limit: 9 + 1 > 8",
                "Your input exceeds the context window of this model",
                "This model's maximum context length is 8192 tokens. However, you requested 9000",
                "The input token count (1196265) exceeds the maximum number of tokens allowed",
                "This model's maximum prompt length is 131072 but the request contains 537812",
                "Please reduce the length of the messages or completion",
                "This endpoint's maximum context length is 8 tokens. However, you asked for 9",
                "the request exceeds the available context size, try increasing it",
                "tokens to keep from the initial prompt is greater than the context length",
                "Prompt contains 9 tokens, too large for model with 8 maximum context length",
                "input is too long for requested model",
                "Your request exceeded model token limit: 8",
            )
        ),
        ({"message": "Provider returned error", "metadata": {"raw": "prompt is too long"}}, 400),
    ],
)
def test_a_context_that_is_too_long_in_each_providers_words(error, status):
    failure = failures.from_error(error, status, {})
    assert (failure.kind, failure.may_resend) == ("context_too_long", False)


EXCEEDED = "You exceeded your current quota, please check your plan and billing details."


def _codes(value: object) -> set[str]:
    """All words in a type of an SDK."""
    words = {one for one in get_args(value) if isinstance(one, str)}
    return words.union(*map(_codes, get_args(value)))


def test_what_makes_a_response_fail_is_known():
    """It comes with HTTP status 200: only the code tells what is our fault."""
    codes = _codes(ResponseError.model_fields["code"].annotation)
    assert len(codes) > 15
    kinds = {code: failures.from_error({"code": code}, 200, {}) for code in codes}
    again = {code for code, failure in kinds.items() if failure.may_resend}
    assert again <= {"server_error", "rate_limit_exceeded", "vector_store_timeout"}


def test_a_quota_that_comes_back_is_a_rate():
    """OpenAI says this when the money is used up, Google also when a minute is."""
    assert failures.from_error({"message": EXCEEDED}, 429, {}).kind == "quota_exhausted"
    google = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": EXCEEDED}
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    for said in ({"details": [info]}, {"message": f"{EXCEEDED} Please retry in 34.5s."}):
        failure = failures.from_error({**google, **said}, 429, {})
        assert (failure.kind, failure.retry_after) == ("rate_limited", 34.5)
        assert failure.may_resend
    openai = {"code": "insufficient_quota", "message": EXCEEDED}
    assert failures.from_error(openai, 429, {"retry-after": "3"}).kind == "quota_exhausted"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('[{"error": {"code": 404, "status": "NOT_FOUND", "message": "m"}}]', "no_such_model", 404),
        ('{"detail": "Unauthorized"}', "not_authenticated", 401),
        ('{"message": "Unauthorized", "request_id": "r1"}', "not_authenticated", 401),
        ('{"object": "error", "message": {"detail": [1]}, "type": "x"}', "bad_request", 422),
        ('{"error": "model \\"m\\" not found, try pulling it first"}', "no_such_model", 404),
        ("", "bad_request", 400),
        ("", "too_large", 413),
        ("[1, 2]", "server_error", 500),
        ('{"error": null}', "malformed", 200),
        ("[" * 10_000, "malformed", 200),
        ('{"error": NaN}', "malformed", 200),
    ],
)
def test_bodies_of_every_shape(body, kind, status):
    assert failures.from_body(status, body, {}).kind == kind


@pytest.mark.parametrize(
    "name",
    ["request-id", "x-request-id", "apim-request-id", "mistral-correlation-id", "x-ds-trace-id"],
)
def test_the_providers_id_of_the_request(name):
    assert failures.from_error({}, 500, {name: "r1"}).request_id == "r1"
    assert failures.from_error({"request_id": "r2"}, 500, {}).request_id == "r2"


PLAIN = ["error", "code", "type", "status", "message", "detail"]
KEYS = st.sampled_from([*PLAIN, "details", "metadata", "raw", "retryDelay", "reason", "object"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
SAID = st.sampled_from([EXCEEDED, "prompt is too long", "Request too large for m", "sk-abcdef123"])
ERRORS = st.dictionaries(KEYS, JSON | SAID | st.sampled_from(sorted(failures.CODES)), max_size=6)
STATUSES = st.one_of(st.none(), st.integers(200, 599))


@given(ERRORS, STATUSES, st.sampled_from(["true", "false", "x"]))
def test_every_error_has_a_kind_and_nothing_leaks(error, status, again):
    failure = failures.from_error(error, status, {"x-should-retry": again})
    assert failure.kind in get_args(FailureKind)
    assert 0 < len(failure.message) <= failures.LONGEST
    assert "sk-abcdef" not in failure.message
    assert failure.retry_after is None or 0 < failure.retry_after < float("inf")
    if failure.kind == "quota_exhausted":
        assert not failure.may_resend
    elif again in ("true", "false"):
        assert failure.may_resend is (again == "true")


@given(st.sampled_from(sorted(failures.CODES)), st.sampled_from([200, 400, 429, 500, 503]))
def test_a_code_says_the_same_whatever_the_status(code, status):
    """But "bad request", which is the least that an error can say."""
    kind = failures.from_error({"code": code}, status, {}).kind
    assert kind == failures.CODES[code] or failures.CODES[code] == "bad_request"


@given(JSON, st.integers(200, 599))
def test_any_body_is_a_failure(value, status):
    try:
        body = strict.dumps(value)
    except ValueError:  # half of a surrogate pair
        body = ""
    assert failures.from_body(status, body, {}).kind in get_args(FailureKind)


def test_the_providers_own_word_on_a_repeat_is_obeyed():
    again = {"x-should-retry": "true"}
    assert failures.from_error({}, 400, again).may_resend
    assert not failures.from_error({}, 429, {"x-should-retry": "false"}).may_resend
    assert not failures.from_error({"code": "insufficient_quota"}, 429, again).may_resend


def test_no_secret_stands_in_a_message():
    said = "Incorrect key sk-proj-abcdefgh12345678, Bearer eyJhbGciOiJIUzI1NiJ9, "
    said += "at https://user:geheim@proxy.example/v1, 0123456789abcdef0123456789abcdef, sk-ab****yz"
    text = failures.masked(said, ["geheim2"])
    for secret in ("abcdefgh", "eyJhb", "geheim", "0123456789ab", "sk-ab"):
        assert secret not in text
    assert failures.masked("my-odd-secret!", ["my-odd-secret!"]) == "[key]"


def test_no_key_stands_in_what_the_transport_says_of_it():
    """A key with a line end is no header, and the error repeats it as Python writes it."""
    said = failures.masked("Illegal header value b'Bearer pass/word+secret=\\n'", ["x"])
    assert said == "Illegal header value b'[key]"


def test_a_key_that_comes_back_is_masked(wire, server):
    body = (
        b'{"error": {"message": "the key k-123456 is not known", "type": "authentication_error"}}'
    )
    failure = server(body, status=401, content_type="application/json").reply(wire)
    assert failure.kind == "not_authenticated"
    assert "k-123456" not in failure.message


# ---------------------------------------------------------------------------------- retry-after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:59:00 GMT"}, None),
        *(
            ({"retry-after": odd}, None)
            for odd in ("-1", "nan", "inf", "1e9", "soon", "", "0", "٣")
        ),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert retry_after(headers, NOW) == seconds


ODD = st.one_of(
    st.text(max_size=30),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), ODD))
def test_a_wait_is_always_a_positive_number(headers):
    seconds = retry_after(headers)
    assert seconds is None or 0 < seconds < float("inf")
