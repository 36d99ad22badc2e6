"""Real processes under shared ceilings in one log, killed with a real ``kill -9`` at any moment."""

import json
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from killed import Outside
from processes import ended, launched
from spending import COST, QUOTE, look, spend

from loopwright import Log

PROCESSES = 8
CALLS = 2_000
KILLS = 20
ALLOWED = CALLS * COST + (KILLS + 1) * QUOTE
"""So many calls fit, even if each kill leaves one that is presumed spent."""


def used(log: Log, ceiling: str) -> tuple[int, int, int]:
    query = "select settled, reserved, presumed from balances where ceiling = ?"
    settled, reserved, presumed = log.connection.execute(query, (ceiling,)).fetchone() or (0, 0, 0)
    return settled, reserved, presumed


def of_events(log: Log, model: str) -> tuple[int, int, int]:
    """The same, from the events."""
    settled, reserved, presumed = log.connection.execute(
        "select sum(settled_nano), sum(reserved_nano), sum(presumed_nano) from ledger"
        " where model like ?",
        (model,),
    ).fetchone()
    return settled, reserved, presumed


def number(log: Log, query: str) -> int:
    return int(log.connection.execute(query).fetchone()[0])


def killed(folder: Path, log: Log) -> dict[int, BaseProcess]:
    """Processes that spend, of which one is killed each time that a bit more is used."""
    chance = random.Random(1)
    spending = {slot: launched(spend, folder, slot, ALLOWED, True) for slot in range(PROCESSES)}
    for kill in range(1, KILLS + 1):
        while sum(used(log, "whole")) < ALLOWED * kill // (KILLS + 4):
            assert any(process.is_alive() for process in spending.values())
            time.sleep(0.002)
        slot = chance.randrange(PROCESSES)
        pid = spending[slot].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert ended(spending[slot]) == -signal.SIGKILL
        resumes = chance.random() < 0.7
        spending[slot] = launched(spend, folder, slot, ALLOWED, resumes)
    return spending


def test_the_ceiling_holds_over_processes_that_are_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path / "runs.db", "process")
    looking = launched(look, tmp_path, ALLOWED)
    spending = killed(tmp_path, log)
    assert {ended(process) for process in spending.values()} == {0}
    (tmp_path / "stop").touch()
    assert ended(looking) == 0

    seen = json.loads((tmp_path / "seen").read_text())
    calls = number(log, "select count(*) from events where type in ('Returned', 'Failed')")
    declined = number(log, "select count(*) from events where type = 'Declined'")
    with capsys.disabled():
        print(
            f"\nledger: {calls} calls by {PROCESSES} processes, {KILLS} kills, {declined} declined,"
            f" {seen['looks']} looks"
        )
    assert seen["passed"] == []
    assert seen["most"]["whole"] > ALLOWED - QUOTE
    assert calls >= CALLS

    settled, reserved, presumed = used(log, "whole")
    billed = Outside(tmp_path).noted().count("billed") * COST
    assert settled <= billed <= settled + reserved + presumed <= ALLOWED
    assert used(log, "whole") == of_events(log, "%")
    assert used(log, "narrow") == of_events(log, "spend:flaky")
    query = "select * from balances"
    kept = log.connection.execute(query).fetchall()
    log.rebuild()
    assert log.connection.execute(query).fetchall() == kept
    log.close()
