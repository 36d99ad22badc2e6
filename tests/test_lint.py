"""Ask before you run: the worst case holds for every run, and what is wrong is found."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import JUDGED, TASK, inline, rules, tasks, worlds

from loopwright import BadInput, Budget, Log, Loop, Outcome, Policy, Run, Task, unlimited
from loopwright.budget import DEFAULTS, defaults
from loopwright.calls import NANO, Failure, ModelCall, Reply, Sleep, Text, ToolCall
from loopwright.decisions import Accept, Amend, Ask, Decision, Stop, Switch, TryAgain
from loopwright.dryrun import REJECTED, WORLDS, beginning, dry
from loopwright.events import Ceiling
from loopwright.lint import Finding, Forecast, lint
from loopwright.models import Scripted
from loopwright.models.catalogue import set_price
from loopwright.models.failures import failed
from loopwright.policies import Approve, Deadline, Degrade, Escalate, Fallback, Retry
from loopwright.policies.timeout import Timeout
from loopwright.policy import flat
from loopwright.tools import tool

set_price("even:even", input=1000, output=1000)
"""A thousandth of a dollar a token, whichever way it goes."""

set_price("cheap:weak", input=1, output=2)
set_price("cheap:strong", input=1, output=2)
set_price("cheap:other", input=1, output=2)

MODEL = "world:weak"

# ----------------------------------------------------------------------------------- the worst


def elsewhere(run: Run) -> Decision | None:
    """A policy that says nothing of the models that it may call."""
    once = "world:strong" not in run.models and run.moment in ("failure", "answer")
    return Switch("world:strong") if once else None


def more(run: Run) -> Decision | None:
    call = run.call
    if run.moment == "call" and isinstance(call, ModelCall) and call.max_tokens < 512:
        return Amend(evolve(call, max_tokens=512))
    return None


def later(run: Run) -> Decision | None:
    slept = any(isinstance(call, Sleep) for call in run.pending)
    waits = run.moment == "call" and isinstance(run.call, ModelCall) and not slept
    return TryAgain(after=7.0) if waits and run.step % 2 == 0 else None


def endless(run: Run) -> Decision | None:
    return TryAgain(after=3.0) if run.moment == "failure" else None


budgets = st.builds(
    Budget,
    usd=st.sampled_from([unlimited, "100", "20", "8", "0.2", None]),
    tokens=st.sampled_from([unlimited, None, 50_000, 9000, 4000, 500]),
    seconds=st.sampled_from([600, 40, unlimited, None]),
    model_calls=st.sampled_from([5, 3, 8, 2, 12, 0]),
    tool_calls=st.sampled_from([6, 3, 2, unlimited, 0]),
    steps=st.sampled_from([unlimited, 8, 3, None]),
).filter(lambda b: {b.tool_calls, b.steps, b.seconds} != {unlimited})
"""Most of them just above what one call, or a few, can need at the prices of these worlds. With all
that could end it lifted, a run that repeats a tool call for ever is right to go on."""

unknown = st.lists(st.sampled_from([elsewhere, more, later, endless]), max_size=2, unique=True)
BARE = Task("Do {what}.", checks=TASK.checks)


def assert_within(run: Run, forecast: Forecast) -> None:
    worst, spent = forecast.worst, run.spent
    used = (
        (worst.cost, Decimal(spent.at_most) / NANO),
        (worst.tokens, spent.tokens),
        (worst.model_calls, spent.model_calls),
        (worst.tool_calls, spent.tool_calls),
        (worst.seconds, run.seconds),
    )
    assert all(most is None or one <= most for most, one in used), (worst, used)


@settings(max_examples=150)
@given(
    worlds,
    rules | st.deferred(lambda: st.lists(ladders, max_size=4)),
    st.sampled_from([TASK, JUDGED, BARE]),
    budgets,
    unknown,
    st.integers(0, 6),
)
def test_no_run_uses_more_than_the_worst(
    script: list[Reply | Failure],
    rules: list[Policy],
    task: Task,
    budget: Budget,
    unknown: list[Callable[[Run], Decision | None]],
    at: int,
) -> None:
    policies = flat([*rules[:at], *unknown, budget, *rules[at:]])
    assert_within(inline(script, policies, task), lint(policies, task, MODEL))


others = st.sampled_from(["world:strong", "even:even"])
ladders = st.one_of(
    st.builds(Escalate, others),
    st.builds(Fallback, others),
    st.builds(Degrade, st.tuples(others), least=st.sampled_from([1, 64])),
    st.builds(Deadline, st.sampled_from([5.0, 1000.0])),
    st.builds(Timeout, st.just(5.0)),
)


@settings(max_examples=150)
@given(worlds, st.lists(ladders, max_size=3), st.sampled_from([TASK, JUDGED, BARE]), budgets)
def test_the_prices_of_all_models_that_it_can_reach_bound_a_run(
    script: list[Reply | Failure], ladder: list[Policy], task: Task, budget: Budget
) -> None:
    policies = [evolve(budget, usd=unlimited), *ladder]
    forecast = lint(policies, task, MODEL)
    assert forecast.worst.cost is not None or budget.tokens == unlimited
    assert_within(inline(script, policies, task), forecast)


@pytest.mark.parametrize("tokens", [unlimited, 2000])
def test_a_policy_that_does_not_say_its_models_is_bounded_by_budgets_alone(tokens: int) -> None:
    for policy in (elsewhere, Approve("send"), Escalate("world:strong").when(lambda run: True)):
        worst = lint([policy, Budget(usd=unlimited, tokens=tokens)], TASK, MODEL).worst
        known = hasattr(policy, "policy") or hasattr(policy, "models")
        assert (worst.cost is not None) == (known and tokens != unlimited)


def test_the_worst_case_can_be_reached() -> None:
    """Each bound by a run that meets it, to the nano-dollar."""

    @tool(effect="read")
    def look() -> str:
        """Look."""
        return "nothing"

    task = Task("x", tools=[look], max_tokens=50)
    model = Scripted(lambda request: Reply((ToolCall("1", "look"),), "tool_calls"), name="even")
    policies = [Budget(model_calls=3, tool_calls=3, usd=unlimited)]
    loop = Loop(model, policies=policies)
    run, forecast = loop.run_now(task), lint(policies, task, "even:even")
    assert (run.spent.model_calls, run.spent.tool_calls) == (3, 3)
    assert (forecast.worst.model_calls, forecast.worst.tool_calls) == (3, 3)

    exactly = Decimal(run.spent.at_most) / NANO
    policies = [Budget(model_calls=3, usd=exactly)]
    assert Loop(model, policies=policies).run_now(task).possible_cost == exactly
    assert lint(policies, task, "even:even").worst.cost == exactly

    policies = [Budget(tokens=run.spent.tokens, usd=unlimited, model_calls=3)]
    again, forecast = Loop(model, policies=policies).run_now(task), lint(policies, task, loop.model)
    assert again.spent.tokens == forecast.worst.tokens
    assert forecast.worst.cost is not None
    assert again.possible_cost == forecast.worst.cost - Decimal(3) / NANO  # three roundings


def test_a_dearer_rung_counts() -> None:
    """On a free model with a rung that costs, the run costs what the rung can."""
    weak = Scripted(["no"], name="weak")
    strong = Scripted([Reply((Text("no"),), usage=None)], name="even")
    policies = [Escalate("even:even"), Budget(usd=unlimited, tokens=5000)]
    task = Task("x", checks=[lambda answer: "No."], max_tokens=3000)
    loop = Loop(weak, providers=[strong], policies=policies)
    run, forecast = loop.run_now(task), lint(policies, task, loop.model)
    assert run.possible_cost > 3
    assert_within(run, forecast)


def test_judges_that_are_asked_together_are_more_calls_than_steps() -> None:
    policies = flat(Budget(usd=unlimited, steps=2))
    run = inline([Reply((Text("42"),))], policies, JUDGED)
    assert run.spent.model_calls == 3
    assert_within(run, lint(policies, JUDGED, MODEL))


def test_the_seconds_can_be_reached() -> None:
    def sleepy(run: Run) -> Decision | None:
        return TryAgain(after=9.99) if run.moment == "failure" else None

    policies = [Budget(seconds=10, usd=unlimited), sleepy]
    failing = [Failure("overloaded", "busy", None, True, 529)]
    run, forecast = inline(failing, flat(policies)), lint(policies, TASK, MODEL)
    assert forecast.worst.seconds is not None
    assert 9.99 < run.seconds <= forecast.worst.seconds == 11.0


def test_what_is_taken_back_in_the_end_counts() -> None:
    def back(result: str) -> None: ...

    @tool(undo=back)
    def act() -> str:
        """Act."""
        return "done"

    acting = lambda request: [ToolCall("1", "act"), ToolCall("2", "act")]  # noqa: E731
    task, policies = Task("x", tools=[act]), [Budget(tool_calls=2)]
    loop = Loop(Scripted(acting), policies=policies)
    run, forecast = loop.run_now(task), lint(policies, task, loop.model)
    assert run.spent.tool_calls == forecast.worst.tool_calls == 4
    assert_within(run, forecast)


def test_what_has_no_limit_is_unlimited() -> None:
    lifted = Budget(**dict.fromkeys(DEFAULTS, unlimited))
    assert str(lint(lifted, TASK, MODEL).worst) == (
        "at most unlimited USD, unlimited tokens, unlimited model calls, unlimited tool calls, "
        "unlimited s"
    )


def test_a_model_without_a_price_costs_what_nobody_knows() -> None:
    assert lint(Budget(unpriced="allow"), Task("x"), "nobody:knows").worst.cost is None
    assert lint(Budget(unpriced="allow"), Task("x"), MODEL).worst.cost == 1
    assert lint([Budget(unpriced="allow"), elsewhere], Task("x"), MODEL).worst.cost is None


def test_a_shared_ceiling_for_all_time_bounds_each_run() -> None:
    all_time, daily = Budget(usd="0.25", name="all"), Budget(usd="0.10", per="day", name="day")
    assert lint([all_time, daily], Task("x"), MODEL).worst.cost == Decimal("0.25")


# -------------------------------------------------------------------------------- the findings


@tool(effect="unsafe")
def send(to: str) -> str:
    """Send it."""
    return to


WEAK = "cheap:weak"
MAIL = Task("Write to {name}.", tools=[send])


def found(policies: Any, task: Task = MAIL, model: str = WEAK, **more: Any) -> list[str]:
    """The findings in short: level, policy, and the words that are looked for."""
    return [str(finding) for finding in lint(policies, task, model, **more).findings]


def test_a_sound_set_has_no_findings() -> None:
    policies = [Budget(usd=5), Approve("send"), Retry(times=2), Escalate("cheap:strong")]
    assert found(policies, answered=True) == []


def test_retries_that_sleep_longer_than_the_limit() -> None:
    (said,) = found([Retry(times=5, backoff=60, longest=60), Budget(seconds=120)])
    assert said.startswith("error: Retry: when model calls fail as rate_limited, overloaded")
    assert "would pass the limit of 120 s" in said
    assert found([Retry(times=5, backoff=60, longest=60), Budget(seconds=400)]) == []


def test_a_ladder_longer_than_its_limit() -> None:
    retry = Retry(times=5, backoff=0.0)
    assert found([retry, Budget(model_calls=6)]) == []
    rejected, failing = found([retry, Budget(model_calls=5)])
    assert rejected.startswith("warning: Retry: when every answer is rejected: 5 calls, and then")
    assert failing.startswith("error: Retry: when model calls fail as rate_limited, overloaded,")


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_unlimited_knob(name: str) -> None:
    limits = {name: unlimited}
    assert found(Budget(**limits)) == [
        f"warning: Budget: there is no limit of {name}: say Budget({name}=...) unless that is meant"
    ]


def always(run: Run) -> Decision | None:
    return Accept("good enough") if run.moment == "answer" else None


def test_a_rung_below_a_policy_that_always_speaks_first() -> None:
    (said,) = found([always, Escalate("cheap:strong")])
    assert said.startswith("error: Escalate: Escalate(models=['cheap:strong'], ")
    assert "never gets to speak: when every answer is rejected it would" in said
    assert "always spoke first, and the run ended: good enough" in said
    assert found([Escalate("cheap:strong"), always]) == []


def test_a_rung_that_no_run_comes_to() -> None:
    ladder = Escalate("cheap:strong", "cheap:other")
    (said,) = [f for f in found([ladder, Budget(model_calls=2)]) if "rung" in f]
    assert said.startswith(
        "error: Escalate: the rung cheap:other is never reached, since a run ends"
    )
    assert not [f for f in found([ladder, Budget(model_calls=3)]) if "rung" in f]


def test_a_retry_that_never_speaks() -> None:
    assert found(Retry(times=0)) == ["warning: Retry: with times=0 it never speaks: leave it out"]
    (said,) = found([Retry(times=2), Retry(times=2)])
    assert "stands there twice" in said
    (said,) = found([Retry(times=2), Retry(times=1)])
    assert said.startswith("warning: Retry: Retry(times=1, ")


def test_a_question_that_nobody_can_answer() -> None:
    (said,) = found(Approve("se*"))
    assert said == (
        "error: Approve: asks a person before send is called, and nobody can answer: give the loop "
        "ask=, or a log to wait in"
    )
    (said,) = found(Escalate(person=True))
    assert said.startswith("error: Escalate: asks a person when every answer is rejected, and")
    assert found([Approve("se*"), Escalate(person=True)], answered=True) == []


def test_a_pattern_that_fits_no_tool() -> None:
    (said,) = found(Approve("sned"), answered=True)
    assert said == "warning: Approve: 'sned' fits no tool of the task: did you mean 'send'?"
    (said,) = found(Approve("sned").when(lambda run: True), answered=True)
    assert "fits no tool" in said


def test_a_model_without_a_price() -> None:
    said = found(Escalate("nobody:knows"))
    assert said[0].startswith("error: the price of 'nobody:knows' is unknown: say it in USD")
    assert not [
        f for f in found([Escalate("nobody:knows"), Budget(unpriced="allow")]) if "pri" in f
    ]


def test_more_tokens_than_the_model_can_answer() -> None:
    big = Task("x", max_tokens=70_000)
    (said,) = found(Budget(usd=9), big, "anthropic:claude-haiku-4-5")
    assert said.endswith("is more than anthropic:claude-haiku-4-5 can answer: say 64000")
    assert found(Budget(usd=9), big, "anthropic:claude-opus-5-5") == []


def test_a_limit_smaller_than_one_call() -> None:
    (said,) = found(Budget(usd="0.001"))
    assert said.startswith("error: Budget: not even the first call can be made: the limit of 0.001")
    team = Budget(usd="0.001", per="day", name="team")
    (said,) = found([Budget(usd=9), team])
    assert said.startswith("error: team: not even the first call can be made: the ceiling 'team'")
    assert found([Timeout(5), Budget(usd=9), team]) == [said]


@pytest.mark.parametrize("shared", [{}, {"per": "day", "name": "team"}])
def test_a_limit_for_which_somebody_knows_a_cheaper_call(shared: Any, log: Log) -> None:
    """What works is no error: a strict loop begins, and comes to its end."""
    ladder = [Degrade(least=1), Budget(usd="0.7", **shared)]
    model = Scripted(["ok"], name="even")
    loop = Loop(model, policies=ladder, log=log, strict=True)
    assert loop.run_now(Task("x", max_tokens=1_000)).outcome is Outcome.accepted
    assert model.requests[0].max_tokens < 1_000


def test_a_ceiling_in_tokens_or_requests_smaller_than_one_call() -> None:
    @frozen(str=False)
    class Shared(Policy):
        ceilings: tuple[Ceiling, ...]

        def decide(self, run: Run) -> Decision | None:
            return None

    def of(limit: int, unit: Any, model: str = "*") -> list[str]:
        return found([Budget(usd=9), Shared((Ceiling("c", limit, "minute", unit, model),))])

    assert len(of(0, "requests")) == len(of(10, "tokens")) == 1
    assert of(1, "requests") == of(1_000_000, "tokens") == of(0, "requests", "other:*") == []


def test_a_policy_that_raises_in_a_dry_run() -> None:
    def needs(run: Run) -> Decision | None:
        return Stop("closed") if run.inputs["name"].last == "x" else None

    (said,) = found(needs)
    assert said.startswith("warning: needs: in a dry run it raised AttributeError: ")

    @frozen
    class Name:
        last: str

    assert found(needs, inputs={"name": Name("y")}) == []


def test_errors_can_be_raised() -> None:
    lint(Retry(times=0), MAIL, WEAK).check()
    with pytest.raises(BadInput, match="error: Approve: asks a person before send is called"):
        lint([Approve("send"), Retry(times=0)], MAIL, WEAK).check()


def test_the_tasks_own_limits_count() -> None:
    task = Task("x", limits=Budget(model_calls=2))
    assert lint(Budget(model_calls=5, usd=9), task, WEAK).worst.model_calls == 2


def test_a_forecast_is_told_line_by_line() -> None:
    forecast = lint(Approve("send"), MAIL, WEAK)
    first, *rest = str(forecast).splitlines()
    assert first == "at most 1 USD, 1000000 tokens, 25 model calls, 50 tool calls, 601 s"
    assert rest == [str(finding) for finding in forecast.findings]
    assert forecast.errors == (Finding("error", "Approve", forecast.findings[0].text),)


# -------------------------------------------------------------------------------- the dry runs


@settings(max_examples=30)
@given(rules, tasks, st.sampled_from(WORLDS))
def test_a_dry_run_ends_as_the_policies_say(rules: list[Policy], task: Task, world: Any) -> None:
    """The same as a real run in which the same goes wrong."""
    lifted = [*rules, Budget(usd=unlimited, tokens=unlimited)]
    run = dry(beginning(lifted, task, MODEL, {}), world, [*lifted, defaults(lifted)])
    wrong = Reply((Text("13"),)) if world == REJECTED else failed(world, "made up", status=500)
    bare = Task("Do {what}.", checks=[lambda answer: "It is rejected."])
    real = inline([wrong], lifted, bare if world == REJECTED else task)
    told = [(d.policy, type(d.decision)) for d in real.decisions]
    assert [(d.policy, type(d.decision)) for d in run.decisions] == told
    assert run.outcome == real.outcome


def test_a_question_in_a_dry_run_is_answered() -> None:
    def ask(run: Run) -> Decision | None:
        asked = run.answered("q") is None and run.moment == "failure"
        return Ask("What now?", choices=("go on",), digest="q") if asked else None

    (policy,) = flat(ask)
    run = dry(beginning([policy], Task("x"), MODEL, {}), "overloaded", [policy])
    assert run.answers["q"].text == "go on"
    assert run.outcome is Outcome.failed
