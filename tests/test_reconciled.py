"""What a person finds out later of a call in doubt: it changes the books, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from loopwright import Budget, Log, Loop, Outcome, Run, Task
from loopwright.calls import Reply, Text, Usage
from loopwright.events import Reconciled
from loopwright.fold import fold
from loopwright.models import Scripted, set_price
from loopwright.quality import quality

CRASH = """
import os, sys
from loopwright import Budget, Loop, Task
from loopwright.models import Scripted, set_price

set_price("mine:mine", 0, 1)
model = Scripted(lambda request: os._exit(9), name="mine")
loop = Loop("mine:mine", providers=[model], policies=[Budget(usd=1, name="all")], log=sys.argv[1])
task = Task("Hi.", max_tokens=1000)
loop.resume_now(sys.argv[2], task) if sys.argv[2:] else loop.run_now(task)
"""


@pytest.fixture(autouse=True)
def _priced() -> None:
    set_price("mine:mine", 0, 1)


def crashed(path: Path, *run: str) -> None:
    assert subprocess.run([sys.executable, "-c", CRASH, str(path), *run]).returncode == 9


def finished(log: Log, run: str) -> Run:
    model = Scripted([Reply((Text("ok"),), usage=Usage(0, output_visible=100))], name="mine")
    loop = Loop("mine:mine", providers=[model], policies=[Budget(usd=1, name="all")], log=log)
    return loop.resume_now(run, Task("Hi.", max_tokens=1000))


def test_a_call_that_was_lost_twice_is_paid_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    crashed(path)
    log = Log(path, "process")
    (run,) = log.ids()
    crashed(path, run)
    assert finished(log, run).outcome is Outcome.accepted
    log.reconcile(run, "m1", "0.0005")
    cost, possibly = "cost_nano", "possibly_billed_nano"
    calls = log.asked(f"select {cost}, {possibly} from model_calls order by seq")
    assert [(call[cost], call[possibly]) for call in calls] == [(0, 0), (500_000, 0), (100_000, 0)]
    assert log.asked(f"select sum({cost}) as sum from spend") == [{"sum": 600_000}]
    assert log.run(run).spent.settled == 600_000


def test_to_reconcile_is_no_work(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    crashed(path)
    log = Log(path, "process")
    (run,) = log.ids()
    before = log.run(run)
    later = Reconciled(before.time + 3600, "m1", 500_000, 1_000_000, "Ada")
    assert fold(before, later).seconds == before.seconds
    done = finished(log, run)
    assert quality(log).rows()[0]["accepted"] == 1
    log.reconcile(run, "m1", "0.0005")
    assert quality(log).rows()[0]["accepted"] == 1
    assert log.run(run).seconds == done.seconds
    assert log.run(run).outcome is Outcome.accepted
