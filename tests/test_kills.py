"""Real processes, killed with a real ``kill -9``, and resumed by others.

The world outside is a folder: every tool and every model call leaves a line in a file there.
"""

import os
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright import Log, Loop, Outcome, RunTaken, Task
from loopwright.calls import Failure, Reply, Request, Text, ToolCall, Usage
from loopwright.models import set_price
from loopwright.policies import Approve, Escalate, Retry
from loopwright.run import Run
from loopwright.tools import tool

set_price("world:weak", 0, 0)
set_price("world:strong", 0, 0)
set_price("world:world", 0, 0)


class Outside:
    """What happens outside of the process: lines in files, which a kill cannot take back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, what: str) -> None:
        file = os.open(self.folder / "effects", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, f"{what}\n".encode())
        os.close(file)

    def noted(self) -> list[str]:
        effects = self.folder / "effects"
        return effects.read_text().splitlines() if effects.exists() else []

    def first(self, what: str) -> bool:
        """Whether this is the first time that anybody asks for `what`."""
        try:
            os.close(os.open(self.folder / what, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def kill(where: str) -> None:
    """Die here, if this is the place."""
    if os.environ.get("DIE_AT") == where:
        os.kill(os.getpid(), signal.SIGKILL)


class World:
    """A model that answers by the conversation alone, but for one failure at the first call."""

    name = "world"

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    async def reply(self, request: Request) -> Reply | Failure:
        self.outside.note(f"model {request.model} {len(request.messages)}")
        if len(request.messages) == 1 and self.outside.first("failed"):
            return Failure("rate_limited", "slow down", None, True, 429)
        if len(request.messages) == 1:
            calls = (
                ToolCall("1", "look", {"at": "Ada"}),
                ToolCall("1", "book", {"seat": 4}),
                ToolCall("1", "send", {"to": "Ada"}),
            )
            return Reply(calls, "tool_calls", Usage(9, output_visible=9))
        text = "42" if request.model == "strong" else "no idea"
        return Reply((Text(text),), "stop", Usage(9, output_visible=1))


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


def task(outside: Outside) -> Task:
    @tool(effect="read")
    def look(at: str) -> str:
        """Look."""
        kill("before look")
        outside.note(f"look {at}")
        kill("after look")
        return "seen"

    @tool(effect="idempotent")
    async def book(seat: int, idempotency_key: str) -> str:
        """Book."""
        kill("before book")
        outside.note(f"book {idempotency_key}")
        kill("after book")
        return "booked"

    @tool(effect="unsafe")
    async def send(to: str) -> str:
        """Send."""
        kill("before send")
        outside.note(f"send {to}")
        kill("after send")
        return "sent"

    return Task("Do it.", tools=[look, book, send], checks=[digits])


task(Outside(Path()))  # loads pydantic here, once, and not in each of the processes


def the_loop(folder: Path) -> Loop:
    return Loop(
        "world:weak",
        providers=[World(Outside(folder))],
        policies=[Approve("send"), Retry(times=1, backoff=0), Escalate("world:strong")],
        log=Log(folder / "runs.db", "process"),
    )


def launched(work: Callable[[], object]) -> int:
    """A process that does this work, and nothing of what the tests would do after it."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    signal.alarm(60)
    try:
        work()
    except RunTaken as taken:
        print(taken, file=sys.stderr)
        os._exit(TAKEN)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


TAKEN = 7


def ended(child: int) -> int:
    """The exit status of a process when it has ended, negative if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forked(work: Callable[[], object]) -> int:
    """The exit status of a process that does this work."""
    return ended(launched(work))


def carry(folder: Path, statement: int | None = None) -> None:
    """Start the run, or go on with it; die before SQLite executes the statement with this number.

    How many statements there were is left in a file.
    """
    loop = the_loop(folder)
    assert loop.log is not None
    runs = loop.log.runs()
    seen = iter(range(1_000_000))

    def count(sql: str) -> None:
        if next(seen) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.log.connection.set_trace_callback(count)
    if runs:
        loop.resume_now(runs[0], task(Outside(folder)))
    else:
        loop.run_now(task(Outside(folder)))
    (folder / "statements").write_text(str(next(seen)))


def statements(folder: Path) -> int:
    return int((folder / "statements").read_text())


def answer(folder: Path) -> None:
    """Answer what the run asks, truthfully: whoever answers has looked outside."""
    log = Log(folder / "runs.db")
    (run_id,) = log.runs()
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
        assert forked(lambda: carry(folder)) == 0
        log = Log(folder / "runs.db")
        run = log.run(log.runs()[0])
        log.close()
        if run.outcome is not Outcome.waiting:
            return run
        answer(folder)
    raise AssertionError("the run did not end")


def check(folder: Path, run: Run) -> None:
    """What must hold however often the process was killed."""
    assert run.outcome is Outcome.accepted
    assert run.output_data == "42"
    assert run.models == ("world:weak", "world:strong")
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
    assert forked(lambda: carry(tmp_path)) == 0
    first = statements(tmp_path)
    answer(tmp_path)
    assert forked(lambda: carry(tmp_path)) == 0
    second = statements(tmp_path)
    assert min(first, second) > 15
    for statement in range(first + second):
        folder = tmp_path / str(statement)
        folder.mkdir()
        if statement >= first:
            assert forked(lambda f=folder: carry(f)) == 0
            answer(folder)
        at = statement if statement < first else statement - first
        assert forked(lambda f=folder, s=at: carry(f, s)) == -signal.SIGKILL
        check(folder, finished(folder))


def count_events(folder: Path) -> int:
    database = sqlite3.connect(folder / "runs.db")
    (count,) = database.execute("select count(*) from events").fetchone()
    database.close()
    return int(count)


def watched(folder: Path, event: int, run_id: str | None) -> None:
    """Carry on, and die right after this event of the run was written down."""
    loop = the_loop(folder)

    def watch(run: Run, seen: object) -> None:
        if run.events[event - 1 : event] == [seen]:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.watch = watch
    if run_id is None:
        loop.run_now(task(Outside(folder)))
    else:
        loop.resume_now(run_id, task(Outside(folder)))


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
    status = forked(lambda: watched(tmp_path, event, None))
    while status == 0:
        answer(tmp_path)
        log = Log(tmp_path / "runs.db")
        (run_id,) = log.runs()
        outcome = log.run(run_id).outcome
        log.close()
        if outcome is Outcome.accepted:
            break
        status = forked(lambda r=run_id: watched(tmp_path, event, r))
    check(tmp_path, finished(tmp_path))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["look", "book", "send"])
def test_killed_inside_a_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    monkeypatch.setenv("DIE_AT", f"{when} {name}")
    forked(lambda: carry(tmp_path))
    if name == "send":
        answer(tmp_path)
        assert forked(lambda: carry(tmp_path)) == -signal.SIGKILL
    monkeypatch.delenv("DIE_AT")
    run = finished(tmp_path)
    check(tmp_path, run)
    assert run.spent.tool_calls == 3 if (name, when) == ("send", "after") else 4


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Each process gets a little further than the one before."""
    assert forked(lambda: watched(tmp_path, 2, None)) == -signal.SIGKILL
    for event in range(3, LONGEST + 20):
        log = Log(tmp_path / "runs.db")
        (run_id,) = log.runs()
        if log.run(run_id).outcome is Outcome.waiting:
            answer(tmp_path)
        log.close()
        forked(lambda e=event, r=run_id: watched(tmp_path, e, r))
    check(tmp_path, finished(tmp_path))


def slow_task(folder: Path) -> Task:
    outside = Outside(folder)

    @tool(effect="idempotent")
    async def wait(mark: str) -> str:
        """Wait until the file is there."""
        import asyncio

        outside.note(f"wait {os.getpid()}")
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
        return mark

    return Task("Do it.", tools=[wait])


class Waits:
    """A model that calls the tool `wait`, and is done when it has waited."""

    name = "world"

    def __init__(self, folder: Path) -> None:
        self.outside = Outside(folder)

    async def reply(self, request: Request) -> Reply | Failure:
        self.outside.note(f"model {os.getpid()}")
        if len(request.messages) == 1:
            return Reply((ToolCall("1", "wait", {"mark": "x"}),), "tool_calls", Usage(1))
        return Reply((Text("done"),), "stop", Usage(1))


def waits(folder: Path) -> None:
    """Start the run or go on with it; what this process is told if it loses it is written down."""
    loop = Loop(Waits(folder), log=folder / "runs.db")
    assert loop.log is not None
    runs = loop.log.runs()
    try:
        if runs:
            loop.resume_now(runs[0], slow_task(folder))
        else:
            loop.run_now(slow_task(folder))
    except RunTaken as error:
        (folder / "told").write_text(str(error))
        raise


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in 10 s")


def test_of_two_processes_one_goes_on_and_the_other_stops_before_it_acts(tmp_path: Path) -> None:
    outside = Outside(tmp_path)
    first = launched(lambda: waits(tmp_path))
    wait_for(lambda: f"wait {first}" in outside.noted())
    second = launched(lambda: waits(tmp_path))
    wait_for(lambda: f"wait {second}" in outside.noted())
    (tmp_path / "go").touch()
    assert ended(second) == 0
    assert ended(first) == TAKEN
    log = Log(tmp_path / "runs.db")
    (run_id,) = log.runs()
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"run {run_id} was carried on by ")
    assert f"process {second}, which has written event 5: this process was about to" in told
    assert outside.noted().count(f"model {first}") == 1
    assert log.run(run_id).outcome is Outcome.accepted
    log.close()


def test_two_processes_that_resume_at_the_same_time(tmp_path: Path) -> None:
    """However they interleave, the log stays whole, and each event is written by one of them."""
    assert forked(lambda: carry(tmp_path)) == 0
    answer(tmp_path)
    children = [launched(lambda: carry(tmp_path)) for _ in range(2)]
    codes = [ended(child) for child in children]
    assert set(codes) <= {0, TAKEN}
    assert 0 in codes
    check(tmp_path, finished(tmp_path))
