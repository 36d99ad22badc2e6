"""Real processes, killed with a real ``kill -9``, and resumed by others."""

import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from killed import Outside, carry, statements, waits, watched
from processes import TAKEN, ended, forked, launched

from loopwright import Log, Outcome
from loopwright.run import Run


def answer(folder: Path) -> None:
    """Answer what the run asks, truthfully: whoever answers has looked outside."""
    log = Log(folder / "runs.db")
    (run_id,) = log.ids()
    for question in log.questions(run_id):
        if question.purpose == "approval":
            log.answer(run_id, "approve", question=question.id)
        else:
            assert question.purpose == "doubt"
            assert "effect class is unsafe" in question.text
            sent = "send Ada" in Outside(folder).noted()
            log.answer(run_id, "happened" if sent else "did not happen", question=question.id)
    log.close()


def finished(folder: Path) -> Run:
    """Resume, answer, resume, each time in a fresh process, until the run is over."""
    for _ in range(6):
        assert forked(carry, folder) == 0
        log = Log(folder / "runs.db")
        run = log.run(log.ids()[0])
        log.close()
        if run.outcome is not Outcome.waiting:
            return run
        answer(folder)
    raise AssertionError("the run did not end")


def check(folder: Path, run: Run) -> None:
    """What must hold however often the process was killed."""
    assert run.outcome is Outcome.accepted
    assert run.output_data == "42"
    assert run.models == ("killed:weak", "killed:strong")
    effects = Counter(Outside(folder).noted())
    assert effects["send Ada"] == 1
    assert len([effect for effect in effects if effect.startswith("book")]) == 1
    database = sqlite3.connect(folder / "runs.db")
    seqs = [seq for (seq,) in database.execute("select seq from events order by seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    again = database.execute(
        "select count(*) from events r join events i on i.run = r.run and i.call = r.call "
        "where r.type = 'Returned' and i.type = 'Intended' and i.seq > r.seq"
    ).fetchone()
    assert again == (0,)
    for name in ("look Ada", "send Ada"):
        intended = database.execute(
            "select count(*) from tool_calls where tool = ?", (name.split()[0],)
        ).fetchone()
        assert effects[name] <= intended[0]
    database.close()


def test_killed_before_every_statement(tmp_path: Path) -> None:
    """Before and after each event, and in the middle of each transaction."""
    assert forked(carry, tmp_path) == 0
    first = statements(tmp_path)
    answer(tmp_path)
    assert forked(carry, tmp_path) == 0
    second = statements(tmp_path)
    assert min(first, second) > 15
    for statement in range(first + second):
        folder = tmp_path / str(statement)
        folder.mkdir()
        if statement >= first:
            assert forked(carry, folder) == 0
            answer(folder)
        at = statement if statement < first else statement - first
        assert forked(carry, folder, at) == -signal.SIGKILL
        check(folder, finished(folder))


def count_events(folder: Path) -> int:
    database = sqlite3.connect(folder / "runs.db")
    (count,) = database.execute("select count(*) from events").fetchone()
    database.close()
    return int(count)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> int:
    folder = tmp_path_factory.mktemp("whole")
    check(folder, finished(folder))
    return count_events(folder)


LONGEST = 30
"""The uninterrupted run has this many events; a test of its own holds the number."""


def test_all_boundaries_are_covered(events: int) -> None:
    assert events == LONGEST


@pytest.mark.parametrize("event", range(1, LONGEST + 1))
def test_killed_after_every_event(tmp_path: Path, event: int) -> None:
    """Also after events that follow a resume: the first process leaves at the approval."""
    status = forked(watched, tmp_path, event, None)
    while status == 0:
        answer(tmp_path)
        log = Log(tmp_path / "runs.db")
        (run_id,) = log.ids()
        outcome = log.run(run_id).outcome
        log.close()
        if outcome is Outcome.accepted:
            break
        status = forked(watched, tmp_path, event, run_id)
    check(tmp_path, finished(tmp_path))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["look", "book", "send"])
def test_killed_inside_a_tool(tmp_path: Path, name: str, when: str) -> None:
    forked(carry, tmp_path, None, f"{when} {name}")
    if name == "send":
        answer(tmp_path)
        assert forked(carry, tmp_path, None, f"{when} {name}") == -signal.SIGKILL
    run = finished(tmp_path)
    check(tmp_path, run)
    assert run.spent.tool_calls == 3 if (name, when) == ("send", "after") else 4


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Each process gets a little further than the one before."""
    assert forked(watched, tmp_path, 2, None) == -signal.SIGKILL
    for event in range(3, LONGEST + 20):
        log = Log(tmp_path / "runs.db")
        (run_id,) = log.ids()
        if log.run(run_id).outcome is Outcome.waiting:
            answer(tmp_path)
        log.close()
        forked(watched, tmp_path, event, run_id)
    check(tmp_path, finished(tmp_path))


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in 10 s")


def test_of_two_processes_one_goes_on_and_the_other_stops_before_it_acts(tmp_path: Path) -> None:
    outside = Outside(tmp_path)
    first = launched(waits, tmp_path)
    wait_for(lambda: f"wait {first.pid}" in outside.noted())
    second = launched(waits, tmp_path)
    wait_for(lambda: f"wait {second.pid}" in outside.noted())
    (tmp_path / "go").touch()
    assert ended(second) == 0
    assert ended(first) == TAKEN
    log = Log(tmp_path / "runs.db")
    (run_id,) = log.ids()
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"run {run_id} was carried on by ")
    assert f"process {second.pid} (" in told
    assert "which has written event 5: this process was about to write Returned there" in told
    assert outside.noted().count(f"model {first.pid}") == 1
    assert log.run(run_id).outcome is Outcome.accepted
    log.close()


def test_two_processes_that_resume_at_the_same_time(tmp_path: Path) -> None:
    """However they interleave, the log stays whole, and each event is written by one of them."""
    assert forked(carry, tmp_path) == 0
    answer(tmp_path)
    children = [launched(carry, tmp_path) for _ in range(2)]
    codes = [ended(child) for child in children]
    assert set(codes) <= {0, TAKEN}
    assert 0 in codes
    check(tmp_path, finished(tmp_path))
