"""The laws of every list of policies: whatever stands in it, in whatever order, in any world."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import JUDGED, TASK, inline, worlds
from test_lint import assert_within
from test_whatif import house, recorded

from loopwright import Budget, Outcome, Policy, Run, Task
from loopwright.calls import NANO, Failure, ModelCall, Question, Reply, ToolCall
from loopwright.events import Intended
from loopwright.lint import lint
from loopwright.policies import (
    Approve,
    AskPerson,
    Compact,
    Deadline,
    Degrade,
    Escalate,
    Fallback,
    NoProgress,
    Permit,
    Redact,
    Retry,
    Route,
    Timeout,
)
from loopwright.whatif import replayed

STRONG = "world:strong"

policies = st.sampled_from(
    [
        Approve("send"),
        AskPerson(
            "Go on?",
            at=lambda run: run.moment != "call" or run.step > 2,
            choices=("approve", "stop"),
        ),
        Budget(usd="0.9"),
        Budget(model_calls=3, tool_calls=4),
        Compact(tokens=1, keep=1, longest=1),
        Compact(tokens=1, keep=1, longest=1, model="world:judge"),
        Deadline(seconds=40),
        Degrade((STRONG,), least=1),
        Escalate(STRONG),
        Escalate(STRONG, person=True, attempts=2),
        Fallback(STRONG),
        NoProgress(2),
        Permit({"double": True, "send": {"to": "A*"}}),
        Redact("Ada|it"),
        Redact("42", models_only=True),
        Retry(),
        Retry(1, patience=600),
        Route(lambda run: STRONG, STRONG),
        Route.classified("world:judge", {"13": "world:weak", "42": STRONG}),
        Timeout(5),
    ]
)
lists = st.lists(policies, min_size=1, max_size=5, unique_by=id)
tasks = st.sampled_from([TASK, JUDGED])


@given(worlds, lists, tasks)
def test_it_ends_within_its_limits_and_for_a_reason(
    script: list[Reply | Failure], ladder: list[Policy], task: Task
) -> None:
    run = inline(script, ladder, task)
    assert run.outcome not in (None, Outcome.waiting)
    assert "raised" not in run.why
    assert "did not settle" not in run.why
    assert run.spent.reserved == 0
    assert run.spent.at_most <= Decimal(run.limits["usd"]) * NANO
    assert_within(run, lint(ladder, task, "world:weak"))


@given(worlds, lists, tasks)
def test_what_if_decides_what_was_decided(
    script: list[Reply | Failure], ladder: list[Policy], task: Task
) -> None:
    run = recorded(script, ladder, task)
    row = replayed(run.events, house(ladder), task)
    assert row.divergence is None
    assert (row.would_be, row.exact) == (run.outcome, True)
    assert (row.at_least, row.model_calls) == (run.spent.settled, run.spent.model_calls)


@settings(max_examples=60)
@given(worlds, lists, tasks)
def test_nothing_is_sent_that_a_person_did_not_see(
    script: list[Reply | Failure], ladder: list[Policy], task: Task
) -> None:
    """Wherever `Approve` stands: who amends the call afterwards has to ask again."""
    run = inline(script, [*ladder, Approve("send")], task)
    asked: dict[str, str] = {}
    for event in run.events:
        match event:
            case Intended(call=Question(choices=("approve", "deny")) as question):
                asked[question.about] = question.text
            case Intended(call=ToolCall(name="send") as call):
                assert str(call.arguments["to"]) in asked.pop(call.id)


@settings(max_examples=60)
@given(worlds, lists, tasks)
def test_nothing_leaves_unmasked(
    script: list[Reply | Failure], ladder: list[Policy], task: Task
) -> None:
    """Wherever `Redact` stands: who amends or makes a call leaves it to be masked still."""
    run = inline(script, [*ladder, Redact("42|Ada")], task)
    for event in run.events:
        if isinstance(event, Intended) and isinstance(event.call, ModelCall):
            sent = str(_seen(run, event.call))
            assert "42" not in sent
            assert "Ada" not in sent


def _seen(run: Run, call: ModelCall) -> list[object]:
    """What the model reads of the conversation: the ids of calls are ours."""
    parts = ("text", "content", "arguments")
    blocks = [block for message in run.seen(call) for block in message.blocks]
    return [getattr(block, part, "") for block in blocks for part in parts]
