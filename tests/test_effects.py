"""What the effect classes promise: real processes, killed with a real ``kill -9``, and resumed."""

import signal
from pathlib import Path

import pytest
from killed import Outside
from processes import forked
from sagas import BOOKED, act, saga

from loopwright import Log, Outcome
from loopwright.events import Intended, Returned, Unwinding
from loopwright.run import Run

INTENDED, RETURNED = 4, 5
"""The events that are the intent and the outcome of the tool call."""

POINTS = {
    "before the dispatch": (INTENDED, ""),
    "in flight": (0, "before"),
    "after the effect": (0, "after"),
    "after its outcome": (RETURNED, ""),
}

REPEATED = {
    ("read", "after the effect"),
    ("idempotent", "after the effect"),
}
"""Where the effect is seen twice; an idempotent one with the same key."""


def the_run(folder: Path) -> Run:
    log = Log(folder / "runs.db")
    run = log.run(log.ids()[0])
    log.close()
    return run


def answered(folder: Path, outside: Outside) -> None:
    """Say what is known, truthfully: whoever answers has looked outside."""
    log = Log(folder / "runs.db")
    log.answer(log.ids()[0], "happened" if outside.noted() else "did not happen")
    log.close()


@pytest.mark.parametrize("effect", ["read", "idempotent", "reconcilable", "unsafe"])
@pytest.mark.parametrize("point", POINTS)
def test_a_call_that_a_kill_interrupts(tmp_path: Path, effect: str, point: str) -> None:
    die_after, die_at = POINTS[point]
    assert forked(act, tmp_path, effect, die_after, die_at) == -signal.SIGKILL
    assert forked(act, tmp_path, effect) == 0
    outside, run = Outside(tmp_path), the_run(tmp_path)
    if effect == "unsafe" and point != "after its outcome":
        assert run.outcome is Outcome.waiting
        assert "so it is not known whether it happened" in run.why
        answered(tmp_path, outside)
        assert forked(act, tmp_path, effect) == 0
        run = the_run(tmp_path)
    assert run.outcome is Outcome.accepted
    assert len(outside.noted()) == (2 if (effect, point) in REPEATED else 1)
    assert len(set(outside.noted())) == 1


def test_the_events_are_where_the_tests_think(tmp_path: Path) -> None:
    assert forked(act, tmp_path, "read") == 0
    events = the_run(tmp_path).events
    assert isinstance(events[INTENDED - 1], Intended)
    assert isinstance(events[RETURNED - 1], Returned)


# ----------------------------------------------------------------------------------------- sagas


def undone(folder: Path, fails: int) -> None:
    """Nothing is left outside, and each undo happened once, the last one first."""
    run = the_run(folder)
    assert run.outcome is Outcome.rejected, run.why
    assert not run.not_undone
    assert not list(folder.glob("booked *"))
    undos = [line.split()[1] for line in Outside(folder).noted()]
    assert undos == [str(number) for number in range(fails, 0, -1)]


@pytest.mark.parametrize("fails", range(1, BOOKED + 1))
def test_a_run_that_ends_badly_takes_back_what_it_did(tmp_path: Path, fails: int) -> None:
    assert forked(saga, tmp_path, fails) == 0
    undone(tmp_path, fails)
    results = [line.partition(" of ")[2] for line in Outside(tmp_path).noted()]
    assert results[1:] == [f"'booked {number}'" for number in range(fails - 1, 0, -1)]


def test_one_that_ends_well_does_not(tmp_path: Path) -> None:
    assert forked(saga, tmp_path, 0) == 0
    assert the_run(tmp_path).outcome is Outcome.accepted
    assert len(list(tmp_path.glob("booked *"))) == BOOKED


@pytest.mark.parametrize("fails", [1, 3, BOOKED])
def test_a_crash_at_each_step_of_the_unwinding(tmp_path: Path, fails: int) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert forked(saga, whole, fails) == 0
    events = list(the_run(whole).events)
    begins = next(i for i, event in enumerate(events, 1) if isinstance(event, Unwinding))
    for event in range(begins, len(events) + 1):
        folder = tmp_path / str(event)
        folder.mkdir()
        assert forked(saga, folder, fails, event) == -signal.SIGKILL
        assert forked(saga, folder, fails) == 0
        undone(folder, fails)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_inside_of_an_undo(tmp_path: Path, when: str) -> None:
    for number in (1, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert forked(saga, folder, 4, 0, f"{when} undo {number}") == -signal.SIGKILL
        assert forked(saga, folder, 4) == 0
        undone(folder, 4)
