"""Replies that are whole on the wire, and still must not be taken at their word.

Each meets a run of its own on each wire, with a log and a tool; a second request is answered well.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from annotated_types import Ge, MaxLen
from attrs import evolve, frozen
from models.wires import MODELS, WELL, WIRES, Wired, quotes

from loopwright import Outcome, Task
from loopwright.calls import NANO, ToolCall, Usage
from loopwright.events import Intended
from loopwright.models import catalogue
from loopwright.models.rehearsal import CallTool, Response, Say, SeenRequest, faults
from loopwright.policies import Retry
from loopwright.run import Run
from loopwright.tools import tool

CITY, TWO = {"city": "Ulm"}, ({"city": "Ulm"}, {"city": "Bonn"})


@frozen
class Met:
    """A run that met a step, its requests, and the cities that its tool was called with."""

    run: Run
    requests: list[SeenRequest]
    noted: list[str]
    rows: list[dict[str, Any]]

    @property
    def told(self) -> str:
        """What the model was told in the second request."""
        return json.dumps(self.requests[1].body, ensure_ascii=False)


Meet = Callable[[str, Any], Met]


@pytest.fixture
def meet(wired: Wired) -> Meet:
    """A run whose first request is answered with a step, and all others with `WELL`."""

    def met(wire: str, step: Any) -> Met:
        noted: list[str] = []

        @tool
        def note(city: str) -> str:
            """Write a city down."""
            noted.append(city)
            return "noted"

        run = wired.run(wire, Task("Go.", tools=[note]), [step])
        return Met(run, wired.requests(run), noted, wired.model_calls(run))

    return met


pytestmark = pytest.mark.parametrize("wire", WIRES)


# ----------------------------------------------------------------------------------- not whole

ENDINGS = {
    "refusal": faults.refusal(),
    "length": Say("It was a dark and", "length"),
    "a call that was cut": faults.cut_call("note", '{"city": "Ul'),
    "a call that looks whole": faults.cut_call("note", '{"city": "Ul"}'),
    "a refusal after a call": Response([CallTool("note", CITY), "No."], finish="refusal"),
    "filter": Response([CallTool("note", CITY), "I was"], finish="filter"),
    "an ending that nobody knows": Response([CallTool("note", CITY)], finish="error"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_no_tool_runs_after_a_reply_that_is_not_whole(meet: Meet, wire: str, name: str) -> None:
    met = meet(wire, ENDINGS[name])
    assert (met.noted, len(met.requests)) == ([], 1)
    assert met.run.outcome in (Outcome.rejected, Outcome.failed)
    assert met.run.spent.settled + met.run.spent.presumed > 0
    (row,) = met.rows
    assert row["finish"] not in ("stop", "tool_calls")


def test_a_cut_call_that_a_server_takes_for_whole_does_not_run(meet: Meet, wire: str) -> None:
    met = meet(wire, faults.cut_call_unsaid("note", '{"city": "Ul'))
    assert met.noted == []
    assert met.run.outcome is (Outcome.rejected if wire == "chat" else Outcome.accepted)


def test_a_turn_that_pauses_goes_on(meet: Meet, wire: str) -> None:
    met = meet(wire, Say("Let me see.", "paused"))
    if wire == "chat":  # it knows no pause
        assert met.run.output == "Let me see."
        return
    assert met.run.output == WELL
    assert met.requests[1].answers == ("Let me see.",)


# ---------------------------------------------------------------------------------- tool calls

ODD = {
    "NaN": (CallTool("note", '{"city": NaN}'), "NaN is not JSON"),
    "infinity": (CallTool("note", '{"city": 1e999}'), "too large"),
    "no JSON": (CallTool("note", '{"city": Ulm}'), "Expecting value"),
    "a list": (CallTool("note", '["Ulm"]'), "must be an object"),
    "a text": (CallTool("note", '"Ulm"'), "must be an object"),
    "a key twice": (CallTool("note", '{"city": "a", "city": "b"}'), "given twice"),
    "nesting": (faults.nested_arguments("note", 10_000), "nested"),
    "nothing": (CallTool("note", ""), "city"),
    "null": (CallTool("note", "null"), "city"),
    "another type": (CallTool("note", {"city": 7}), "city"),
    "too many": (CallTool("note", {"city": "Ulm", "when": "now"}), "when"),
    "no such tool": (CallTool("noted", CITY), "noted"),
}


@pytest.mark.parametrize("name", ODD)
def test_the_model_is_told_what_is_wrong_with_its_call(meet: Meet, wire: str, name: str) -> None:
    step, said = ODD[name]
    met = meet(wire, step)
    assert met.noted == []
    assert met.run.output == WELL
    assert said in met.told


@pytest.mark.parametrize(
    "step", [faults.repeated_ids("note", *TWO), faults.missing_ids("note", *TWO)]
)
def test_calls_without_an_id_of_their_own_all_run_once(meet: Meet, wire: str, step: Any) -> None:
    met = meet(wire, step)
    assert met.noted == ["Ulm", "Bonn"]
    assert met.run.output == WELL
    assert met.requests[1].results == ("noted", "noted")
    called = {event.call.id for event in met.run.events if _calls_a_tool(event)}
    assert len(called) == 2
    assert all(met.told.count(f'"{id_}"') == 2 for id_ in called)


def _calls_a_tool(event: Any) -> bool:
    return isinstance(event, Intended) and isinstance(event.call, ToolCall)


@pytest.mark.parametrize(
    "step",
    [faults.repeated_index("note", *TWO), faults.reordered("note", *TWO)],
    ids=["repeated", "reordered"],
)
def test_indices_out_of_order_mix_no_calls_up(meet: Meet, wire: str, step: Any) -> None:
    met = meet(wire, step)
    assert sorted(met.noted) == ([] if wire == "anthropic" else ["Bonn", "Ulm"])


def test_of_two_thousand_calls_none_runs(meet: Meet, wire: str) -> None:
    met = meet(wire, faults.many_calls("note", CITY, 2000))
    assert met.noted == []
    assert met.run.outcome is Outcome.exhausted
    assert met.run.spent.settled > 0


# --------------------------------------------------------------------------------------- words

WORDS = {
    "half of a surrogate pair": faults.lone_surrogate(),
    "NUL": faults.nul_byte(),
    "both directions": "abc \u202e def \u202c",
    "of no width": "a\u200bb\u2060c\ufeff",
    "an escape": "\x1b[31mred\x1b[0m",
    "a line that ends": "one\u2028two\r\nthree\rfour",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_are_kept_as_they_came(meet: Meet, wired: Wired, wire: str, name: str) -> None:
    met = meet(wire, WORDS[name])
    assert met.run.output == WORDS[name]
    assert wired.log.run(met.run.run_id, met.run.task).output == WORDS[name]
    assert met.rows[0]["state"] == "returned"


@pytest.mark.parametrize("name", [name for name in WORDS if "half" not in name])
def test_arguments_are_kept_as_they_came(meet: Meet, wire: str, name: str) -> None:
    met = meet(wire, CallTool("note", {"city": WORDS[name]}))
    assert met.noted == [WORDS[name]]
    assert met.run.output == WELL


def test_half_of_a_surrogate_pair_is_no_argument(meet: Meet, wire: str) -> None:
    """A tool may write its text to a file or a database, and neither takes that."""
    met = meet(wire, CallTool("note", {"city": faults.lone_surrogate()}))
    assert (met.noted, met.run.output) == ([], WELL)
    assert "Invalid JSON" in met.requests[1].results[0]


# --------------------------------------------------------------------------------------- money

USED = Usage(1000, 5000, 300, 0, 70, 30)
STRONG = {"anthropic": "claude-opus-5-5", "openai": "gpt-6-sol", "chat": "gpt-6-sol"}


def test_the_price_is_that_of_what_was_served(meet: Meet, wire: str) -> None:
    served = STRONG[wire]
    met = meet(wire, Response("Hi.", usage=USED, model=served))
    (row,) = met.rows
    model = MODELS[wire]
    tier = "standard" if wire == "anthropic" else "default"
    assert row["served_model"] == served
    assert row["cost_nano"] == catalogue.cost(model, served, USED, tier).high
    assert row["cost_nano"] > catalogue.cost(model, "", USED, tier).high
    assert met.run.spent.settled == row["cost_nano"]
    counts = ("input_uncached", "cache_read", "cache_write", "output_visible", "output_reasoning")
    assert [row[name] for name in counts] == [1000, 5000, 300, 70, 30]


def test_the_tier_is_that_which_was_served(meet: Meet, wire: str) -> None:
    met = meet(wire, Response("Hi.", usage=USED, tier="priority"))
    (row,) = met.rows
    name = MODELS[wire].partition(":")[2]
    cost = catalogue.cost(MODELS[wire], name, USED, "priority")
    assert (row["cost_nano"], row["cost_usd"]) == (cost.high, cost.high / NANO)


def test_a_tier_that_nobody_knows_costs_between_the_least_and_the_most(
    meet: Meet, wire: str
) -> None:
    met = meet(wire, Response("Hi.", usage=USED, model=STRONG[wire], tier="brand_new"))
    (row,) = met.rows
    assert 0 < row["cost_low_usd"] < row["cost_usd"] == row["cost_nano"] / NANO
    assert met.run.spent.settled == row["cost_nano"]


def test_a_long_context_is_paid_at_its_own_step(meet: Meet, wire: str) -> None:
    """The step of the whole, and not of what is above it."""
    stepped = "claude-haiku-5-5" if wire == "anthropic" else "gpt-6-sol"
    short, long = (
        meet(wire, Response("Hi.", usage=Usage(tokens, output_visible=1), model=stepped))
        for tokens in (100_000, 300_000)
    )
    assert long.rows[0]["cost_nano"] > 4 * short.rows[0]["cost_nano"]
    name, _, _ = MODELS[wire].partition(":")
    cost = catalogue.cost(f"{name}:{stepped}", stepped, Usage(300_000, output_visible=1))
    assert long.rows[0]["cost_nano"] == long.run.spent.settled == cost.high


def test_what_nobody_counted_may_have_cost_the_most(meet: Meet, wire: str) -> None:
    met = meet(wire, faults.uncounted("Hi."))
    (quoted,) = quotes(met.run)
    assert met.run.output == "Hi."
    assert (met.run.spent.settled, met.run.spent.presumed) == (0, quoted)
    assert met.rows[0]["possibly_billed_usd"] == quoted / NANO


def test_a_wait_beside_a_good_answer_is_none(meet: Meet, wire: str) -> None:
    met = meet(wire, Response("Hi.", headers={"retry-after": "60"}))
    assert (met.run.output, len(met.requests)) == ("Hi.", 1)


def test_a_slow_answer_is_an_answer(meet: Meet, wire: str) -> None:
    met = meet(wire, faults.slow(0.05, evolve(Response("Hi."), usage=USED)))
    assert (met.run.output, len(met.requests)) == ("Hi.", 1)


# ------------------------------------------------------------------------------ typed answers


@frozen
class Order:
    count: Annotated[int, Ge(1)]
    note: Annotated[str, MaxLen(5)]


FORMS = {"anthropic": "output_config", "openai": "text", "chat": "response_format"}

WRONG = {
    "a limit": ('{"count": 0, "note": "x"}', "output"),
    "a length": ('{"count": 1, "note": "much too long"}', "output"),
    "a type": ('{"count": "many", "note": "x"}', "output"),
    "a missing field": ('{"count": 1}', "output"),
    "a field too many": ('{"count": 1, "note": "x", "when": "now"}', "output"),
    "no JSON": ("One, please.", "output"),
    "a cut": (Say('{"count": 1, "no', "length"), "length"),
    "a cut that looks whole": (Say('{"count": 1, "note": "x"}', "length"), "length"),
    "a refusal": (faults.refusal(), "refusal"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_typed_answer_that_is_none_was_paid_and_is_a_problem(
    wired: Wired, wire: str, name: str
) -> None:
    """The provider enforces less than what was asked for; `parse()` of the SDKs would raise."""
    step, check = WRONG[name]
    run = wired.run(wire, Task("Order.", output=Order), [Response(step, usage=USED)])
    (row,) = wired.model_calls(run)
    (seen,) = wired.requests(run)
    assert FORMS[wire] in seen.body
    assert (run.outcome, run.problems[0].check) == (Outcome.rejected, check)
    assert row["cost_nano"] == run.spent.settled > 0
    assert row["input_uncached"] == USED.input_uncached


def test_a_typed_answer_is_checked_against_what_was_asked_for(wired: Wired, wire: str) -> None:
    """Not against the weaker schema that is sent."""
    steps = ['{"count": 0, "note": "x"}', '{"count": 2, "note": "x"}']
    run = wired.run(wire, Task("Order.", output=Order), steps, [Retry(times=1)])
    assert (run.outcome, run.output) == (Outcome.accepted, Order(2, "x"))
    first, second = wired.requests(run)
    assert "maxLength" not in json.dumps(_keys(first.body[FORMS[wire]]))
    assert "count" in second.by("user")[-1]


def _keys(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [_keys(one) for one in value]
    return [[key, _keys(inner)] for key, inner in value.items()] if isinstance(value, dict) else []


def test_nothing_marks_a_request_as_one_of_several(meet: Meet, wire: str) -> None:
    """No key that makes a repeat the same request, and a timeout that is said."""
    (seen,) = meet(wire, "Hi.").requests
    assert not [name for name in seen.headers if "idempotency" in name]
    assert 0 < float(seen.headers["x-stainless-read-timeout"]) <= 600
    assert seen.headers["x-stainless-retry-count"] == "0"
