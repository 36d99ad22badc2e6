"""Vacuum: old runs go, what they add up to stays; and nothing is lost of what others write."""

import asyncio
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import DAY, LONG, carried, sums
from processes import ended, forked, launched
from spending import balances

from loopwright import BadInput, Log, LogError, Loop, Outcome, RunNotFound, Task
from loopwright.events import Started
from loopwright.log.check import check
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted


def test_what_is_old_goes_and_its_sums_stay(log: Log) -> None:
    old = carried(log, 1)
    new = carried(log, 9)
    log.search("length")
    before, held = sums(log), balances(log)
    report = vacuum(log, before=5 * DAY)
    assert [one.run for one in report] == [old.run_id]
    assert (report.summary["runs"], report.summary["events"]) == (1, old.seq)
    assert (sums(log), balances(log)) == (before, held)
    with pytest.raises(RunNotFound):
        log.run(old.run_id)
    assert log.run(new.run_id) == evolve(new, task=None)
    assert [found.run for found in log.search("length")] == [new.run_id]
    log.rebuild()
    assert balances(log) == held
    assert {ceiling for ceiling, *_ in log.connection.execute("select ceiling from ceilings")} <= {
        ceiling for ceiling, _ in held
    }
    assert check(log).rows() == []
    assert report.summary["bytes"] > 0
    assert len(vacuum(log, before=5 * DAY)) == 0
    assert len(vacuum(log, before="1970-01-06")) == 0


def test_what_was_removed_is_not_done_again(log: Log) -> None:
    """By whoever comes back with an id that stands for one act."""
    loop, task = Loop(Scripted(lambda request: "Sent."), log=log), Task("Send it.")
    asyncio.run(loop.run_as("order-17", task, {}))
    vacuum(log, before=time.time() + DAY)
    before = sums(log)
    with pytest.raises(BadInput, match=r"run order-17 is over, .* by vacuum: give another id"):
        asyncio.run(loop.run_as("order-17", task, {}))
    with pytest.raises(RunNotFound, match=r"the events of run order-17 were removed from .*runs"):
        log.run("order-17")
    assert (log.ids(), sums(log)) == ([], before)
    asyncio.run(loop.run_as("order-18", task, {}))
    assert log.ids() == ["order-18"]


def test_texts_that_others_use_stay(log: Log) -> None:
    """Both have said the same long text."""
    carried(log, 1)
    new = carried(log, 9)
    vacuum(log, before=5 * DAY)
    assert log.connection.execute("select count(*) from parts").fetchone() == (1,)
    assert log.run(new.run_id).output == new.output
    assert vacuum(log, before=10 * DAY).summary["texts"] == 1
    assert LONG[:20].encode() not in Path(log.path).read_bytes()


def test_what_waits_is_never_removed(log: Log) -> None:
    waits = carried(log, 1, "waits")
    assert waits.outcome is Outcome.waiting
    assert len(vacuum(log, before="2030-01-01")) == 0
    log.answer(waits.run_id, "approve")
    assert log.run(waits.run_id).outcome is Outcome.waiting


def test_a_family_goes_together(log: Log) -> None:
    parent = carried(log, 1, "parent")
    ids = log.ids()
    assert len(ids) == 2
    last = log.run(ids[1])
    asked = Started(9 * DAY, "late", "late", "Go on.", last.setting, parent=ids[1])
    log.append_now("late", 0, [asked])  # a grandchild that is still open
    assert len(vacuum(log, before=5 * DAY)) == 0
    assert log.run(parent.run_id).output == "Done."


def test_a_fork_and_its_base_go_together(log: Log) -> None:
    base = carried(log, 1)
    first = Started(9 * DAY, "fork", "plain", base.prompt, base.setting, base=base.run_id, shared=2)
    log.append_now("fork", 2, [first])
    assert len(vacuum(log, before=5 * DAY)) == 0
    assert log.run("fork").base == base.run_id


def test_nothing_is_removed_by_a_dry_run(log: Log) -> None:
    carried(log, 1)
    (one,) = vacuum(log, before=5 * DAY, dry_run=True)
    assert one.row() == {"run": log.ids()[0], "task": "plain", "events": 6, "ended": DAY}
    assert log.run(one.run).output


def test_a_dry_run_in_a_log_that_may_only_be_read(log: Log) -> None:
    carried(log, 1)
    with closing(Log(log.path, read_only=True)) as reader:
        assert vacuum(reader, before=5 * DAY, dry_run=True).summary["runs"] == 1
        with pytest.raises(LogError, match="was opened to be read only"):
            vacuum(reader, before=5 * DAY)


@pytest.mark.parametrize("before", [None, "soon", True])
def test_a_date_that_is_none(log: Log, before: Any) -> None:
    with pytest.raises(BadInput, match="give an ISO date"):
        vacuum(log, before=before)


@settings(max_examples=12)
@given(
    runs=st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["plain", "waits", "parent"])), max_size=5
    ),
    days=st.lists(st.integers(0, 10), min_size=1, max_size=3),
)
def test_the_sums_are_the_same_whenever_and_however_often(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[int, str]],
    days: list[int],
) -> None:
    log = Log(tmp_path_factory.mktemp("sums") / "runs.db", "process")
    for day, kind in runs:
        carried(log, day, kind)
    before, held = sums(log), balances(log)
    for day in days:
        vacuum(log, before=day * DAY)
        assert (sums(log), balances(log)) == (before, held)
        log.rebuild()
        assert balances(log) == held
        assert check(log).rows() == []
    left = {run for (run,) in log.connection.execute("select distinct run from events")}
    kept = {
        run for run, *_ in log.connection.execute("select run from runs where outcome = 'waiting'")
    }
    assert kept <= left
    log.close()


# ------------------------------------------------------------------------------- other processes


def killed_at(folder: Path, statement: int) -> None:
    """Vacuum, and die before SQLite executes the statement with this number."""
    log = Log(folder / "runs.db", "process")
    seen = iter(range(1_000_000))

    def count(sql: str) -> None:
        if next(seen) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    log.connection.set_trace_callback(count)
    vacuum(log, before=5 * DAY)
    (folder / "statements").write_text(str(next(seen)))


def writes(folder: Path) -> None:
    """Carry out runs until the file `stop` is there."""
    loop = Loop(Scripted(lambda request: "Yes."), log=Log(folder / "runs.db", "process"))
    done = 0
    while not (folder / "stop").exists():
        assert loop.run_now(Task("Say yes.")).outcome is Outcome.accepted
        done += 1
    (folder / "done").write_text(str(done))


def test_a_crash_leaves_a_good_log(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    log = Log(tmp_path / "fresh" / "runs.db", "process")
    for day in (1, 2, 9):
        carried(log, day)
    before = sums(log)
    log.close()
    shutil.copytree(tmp_path / "fresh", tmp_path / "whole")
    assert forked(killed_at, tmp_path / "whole", -1) == 0
    statements = int((tmp_path / "whole" / "statements").read_text())
    for i in range(0, statements, max(1, statements // 8)):
        shutil.copytree(tmp_path / "fresh", tmp_path / str(i))
        assert forked(killed_at, tmp_path / str(i), i) == -signal.SIGKILL
        log = Log(tmp_path / str(i) / "runs.db", "process")
        assert check(log).rows() == []
        assert sums(log) == before
        vacuum(log, before=5 * DAY)
        assert len(log.ids()) == 1
        assert check(log).rows() == []
        log.close()


def test_others_write_meanwhile(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.db", "process")
    for day in range(1, 30):
        carried(log, day)
    writer = launched(writes, tmp_path)
    removed = 0
    while len(log.ids()) < 40 or removed < 20:
        assert writer.is_alive()
        removed += len(vacuum(log, before=(removed + 3) * DAY))
        time.sleep(0.01)
    (tmp_path / "stop").touch()
    assert ended(writer) == 0
    assert check(log).rows() == []
    done = int((tmp_path / "done").read_text())
    (told,) = log.connection.execute("select count(*) from runs").fetchone()
    assert told == 29 + done
    log.close()


def test_a_reader_keeps_the_space(log: Log) -> None:
    """And is told of in an error, instead of passing over it in silence."""
    carried(log, 1)
    reader = sqlite3.connect(log.path)
    reader.execute("begin")
    reader.execute("select count(*) from events").fetchone()
    log.connection.execute("pragma busy_timeout = 50")
    with pytest.raises(LogError, match="is being read, so that what was removed still stands in"):
        vacuum(log, before=5 * DAY)
    reader.close()
    assert vacuum(log, before=5 * DAY).summary["runs"] == 0
    assert LONG[:20].encode() not in Path(log.path).read_bytes()
