"""`Pace`: who waits, for how long, and that the rate holds over processes."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import paced
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from moments import CALL, TOOL, Clock, before, declined, failed

from loopwright import BadInput, Log, Loop, Outcome, Run, Task
from loopwright.calls import Quote, Sleep, Slept
from loopwright.decisions import TryAgain
from loopwright.events import Ceiling, Decided, Intended, Returned
from loopwright.models import Scripted
from loopwright.policies import Pace
from loopwright.policies.pace import SPREAD

PACE = Pace(requests=5, tokens=1000)
REQUESTS, TOKENS = PACE.ceilings
OTHER = Ceiling("other", 5, "minute", "requests")
LARGE = evolve(CALL, quote=Quote(0, 0, 1001))
WAITED = (
    Decided(400.0, "call", "Pace", TryAgain(after=599.0)),
    Intended(400.0, Sleep("s", 590.0)),
    Returned(990.0, "s", Slept()),
)


def full(ceiling: Ceiling, **more: Any) -> Any:
    return declined(ceiling, ceiling.limit, **{"until": 1020.0, **more})


def waited(run: Run) -> Run:
    for event in WAITED:
        run = run.but(events=run.events.push(event))
    return run


TABLE: dict[str, tuple[Run, bool]] = {
    "no more requests": (before(declined=full(REQUESTS), time=1000.0), True),
    "no more tokens": (before(declined=full(TOKENS), time=1000.0), True),
    "there is room": (before(time=1000.0), False),
    "declined by another ceiling": (before(declined=full(OTHER), time=1000.0), False),
    "another call was declined": (
        before(evolve(CALL, id="m9"), declined=full(REQUESTS), time=1000.0),
        False,
    ),
    "a call that never fits": (before(LARGE, declined=full(TOKENS), time=1000.0), False),
    "a window that ends too late": (
        before(declined=full(REQUESTS, until=1601.0), time=1000.0),
        False,
    ),
    "waited too long": (waited(before(declined=full(REQUESTS), time=1000.0)), False),
    "a tool": (before(TOOL), False),
    "a failure": (failed(), False),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_decision_table(name: str) -> None:
    run, waits = TABLE[name]
    decision = PACE.decide(run)
    assert (decision is not None) == waits
    if isinstance(decision, TryAgain):
        assert 20.0 <= decision.after <= 20.0 + SPREAD


@given(st.floats(0, 5000), st.floats(0, 5000), st.text(max_size=4))
def test_nobody_comes_back_before_the_window_ends(now: float, until: float, run_id: str) -> None:
    run = before(declined=full(REQUESTS, until=until), time=now, run_id=run_id)
    decision = PACE.decide(run)
    if decision is None:
        assert until - now + SPREAD > PACE.patience
    else:
        assert isinstance(decision, TryAgain)
        assert now + decision.after >= until - 1e-6
        assert decision.after <= PACE.patience


def test_waits_are_logged(log: Log) -> None:
    loop = Loop(Scripted(["ok"] * 3), policies=[Pace(requests=1)], log=log, ports=[Clock(1.75e9)])
    runs = [loop.run_now(Task("x")) for _ in range(3)]
    assert [run.outcome for run in runs] == [Outcome.accepted] * 3
    rows = list(log.db.query("select policy, why, after_seconds from decisions"))
    said = [(row["policy"], row["why"]) for row in rows if row["after_seconds"]]
    why = "1 requests a minute are used up, the next minute begins"
    assert said == [("Pace", why)] * 2


def test_a_call_that_is_larger_than_a_window_is_refused_at_once(log: Log) -> None:
    model = Scripted(["ok"])
    run = Loop(model, policies=[Pace(tokens=100)], log=log).run_now(Task("x"))
    assert (run.outcome, len(model.requests)) == (Outcome.exhausted, 0)
    assert "the ceiling 'pace of *: tokens' of 100 tokens a minute" in run.why


def test_two_processes_share_the_rate(tmp_path: Path) -> None:
    runs = paced.shared(tmp_path / "runs.db", "pace", 12)
    made = [
        e for run in runs for e in run.events if isinstance(e, Intended) and e.call.id[0] == "m"
    ]
    windows = Counter(int(event.time // 60) for event in made)
    assert [run.outcome for run in runs] == [Outcome.accepted] * 24
    assert max(windows.values()) == 5
    assert sum(windows.values()) == 24


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "Pace(...) needs a rate"),
        ({"requests": 0}, "Pace(requests=0): give a whole number of at least 1"),
        ({"requests": 1.5}, "give a whole number"),
        ({"requests": 1, "per": "second"}, "say one of minute"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Pace(**wrong)


def test_it_needs_a_log() -> None:
    with pytest.raises(BadInput, match="give the loop one, with log="):
        Loop(Scripted([]), policies=[Pace(requests=1)])
