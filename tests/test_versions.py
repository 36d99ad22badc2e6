"""Logs that each schema so far has written: they open, are whole, and answer today's questions."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from processes import forked

from loopwright import Log, LogError, Loop, Outcome, Task
from loopwright.log.check import check
from loopwright.log.columns import COLUMNS
from loopwright.log.datasette import questions
from loopwright.log.migrations import VERSION, migrate
from loopwright.log.rows import checksum
from loopwright.log.search import search
from loopwright.models import Scripted

LOGS = Path(__file__).parent / "logs"
WRITTEN = [f"v{number}.sqlite" for number in range(1, VERSION + 1)]


@pytest.fixture(params=WRITTEN)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """A log of an earlier schema, or of this one, as it is opened today."""
    path = shutil.copy(LOGS / request.param, tmp_path / "runs.db")
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("pragma user_version").fetchone()
        assert request.param == f"v{version}.sqlite"
    with closing(Log(path)) as log:
        yield log


def test_every_schema_has_left_a_log() -> None:
    """A new one is written by tests/logs/make.py, which says how."""
    assert sorted(path.name for path in LOGS.glob("*.sqlite")) == WRITTEN
    assert all(path.stat().st_size < 200_000 for path in LOGS.glob("*.sqlite"))


def test_it_is_brought_to_the_newest_schema(old: Log) -> None:
    ask = old.connection.execute
    assert ask("pragma user_version").fetchone() == (VERSION,)
    rows = ask("select run, seq, type, time, call, data, checksum from events").fetchall()
    assert len(rows) > 70
    assert all(checksum(*row[:-1]) == row[-1] for row in rows)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        ask("update events set data = data")
    with closing(Log(Path(old.path).with_name("new.db"))) as new:
        query = "select type, name, sql from sqlite_master where type <> 'table' order by name"
        assert ask(query).fetchall() == new.connection.execute(query).fetchall()


def test_every_run_folds_and_the_views_say_the_same(old: Log) -> None:
    runs = {run: old.run(run) for run in old.ids()}
    assert sum(run.outcome is Outcome.accepted for run in runs.values()) == 3
    assert [run.outcome for run in runs.values()].count(Outcome.waiting) == 1
    for _ in range(2):
        rows = old.connection.execute("select run, outcome, cost_nano, model_calls from runs")
        assert {run: tuple(row) for run, *row in rows} == {
            run.run_id: (run.outcome, run.spent.settled, run.spent.model_calls)
            for run in runs.values()
        }
        assert old.connection.execute("select sum(cost_nano) from spend").fetchone() == (
            sum(run.spent.settled for run in runs.values()),
        )
        assert old.sum_up() in (0, len(runs))


def test_it_holds_what_there_is_to_hold(old: Log) -> None:
    ask = old.connection.execute
    policies = {policy for (policy,) in ask("select distinct policy from decisions")}
    assert {"Approve", "Retry", "Escalate", "Otherwise"} <= policies
    assert ask("select answer, by from approvals order by run").fetchall() == [
        ("approve", "Ada"),
        (None, ""),
    ]
    purposes = {purpose for (purpose,) in ask("select distinct purpose from model_calls")}
    assert purposes == {"answer", "Judge"}
    assert {state for (state,) in ask("select state from tool_calls")} == {"returned", "failed"}


def test_it_answers_every_question_of_the_cookbook(old: Log) -> None:
    (run, *_) = old.ids()
    search(old, "umbrella")
    asked = {"since": "2020-01-01", "run": run}
    for title, query in questions().items():
        found = old.connection.execute(query, asked).fetchall()
        assert found or "denied" in title or "ceiling" in title or "said" in query, title
    for view in COLUMNS:
        old.connection.execute(f"select * from {view}").fetchall()


def test_a_newer_one_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = Path(shutil.copy(LOGS / WRITTEN[-1], tmp_path / "runs.db"))
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"pragma user_version = {VERSION + 1}")
    before = path.read_bytes()
    message = rf"newer loopwright \(schema {VERSION + 1}, this one knows {VERSION}\): upgrade"
    with pytest.raises(LogError, match=message):
        Log(path)
    assert path.read_bytes() == before


def migrated(path: Path, die_at: int) -> None:
    """Bring the log to the newest schema, and die before that statement."""
    left = [die_at]
    connection = sqlite3.connect(path, isolation_level=None)

    def count(statement: str) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    connection.set_trace_callback(count)
    migrate(connection, str(path))


@pytest.mark.parametrize("die_at", [3, 8, 13, 21, 34, 44, 55, 61])
def test_a_log_survives_the_death_of_whoever_migrates_it(tmp_path: Path, die_at: int) -> None:
    """It is of one schema or another, never between two: whoever comes next goes on from there."""
    path = Path(shutil.copy(LOGS / "v1.sqlite", tmp_path / "runs.db"))
    assert forked(migrated, path, die_at) == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        (version,) = database.execute("pragma user_version").fetchone()
        assert version in range(1, VERSION + 1)
        assert database.execute("select count(*) from runs").fetchone() == (5,)
    Log(path).close()
    assert not list(check(path))


def test_a_process_that_has_it_open_is_told_when_another_one_upgrades_it(tmp_path: Path) -> None:
    with closing(Log(tmp_path / "runs.db")) as log:
        run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
        with closing(sqlite3.connect(log.path)) as newer:
            newer.execute("alter table events add column more text")
            newer.execute(f"pragma user_version = {VERSION + 1}")
        with pytest.raises(LogError, match="written by a newer loopwright"):
            log.append_now(run.run_id, run.seq, [run.events[-1]])
        assert log.run(run.run_id).outcome is Outcome.accepted
