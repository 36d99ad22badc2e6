"""The log: append-only, whole, private, and refused with a clear word where it cannot be used."""

import asyncio
import os
import select
import shutil
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from loopwright import BadInput, Log, LogError, Loop, Outcome, Run, RunNotFound, RunTaken, Task
from loopwright.calls import Failure, Question, Reply, Request, Text, ToolCall, Usage
from loopwright.events import Ended, Event, Setting, Started
from loopwright.log.follow import follow, follow_all
from loopwright.log.jsonl import lines
from loopwright.log.migrations import VERSION
from loopwright.log.redact import redact
from loopwright.log.rewriting import unguarded
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted
from loopwright.policies import Approve, Retry
from loopwright.report import opened
from loopwright.running import Carried
from loopwright.tools import tool
from loopwright.whatif import whatif

BEGIN = Started(1.0, "r", "task", "Hello.", Setting("a:b", by="here"))


def append(log: Log, seq: int, *events: Started | Ended) -> None:
    asyncio.run(log.append("r", seq, events))


def test_what_is_appended_comes_back(log: Log) -> None:
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped, "é" * 2000))
    assert log.events("r") == [BEGIN, Ended(2.0, Outcome.stopped, "é" * 2000)]
    assert log.ids() == ["r"]


@pytest.mark.parametrize("table", ["events", "parts", "answers"])
@pytest.mark.parametrize("change", ["update {} set rowid = 1", "delete from {}"])
def test_nothing_is_ever_changed(log: Log, table: str, change: str) -> None:
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped, "x" * 1000))
    log.connection.execute("insert into answers values (1, 'r', 'q1', 1.0, 'yes', '', '')")
    column = {"events": "seq", "parts": "text", "answers": "id"}[table]
    statement = change.format(table).replace("rowid", column)
    with pytest.raises(sqlite3.IntegrityError, match="the log is append-only"):
        log.connection.execute(statement)


def test_the_second_to_append_is_refused(log: Log) -> None:
    append(log, 0, BEGIN)
    with pytest.raises(RunTaken):
        append(log, 0, BEGIN)
    with pytest.raises(RunTaken):
        append(log, 0, Ended(2.0, Outcome.stopped, "part " * 500), Ended(3.0, Outcome.stopped))
    assert log.events("r") == [BEGIN]
    assert log.connection.execute("select count(*) from parts").fetchone() == (0,)


def test_a_long_text_is_stored_once(log: Log) -> None:
    text = "the same long text " * 100
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped, text), Ended(3.0, Outcome.stopped, text))
    assert log.connection.execute("select text from parts").fetchall() == [(text,)]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_file_is_its_owners_only(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        log = Log(tmp_path / "runs.db")
        append(log, 0, BEGIN)
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
        log.close()
    assert modes == {"runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600}


def test_durability(tmp_path: Path) -> None:
    for durability, synchronous in (("power", 2), ("process", 1)):
        log = Log(tmp_path / durability, durability)  # type: ignore[arg-type]
        assert log.connection.execute("pragma synchronous").fetchone() == (synchronous,)
        assert log.connection.execute("pragma journal_mode").fetchone() == ("wal",)
        log.close()
    with pytest.raises(BadInput, match="say 'power' or 'process'"):
        Log(tmp_path / "x", "always")  # type: ignore[arg-type]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, and a database they are not. " * 100)
    before = path.read_bytes()
    with pytest.raises(LogError, match=r"notes\.txt cannot be opened as a log: file is not a data"):
        Log(path)
    assert path.read_bytes() == before


def test_a_database_that_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("create table mine (a)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LogError, match=r"other\.db is a database, but no log of loopwright"):
        Log(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_of_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    Log(path).close()
    newer = sqlite3.connect(path)
    newer.execute("pragma user_version = 99")
    newer.close()
    with pytest.raises(LogError, match=rf"newer loopwright \(schema 99, this one knows {VERSION}"):
        Log(path)


@contextmanager
def _nobody() -> Iterator[None]:
    """As a user who may not write everywhere: root may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_log_that_is_read_only() -> None:
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "runs.db"
        Log(path).close()
        path.chmod(0o444)
        with _nobody(), pytest.raises(LogError, match=r"runs\.db is read-only: make it writable"):
            Log(path)


def test_a_log_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with closing(Log(path)) as log:
        run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    kept = path.read_bytes()
    with closing(Log(path, read_only=True)) as log:
        assert log.run(run.run_id).output_data == "Hello."
        assert [row["outcome"] for row in log.asked("select outcome from runs")] == ["accepted"]
        assert log.runs()[0].run == run.run_id
        assert [found.role for found in log.search("hello")] == ["assistant"]
        with pytest.raises(LogError, match="was opened to be read only"):
            log.cancel(run.run_id)
        with pytest.raises(LogError, match="was opened to be read only"):
            Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    assert path.read_bytes() == kept


def test_what_others_write_meanwhile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    Log(path).close()
    with closing(Log(path, read_only=True)) as reading, closing(Log(path)) as log:
        assert reading.ids() == []
        for _ in range(3):
            run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
            log.connection.execute("pragma wal_checkpoint(truncate)")
            assert reading.run(run.run_id).output_data == "Hello."
        assert len(reading.ids()) == 3


def test_reports_read_what_may_not_be_written() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        with closing(Log(path)) as log:
            run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
        path.chmod(0o444)
        os.chmod(folder, 0o555)
        with _nobody(), closing(opened(path)) as log:
            assert [run.outcome for run in log.runs()] == ["accepted"]
            assert list(follow(log, run.run_id)) == log.events(run.run_id)
        os.chmod(folder, 0o755)


@contextmanager
def _reading_only(folder: Path) -> Iterator[None]:
    """As a user who may not write into the folder."""
    folder.chmod(0o555)
    try:
        with _nobody():
            yield
    finally:
        folder.chmod(0o755)


def _ended_again(path: Path) -> list[Event]:
    with closing(Log(path)) as log:
        append(log, 2, Ended(3.0, Outcome.stopped, "x" * 9000))
        return log.events("r")


def test_who_may_not_write_opens_again_what_others_have_written() -> None:
    """What SQLite holds of the file, and what it would read from now on, do not fit together."""
    with TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "runs.db"
        with closing(Log(path)) as log:
            append(log, 0, BEGIN)
        path.chmod(0o644)
        with _reading_only(folder):
            reading = Log(path, read_only=True)
            assert reading.events("r") == [BEGIN]
        with closing(Log(path)) as log:
            append(log, 1, Ended(2.0, Outcome.stopped, "x" * 9000))
            told = log.events("r")
        with _reading_only(folder):
            during = Log(path, read_only=True)
        with pytest.raises(LogError, match="was changed by others meanwhile"), during.reading():
            told = _ended_again(path)
        for ask in (reading.ids, lambda: reading.events("r"), reading.runs, lambda: reading.db):
            with pytest.raises(LogError, match="was changed by others meanwhile: open it again"):
                ask()
        reading.close()
        with _reading_only(folder), closing(Log(path, read_only=True)) as log:
            assert log.events("r") == told


def test_who_may_not_write_reads_long_texts_and_forks() -> None:
    with TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "runs.db"
        with closing(Log(path)) as log:
            loop = Loop(Scripted(lambda request: "x" * 9000), log=log)
            base = loop.run_now(Task("x"))
            both = [base, loop.fork_now(base.run_id, Task("x"), at=0)]
        path.chmod(0o644)
        with _reading_only(folder), closing(Log(path, read_only=True)) as log:
            assert [log.events(run.run_id) for run in both] == [list(run.events) for run in both]


def test_a_copy_without_all_its_parts_says_what_to_do() -> None:
    with TemporaryDirectory() as name:
        folder, path = Path(name) / "backup", Path(name) / "backup" / "runs.db"
        folder.mkdir()
        with closing(Log(Path(name) / "runs.db")) as log:
            append(log, 0, BEGIN)
            for part in ("", "-wal"):
                shutil.copy(f"{log.path}{part}", f"{path}{part}")
                Path(f"{path}{part}").chmod(0o644)
        os.chmod(name, 0o755)
        with _reading_only(folder), pytest.raises(LogError, match="copy it, with its -wal, to wh"):
            Log(path, read_only=True)


@pytest.mark.parametrize("left_open", [False, True])
def test_who_may_not_write_follows_what_is_written_later(left_open: bool) -> None:
    with TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "runs.db"
        with closing(Log(path)) as log:
            append(log, 0, BEGIN)
        path.chmod(0o644)
        with _reading_only(folder), closing(Log(path, read_only=True)) as log:
            seen = follow(log, "r", until="never")
            assert next(seen) == BEGIN
        for seq in range(1, 4):
            event = Ended(1.0 + seq, Outcome.waiting if seq < 3 else Outcome.stopped)
            log = Log(path)
            append(log, seq, event)
            if not left_open or seq == 1:
                log.close()
            with _reading_only(folder):
                assert next(seen) == event
            log.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_who_may_not_write_follows_all_runs_that_begin_later() -> None:
    """Another process, which may have begun before the first run or after it."""
    with TemporaryDirectory() as name:
        path = Path(name) / "runs.db"
        Log(path).close()
        path.chmod(0o644)
        os.chmod(name, 0o755)
        said, says = os.pipe()
        if not (child := os.fork()):
            with suppress(BaseException), _nobody():
                run, _ = next(follow_all(Log(path, read_only=True)))
                os.write(says, run.run_id.encode())
            os._exit(0)
        os.close(says)
        runs = set()
        for _ in range(40):
            with closing(Log(path, "process")) as log:
                runs.add(Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet.")).run_id)
            if select.select([said], [], [], 0.2)[0]:
                break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert os.read(said, 100).decode() in runs
        os.close(said)


def test_a_log_that_is_only_read_has_to_be_there_and_up_to_date(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot be read: there is no such file"):
        Log(tmp_path / "runs.db", read_only=True)
    old = Path(__file__).parent / "logs" / "v2.sqlite"
    with pytest.raises(LogError, match="of the older schema 2, and may only be read: open a copy"):
        Log(old, read_only=True)


def test_views_of_an_older_version_are_seen_as_they_are_now(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with closing(Log(path)) as log:
        Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
        log.connection.execute("drop view runs")
        log.connection.execute("create view runs as select 1 as one")
    with closing(Log(path, read_only=True)) as log:
        assert [row["outcome"] for row in log.asked("select outcome from runs")] == ["accepted"]


def test_a_log_on_a_read_only_file_system(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot be created|is no regular file"):
        Log("/proc/runs.db")
    with pytest.raises(LogError, match="there is no folder"):
        Log(tmp_path / "nowhere" / "runs.db")
    with pytest.raises(LogError, match="is no regular file"):
        Log("/dev/null")


def test_a_file_that_is_removed_while_it_is_open(log: Log) -> None:
    append(log, 0, BEGIN)
    os.rename(log.path, f"{log.path}.moved")
    log._writing.looked = 0.0
    with pytest.raises(LogError, match="was removed or replaced while it was open"):
        append(log, 1, Ended(2.0, Outcome.stopped))


def test_a_file_that_is_removed_is_missed_however_often_it_is_written(log: Log) -> None:
    append(log, 0, BEGIN)
    os.rename(log.path, f"{log.path}.moved")

    def often() -> None:
        for seq in range(1, 100):
            append(log, seq, Ended(2.0, Outcome.stopped))
            time.sleep(0.01)

    with pytest.raises(LogError, match="was removed or replaced while it was open"):
        often()


def test_a_full_disk_stops_the_run_before_the_next_act(log: Log) -> None:
    (pages,) = log.connection.execute("pragma page_count").fetchone()
    log.connection.execute(f"pragma max_page_count = {pages + 1}")
    answers = Scripted(lambda request: "x" * 3000 + str(len(request.messages)))
    loop = Loop(answers, policies=[Retry(times=20)], log=log)
    with pytest.raises(LogError, match="cannot be written: database or disk is full"):
        loop.run_now(Task("Go on.", checks=[lambda answer: "Again."]))
    (run_id,) = log.ids()
    before = len(log.events(run_id))
    log.connection.execute("pragma max_page_count = 100000")
    task = Task("Go on.", checks=[lambda answer: "Again." if len(answer) > 2 else None])
    resumed = Loop(Scripted(["ok"]), log=log).resume_now(run_id, task)
    assert resumed.outcome is Outcome.accepted
    assert resumed.seq > before


def test_a_log_that_was_opened_before_a_fork(log: Log) -> None:
    child = os.fork()
    if child == 0:
        try:
            append(log, 0, BEGIN)
        except LogError as error:
            os._exit(0 if "opened before a fork: open it again in the child" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("ask", [Log.runs, Log.spend, lambda log: whatif(log, [])])
def test_a_damaged_log_is_an_error_that_names_check(log: Log, ask: Callable[[Log], object]) -> None:
    Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    with log.writing() as connection, unguarded(connection):
        connection.execute("update events set data = '{'")
    reading = Log(log.path, read_only=True)
    with pytest.raises(LogError, match=r"cannot be read: .*malformed JSON; `loopwright check`"):
        ask(reading)
    reading.close()


def test_a_search_in_a_damaged_log_names_check(log: Log) -> None:
    run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    log.sum_up()
    with log.writing() as connection, unguarded(connection):
        connection.execute("update events set data = '{' where run = ?", (run.run_id,))
    with pytest.raises(LogError, match=r"malformed JSON; `loopwright check` shows what is whole"):
        log.search("hello")


@pytest.mark.parametrize("data", ["{", "[]", "null", '{"outcome":"done"}', '{"other":1}'])
def test_a_damaged_event_is_an_error_that_names_check(log: Log, data: str) -> None:
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped))
    with log.writing() as connection, unguarded(connection):
        connection.execute("update events set data = ? where type = 'Ended'", (data,))
    for read in (log.events, log.run, lambda run: list(lines(log, run))):
        with pytest.raises(
            LogError, match=r"of run r cannot be read: .*; `loopwright check` shows"
        ):
            read("r")


READS: dict[str, Callable[[Log], object]] = {
    "events": lambda log: log.events("r"),
    "run": lambda log: log.run("r"),
    "follow": lambda log: list(follow(log, "r")),
    "redact": lambda log: redact(log, "Ada Lovelace", dry_run=True),
    "vacuum": lambda log: vacuum(log, before=9.0),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_bytes_that_are_no_text_are_an_error_that_names_check(
    log: Log, read: Callable[[Log], object]
) -> None:
    """Also where SQLite is asked for nothing but the row, and quotes all that stands in it."""
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped))
    with log.writing() as connection, unguarded(connection):
        change = "update events set data = cast(? as text) where type = 'Ended'"
        connection.execute(change, (b'{"outcome":"stopped","why":"\xff%s"}' % (b"x" * 9000),))
    with pytest.raises(LogError, match=r"cannot be read: .*; `loopwright check` shows") as told:
        read(log)
    assert len(str(told.value)) < 400


def test_a_part_of_a_schema_that_is_gone_is_an_error_that_names_check(log: Log) -> None:
    append(log, 0, BEGIN, Ended(2.0, Outcome.stopped))
    log.connection.execute("drop table events")
    for read in (*READS.values(), lambda log: log.ids(), lambda log: log.has("r")):
        with pytest.raises(LogError, match=r"cannot be read: .*; `loopwright check` shows"):
            read(log)


@pytest.mark.parametrize("read", ["run", "follow"])
def test_an_event_that_does_not_follow_from_those_before_it(log: Log, read: str) -> None:
    run, _ = _asks(log)
    with log.writing() as connection, unguarded(connection):
        connection.execute("update events set call = 'zz' where type = 'Returned'")
    with pytest.raises(LogError, match=f"of run {run} cannot be read: KeyError: 'zz'; `loopwr"):
        log.run(run) if read == "run" else list(follow(log, run))


def test_a_closed_log_says_so(log: Log) -> None:
    append(log, 0, BEGIN)
    log.close()
    acts: list[Callable[[], object]] = [
        lambda: log.run("r"),
        lambda: log.has("r"),
        lambda: log.removed("r"),
        lambda: log.db,
        lambda: log.asked("select 1"),
        lambda: log.answer_to("r", Question("q1", "Yes?")),
        lambda: append(log, 1, BEGIN),
        log.ids,
        log.runs,
        log.sum_up,
    ]
    for act in acts:
        with pytest.raises(LogError, match=r"runs\.db was closed: open it again"):
            act()


def test_a_run_that_is_not_there(log: Log) -> None:
    with pytest.raises(RunNotFound, match="holds no run 'nobody'"):
        Loop(Scripted([]), log=log).resume_now("nobody", Task("x"))


def test_what_has_no_log_cannot_be_resumed() -> None:
    with pytest.raises(BadInput, match="keeps no log: give it one with"):
        Loop(Scripted([])).resume_now("r", Task("x"))


HALF = "x\ud800"
"""Half of a surrogate pair, which has no UTF-8."""


def test_half_of_a_surrogate_pair_names_no_run(log: Log) -> None:
    for at_all in (log.run, log.events, log.questions, log.holder, log.cancel):
        with pytest.raises(RunNotFound, match=r"holds no run 'x.ud800'"):
            at_all(HALF)
    assert not log.has(HALF)


def _asks(log: Log) -> tuple[str, Question]:
    """A run that waits for a person, and its question."""
    send = tool(effect="unsafe", name="send")(lambda: "sent")
    model = Scripted([ToolCall("1", "send"), "Done."])
    loop = Loop(model, policies=[Approve("send")], log=log)
    run = loop.run_now(Task("Go.", tools=[send]))
    return run.run_id, run.questions[0]


@pytest.mark.parametrize("said", [{"note": HALF}, {"by": HALF}])
def test_half_of_a_surrogate_pair_is_no_answer(log: Log, said: dict[str, str]) -> None:
    run, question = _asks(log)
    with pytest.raises(BadInput, match=r"'x.ud800' has half of a surrogate pair in it: leave"):
        log.answer(run, "approve", **said)
    assert log.questions(run) == [question]


def test_one_question_has_one_answer(log: Log) -> None:
    """Two people answer at the same moment, in contrary ways: one is told that it was too late."""
    took: list[str] = []
    late: list[str] = []

    def say(gate: threading.Barrier, log: Log, run: str, text: str) -> None:
        gate.wait()
        try:
            log.answer(run, text)
            took.append(text)
        except BadInput as error:
            late.append(str(error))

    with closing(Log(log.path)) as other, closing(Log(log.path)) as one:
        for _ in range(20):
            (run, question), gate = _asks(log), threading.Barrier(2)
            both = [(one, "approve"), (other, "deny")]
            people = [threading.Thread(target=say, args=(gate, at, run, text)) for at, text in both]
            for person in people:
                person.start()
            for person in people:
                person.join()
            answer = log.answer_to(run, question)
            assert answer is not None
            assert [answer.text] == took[-1:]
    assert len(took) == len(late) == 20
    assert all("waits for no answer" in said for said in late)


@pytest.mark.parametrize("late", ["approve", None, OSError("nobody is there")])
def test_the_answer_that_the_log_has_taken_counts(log: Log, late: str | OSError | None) -> None:
    """Somebody denies while `ask=` is under way, and is told that this was taken."""

    def ask(question: Question, run: Run) -> str | None:
        log.answer(run.run_id, "deny", by="Bo", note="Never.")
        if isinstance(late, OSError):
            raise late
        return late

    sent: list[str] = []
    send = tool(effect="unsafe", name="send")(lambda: sent.append("sent"))
    model = Scripted([ToolCall("1", "send"), "Done."])
    loop = Loop(model, policies=[Approve("send")], log=log, ask=ask)
    assert loop.run_now(Task("Go.", tools=[send])).outcome == Outcome.accepted
    assert sent == []
    told = log.asked("select answer, by, note, answered > '' as answered from approvals")
    assert told == [{"answer": "deny", "by": "Bo", "note": "Never.", "answered": 1}]


SECRETS = [
    "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789",
    "sk-proj-ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
    "ghp_abcdefghijklmnopqrstuvwxyzABCDEF012345",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz012345",
    "Bearer abcdefghijklmnop.qrstuvwxyz",
    "a secret of the environment",
]


def test_secrets_never_reach_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRETS[-1])
    seen: list[Request] = []

    @tool(effect="read")
    def env() -> str:
        """Everything there is."""
        return "\n".join(SECRETS)

    @tool(effect="read")
    def broken(key: str) -> str:
        """Fails."""
        raise ValueError(f"not with {key}")

    def model(request: Request) -> object:
        seen.append(request)
        if len(request.messages) == 1:
            calls = [ToolCall("1", "broken", {"key": secret}) for secret in SECRETS]
            return [ToolCall("1", "env"), *calls]
        return f"I saw {SECRETS}, " + "x" * 1000

    log = Log(tmp_path / "runs.db")
    run = Loop(Scripted(model), log=log).run_now(
        Task("Use {key}.", tools=[env, broken], system=SECRETS[0]), key=SECRETS[1]
    )
    assert run.outcome is Outcome.accepted
    log.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in SECRETS:
        assert secret.encode() not in written
        assert secret not in run.messages[2].blocks[0].content  # type: ignore[union-attr]
    assert b"[redacted]" in written
    log = Log(tmp_path / "runs.db")
    assert log.run(run.run_id, run.task) == run
    log.close()


def test_a_signature_that_looks_like_a_key_is_kept(log: Log) -> None:
    signature = "QWxhZGRpbjpvcGVuIHNlc2FtZQ-sk-abcdefghijklmnopqrstuvwxyz_gh"
    append(log, 0, BEGIN, Ended(1.0, Outcome.stopped, signature))
    assert log.events("r")[1].why == signature  # type: ignore[union-attr]


def test_a_hundred_runs_at_once_lose_nothing(log: Log) -> None:
    async def model(request: Request) -> str:
        await asyncio.sleep(0.001)
        return "done"

    loop = Loop(Scripted(model), log=log)
    runs = asyncio.run(loop.map(Task("Do {n}."), [{"n": n} for n in range(100)], at_once=100))
    assert [run.inputs["n"] for run in runs] == list(range(100))
    for run in runs:
        assert log.run(run.run_id, run.task) == run
    query = "select count(*), max(seq), min(seq) from events group by run"
    assert set(log.connection.execute(query)) == {(6, 6, 1)}


def test_one_that_cannot_be_written_does_not_spoil_the_group(log: Log) -> None:
    append(log, 0, BEGIN)

    async def both() -> list[object]:
        with Carried(log.group), Carried(log.group):
            begin = Started(1.0, "s", "task", "Hello.", Setting("a:b"))
            return await asyncio.gather(
                log.append("r", 0, [BEGIN]), log.append("s", 0, [begin]), return_exceptions=True
            )

    refused, written = asyncio.run(both())
    assert isinstance(refused, RunTaken)
    assert isinstance(written, list)
    assert log.ids() == ["r", "s"]


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return f"seen {at}"


@tool
def send(to: str) -> str:
    """Send."""
    return f"sent to {to}"


def test_the_views_tell_what_happened(tmp_path: Path) -> None:
    replies = [
        Failure("rate_limited", "slow down", 0.0, True, 429),
        [ToolCall("1", "look", {"at": "x"}), ToolCall("1", "send", {"to": "x"})],
        Reply((Text("no"),), "stop", Usage(3, output_visible=4)),
        "yes",
    ]
    yes = Task("Say yes.", tools=[look, send], checks=[lambda a: None if a == "yes" else "No."])
    loop = Loop(
        Scripted(replies),
        policies=[Approve("send"), Retry()],
        log=tmp_path / "runs.db",
        ask=lambda question, run: "deny",
    )
    run = loop.run_now(yes)
    assert loop.log is not None
    loop.log.close()
    database = sqlite3.connect(tmp_path / "runs.db")

    def rows(query: str) -> list[tuple[object, ...]]:
        return database.execute(query).fetchall()

    assert rows("select run, outcome, verified, output from runs") == [
        (run.run_id, "accepted", 1, "yes")
    ]
    assert rows("select step, state, failure, status from model_calls") == [
        (1, "failed", "rate_limited", 429),
        (2, "returned", None, None),
        (4, "returned", None, None),
        (5, "returned", None, None),
    ]
    assert rows("select tool, effect, result from tool_calls") == [("look", "read", "seen x")]
    assert rows("select policy, decision from decisions order by seq") == [
        ("Retry", "TryAgain"),
        ("Approve", "Ask"),
        ("Approve", "Refuse"),
        ("Retry", "TryAgain"),
        ("Otherwise", "Accept"),
    ]
    assert rows("select verdict, problem from problems") == [("problem", "No.")]
    assert rows("select count(*), max(step) from steps") == [(5, 5)]
    assert rows("select policy, model_calls, failed from spend") == [("", 2, 1), ("Retry", 2, 0)]
    database.close()
