"""`Breaker`: a model that failed often is left alone, by all processes, and for a while."""

import re
from pathlib import Path
from typing import Any

import paced
import pytest
from attrs import evolve
from moments import CALL, JUDGING, TOOL, Clock, before, declined, failed

from loopwright import BadInput, Log, Loop, Outcome, Run, Task
from loopwright.calls import Failure
from loopwright.decisions import Decision, Refuse, Switch
from loopwright.events import Ceiling, Intended
from loopwright.models import Rehearsal, Scripted, set_price
from loopwright.models.rehearsal import faults
from loopwright.policies import Breaker, Budget, Retry

PLAIN, MOVING = Breaker(3, model="a:*"), Breaker(3, model="a:*", to="b:spare")
(OWN,) = PLAIN.ceilings
OPEN = declined(OWN, 3)
OTHER = declined(Ceiling("other", 3, "minute", "failures"), 3)
WHY = "a:weak failed 3 times this minute, and is left alone until the next"

TABLE: dict[str, tuple[Breaker, Run, Decision | None]] = {
    "nothing was declined": (PLAIN, before(), None),
    "it failed too often": (PLAIN, before(declined=OPEN), Refuse(WHY, Outcome.failed)),
    "there is another model": (MOVING, before(declined=OPEN), Switch("b:spare", WHY)),
    "the other one was left already": (
        MOVING,
        before(declined=OPEN, models=("b:spare", "a:weak")),
        Refuse(WHY, Outcome.failed),
    ),
    "a judge": (PLAIN, before(JUDGING, declined=OPEN), Refuse(WHY)),
    "a judge, and another model": (MOVING, before(JUDGING, declined=OPEN), Switch("b:spare", WHY)),
    "declined by another ceiling": (PLAIN, before(declined=OTHER), None),
    "another call was declined": (PLAIN, before(evolve(CALL, id="m9"), declined=OPEN), None),
    "a tool": (PLAIN, before(TOOL, declined=OPEN), None),
    "a failure": (PLAIN, failed(), None),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    breaker, run, expected = TABLE[name]
    assert breaker.decide(run) == expected


def test_on_the_wire_everybody_goes_to_the_other_provider(log: Log) -> None:
    def script(seen: Any) -> Any:
        return faults.overloaded() if seen.wire == "anthropic" else "Hello."

    clock = Clock(paced.START)
    with Rehearsal(script) as rehearsal:
        loop = Loop(
            "anthropic:claude-haiku-4-5",
            providers=[rehearsal.anthropic(), rehearsal.openai()],
            policies=[Breaker(2, model="anthropic:*", to="openai:gpt-6-luna"), Retry(backoff=0)],
            log=log,
            ports=[clock],
        )
        first, second = loop.run_now(Task("Hi.")), loop.run_now(Task("Hi."))
        asked = [seen.wire for seen in rehearsal.requests]
        clock.time += 60
        third = loop.run_now(Task("Hi."))
        again = [seen.wire for seen in rehearsal.requests][len(asked) :]
    assert asked == ["anthropic", "anthropic", "openai", "openai"]
    assert again == ["anthropic", "anthropic", "openai"]
    assert [run.output for run in (first, second, third)] == ["Hello."] * 3


def test_two_processes_share_the_failures(tmp_path: Path) -> None:
    runs = paced.shared(tmp_path / "runs.db", "breaker", 6)
    calls = [event for run in runs for event in run.events if isinstance(event, Intended)]
    assert len(runs) == 12
    assert 4 <= len(calls) <= 5  # both may have been under way when the last failure was counted
    assert sum("left alone" in run.why for run in runs) == 12 - len(calls)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"failures": 0}, "Breaker(failures=0): give a whole number of at least 1"),
        ({"per": "second"}, "say one of minute"),
        ({"to": "spare"}, "name a model as 'provider:model'"),
        ({"to": "b:spare"}, "model='*'): the pattern must not cover the spare"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Breaker(**wrong)


def test_a_budget_of_the_same_name_is_another_ceiling(log: Log) -> None:
    """Failures and nano-dollars are not counted together, though "support" names both."""
    failing = Scripted(lambda request: Failure("overloaded", "busy", None, True, 529))
    spending = Scripted(["ok"] * 2, name="spending")
    set_price("spending:spending", input=1, output=1)
    money, breaker = Budget(usd=1, per="month", name="support"), Breaker(2, name="support")
    for ladder, model in (([money], spending), ([evolve(breaker, per="month")], failing)):
        runs = [Loop(model, policies=ladder, log=log).run_now(Task("Hi.")) for _ in range(2)]
        assert not any("left alone" in run.why for run in runs)
