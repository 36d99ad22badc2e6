"""Every way in which a call fails has its kind, its wait, and a word on a repeat."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls import Failure
from loopwright.models import failures
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


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, 200, "overloaded"),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, 200, "rate_limited"),
        ({"code": "insufficient_quota", "type": "insufficient_quota"}, 429, "quota_exhausted"),
        ({"type": "billing_error"}, 402, "quota_exhausted"),
        ({"message": "Your credit balance is too low"}, 400, "quota_exhausted"),
        ({"code": "context_length_exceeded"}, 400, "context_too_long"),
        *(
            ({"message": said, "type": "invalid_request_error"}, 400, "context_too_long")
            for said in (
                "prompt is too long: 208310 tokens > 200000 maximum",
                "Your input exceeds the context window of this model",
                "input length and `max_tokens` exceed context limit: 9 + 1 > 8",
                "This model's maximum context length is 8192 tokens.",
            )
        ),
        ({"code": "model_not_found", "type": "invalid_request_error"}, 400, "no_such_model"),
        ({"type": "not_found_error"}, 404, "no_such_model"),
        ({"code": "unsupported_parameter", "param": "temperature"}, 400, "bad_request"),
        ({"code": "content_filter"}, 400, "refused"),
        ({}, 408, "timeout"),
        ({}, 409, "server_error"),
        ({}, 413, "too_large"),
        ({}, 422, "bad_request"),
        ({}, 503, "server_error"),
        ({"message": 7}, 504, "server_error"),
        ({"type": "never_heard_of"}, 200, "server_error"),
        ({"type": "invalid_request_error"}, 200, "bad_request"),
    ],
)
def test_error_objects_of_the_wire(error, status, kind):
    assert failures.from_error(error, status, {}).kind == kind


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
