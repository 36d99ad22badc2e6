"""Merge: several logs become one, or nothing is written."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import DAY, carried, older, sums
from spending import balances

from loopwright import BadInput, Log, LogError, Loop, Outcome, Task
from loopwright.events import Ended, Setting, Started
from loopwright.log.check import check
from loopwright.log.merge import merge
from loopwright.log.rewriting import unguarded
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted

BEGIN = Started(1.0, "r", "task", "Hello.", Setting("a:b", by="here"))


def told(log: Log) -> tuple[Any, ...]:
    """All that a merge is about."""
    tables = ("events", "parts", "balances", "exported", "whatif")
    rows = [log.connection.execute(f"select * from {table}").fetchall() for table in tables]
    answers = log.connection.execute("select run, call, time, text from answers order by run, call")
    return (*rows, answers.fetchall(), *sums(log))


@pytest.fixture
def logs(tmp_path: Path) -> Sequence[Log]:
    return [Log(tmp_path / f"{i}.db", "process") for i in range(3)]


def test_runs_texts_answers_and_sums_come_together(logs: Sequence[Log]) -> None:
    one, two, _ = logs
    mine, theirs = carried(one, 1), carried(two, 1)
    waits = carried(two, 2, "waits")
    two.answer(waits.run_id, "approve", by="Ada")
    two.connection.execute("insert into exported values ('http://x', ?, 3)", (theirs.run_id,))
    whole, other = balances(one), balances(two)
    report = merge(one, two.path)
    assert {row.run: row.events for row in report} == {
        theirs.run_id: theirs.seq,
        waits.run_id: waits.seq,
    }
    assert set(one.ids()) == {mine.run_id, theirs.run_id, waits.run_id}
    assert one.run(theirs.run_id).output == theirs.output
    assert one.questions(waits.run_id) == []
    for key in {*whole, *other}:
        both = zip(whole.get(key, (0,) * 3), other.get(key, (0,) * 3), strict=True)
        assert balances(one)[key] == tuple(map(sum, both))
    assert check(one).rows() == []
    assert one.connection.execute("select seq from exported").fetchall() == [(3,)]


def test_nothing_of_the_others_is_changed(logs: Sequence[Log]) -> None:
    one, two, _ = logs
    carried(two, 1)
    two.close()
    folder = Path(two.path).parent
    before = Path(two.path).read_bytes()
    beside = {path.name for path in folder.iterdir()}
    merge(one, two.path)
    assert Path(two.path).read_bytes() == before
    assert {path.name for path in folder.iterdir()} - beside <= {"1.db-wal", "1.db-shm"}
    assert not Path(f"{two.path}-wal").exists() or not Path(f"{two.path}-wal").stat().st_size


def test_of_a_run_the_longer_one_counts(logs: Sequence[Log]) -> None:
    one, two, three = logs
    run = Loop(Scripted(["Yes."]), log=one).run_now(Task("Say yes."))
    events = one.events(run.run_id)
    two.append_now(run.run_id, 0, events[:2])
    three.append_now(run.run_id, 0, events[:4])
    assert merge(two, three.path, one.path).rows() == [{"run": run.run_id, "events": 4}]
    assert two.events(run.run_id) == events
    assert len(merge(one, three.path)) == 0
    assert check(two).rows() == []


def test_a_run_that_went_on_in_two_ways(logs: Sequence[Log]) -> None:
    one, two, three = logs
    one.append_now("r", 0, [BEGIN, Ended(2.0, Outcome.stopped, "this")])
    two.append_now("r", 0, [BEGIN, Ended(2.0, Outcome.stopped, "that")])
    carried(three, 1)
    before = told(one)
    with pytest.raises(LogError, match="run r went on in different ways in two of the logs"):
        merge(one, three.path, two.path)
    with pytest.raises(LogError, match="from event 2 on; nothing was merged"):
        merge(one, two.path, dry_run=True)
    assert told(one) == before


def test_a_damaged_log_is_not_merged(logs: Sequence[Log]) -> None:
    one, two, _ = logs
    two.append_now("r", 0, [BEGIN])
    with two.writing() as connection, unguarded(connection):
        connection.execute("update events set data = replace(data, 'Hello', 'Hallo')")
    with pytest.raises(LogError, match="event 1 of run r is damaged: `check` says"):
        merge(one, two.path)
    assert one.ids() == []


def test_what_cannot_be_merged(log: Log, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is the log itself"):
        merge(log, log.path)
    with pytest.raises(LogError, match="there is no log"):
        merge(log, tmp_path / "nothing.db")
    (tmp_path / "notes").write_text("These are notes. " * 500)
    with pytest.raises(LogError, match=r"notes cannot be merged: .*not a database"):
        merge(log, tmp_path / "notes")
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("pragma user_version = 99")
    with pytest.raises(LogError, match="newer loopwright"):
        merge(log, tmp_path / "newer.db")


def test_an_older_schema_is_migrated_in_a_copy(logs: Sequence[Log], tmp_path: Path) -> None:
    one, two, _ = logs
    run = carried(two, 1)
    path = older(two, tmp_path / "older.db")
    before = path.read_bytes()
    merge(one, path)
    assert one.run(run.run_id).output == run.output
    assert path.read_bytes() == before
    assert check(one).rows() == []


def test_totals_of_removed_runs_come_along(logs: Sequence[Log]) -> None:
    """And go, when a log that still has their events is merged, too."""
    one, two, three = logs
    carried(two, 1)
    with closing(sqlite3.connect(three.path)) as copy:
        two.connection.backup(copy)
    expected = told(two)[-3:]
    held = balances(two)
    vacuum(two, before=5 * DAY)
    for _ in range(2):
        merge(one, two.path)
        assert (told(one)[-3:], balances(one)) == (expected, held)
        assert one.ids() == []
    merge(one, Log(three.path).path)
    assert (told(one)[-3:], balances(one)) == (expected, held)
    assert len(one.ids()) == 1
    assert check(one).rows() == []


@settings(max_examples=6)
@given(
    where=st.lists(
        st.tuples(st.sets(st.integers(0, 2), min_size=1), st.sampled_from(["plain", "waits"])),
        max_size=4,
    ),
    order=st.permutations([0, 1, 2]),
)
def test_in_any_order_and_as_often_as_you_like(
    tmp_path_factory: pytest.TempPathFactory,
    where: list[tuple[set[int], str]],
    order: Sequence[int],
) -> None:
    """Each run stands in some of the logs, in all of them whole or only its beginning."""
    folder = tmp_path_factory.mktemp("merged")
    source = Log(folder / "source.db", "process")
    logs = [Log(folder / f"{i}.db", "process") for i in range(3)]
    for there, kind in where:
        run = carried(source, 1, kind)
        for i in there:
            logs[i].append_now(run.run_id, 0, source.events(run.run_id)[: run.seq - min(i, 1)])
    merged = []
    for sequence in (order, (0, 1, 2)):
        target = Log(folder / f"to{len(merged)}.db", "process")
        for i in sequence:
            merge(target, logs[i].path)
        once = told(target)
        assert len(merge(target, *(log.path for log in logs))) == 0
        assert told(target) == once
        assert check(target).rows() == []
        merged.append(once)
    assert merged[0] == merged[1]
    shutil.rmtree(folder)
