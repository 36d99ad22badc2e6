"""Every fault on every wire, as a run through the real SDK sees it: its kind, its money, its rows.

Each fault meets a run of its own, with a log, a tool and one retry; a second request is answered
well. What a rehearsal can do to a reply that is whole stands in `test_wire_replies`.
"""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from models.wires import MODELS, WELL, WIRES, Wired, failures, quotes

from loopwright import Budget, Log, Loop, Outcome, Task
from loopwright.calls import ModelCall, Sleep
from loopwright.decisions import Amend
from loopwright.events import Intended
from loopwright.models.rehearsal import CallTool, Rehearsal, Response, SeenRequest, faults
from loopwright.models.sse import LARGEST
from loopwright.policies import Retry
from loopwright.run import Run
from loopwright.tools import tool

CITY = {"city": "Ulm"}
CALL = CallTool("note", CITY)
TWO = ("note", CITY, {"city": "Bonn"})


@frozen
class Row:
    """A fault, and the failure that it must be. `wait` is in seconds; `slow` ones take as long as
    they may; `counted` says on which wires the tokens are known all the same."""

    step: Any
    kind: str
    status: int | None = 200
    again: bool = False
    wait: float | None = None
    slow: bool = False
    counted: tuple[str, ...] = ()
    wires: tuple[str, ...] = WIRES


def limited(step: Any, wait: float | None, again: bool = True) -> Row:
    return Row(step, "rate_limited", 429, again, wait)


def out_of_order(step: Any, *wires: str) -> Row:
    """The other wires say at the end what the whole is."""
    return Row(step, "malformed", again=True, counted=wires, wires=wires)


def coded(status: int, kind: str, code: str) -> faults.Page:
    """An error of Anthropic's whose cause has a code of its own."""
    error = {"type": kind, "message": "no", "details": {"error_code": code}}
    return faults.Page(status, json.dumps({"type": "error", "error": error}), "application/json")


def unseen(code: str) -> Response:
    """A response that failed because of an image, with HTTP status 200."""
    error = {"code": code, "message": "The image cannot be used."}
    return Response(CALL, finish="error", extra={"error": error})


HOUR = timedelta(hours=1)
OPENAI = ("openai", "chat")

FAULTS: dict[str, Row] = {
    # the connection
    "closed": Row(faults.closed(), "connection", None, again=True),
    "reset": Row(faults.reset(), "connection", None, again=True),
    "reset midway": Row(faults.reset_midway(then=CALL), "cut_stream", again=True),
    "cut before the first byte": Row(faults.cut_stream(0, CALL), "cut_stream", again=True),
    "cut midway": Row(
        faults.cut_stream(700, CALL), "cut_stream", again=True, counted=("anthropic",)
    ),
    "cut cleanly": Row(faults.cut_stream(350, CALL, cleanly=True), "cut_stream", again=True),
    "no terminal event": Row(
        faults.without_end(CALL), "cut_stream", again=True, counted=("anthropic",)
    ),
    "no terminal event of a text": Row(
        faults.without_end(), "cut_stream", again=True, counted=("anthropic",)
    ),
    "hangs": Row(faults.hang(), "timeout", None, again=True, slow=True),
    "silence": Row(faults.silence(0), "timeout", None, again=True, slow=True),
    "silence midway": Row(
        faults.silence(then=CALL), "timeout", None, True, slow=True, counted=("anthropic",)
    ),
    "only pings": Row(faults.only_pings(), "timeout", None, again=True, slow=True),
    "only pings midway": Row(
        faults.only_pings(4, then=CALL), "timeout", None, True, slow=True, counted=("anthropic",)
    ),
    "one byte at a time": Row(faults.drip(0.02, CALL), "timeout", None, again=True, slow=True),
    # no answer at all
    "captive portal": Row(faults.captive_portal(), "malformed", again=True),
    "truncated JSON": Row(faults.invalid_json(), "malformed", again=True),
    "wrong content length": Row(faults.wrong_length(), "cut_stream", again=True),
    "empty body": Row(faults.empty_body(), "malformed", again=True),
    "NaN in JSON": Row(faults.not_a_number(), "malformed", again=True),
    "nesting": Row(faults.nested(10_000), "malformed", again=True),
    "nesting in an event": Row(faults.nested_event(10_000), "malformed", again=True),
    "redirect": Row(faults.redirect("http://192.0.2.1/elsewhere"), "bad_request", 307),
    # errors, by their HTTP status
    "400": Row(faults.bad_request(), "bad_request", 400),
    "401": Row(faults.unauthorised(), "not_authenticated", 401),
    "402": Row(faults.payment_required(), "quota_exhausted", 402),
    "403": Row(faults.forbidden(), "not_permitted", 403),
    "404": Row(faults.no_such_model(), "no_such_model", 404),
    "408": Row(faults.request_timeout(), "timeout", 408, again=True),
    "409": Row(faults.conflict(), "server_error", 409, again=True),
    "413": Row(faults.too_large(), "too_large", 413),
    "422": Row(faults.unprocessable(), "bad_request", 422),
    "429 quota": Row(faults.quota_exhausted(), "quota_exhausted", 429),
    "429 spend limit": Row(
        coded(429, "rate_limit_error", "enforced_spend_limit_reached"),
        "quota_exhausted",
        429,
        wires=("anthropic",),
    ),
    "429 ramp limit": Row(
        coded(429, "rate_limit_error", "ramp_limit_exceeded"),
        "rate_limited",
        429,
        again=True,
        wires=("anthropic",),
    ),
    "500 in HTML": Row(faults.server_error(), "server_error", 500, again=True),
    "502 in HTML": Row(faults.bad_gateway(), "server_error", 502, again=True),
    "503 in HTML": Row(faults.unavailable(), "server_error", 503, again=True),
    "504 in HTML": Row(faults.gateway_timeout(), "server_error", 504, again=True),
    "529": Row(faults.overloaded(), "overloaded", 529, again=True),
    "filtered": Row(faults.filtered(), "refused", 400, wires=OPENAI),
    **{
        f"400 too long ({shape})": Row(faults.context_too_long(shape), "context_too_long", 400)
        for shape in faults.TOO_LONG
    },
    # how long to wait
    "429": limited(faults.rate_limited(None), None),
    "retry-after-ms": limited(faults.rate_limited(1.5), 1.5),
    "Retry-After in seconds": limited(faults.rate_limited("20"), 20.0),
    "Retry-After as a date": limited(faults.rate_limited(datetime.now(UTC) + HOUR), 3600.0),
    "Retry-After in the past": limited(faults.rate_limited(datetime.now(UTC) - HOUR), None),
    **{
        f"Retry-After: {said}": limited(faults.rate_limited(said), None)
        for said in ("0", "-5", "nan", "inf", "1e9", "soon")
    },
    "both kinds of Retry-After": limited(
        evolve(faults.rate_limited(), headers={"retry-after-ms": "250", "retry-after": "9"}), 0.25
    ),
    "529 with Retry-After": Row(
        evolve(faults.overloaded(), headers={"retry-after": "7"}), "overloaded", 529, True, 7.0
    ),
    "x-should-retry: true on a 400": Row(
        faults.should_retry(faults.bad_request(), True), "bad_request", 400, again=True
    ),
    "x-should-retry: false on a 429": limited(
        faults.should_retry(faults.rate_limited(None), False), None, again=False
    ),
    "x-should-retry: true without money": Row(
        faults.should_retry(faults.quota_exhausted(), True), "quota_exhausted", 429
    ),
    # errors under HTTP status 200
    "error in the body": Row(faults.overloaded_in_body(), "overloaded", again=True),
    "error in mid-stream": Row(
        faults.overloaded_midway(CALL), "overloaded", again=True, counted=("anthropic",)
    ),
    "a response that failed": Row(
        faults.failed(CALL), "server_error", again=True, counted=OPENAI, wires=OPENAI
    ),
    "a response that failed for an image": Row(
        unseen("image_too_large"), "bad_request", counted=("openai",), wires=("openai",)
    ),
    "a response that failed for an image's content": Row(
        unseen("image_content_policy_violation"), "refused", counted=("openai",), wires=("openai",)
    ),
    # events in wrong order
    "a repeated index": out_of_order(faults.repeated_index(*TWO), "anthropic"),
    "reordered indices": out_of_order(faults.reordered(*TWO), "anthropic"),
    "a missing index": out_of_order(faults.missing_index(*TWO), "anthropic", "chat"),
}

CASES = [(wire, name) for wire in WIRES for name, row in FAULTS.items() if wire in row.wires]

SECONDS = 0.3
"""What a call of a slow row may take."""


def hurried(run: Run) -> Amend | None:
    """Gives the first call of a slow row little time."""
    call = run.call
    if not isinstance(call, ModelCall) or run.moment != "call" or run.events[1:]:
        return None
    if not FAULTS[run.prompt].slow or call.timeout is not None:
        return None
    return Amend(evolve(call, timeout=SECONDS), "the row is slow")


@frozen
class Met:
    """The run that met a fault, its requests, and the cities that its tool was called with."""

    run: Run
    requests: list[SeenRequest]
    noted: list[str]


Cases = dict[tuple[str, str], Met]


@pytest.fixture(scope="module")
def met(wired: Wired) -> Cases:
    """Each fault on each wire, met by a run of its own."""
    return {case: one for wire in WIRES for case, one in _met(wired, wire).items()}


def _met(wired: Wired, wire: str) -> Cases:
    names = [name for name, row in FAULTS.items() if wire in row.wires]
    noted: dict[str, list[str]] = {name: [] for name in names}
    tasks = [(Task(name, tools=[_note(noted[name])]), [FAULTS[name].step]) for name in names]
    runs = wired.run_all(wire, tasks, [hurried, Retry(times=1, backoff=0, patience=0)])
    return {(wire, run.prompt): Met(run, wired.requests(run), noted[run.prompt]) for run in runs}


def _note(noted: list[str]) -> Any:
    @tool
    def note(city: str) -> str:
        """Write a city down."""
        noted.append(city)
        return "noted"

    return note


@pytest.mark.parametrize(("wire", "name"), CASES)
def test_a_fault_is_the_failure_that_it_is(met: Cases, wire: str, name: str) -> None:
    row = FAULTS[name]
    run = met[wire, name].run
    (failure,) = failures(run)
    assert (failure.kind, failure.status, failure.may_resend) == (row.kind, row.status, row.again)
    # A date was an hour away when this module was loaded.
    assert failure.retry_after == pytest.approx(row.wait, abs=1800 if row.wait == 3600 else 0)
    assert failure.request_id == ("req_rehearsal" if row.status else "")
    assert 0 < len(failure.message) <= 500
    assert "sk-reh" not in failure.message
    assert (failure.usage is not None) == (wire in row.counted)


@pytest.mark.parametrize(("wire", "name"), CASES)
def test_one_attempt_is_one_request_and_only_what_may_pass_is_sent_again(
    met: Cases, wire: str, name: str
) -> None:
    row = FAULTS[name]
    run, again = met[wire, name].run, row.again and not row.wait
    assert run.outcome is (Outcome.accepted if again else Outcome.failed)
    assert len(met[wire, name].requests) == run.spent.model_calls == (2 if again else 1)
    assert met[wire, name].noted == []


@pytest.mark.parametrize(("wire", "name"), CASES)
def test_no_spend_is_lost_and_the_log_has_it(
    wired: Wired, met: Cases, wire: str, name: str
) -> None:
    row = FAULTS[name]
    run = met[wire, name].run
    quoted, *more = quotes(run)
    free = (row.status or 0) >= 400
    assert (run.spent.presumed, run.spent.reserved) == (0 if free else quoted, 0)
    assert (run.spent.settled > 0) == bool(more)
    failed, *returned = wired.model_calls(run)
    assert (failed["state"], failed["failure"]) == ("failed", row.kind)
    assert (failed["status"], failed["retry_after"]) == (row.status, failures(run)[0].retry_after)
    assert (failed["request_id"] or "") == failures(run)[0].request_id
    assert failed["message"] == failures(run)[0].message
    assert failed["possibly_billed_usd"] == (0 if free else pytest.approx(quoted / 1e9))
    assert [row["state"] for row in returned] == ["returned"] * len(more)
    assert sum(row["cost_nano"] for row in returned) == run.spent.settled


def test_every_fault_that_a_rehearsal_knows_is_tried() -> None:
    """A fault that no test meets was never seen to do anything."""
    tests = (Path(__file__), Path(__file__).with_name("test_wire_replies.py"))
    written = "".join(path.read_text() for path in tests)
    known = [n for n, value in vars(faults).items() if getattr(value, "__module__", "") == NAME]
    named = [name for name in known if name[0].islower()]
    assert len(named) > 50
    assert [name for name in named if f"faults.{name}(" not in written] == []


NAME = faults.__name__


# --------------------------------------------------------------------------- what is not a step


@pytest.mark.parametrize("wire", WIRES)
def test_a_refused_connection(wire: str, log: Log) -> None:
    with Rehearsal([]) as rehearsal:
        provider = getattr(rehearsal, wire)()
    policies = [Retry(times=2, backoff=0)]
    loop = Loop(MODELS[wire], providers=[provider], policies=policies, log=log)
    run = loop.run_now(Task("Hello"))
    assert [failure.kind for failure in failures(run)] == ["connection"] * 3
    assert run.outcome is Outcome.failed
    assert run.spent.presumed == sum(quotes(run)) > 0


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("patience", "outcome"), [(120.0, Outcome.failed), (10_000.0, Outcome.exhausted)]
)
def test_nobody_sleeps_past_a_deadline(
    wired: Wired, wire: str, patience: float, outcome: Outcome
) -> None:
    policies = [Retry(times=1, patience=patience), Budget(seconds=60)]
    run = wired.run(wire, Task("Hello"), [faults.rate_limited("3600")], policies)
    assert run.outcome is outcome
    assert [failure.retry_after for failure in failures(run)] == [3600.0]
    assert len(wired.requests(run)) == 1
    assert slept(run) == []
    assert run.spent.at_most == 0


@pytest.mark.parametrize("wire", WIRES)
def test_a_short_wait_is_waited(wired: Wired, wire: str) -> None:
    run = wired.run(wire, Task("Hello"), [faults.rate_limited(0.05)], [Retry(times=1)])
    assert (run.outcome, run.output) == (Outcome.accepted, WELL)
    assert slept(run) == [0.05]


def slept(run: Run) -> list[float]:
    """The seconds that the run has waited, or begun to wait."""
    calls = [event.call for event in run.events if isinstance(event, Intended)]
    return [call.seconds for call in calls if isinstance(call, Sleep)]


# --------------------------------------------------------------------------------- the memory

HUGE = {
    "200 MB": Row(faults.flood(200), "too_large"),
    "a gzip bomb": Row(faults.gzip_bomb(1000), "too_large"),
    "an error of 200 MB": Row(faults.Flood(200, status=500), "server_error", 500, again=True),
    "a gzip bomb as an error": Row(faults.gzip_bomb(1000, 500), "server_error", 500, again=True),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", HUGE)
def test_what_is_huge_does_not_fill_the_memory(wired: Wired, wire: str, name: str) -> None:
    row = HUGE[name]
    tracemalloc.start()
    try:
        run = wired.run(wire, Task("Hello"), [row.step])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (failure,) = failures(run)
    assert (failure.kind, failure.status, failure.may_resend) == (row.kind, row.status, row.again)
    assert run.spent.presumed == (0 if row.status == 500 else quotes(run)[0])
    assert len(wired.requests(run)) == 1
    assert most < 2 * LARGEST
