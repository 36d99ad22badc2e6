"""Merge: several logs become one, or nothing is written."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import DAY, carried, older, sums
from spending import balances

from loopwright import BadInput, Log, LogError, Loop, Outcome, Task
from loopwright.calls import Answer
from loopwright.events import Ended, Resumed, Returned, Setting, Started
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


def copied(log: Log, path: Path) -> Log:
    """A log that holds the same."""
    with closing(sqlite3.connect(path)) as copy:
        log.connection.backup(copy)
    return Log(path, "process")


def cancelled(log: Log) -> str:
    """A run that waited, and is over; its id."""
    run = carried(log, 1, "waits").run_id
    log.cancel(run)
    return run


@pytest.mark.parametrize("dry", [True, False])
def test_an_older_log_of_a_run_whose_events_were_removed(
    log: Log, tmp_path: Path, dry: bool
) -> None:
    """The run would wait again, and do once more what it has done."""
    run = carried(log, 1, "waits").run_id
    older = copied(log, tmp_path / "older.db")
    log.answer(run, "approve")
    log.cancel(run)
    vacuum(log, before="2100-01-01")
    before = told(log)
    for one, other in ((log, older), (older, log)):
        with pytest.raises(LogError, match=f"run {run} had gone on .*: leave the older log out"):
            merge(one, other.path, dry_run=dry)
    assert told(log) == before
    assert older.run(run).outcome is Outcome.waiting
    older.close()


def test_two_logs_from_which_a_run_was_removed_at_different_ends(log: Log, tmp_path: Path) -> None:
    run = cancelled(log)
    older = copied(log, tmp_path / "older.db")
    last = log.run(run)
    log.append_now(run, last.seq, [Ended(last.time, Outcome.stopped, "once more")])
    for one in (log, older):
        vacuum(one, before="2100-01-01")
    for one, other in ((log, older), (older, log)):
        with pytest.raises(LogError, match="leave the older log out"):
            merge(one, other.path)
    older.close()


def test_the_answer_that_was_given_first_counts(log: Log, tmp_path: Path) -> None:
    """Whichever log is merged into the other, and as often as you like."""
    run = carried(log, 1, "waits").run_id
    yes, no = (copied(log, tmp_path / f"{name}.db") for name in ("yes", "no"))
    yes.answer(run, "approve", by="Ada", note="Do.")
    no.answer(run, "deny", by="Bob")
    for one, other in ((no, yes), (yes, no), (no, yes)):
        merge(one, other.path)
        query = "select answer, by, note from approvals"
        assert one.connection.execute(query).fetchall() == [("approve", "Ada", "Do.")]
        assert one.connection.execute("select count(*) from answers").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError, match="the log is append-only"):
        no.connection.execute("update answers set text = 'deny'")
    for one in (yes, no):
        one.close()


def test_an_answer_that_the_run_has_gone_on_with_counts(log: Log, tmp_path: Path) -> None:
    waits = carried(log, 1, "waits")
    other = copied(log, tmp_path / "other.db")
    other.answer(waits.run_id, "deny")
    log.answer(waits.run_id, "approve")
    given = Returned(2 * DAY, waits.questions[0].id, Answer("approve"))
    log.append_now(waits.run_id, waits.seq, [Resumed(2 * DAY, waits.setting), given])
    before = copied(other, tmp_path / "before.db")
    for one, source in ((log, other), (before, log), (other, before)):
        merge(one, source.path)
        for query in ("select text from answers", "select answer from approvals"):
            assert one.connection.execute(query).fetchall() == [("approve",)]
    for one in (other, before):
        one.close()


def test_what_comes_back_is_found(log: Log, tmp_path: Path) -> None:
    """Though the log was searched when its events were gone."""
    carried(log, 1)
    copied(log, tmp_path / "backup.db").close()
    assert log.search("length")
    vacuum(log, before=5 * DAY)
    assert log.search("length") == []
    merge(log, tmp_path / "backup.db")
    assert log.search("length")


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_read_in_the_other_is_no_fault_of_the_log(
    logs: Sequence[Log], dry_run: bool
) -> None:
    one, two, _ = logs
    run = carried(two, 1)
    with two.writing() as connection, unguarded(connection):
        connection.execute("update events set data = cast(x'7bff7d' as text) where seq = 2")
    said = r"nothing was merged: one of the logs cannot be read: .*; `loopwright check`"
    with pytest.raises(LogError, match=said):
        merge(one, two.path, dry_run=dry_run)
    assert not one.has(run.run_id)


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not write everywhere: root may."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_log_in_a_folder_that_may_only_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a backup: nothing can be put beside the file."""
    with TemporaryDirectory() as folder, TemporaryDirectory() as backups:
        path = Path(backups) / "runs.db"
        log, source = Log(f"{folder}/all.db", "process"), Log(path, "process")
        run = carried(source, 1)
        source.close()
        os.chmod(folder, 0o777)
        path.chmod(0o444)
        os.chmod(backups, 0o555)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with nobody():
            assert len(merge(log, path)) == 1
        os.chmod(backups, 0o755)
        assert log.run(run.run_id).output == run.output
        log.close()


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
