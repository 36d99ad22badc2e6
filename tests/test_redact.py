"""Redact: a text is taken out of a log, to the last byte; and the log stays whole."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keeping import carried

from loopwright import BadInput, Log, LogError, Loop, Outcome, Task
from loopwright.calls import Reply, Text, ToolCall
from loopwright.codec import plain
from loopwright.log.check import check
from loopwright.log.redact import redact
from loopwright.log.redaction import MASK
from loopwright.log.vacuum import vacuum
from loopwright.models import Scripted
from loopwright.policies import Policy, Retry
from loopwright.tools import memory, tool
from loopwright.whatif import whatif

NAME = 'Zoë "Z" O\'Hara\n2nd'
LONG = "and much more is said of it, " * 30


@tool(effect="read")
def look(who: str, also: dict[str, Any]) -> str:
    """Look somebody up."""
    return f"{LONG}{json.dumps({'found': who})} {json.dumps({'in': json.dumps(who)})} {who!r}"


@tool(effect="read")
def broken(who: str) -> str:
    """Fails."""
    raise ValueError(f"nobody is called {who}")


def told(log: Log, name: str = NAME) -> str:
    """A run in which the name stands in every kind of place; its id."""
    calls = (
        ToolCall("1", "look", {"who": name, "also": {name: [name, 1], "n": f"x{name}x"}}),
        ToolCall("2", "broken", {"who": name}),
    )
    replies = [Reply(calls, "tool_calls"), f"{name} {LONG} {name}", "42"]
    loop = Loop(
        Scripted(replies),
        policies=[Retry(times=1)],
        log=log,
    )
    task = Task(
        "Who is {who}?",
        tools=[look, broken, *memory(log)],
        checks=[lambda answer: None if answer.isdigit() else f"Not {name}, but a number."],
        system=f"You know {name}.",
        name="who",
    )
    return loop.run_now(task, who=name).run_id


def stands(log: Log, name: str) -> bool:
    """Whether any byte of the name is left, in any of the ways in which it may be written."""
    simply = json.dumps(name, ensure_ascii=False)[1:-1]
    escaped = json.dumps(name)[1:-1]
    forms = {name, simply, escaped, json.dumps(escaped)[1:-1], repr(name)[1:-1]}
    files = [path for path in Path(log.path).parent.iterdir() if path.name.startswith("runs.db")]
    content = b"".join(path.read_bytes() for path in files)
    return any(form.encode() in content for form in forms)


def test_no_byte_of_it_is_left(log: Log) -> None:
    run = told(log)
    log.search("much more")
    log.connection.execute("insert into kept values ('k', 1e12, ?)", (json.dumps({"a": NAME}),))
    before = log.run(run)
    assert stands(log, NAME)
    report = redact(log, NAME)
    assert report.summary["events"] == len(report) > 5
    assert report.summary["places"] > 15
    assert not stands(log, NAME)
    after = log.run(run)
    assert (after.outcome, after.spent, after.step) == (before.outcome, before.spent, before.step)
    assert [type(event) for event in after.events] == [type(event) for event in before.events]
    assert MASK in after.prompt
    assert check(log).rows() == []
    assert log.search("much more")
    assert log.search("Zoë") == []
    assert len(redact(log, NAME)) == 0
    assert check(log).rows() == []


def test_nothing_else_is_changed(log: Log) -> None:
    other = carried(log, 1)
    run = told(log)
    query = "select * from events where run = ?"
    before = log.connection.execute(query, (other.run_id,)).fetchall()
    mine = log.events(run)
    redact(log, NAME)
    assert log.connection.execute(query, (other.run_id,)).fetchall() == before
    for old, new in zip(mine, log.events(run), strict=True):
        if NAME not in str(plain(old)) and json.dumps(NAME) not in str(plain(old)):
            assert MASK in str(new) or new == old
    with pytest.raises(sqlite3.IntegrityError, match="the log is append-only"):
        log.connection.execute("delete from events")


def test_what_a_person_answered_and_the_tools_remember(log: Log) -> None:
    run = carried(log, 1, "waits")
    log.answer(run.run_id, "approve", by="Ada Lovelace", note="Ada Lovelace says so")
    tools = {one.name: one for one in memory(log)}
    Loop(
        Scripted([ToolCall("1", "remember", {"fact": "Ada Lovelace likes tea."}), "ok"]), log=log
    ).run_now(Task("Remember.", tools=list(tools.values())))
    redact(log, "Ada Lovelace")
    row = log.connection.execute("select text, by, note from answers").fetchone()
    assert row == ("approve", MASK, f"{MASK} says so")
    assert not stands(log, "Ada Lovelace")
    assert not stands(log, "lovelace")
    assert log.run(run.run_id).outcome is Outcome.waiting
    assert check(log).rows() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least 4 characters"),
        ("abc", "at least 4 characters"),
        ("   a   ", "at least 4 characters"),
        (5, "at least 4 characters"),
        ("Started", "a word of the log itself"),
        ("prompt", "a word of the log itself"),
        ("redacted", "a word of the log itself"),
        ("scripted:scripted", "which names something"),
        ("broken", "which names something"),
        ("accepted", "a word of the log itself"),
        ("Retry", "a word of the log itself|which names something"),
    ],
)
def test_what_the_log_needs_stays(log: Log, text: Any, said: str) -> None:
    run = told(log)
    before = log.events(run)
    with pytest.raises(BadInput, match=said):
        redact(log, text)
    assert log.events(run) == before
    assert check(log).rows() == []


def test_an_id_stays(log: Log) -> None:
    run = told(log)
    with pytest.raises(BadInput, match="which names something"):
        redact(log, run[5:15])


def test_a_figure_that_somebody_gave(log: Log) -> None:
    """The number of a card, as a text and as a number."""
    call = ToolCall("1", "look", {"who": "4242424242424242", "also": {"n": 4242424242424242}})
    loop = Loop(Scripted([call, "Paid with 4242424242424242."]), log=log)
    run = loop.run_now(Task("Pay.", tools=[look], name="pay"))
    redact(log, "4242424242424242")
    assert not stands(log, "4242424242424242")
    assert log.run(run.run_id).output == f"Paid with {MASK}."
    assert check(log).rows() == []


def test_a_run_that_is_open(log: Log) -> None:
    ended = log.events(told(log))
    log.append_now("r", 0, [*ended[:3]])
    with pytest.raises(BadInput, match="is open: let it end, or cancel it"):
        redact(log, NAME)
    assert stands(log, NAME)


def test_a_dry_run_and_a_reader(log: Log) -> None:
    told(log)
    assert redact(log, NAME, dry_run=True).summary["places"] > 15
    assert stands(log, NAME)
    reader = sqlite3.connect(log.path)
    reader.execute("begin")
    reader.execute("select count(*) from events").fetchone()
    log.connection.execute("pragma busy_timeout = 50")
    with pytest.raises(LogError, match="let the others close it, and do the same again"):
        redact(log, NAME)
    reader.close()
    assert len(redact(log, NAME)) == 0
    assert not stands(log, NAME)


def test_what_stands_in_no_event_is_counted(log: Log) -> None:
    """An answer that nobody has picked up, and the name of a task whose events are gone."""
    run = carried(log, 1, "waits")
    Loop(Scripted(["Yes."]), log=log).run_now(Task("Write.", name="letter to Ada Lovelace"))
    vacuum(log, before="2100-01-01")
    log.answer(run.run_id, "approve", note="Ada Lovelace and Ada Lovelace")
    planned, done = redact(log, "Ada Lovelace", dry_run=True), redact(log, "Ada Lovelace")
    assert planned.summary == done.summary == {"runs": 0, "events": 0, "places": 4}
    assert not stands(log, "Ada Lovelace")
    assert redact(log, "Ada Lovelace").summary["places"] == 0
    assert log.asked("select task from runs where run <> ?", (run.run_id,)) == [
        {"task": f"letter to {MASK}"}
    ]
    assert check(log).rows() == []


def test_tables_of_others(log: Log) -> None:
    """Full-text indexes, what is named like a part of one, bytes, and names in need of quotes."""
    told(log, "Ada Lovelace")
    for statement in (
        "create virtual table notes using fts5(body)",
        "create virtual table old_notes using fts4(body)",
        "create table notes_more (body text)",
        "create virtual table index_more using fts5(body, content='notes_more')",
        "create table files (body blob)",
        'create table "a ""b""" ("c ""d""" text)',
    ):
        log.connection.execute(statement)
    for table in ("notes", "old_notes", "notes_more", '"a ""b"""'):
        log.connection.execute(f"insert into {table} values ('of Ada Lovelace')")
    log.connection.execute("insert into index_more (index_more) values ('rebuild')")
    log.connection.execute("insert into files values (?)", (b"\xff\0Ada Lovelace\xc3",))
    planned, done = redact(log, "Ada Lovelace", dry_run=True), redact(log, "Ada Lovelace")
    assert planned.summary == done.summary
    assert not stands(log, "Ada Lovelace")
    for table in ("notes", "old_notes", "notes_more", '"a ""b"""'):
        assert log.connection.execute(f"select * from {table}").fetchall() == [(f"of {MASK}",)]
    for index in ("notes", "old_notes", "index_more"):
        query = f"select count(*) from {index} where {index} match ?"
        assert log.connection.execute(query, ("lovelace",)).fetchone() == (0,)
        assert log.connection.execute(query, ("redacted",)).fetchone() == (1,)
    assert log.connection.execute("select * from files").fetchall() == [(b"\xff\0[redacted]\xc3",)]
    assert check(log).rows() == []


def test_a_text_that_is_no_utf_8(log: Log) -> None:
    log.connection.execute("create table notes (body text)")
    for said in (b"\xff\0Ada Lovelace\xc3", b"\xff"):
        log.connection.execute("insert into notes values (cast(? as text))", (said,))
    planned, done = redact(log, "Ada Lovelace", dry_run=True), redact(log, "Ada Lovelace")
    assert planned.summary["places"] == done.summary["places"] == 1
    rows = log.connection.execute("select typeof(body), cast(body as blob) from notes")
    assert rows.fetchall() == [("text", b"\xff\0[redacted]\xc3"), ("text", b"\xff")]


def test_rows_that_would_become_the_same_stay(log: Log) -> None:
    told(log, "Grace Hopper")
    log.connection.execute("create table owing (name text primary key, usd int)")
    log.connection.execute("insert into owing values ('Ada Lovelace', 100), ('Grace Hopper', 7)")
    redact(log, "Ada Lovelace")
    with pytest.raises(
        LogError, match=r"column name of the table owing cannot.*; nothing was changed: change it"
    ):
        redact(log, "Grace Hopper")
    rows = log.connection.execute("select * from owing").fetchall()
    assert rows == [(MASK, 100), ("Grace Hopper", 7)]
    assert stands(log, "Grace Hopper")
    log.connection.execute("update owing set name = 'the second' where usd = 7")
    redact(log, "Grace Hopper")
    assert not stands(log, "Grace Hopper")


@pytest.mark.parametrize("rule", ["replace", "ignore", "rollback", "fail"])
def test_a_row_stays_whatever_its_table_does_on_conflict(log: Log, rule: str) -> None:
    log.connection.execute(f"create table owing (name text unique on conflict {rule}, usd int)")
    rows = [(MASK, 100), ("Grace Hopper", 7), ("the Grace Hopper", 8)]
    log.connection.executemany("insert into owing values (?, ?)", rows)
    with pytest.raises(LogError, match=r"column name of the table owing cannot.*UNIQUE"):
        redact(log, "Grace Hopper")
    assert log.connection.execute("select * from owing").fetchall() == rows


@pytest.mark.parametrize("table", ["people", "conflicts"])
def test_a_trigger_may_still_replace(log: Log, table: str) -> None:
    for statement in (
        f"create table {table} (name text)",
        "create table latest (id integer primary key, name text)",
        f"create trigger kept_latest after update on {table}"
        " begin insert or replace into latest values (1, new.name); end",
        f"insert into {table} values ('Ada Lovelace'), ('of Ada Lovelace')",
    ):
        log.connection.execute(statement)
    assert redact(log, "Ada Lovelace").summary["places"] == 2
    assert log.connection.execute("select * from latest").fetchall() == [(1, f"of {MASK}")]


def test_what_triggers_of_triggers_keep_is_taken_out_too(log: Log) -> None:
    for name in "dcba":
        log.connection.execute(f"create table {name} (name text)")
    for name, kept in ("dc", "cb", "ba"):
        log.connection.execute(
            f"create trigger kept_in_{kept} after update on {name}"
            f" begin insert into {kept} values (old.name); end"
        )
    log.connection.execute("insert into d values ('Ada Lovelace')")
    redact(log, "Ada Lovelace")
    assert not stands(log, "Ada Lovelace")


@frozen
class Naming(Policy):
    """A policy that names a person."""

    who: str


def test_rows_of_the_log_itself_may_become_the_same(log: Log) -> None:
    told(log)
    for said in ("Ada Lovelace", "Grace Hopper"):
        whatif(log, [Naming(said)])
    for said in ("Ada Lovelace", "Grace Hopper"):
        assert redact(log, said).summary["places"] == 1
    assert len(log.asked("select * from whatif")) == 1
    assert not stands(log, "Grace Hopper")


@pytest.mark.parametrize("table", ["a_trail", "z_trail"])
def test_what_a_trigger_keeps_is_taken_out_too(log: Log, table: str) -> None:
    made = [f"create table {table} (name text)", "create table people (name text)"]
    for statement in (
        *(made if table < "people" else reversed(made)),
        f"create trigger kept_old after update on people"
        f" begin insert into {table} values (old.name); end",
        "insert into people values ('Ada Lovelace')",
    ):
        log.connection.execute(statement)
    redact(log, "Ada Lovelace")
    assert log.connection.execute(f"select * from {table}").fetchall() == [(MASK,)]
    assert not stands(log, "Ada Lovelace")


@pytest.mark.parametrize(
    "trigger",
    [
        "before update on people begin select raise(ignore); end",
        "after update on people begin insert into people values (old.name); end",
    ],
)
def test_a_trigger_that_does_not_let_go(log: Log, trigger: str) -> None:
    before = log.events(told(log, "Ada Lovelace"))
    log.connection.execute("create table people (name text)")
    log.connection.execute("insert into people values ('Ada Lovelace')")
    log.connection.execute(f"create trigger holds {trigger}")
    with pytest.raises(LogError, match=r"in the table people cannot be.*nothing was changed"):
        redact(log, "Ada Lovelace")
    assert log.events(log.ids()[0]) == before
    assert log.connection.execute("select * from people").fetchall() == [("Ada Lovelace",)]
    log.connection.execute("drop trigger holds")
    redact(log, "Ada Lovelace")
    assert not stands(log, "Ada Lovelace")


def test_a_table_that_is_named_almost_like_those_of_sqlite(log: Log) -> None:
    log.connection.execute("create table sqlite3notes (body text)")
    log.connection.execute("insert into sqlite3notes values ('Ada Lovelace')")
    assert redact(log, "Ada Lovelace").summary["places"] == 1
    assert not stands(log, "Ada Lovelace")


def test_tables_that_only_show_the_words_of_an_index(log: Log) -> None:
    for statement in (
        "create virtual table notes using fts5(body)",
        "create virtual table words using fts5vocab(notes, row)",
        "create virtual table old_notes using fts4(body)",
        "create virtual table old_words using fts4aux(old_notes)",
        "insert into notes values ('Ada lovelace')",
        "insert into old_notes values ('Ada lovelace')",
    ):
        log.connection.execute(statement)
    planned, done = redact(log, "lovelace", dry_run=True), redact(log, "lovelace")
    assert planned.summary["places"] == done.summary["places"] == 2
    assert not stands(log, "lovelace")
    assert log.connection.execute("select term from words").fetchall() == [("ada",), ("redacted",)]


@pytest.mark.parametrize("kind", ['"fts5"', "[FTS5]", "'fts5'", "`fts4`", "/* x */ fts3", "fts4"])
def test_an_index_however_it_was_said(log: Log, kind: str) -> None:
    log.connection.execute(f"create virtual table notes using {kind} (body)")
    for number in range(20):
        log.connection.execute("insert into notes values (?)", (f"lovelace {number}",))
    log.connection.execute("vacuum")
    assert redact(log, "lovelace").summary["places"] == 20
    assert not stands(log, "ovelace")  # the words stand there in order, each without its beginning


def test_an_index_that_cannot_be_made_anew(log: Log) -> None:
    run = told(log)
    log.connection.execute("create virtual table words using fts5(body, content='')")
    before = log.events(run)
    with pytest.raises(
        LogError, match=r"index words cannot be made anew.*drop it, and do the same"
    ):
        redact(log, NAME)
    assert log.events(run) == before


def test_a_dry_run_in_a_log_that_may_only_be_read(log: Log) -> None:
    told(log)
    with closing(Log(log.path, read_only=True)) as reader:
        assert redact(reader, NAME, dry_run=True) == redact(log, NAME, dry_run=True)
        with pytest.raises(LogError, match="was opened to be read only"):
            redact(reader, NAME)


NOT_OURS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=4, max_size=12
).filter(lambda text: len(text.strip()) >= 4)


@settings(max_examples=8)
@example("000\U0001da8c")
@given(NOT_OURS)
def test_whatever_the_text(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """It is gone and the log is whole, or it is refused and nothing has changed."""
    log = Log(tmp_path_factory.mktemp("any") / "runs.db", "process")
    run = told(log, name)
    before = log.events(run)
    try:
        redact(log, name)
    except BadInput:
        assert log.events(run) == before
    else:
        assert not stands(log, name)
        assert len(redact(log, name)) == 0
        assert [type(one) for one in log.events(run)] == [type(one) for one in before]
    assert check(log).rows() == []
    log.close()


def test_a_text_that_json_alone_cannot_hold(log: Log) -> None:
    """Beside a lone surrogate and a NUL everything is escaped once more."""
    said = f"\ud800 {NAME} \0"
    run = Loop(Scripted([Reply((Text(said),))]), log=log).run_now(Task("Say it."))
    redact(log, NAME)
    assert log.run(run.run_id).output == f"\ud800 {MASK} \0"
    assert not stands(log, NAME)
