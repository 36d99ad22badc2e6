"""One log object in many hands: threads that ask, the garbage collector, a forked child."""

import asyncio
import gc
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from loopwright import Budget, Log, LogError, Loop, Outcome, RunTaken, Task, unlimited
from loopwright.calls import Request, ToolCall, ToolResult
from loopwright.log.migrations import transaction
from loopwright.models import Scripted
from loopwright.tools import tool

TASK = Task("Say yes.")


def yes(log: Log) -> Loop:
    return Loop(Scripted(lambda request: "Yes."), log=log)


def elsewhere(ask: Callable[[], Any]) -> Any:
    """What `ask` gives in another thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask).result()


# ------------------------------------------------------------------------------ what users hold


def test_what_a_user_takes_back_is_nothing_of_the_log(log: Log) -> None:
    db = log.db
    db.execute("savepoint mine")
    run = yes(log).run_now(TASK)
    db.execute("rollback to mine")
    db.execute("release mine")
    assert log.events(run.run_id) == list(run.events)


def test_what_a_user_has_not_committed_is_seen_by_nobody(log: Log) -> None:
    db = log.db
    db["mine"].insert({"n": 1})
    db.execute("begin")
    db.execute("update mine set n = 2")
    assert log.asked("select n from mine") == [{"n": 1}]
    db.execute("commit")
    assert log.asked("select n from mine") == [{"n": 2}]


def test_tools_that_ask_the_log_lose_nothing_of_it(log: Log) -> None:
    @tool(effect="read")
    def look(x: int) -> int:
        """Look into the log, three times, once with a table that there is not."""
        list(log.db.query("select * from decisions limit 20"))
        log.asked("select * from decisions limit 20")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            list(log.db.query("select * from no_such_table"))
        return x

    def script(request: Request) -> Any:
        results = [b for m in request.messages for b in m.blocks if isinstance(b, ToolResult)]
        return "Done." if len(results) == 3 else ToolCall(f"{len(results)}", "look", {"x": 1})

    loop = Loop(Scripted(script), log=log)
    runs = loop.map_now(Task("{n}", tools=[look]), [{"n": n} for n in range(30)], at_once=10)
    assert {run.outcome for run in runs} == {Outcome.accepted}
    assert [log.events(run.run_id) for run in runs] == [list(run.events) for run in runs]
    assert not [b for r in runs for m in r.messages for b in m.blocks if getattr(b, "error", "")]


def test_each_thread_has_a_connection_of_its_own(log: Log) -> None:
    run = yes(log).run_now(TASK)
    assert log.db.conn is log.db.conn
    assert log.db.conn is not elsewhere(lambda: log.db.conn)
    elsewhere(lambda: log.db["mine"].insert({"run": run.run_id}))
    query = "select outcome from mine join runs using (run)"
    assert list(log.db.query(query)) == [{"outcome": "accepted"}]
    yes(log).run_now(TASK)
    query = "select count(*) as n from runs"
    assert list(log.db.query(query)) == elsewhere(lambda: [*log.db.query(query)]) == [{"n": 2}]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "garbage"])
def test_what_users_ask_through_is_let_go_with_the_log(tmp_path: Path, closed: bool) -> None:
    log, query = Log(tmp_path / "runs.db"), "select run from runs"

    def ask(held: ref[Log]) -> Any:
        return [log and list(log.db.query(query)) for log in [held()]]

    with ThreadPoolExecutor(1) as thread:
        assert ask(ref(log)) == thread.submit(ask, ref(log)).result() == [[]]
        if closed:
            log.close()
        else:
            del log
            gc.collect()
        assert not (tmp_path / "runs.db-wal").exists()  # the last to close a file removes it


def test_what_a_thread_asked_through_is_let_go_when_it_ends(log: Log) -> None:
    closed = elsewhere(lambda: log.db.conn)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        closed.execute("select 1")


def test_a_log_that_is_read_only_is_asked_in_threads_too(log: Log) -> None:
    yes(log).run_now(TASK)
    reader = Log(log.path, read_only=True)
    for ask in (lambda: reader.db, lambda: elsewhere(lambda: reader.db)):
        assert list(ask().query("select outcome from runs")) == [{"outcome": "accepted"}]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ask()["mine"].insert({"n": 1})


def test_a_file_that_is_gone_is_not_made_by_asking(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.db")
    os.unlink(log.path)
    with pytest.raises(LogError):
        elsewhere(lambda: log.db)
    assert not Path(log.path).exists()


# --------------------------------------------------------------------------- within one's write


@pytest.mark.parametrize("notebook", [False, True])
def test_a_run_that_the_garbage_collector_ends_within_a_write_stays_open(
    log: Log, notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    hands = asyncio.new_event_loop()
    steps = yes(log).steps(TASK)
    run = hands.run_until_complete(anext(steps))
    hands.close()
    cycle: list[Any] = [steps]
    cycle.append(cycle)
    del steps, cycle
    with log.writing() as connection, transaction(connection):
        gc.collect()
    assert log.run(run.run_id).outcome is None
    assert yes(log).resume_now(run.run_id, TASK).outcome is Outcome.accepted


def test_nothing_is_written_within_the_write_of_another(log: Log) -> None:
    run = yes(log).run_now(TASK)
    with log.writing() as connection, transaction(connection):
        assert log.events(run.run_id) == list(run.events)
        with pytest.raises(LogError, match="by this very thread"):
            log.append_now(run.run_id, run.seq, [run.events[-1]])
    assert log.events(run.run_id) == list(run.events)


@pytest.mark.parametrize(
    ("statement", "raised"),
    [
        ("insert into kept values ('a', 1.0, null)", LogError),
        ("insert into events select * from events", RunTaken),
    ],
)
def test_only_an_event_that_is_there_tells_of_another_process(
    log: Log, statement: str, raised: type[Exception]
) -> None:
    yes(log).run_now(TASK)
    with pytest.raises(LogError) as error, log.writing() as connection:
        connection.execute(statement)
    assert type(error.value) is raised


# ------------------------------------------------------------------------------------- a fork


def forked(act: Callable[[], Any]) -> str:
    """What `act` raises in a child, which is ended if it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            act()
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        told = said.read()
    os.waitpid(child, 0)
    return told


ACTS: dict[str, Callable[[Log], Any]] = {
    "a run": lambda log: yes(log).run_now(TASK),
    "read": lambda log: log.run(log.ids()[0]),
    "has": lambda log: log.has("r"),
    "db": lambda log: log.db,
    "asked": lambda log: log.asked("select 1"),
    "reading": lambda log: log.reading().__enter__(),
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_fork_while_a_thread_holds_the_log(
    log: Log, act: Callable[[Log], Any], read_only: bool
) -> None:
    yes(log).run_now(TASK)
    log = Log(log.path, read_only=read_only)
    assert log.db.conn
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with log.reading():
            held.set()
            over.wait()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(hold)
        held.wait()
        told = forked(lambda: act(log))
        over.set()
    assert "open it again in the child" in told


# ----------------------------------------------------------------------------- what is closed


@pytest.mark.parametrize("after", range(10))
def test_a_log_is_closed_while_another_thread_writes(log: Log, after: int) -> None:
    """It ends the run with an error of ours, and the process goes on."""
    begun = threading.Event()

    @tool(effect="read")
    def look(day: int) -> str:
        """Look."""
        if day == after:
            begun.set()
        return "rain"

    def says(request: Request) -> ToolCall:
        day = len(request.messages) // 2
        return ToolCall(str(day), "look", {"day": day})

    kinds = ("tokens", "model_calls", "tool_calls", "steps")
    task = Task("Look.", tools=[look], limits=Budget(**dict.fromkeys(kinds, unlimited)))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(Loop(Scripted(says), log=log).run_now, task)
        begun.wait()
        log.close()
        with pytest.raises(LogError, match="closed"):
            run.result()
