"""Logs that each schema so far has written: they open, are whole, and answer today's questions."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loopwright import Log, LogError, Outcome
from loopwright.log.columns import COLUMNS
from loopwright.log.datasette import questions
from loopwright.log.migrations import VERSION
from loopwright.log.rows import checksum
from loopwright.log.search import search

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
