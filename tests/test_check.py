"""Check: every damage is found, with what is still good; and a torn file opens with all that was
committed before the tear."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeping import older

from loopwright import Budget, Log, LogError, Loop, Task
from loopwright.calls import Reply, Text, ToolCall, Usage
from loopwright.log.check import Finding, check
from loopwright.log.rewriting import unguarded
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Retry
from loopwright.report import Report
from loopwright.tools import tool

LONG = "A long answer. " * 50


@tool(effect="unsafe")
def send(to: str) -> str:
    """Send."""
    return "sent"


def written(path: Path) -> Log:
    """A log with a run that retries, one that is approved and one that waits, under a ceiling."""
    set_price("checked:checked", "1", "1")
    send_it = ToolCall("1", "send", {"to": "Ada"})
    blocks = [Text(LONG), Text("42"), send_it, Text(LONG), send_it]
    model = Scripted([_billed(block) for block in blocks], name="checked")
    log = Log(path, "process")
    policies = [Approve("send"), Retry(times=3), Budget(usd=5, name="all", per="day")]
    loop = Loop(model, policies=policies, log=log)
    loop.run_now(Task("Say a number.", checks=[lambda a: None if a.isdigit() else "A number."]))
    task = Task("Send it.", tools=[send])
    waits = loop.run_now(task)
    log.answer(waits.run_id, "approve", by="Ada")
    loop.resume_now(waits.run_id, task)
    loop.run_now(task)
    log.sum_up()
    return log


def _billed(block: Text | ToolCall) -> Reply:
    finish = "stop" if isinstance(block, Text) else "tool_calls"
    return Reply((block,), finish, Usage(10, output_visible=10))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good log, closed: to be copied."""
    path = tmp_path_factory.mktemp("good") / "runs.db"
    log = written(path)
    assert check(log).rows() == []
    log.close()
    return path


def damaged(good: Path, folder: Path, *statements: str) -> Report[Finding]:
    """What is found when these statements have changed the log."""
    path = folder / "runs.db"
    shutil.copy(good, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin")
        with unguarded(connection):
            query = "select sql from sqlite_master where name = 'events_unsummed'"
            (trigger,) = connection.execute(query).fetchone()
            connection.execute("drop trigger events_unsummed")
            for statement in statements:
                assert connection.execute(statement).rowcount, statement
            connection.execute(trigger)
        connection.execute("commit")
    before = path.read_bytes()
    report = check(path)
    assert path.read_bytes() == before
    return report


def test_a_good_log(good: Path) -> None:
    report = check(good)
    assert (len(report), report.summary["runs"], report.summary["whole"]) == (0, 3, 3)
    assert report.summary["events"] == report.summary["good"]
    assert list(good.parent.iterdir()) == [good]


FIRST = "run = (select min(run) from events)"

PLANTED = {
    "data": (f"update events set data = data || ' ' where {FIRST} and seq = 3", "checksum"),
    "type": (f"update events set type = 'Failed' where {FIRST} and seq = 3", "checksum"),
    "time": (f"update events set time = time + 1e-6 where {FIRST} and seq = 3", "checksum"),
    "call": (f"update events set call = 'm2' where {FIRST} and seq = 3", "checksum"),
    "run": (f"update events set run = run || 'x' where {FIRST} and seq = 3", "checksum"),
    "seq": (f"update events set seq = 99 where {FIRST} and seq = 3", "1 events are missing here"),
    "unknown": (f"update events set type = 'Happened' where {FIRST} and seq = 3", "checksum"),
    "json": (f"update events set data = '{{' where {FIRST} and seq = 3", "checksum"),
    "middle": (f"delete from events where {FIRST} and seq = 3", "1 events are missing here"),
    "first": (f"delete from events where {FIRST} and seq = 1", "does not begin with Started"),
    "last": (
        f"delete from events where {FIRST} and type = 'Ended'",
        "its last events are missing: 1, says its total",
    ),
    "all": (f"delete from events where {FIRST}", "all of its events are missing"),
    "table": ("drop table spend_totals", "the table spend_totals is missing"),
    "no part": ("delete from parts where text like 'A long%'", "is missing"),
    "part": (
        "update parts set text = text || '.' where text like 'A long%'",
        "is not what was written",
    ),
    "balance": ("update balances set settled = settled + 1", "its events say"),
    "no balance": ("delete from balances", "its events say"),
    "more balance": ("insert into balances values ('x', '', 1, 0, 0)", "its events say (0, 0, 0)"),
    "totals": (f"update run_totals set cost_nano = 1 where {FIRST}", "totals are not what"),
    "spend": (f"update spend_totals set cost_nano = 1 where {FIRST}", "totals are not what"),
    "no totals": (f"delete from run_totals where {FIRST}", "it counts nowhere"),
    "twice": (
        f"insert into unsummed select run from events where {FIRST} limit 1",
        "it counts twice",
    ),
    "answers": (
        "insert into answers select 99, run, call, time, 'deny', by, note from answers",
        "was answered 2 times",
    ),
    "no question": (
        "insert into answers select 99, run, 'q99', 0, 'deny', '', '' from answers",
        "q99 was answered, which the run has not asked",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_found(good: Path, tmp_path: Path, what: str) -> None:
    statement, said = PLANTED[what]
    report = damaged(good, tmp_path, statement)
    assert any(said in finding.what for finding in report), report.rows()
    assert report.summary["whole"] >= (1 if "part" in what else 2)


def test_a_trigger_that_is_missing(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    shutil.copy(good, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop trigger events_no_update")
    (found,) = check(path)
    assert found.what == "the trigger events_no_update is missing"


def test_a_log_that_cannot_be_opened(good: Path, tmp_path: Path) -> None:
    """SQLite opens no path of more than 512 bytes."""
    folder = tmp_path.joinpath(*["x" * 200] * 3)
    folder.mkdir(parents=True)
    shutil.copy(good, folder / "runs.db")
    with pytest.raises(LogError, match="cannot be opened"):
        check(folder / "runs.db")


def test_it_says_what_still_holds(good: Path, tmp_path: Path) -> None:
    (found,) = damaged(good, tmp_path, PLANTED["data"][0])
    events = check(good).summary["events"]
    assert (found.seq, found.holds) == (3, "9 of its events are whole; it folds up to step 1")
    report = damaged(good, tmp_path, PLANTED["data"][0])
    assert report.summary["good"] == events - 1
    assert str(report).startswith("runs 3, whole 2, events ")


def test_a_row_that_fits_its_checksum_and_not_the_run(good: Path, tmp_path: Path) -> None:
    """As if another program had written it: what it says cannot be, and where, is told."""
    path = tmp_path / "runs.db"
    shutil.copy(good, path)
    log = Log(path)
    with log.writing() as connection:
        connection.execute("begin")
        with unguarded(connection):
            connection.execute(
                "update events set call = 'm77',"
                " checksum = checksum(run, seq, type, time, 'm77', data)"
                f" where {FIRST} and seq = 3"
            )
        connection.execute("commit")
    log.close()
    (found,) = check(path)
    assert found.seq == 3
    assert "does not follow on the events before it" in found.what
    assert "it folds up to step 1" in found.holds


def test_forks_of_forks(log: Log) -> None:
    """A fork has its own events only, and is as good as what it shares."""
    loop = Loop(Scripted(lambda request: "42"), log=log)
    base = loop.run_now(task := Task("Say a number."))
    fork = loop.fork_now(base.run_id, task, at=0)
    again = loop.fork_now(fork.run_id, task, at=0)
    assert check(log).rows() == []
    assert check(log).summary["whole"] == 3
    with log.writing() as connection, unguarded(connection):
        connection.execute("update events set data = data || ' ' where run = ?", (base.run_id,))
    found = {finding.run: finding.what for finding in check(log) if finding.seq is None}
    assert found == {
        fork.run_id: f"of the events that it shares with {base.run_id} only 0 are good",
        again.run_id: f"of the events that it shares with {fork.run_id} only 0 are good",
    }


@settings(max_examples=40)
@given(st.data())
def test_any_changed_character_of_an_event_is_found(good: Path, data: st.DataObject) -> None:
    """Whatever the row and the column, and whatever stands there then."""
    with closing(sqlite3.connect(good)) as connection:
        rows = connection.execute("select run, seq, type, call, data from events").fetchall()
    row = data.draw(st.sampled_from(rows))
    named = {"run": row[0], "type": row[2], "call": row[3], "data": row[4]}
    column = data.draw(st.sampled_from([name for name in named if named[name]]))
    text = named[column]
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c not in (text[at], "\0")))
    changed = f"{text[:at]}{other}{text[at + 1 :]}"
    folder = good.parent / "changed"
    folder.mkdir(exist_ok=True)
    quoted = changed.replace("'", "''")
    statement = f"update events set {column} = '{quoted}' where run = '{row[0]}' and seq = {row[1]}"
    report = damaged(good, folder, statement)
    assert any(found.run in (row[0], changed) for found in report)
    assert report.summary["good"] == check(good).summary["good"] - 1


@settings(max_examples=40)
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_of_the_file_is_survived(good: Path, at: int, flip: int) -> None:
    """The report comes, whatever is hit; and what is said to be whole is what was written."""
    folder = good.parent / "bytes"
    folder.mkdir(exist_ok=True)
    content = bytearray(good.read_bytes())
    content[at % len(content)] ^= flip
    (folder / "runs.db").write_bytes(content)
    try:
        report = check(folder / "runs.db")
    except LogError:
        assert at % len(content) < 100  # the header, where the version of the schema stands
        return
    assert report.summary.get("good", 0) <= check(good).summary["good"]


@settings(max_examples=40)
@given(
    at=st.integers(0, 10**6),
    length=st.sampled_from([4, 300, 3000]),
    filler=st.sampled_from([b"\0", b"\xff", b"Z"]),
)
def test_whatever_is_overwritten_is_survived(
    good: Path, at: int, length: int, filler: bytes
) -> None:
    """Rows whose columns hold anything are no error; and where all is well, the log opens."""
    folder = good.parent / "overwritten"
    folder.mkdir(exist_ok=True)
    content = good.read_bytes()
    at = 100 + at % (len(content) - 100)
    over = filler * len(content[at : at + length])
    (folder / "runs.db").write_bytes(content[:at] + over + content[at + length :])
    if not check(folder / "runs.db"):
        Log(folder / "runs.db", "process").close()


def test_zeros_anywhere(good: Path, tmp_path: Path) -> None:
    """They make columns NULL, which are never so otherwise."""
    content, path = good.read_bytes(), tmp_path / "runs.db"
    for at in range(4096, len(content), 2500):
        over = bytes(len(content[at : at + 300]))
        path.write_bytes(content[:at] + over + content[at + 300 :])
        report = check(path)
        assert report.summary["whole"] <= report.summary["runs"], at


@pytest.mark.parametrize("damage", [b"order bz", b"order \xff\xff"])
def test_a_log_that_others_cannot_open(good: Path, tmp_path: Path, damage: bytes) -> None:
    """A view is damaged, of which none is used here."""
    content = good.read_bytes().replace(b"order by ceiling, window", damage + b" ceiling, window")
    (tmp_path / "runs.db").write_bytes(content)
    with pytest.raises(LogError, match="`loopwright check` shows what is whole") as refused:
        Log(tmp_path / "runs.db")
    (found,) = check(tmp_path / "runs.db")
    assert found.what.startswith("it cannot be opened: SQLite: ")
    assert found.what.removeprefix("it cannot be opened: SQLite: ") in str(refused.value)
    assert "\n" not in found.what


def test_a_page_of_garbage(good: Path, tmp_path: Path) -> None:
    """All that does not stand on the page is still read."""
    shutil.copy(good, tmp_path / "big.db")
    log = Log(tmp_path / "big.db", "process")
    loop = Loop(Scripted(lambda request: "Yes."), log=log)
    loop.map_now(Task("Say {n}."), [{"n": n} for n in range(200)])
    log.close()
    found = []
    for page in range(1, 60):
        content = bytearray((tmp_path / "big.db").read_bytes())
        content[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
        (tmp_path / "hit.db").write_bytes(content)
        report = check(tmp_path / "hit.db")
        assert report, page
        found.append(report.summary["whole"])
    assert sum(whole > 100 for whole in found) > 30
    assert min(found) >= 0


@pytest.mark.parametrize("part", [0.999, 0.7, 0.3])
def test_a_file_that_was_cut(good: Path, tmp_path: Path, part: float) -> None:
    content = good.read_bytes()
    (tmp_path / "runs.db").write_bytes(content[: int(len(content) * part)])
    report = check(tmp_path / "runs.db")
    assert len(report) > 0
    assert report.summary["whole"] < 3 or any("SQLite" in found.what for found in report)


def test_what_is_no_log_at_all(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no log"):
        check(tmp_path / "nothing.db")
    (tmp_path / "notes").write_text("These are notes. " * 500)
    (found,) = check(tmp_path / "notes")
    assert "SQLite cannot read the file: file is not a database" in found.what
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("create table mine (a)")
    with pytest.raises(LogError, match="is a database, but no log"):
        check(tmp_path / "other.db")


def test_an_older_log_is_checked_as_it_is(good: Path, tmp_path: Path) -> None:
    shutil.copy(good, tmp_path / "runs.db")
    path = older(Log(tmp_path / "runs.db"), tmp_path / "older.db")
    before = path.read_bytes()
    report = check(path)
    assert (report.rows(), report.summary["whole"]) == ([], 3)
    assert path.read_bytes() == before


# --------------------------------------------------------------------------------- a torn file


def test_a_torn_log_opens_with_all_committed_events(tmp_path: Path) -> None:
    """The file beside the log is cut, or overwritten, at every kind of place."""
    log = Log(tmp_path / "runs.db", "process")
    wal = tmp_path / "runs.db-wal"
    committed: list[tuple[int, int]] = []
    loop = Loop(
        Scripted(lambda request: LONG + str(len(request.messages))),
        policies=[Retry(times=4)],
        log=log,
        watch=lambda run, event: committed.append((wal.stat().st_size, _count(log))),
    )
    loop.run_now(Task("Go on.", checks=[lambda answer: "Again."]))
    end = wal.stat().st_size
    assert len({size for size, _ in committed}) > 10
    frame = 24 + 4096
    frames = range(32, end + 1, frame)
    cuts = {0, 16, 32, end} | {f + more for f in frames[-5:] for more in (-1, 0, 1, 23, 24, 2000)}
    for cut in sorted(cut for cut in cuts if cut <= end):
        for torn in (False, True):
            folder = tmp_path / f"{cut}{torn}"
            folder.mkdir()
            shutil.copy(tmp_path / "runs.db", folder / "runs.db")
            rest = os.urandom(end - cut) if torn else b""
            (folder / "runs.db-wal").write_bytes(wal.read_bytes()[:cut] + rest)
            safe = max((events for size, events in committed if size <= cut), default=0)
            _opens_with(folder / "runs.db", safe)
    log.close()


def _count(log: Log) -> int:
    (events,) = log.connection.execute("select count(*) from events").fetchone()
    return int(events)


def _opens_with(path: Path, safe: int) -> None:
    assert all(found.what.startswith("SQLite") for found in check(path)) or not safe
    log = Log(path, "process")
    assert _count(log) >= safe
    assert check(log).rows() == []
    log.close()
