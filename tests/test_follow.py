"""Following: each event is seen when it is there, in order, once, by whoever it was written."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import Log, LogError, Loop, RunNotFound, Task
from loopwright.calls import Request, ToolCall
from loopwright.events import Event
from loopwright.log.follow import follow, follow_all, found, reader
from loopwright.log.rows import readable
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.run import Run
from loopwright.tools import tool


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return at * 600


def asks(request: Request) -> object:
    turn = len(request.messages) // 2
    return ToolCall("1", "look", {"at": str(turn)}) if turn < 3 else "Done."


TASK = Task("Look.", tools=[look])


def carried(log: Log, **more: object) -> Run:
    return Loop(Scripted(asks), log=log, **more).run_now(TASK)  # type: ignore[arg-type]


@settings(max_examples=8)
@given(st.data())
def test_what_is_appended_is_seen_next(data: st.DataObject) -> None:
    """Whatever is written at once, and wherever one begins to follow."""
    with TemporaryDirectory() as folder:
        source = Log(f"{folder}/source.db", "process")
        run = carried(source)
        told = source.events(run.run_id)
        log, other = Log(f"{folder}/runs.db", "process"), Log(f"{folder}/runs.db", "process")
        first = data.draw(st.integers(1, len(told)))
        other.append_now(run.run_id, 0, told[:first])
        seen = follow(log, run.run_id)
        assert [next(seen) for _ in range(first)] == told[:first]
        while first < len(told):
            more = data.draw(st.integers(1, len(told) - first))
            other.append_now(run.run_id, first, told[first : first + more])
            assert [next(seen) for _ in range(more)] == told[first : first + more]
            first += more
        assert list(seen) == []
        for one in (source, log, other):
            one.close()


def test_a_run_that_waits(log: Log, tmp_path: Path) -> None:
    """It ends there, or goes on when the run does."""
    policies = [Approve("look")]
    run_id = carried(log, policies=policies).run_id
    waits = log.events(run_id)
    assert list(follow(log, run_id)) == waits
    seen = follow(log, run_id, until="ended")
    assert [next(seen) for _ in waits] == waits
    for _ in range(3):
        log.answer(run_id, "approve")
        Loop(Scripted(asks), policies=policies, log=log).resume_now(run_id, TASK)
    assert list(seen) == log.events(run_id)[len(waits) :]
    assert list(follow(log, run_id)) == log.events(run_id)


def test_a_wait_that_is_over_is_no_end(log: Log) -> None:
    """Also where the process that has resumed it died at once."""
    policies = [Approve("look")]
    run_id = carried(log, policies=policies).run_id
    log.answer(run_id, "approve")
    Loop(Scripted(asks), policies=policies, log=log).resume_now(run_id, TASK)
    told = log.events(run_id)
    other = Log(Path(log.path).with_name("other.db"), "process")
    half = next(i for i, event in enumerate(told) if type(event).__name__ == "Resumed") + 1
    other.append_now(run_id, 0, told[:half])
    seen = follow(other, run_id)
    assert [next(seen) for _ in range(half)] == told[:half]
    other.append_now(run_id, half, told[half:])
    assert list(seen) == told[half:]
    other.close()


def test_all_runs_are_followed_from_now_on(log: Log) -> None:
    before = carried(log, policies=[Approve("look")]).run_id
    old = len(log.events(before))
    seen = follow_all(log)
    new = _begun_by(seen, log)
    assert new == [(run, event) for run in log.ids()[1:] for event in log.events(run)]
    log.answer(before, "approve")
    Loop(Scripted(asks), policies=[Approve("look")], log=log).resume_now(before, TASK)
    more = log.events(before)[old:]
    assert [(run.run_id, event) for run, event in (next(seen) for _ in more)] == [
        (before, event) for event in more
    ]


def test_runs_that_are_summed_up_between_two_looks_are_seen(log: Log) -> None:
    """One that begins and one that is resumed; both are over when somebody looks."""
    policies = [Approve("look")]
    waits = carried(log, policies=policies).run_id
    old = len(log.events(waits))
    seen = follow_all(log)
    _begun_by(seen, log)
    log.answer(waits, "deny")
    Loop(Scripted(["Done."]), policies=policies, log=log).resume_now(waits, TASK)
    short = carried(log).run_id
    log.sum_up()
    last = carried(log)
    wanted = [(waits, event) for event in log.events(waits)[old:]]
    wanted += [(run, event) for run in (short, last.run_id) for event in log.events(run)]
    told: list[tuple[str, Event]] = []
    while told[-1:] != wanted[-1:]:
        run, event = next(seen)
        told.append((run.run_id, event))
    assert told == wanted


def test_a_run_that_is_begun_and_resumed_between_two_looks_is_seen_whole(log: Log) -> None:
    seen, policies = follow_all(log), [Approve("look")]
    _begun_by(seen, log)
    run = carried(log, policies=policies).run_id
    log.answer(run, "deny")
    Loop(Scripted(["Done."]), policies=policies, log=log).resume_now(run, TASK)
    wanted = log.events(run)
    assert [event for _, event in (next(seen) for _ in wanted)] == wanted


def test_what_was_seen_at_once_is_shown_though_it_is_removed_meanwhile(log: Log) -> None:
    seen = follow_all(log)
    _begun_by(seen, log)
    both = sorted(carried(log).run_id for _ in range(2))
    wanted = [event for run in both for event in log.events(run)]
    told = [next(seen)[1]]
    assert len(vacuum(log, before=time.time() + 5)) == 3
    assert not any(map(log.has, both))
    last = carried(log)
    told += [event for _, event in (next(seen) for _ in range(len(wanted) + last.seq - 1))]
    assert told == wanted + log.events(last.run_id)


def test_a_run_whose_beginning_is_lost_is_an_error_that_names_check(log: Log) -> None:
    seen = follow_all(log)
    _begun_by(seen, log)
    with log.writing() as connection:
        connection.execute(
            "insert into events select 'new', seq, type, time, call, data, checksum from events"
            " where seq > 1"
        )
    with pytest.raises(LogError, match=r"an event of run new cannot be read: .*`loopwright check`"):
        next(seen)


@contextmanager
def _rights(folder: Path, mode: int, user: int) -> Iterator[None]:
    """The folder may be written, or not; root may all, and becomes another user."""
    before, other = folder.stat().st_mode, os.geteuid()
    may_change = not os.getuid()
    if may_change:
        os.seteuid(0)
    folder.chmod(mode)
    if may_change:
        os.seteuid(user)
    try:
        yield
    finally:
        if may_change:
            os.seteuid(0)
        folder.chmod(before)
        if may_change:
            os.seteuid(other)


@pytest.mark.parametrize("seen", ["less", "damage"])
def test_what_is_read_while_others_write_is_read_again(seen: str) -> None:
    """By one who may not write beside the file, and reads it as what does not change."""
    with TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "runs.db"
        with closing(Log(path, "process")) as log:
            carried(log)
        path.chmod(0o644)
        asked: list[int] = []

        def ask(connection: sqlite3.Connection) -> int:
            with readable("the log"):
                (count,) = connection.execute("select count(distinct run) from events").fetchone()
            asked.append(count)
            if len(asked) > 1:
                return int(count)
            with _rights(folder, 0o755, os.getuid()), closing(Log(path, "process")) as log:
                carried(log)
            if seen == "damage":
                raise LogError("malformed")
            return int(count)

        with _rights(folder, 0o555, 65534):
            assert next(found(str(path), ask)) == 2
        assert asked == [1, 2]


def test_what_cannot_be_read_is_not_read_again(log: Log) -> None:
    def ask(connection: sqlite3.Connection) -> None:
        raise LogError("malformed")

    with pytest.raises(LogError, match="malformed"):
        next(found(log.path, ask))


def _begun_by(seen: Iterator[tuple[Run, Event]], log: Log) -> list[tuple[str, Event]]:
    """What is seen of a run that begins while all are followed, and of one after it."""
    told = []

    async def both() -> None:
        first = asyncio.ensure_future(asyncio.to_thread(next, seen))
        await asyncio.sleep(0.1)  # it has looked, and found nothing new
        run = await Loop(Scripted(asks), log=log).run(TASK)
        state, event = await first
        told.append((state.run_id, event))
        told.extend(
            (state.run_id, event) for state, event in (next(seen) for _ in range(run.seq - 1))
        )

    asyncio.run(both())
    return told


def test_a_run_that_is_not_there(log: Log) -> None:
    with pytest.raises(RunNotFound):
        next(follow(log, "nobody"))


def test_the_connection_can_only_read(log: Log) -> None:
    connection = reader(log.path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("delete from kept")
    connection.close()
