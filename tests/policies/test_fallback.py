"""`Fallback`: after which failures, to which model, and each one once."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moments import JUDGING, TOOL, answered, before, failed

from loopwright import BadInput, Loop, Outcome, Run, Task
from loopwright.calls import Failure, ModelCall
from loopwright.decisions import Switch
from loopwright.models import Rehearsal, Scripted
from loopwright.models.rehearsal import faults
from loopwright.policies import Fallback, Judge, Retry
from loopwright.policies.fallback import ON
from loopwright.policies.given import KINDS

TWO = Fallback("b:spare", "c:last")
SPARE = ModelCall("m2", "b:spare")

TABLE: dict[str, tuple[Fallback, Run, str | None]] = {
    "overloaded": (TWO, failed(), "b:spare"),
    "the quota is exhausted": (TWO, failed("quota_exhausted", may_resend=False), "b:spare"),
    "a request that is wrong": (TWO, failed("bad_request"), None),
    "a key that is wrong": (TWO, failed("not_authenticated"), None),
    "a kind that was named": (Fallback("b:spare", on=["refused"]), failed("refused"), "b:spare"),
    "a kind that was not": (Fallback("b:spare", on=["refused"]), failed(), None),
    "the spare fails": (TWO, failed(call=SPARE, models=("a:weak", "b:spare")), "c:last"),
    "all have failed": (
        TWO,
        failed(call=ModelCall("m3", "c:last"), models=("a:weak", "b:spare", "c:last")),
        None,
    ),
    "a judge": (TWO, failed(call=JUDGING), "b:spare"),
    "a judge on the spare": (TWO, failed(call=ModelCall("j", "b:spare", purpose="J")), "c:last"),
    "a judge on the last": (TWO, failed(call=ModelCall("j", "c:last", purpose="J")), None),
    "a tool": (TWO, failed("timeout", TOOL), None),
    "an answer": (TWO, answered("Wrong."), None),
    "before a call": (TWO, before(), None),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    fallback, run, expected = TABLE[name]
    decision = fallback.decide(run)
    assert (decision.to if isinstance(decision, Switch) else decision) == expected


@given(st.sampled_from(KINDS))
def test_by_default_it_speaks_of_the_providers_faults(kind: Any) -> None:
    assert (TWO.decide(failed(kind)) is not None) == (kind in ON)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
def test_each_model_is_tried_once_and_in_order(names: list[str]) -> None:
    spares = [Scripted([_busy()], name=f"spare-{name}") for name in names]
    models = [f"{spare.name}:{spare.name}" for spare in spares]
    first = Scripted([_busy()], name="first")
    run = Loop(first, providers=spares, policies=[Fallback(*models)]).run_now(Task("x"))
    assert run.models == ("first:first", *models)
    assert [len(spare.requests) for spare in spares] == [1] * len(spares)
    assert run.outcome is Outcome.failed


def _busy() -> Failure:
    return Failure("overloaded", "busy", None, True, 529)


def test_a_judge_falls_back_alone() -> None:
    broken = Scripted([_busy()], name="broken")
    spare = Scripted(['{"reason": "", "verdict": "accept"}'], name="spare")
    run = Loop(
        Scripted(["Hello."]), providers=[broken, spare], policies=[Fallback("spare:spare")]
    ).run_now(Task("x", checks=[Judge("Polite.", model="broken:broken")]))
    assert (run.verified, run.models) == (True, ("scripted:scripted",))


def test_on_the_wire_another_provider_takes_over() -> None:
    script = [faults.overloaded(), faults.overloaded(), "Hello."]
    with Rehearsal(script) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5",
            providers=[rehearsal.anthropic(), rehearsal.openai()],
            policies=[Retry(times=1, backoff=0), Fallback("openai:gpt-6-luna")],
        )
        run = loop.run_now(Task("Hi."))
    assert (run.output, run.models[-1]) == ("Hello.", "openai:gpt-6-luna")
    assert [d.policy for d in run.decisions] == ["Retry", "Fallback", "Otherwise"]


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        ((), {}, "Fallback(...) needs models"),
        (("spare",), {}, "Fallback('spare'): name a model as 'provider:model'"),
        (("a:b", "a:b"), {}, "'a:b' stands there twice"),
        (("a:b",), {"on": ["quota"]}, "is no kind of failure"),
        (("a:b",), {"on": "timeout"}, "a list of kinds"),
    ],
)
def test_what_cannot_be(models: tuple[str, ...], more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Fallback(*models, **more)
