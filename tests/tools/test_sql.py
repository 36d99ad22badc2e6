"""`sql`: what a statement may do, how long, and how much of it is shown."""

import asyncio
import datetime as dt
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Log, Loop, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import Tool, sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop?#.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            """create table goods (name text primary key, price integer);
            insert into goods values ('tea', 3), ('coffee', 4), ('milk', 1);
            create virtual table words using fts5(text);
            insert into words values ('tea and milk');
            create table audit (what text);
            create trigger sold after delete on goods begin
                insert into audit values (old.name); end;
            create view cheap as select * from goods where price < 4;"""
        )
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


WRITES = [
    "insert into goods values ('x', 1)",
    "delete from goods",
    "update goods set price = 0",
    "replace into goods values ('tea', 1)",
    "with x as (select 1) delete from goods",
    "insert into words (words) values ('delete-all')",
    "explain delete from goods",
]
FORBIDDEN = [
    "drop table goods",
    "create table t (x)",
    "create temp table t (x)",
    "create view v as select 1",
    "create trigger t after insert on goods begin select 1; end",
    "create virtual table v using fts5(x)",
    "alter table goods rename to bads",
    "reindex",
    "analyze",
    "vacuum",
    "vacuum into 'copy.db'",
    "attach 'other.db' as other",
    "detach main",
    "begin",
    "commit",
    "rollback",
    "savepoint s",
    "release s",
    "pragma journal_mode = delete",
    "pragma query_only = off",
    "pragma user_version = 5",
    "pragma user_version(5)",
    "pragma writable_schema = on",
    "pragma trusted_schema = on",
    "pragma temp_store_directory = '/tmp'",
    "pragma wal_checkpoint",
    "pragma database_list",
    "select * from pragma_database_list",
    "select load_extension('x')",
    "select LOAD_EXTENSION('x', 'y')",
    "select fts3_tokenizer('x')",
    "select writefile('x', 'y')",
    "select readfile('/etc/passwd')",
    "select edit('x')",
    "insert into sqlite_schema values (1, 2, 3, 4, 5)",
    "delete from sqlite_sequence",
    "select 1; select 2",
    "select 1; drop table goods",
    "",
]


@pytest.mark.parametrize("statement", [*WRITES, *FORBIDDEN])
def test_nothing_is_changed_through_a_reading_tool(path: Path, statement: str) -> None:
    before, files = dump(path), sorted(path.parent.iterdir())
    try:
        given = sql(path)(statement)
    except (sqlite3.Error, sqlite3.Warning):
        pass
    else:
        assert (statement, given.rows) == ("", [])
    assert dump(path) == before
    assert sorted(path.parent.iterdir()) == files


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_a_writing_tool_changes_rows_and_nothing_else(path: Path, statement: str) -> None:
    before, files = dump(path), sorted(path.parent.iterdir())
    try:
        given = sql(path, write=True)(statement)
    except (sqlite3.Error, sqlite3.Warning):
        pass
    else:
        assert (statement, given.rows) == ("", [])
    assert dump(path) == before
    assert sorted(path.parent.iterdir()) == files


def test_rows_are_changed_where_that_is_allowed(path: Path) -> None:
    tool = sql(path, write=True)
    tool("delete from goods where name = ?", ["tea"])
    tool("insert into words values ('new')")
    assert tool("insert into goods values (:n, :p) returning name", {"n": "x", "p": 1}).rows == [
        ["x"]
    ]
    assert sql(path)("select what from audit").rows == [["tea"]]
    with pytest.raises(sqlite3.IntegrityError):
        tool("insert into goods select name || 'y', 1 from goods union all select 'x', 1")
    with pytest.raises(sqlite3.IntegrityError):
        tool("insert or rollback into goods values ('x', 1)")
    assert sql(path)("select count(*) from goods").rows == [[3]]


def test_questions_are_answered(path: Path) -> None:
    tool = sql(path)
    assert tool("select * from cheap order by price").rows == [["milk", 1], ["tea", 3]]
    assert tool("select name n from goods where price > ?", [3]).columns == ["n"]
    assert tool("select text from words where text match 'milk'").rows == [["tea and milk"]]
    assert tool("pragma table_info(goods)").rows[0][1] == "name"
    assert tool("select name from pragma_table_info('goods')").rows == [["name"], ["price"]]
    assert tool("select count(*) from sqlite_schema where name = 'goods'").rows == [[1]]
    counted = "with recursive n (x) as (select 1 union all select x + 1 from n limit 5) "
    assert tool(f"{counted} select sum(x) from n").rows == [[15]]


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**63 - 1))
def test_parameters_are_bound_and_never_read_as_sql(value: str | int) -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        shown = sql(connection)("select ? as x", [value])
    assert shown.rows == [[value]]


def test_rows_and_cells_are_limited(path: Path) -> None:
    many = "with recursive n (x) as (select 1 union all select x + 1 from n) select x from n"
    shown = sql(path, rows=7)(many)
    assert ([row[0] for row in shown.rows], shown.more) == (list(range(1, 8)), True)
    assert not sql(path, rows=3)("select * from goods").more
    wide = sql(path)("select printf('%.*c', 1000000, 'x'), zeroblob(9000), 9e999, -9e999, null")
    text, blob, *others = wide.rows[0]
    assert len(text) < 10_100
    assert text.endswith("[… 990000 characters more]")
    assert (blob, others) == ("[9000 bytes]", ["inf", "-inf", None])
    tall = sql(path)(f"select printf('%.*c', 9000, 'x') from ({many} limit 50)")
    assert (len(tall.rows), tall.more) == (11, True)


@pytest.mark.parametrize(
    "statement",
    ["select zeroblob(100000000)", "select hex(zeroblob(9000000))", f"select {'(' * 500}1"],
)
def test_what_would_take_much_memory_is_an_error(path: Path, statement: str) -> None:
    with pytest.raises(sqlite3.Error):
        sql(path)(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select instr(x, substr(x, 200000) || 'b') from notes",
        "select replace(x, substr(x, 200000) || 'b', '') from notes",
        "select trim(x, substr(x, 300000) || 'b') from notes",
        "select LTRIM(x) from notes",
        "select n from seen",
    ],
)
def test_a_function_that_nothing_can_end_is_given_no_long_values(
    path: Path, statement: str
) -> None:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        connection.executescript(
            """create table notes (x text);
            insert into notes values (printf('%.*c', 400000, 'a'));
            create view seen as select instr(x, 'b') as n from notes;"""
        )
        for tool in (sql(path), sql(connection)):
            for _ in range(2):
                with pytest.raises(sqlite3.DataError, match=r"too big: .*instr"):
                    tool(statement)
                assert tool("select length(x), x like '%b%' from notes").rows == [[400000, 0]]
                assert tool("select instr('tea', 'a')").rows == [[3]]


def test_a_pattern_that_takes_long_is_an_error(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="pattern too complex"):
        sql(path)("select 'tea' like ?", ["%" + "a" * 200])


def test_a_statement_that_never_ends_is_ended(path: Path) -> None:
    endless = (
        "with recursive n (x) as (select 1 union all select x + 1 from n) select max(x) from n"
    )
    with pytest.raises(TimeoutError, match=r"longer than 0.05 s"):
        sql(path, seconds=0.05)(endless)
    assert sql(path)("select 1").rows == [[1]]


def test_text_that_is_no_unicode_is_shown_all_the_same(path: Path) -> None:
    assert sql(path)("select cast(x'61ff' as text)").rows == [["a\ufffd"]]


# ----------------------------------------------------------------------------------- connections


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        yield connection


@pytest.mark.parametrize("statement", [*WRITES[:6], *FORBIDDEN[:-1]])
def test_a_connection_is_held_to_the_same(
    connection: sqlite3.Connection, path: Path, statement: str
) -> None:
    before = dump(path)
    with pytest.raises((sqlite3.Error, sqlite3.Warning)):
        sql(connection)(statement)
    assert dump(path) == before
    connection.execute("delete from goods")  # its owner may still do all
    with pytest.raises(BadInput, match="in a transaction of its owner"):
        sql(connection)("select 1")
    assert len(connection.execute("select hex(zeroblob(6000000))").fetchone()[0]) == 12_000_000
    connection.rollback()
    assert dump(path) == before


def test_what_the_owner_has_set_is_as_it_was(connection: sqlite3.Connection) -> None:
    for set_to in (1, 0):
        connection.execute(f"pragma query_only = {set_to}")
        sql(connection)("select 1")
        assert connection.execute("pragma query_only").fetchone() == (set_to,)


def by_name(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize("factory", [by_name, sqlite3.Row])
def test_rows_by_name_are_shown_by_their_values(
    connection: sqlite3.Connection, factory: Any
) -> None:
    connection.row_factory = factory
    ask = "select name, price, name from goods where price = 4"
    assert sql(connection)(ask).rows == [["coffee", 4, "coffee"]]
    assert sql(connection)("select text from words where text match 'milk'").rows
    assert connection.row_factory is factory


def test_a_connection_of_another_thread_is_refused(path: Path) -> None:
    async def elsewhere(connection: sqlite3.Connection) -> None:
        await asyncio.to_thread(sql(connection), "select 1")

    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(BadInput, match="check_same_thread=False"),
    ):
        asyncio.run(elsewhere(connection))


class Engine:
    """A DB-API connection of another engine: it knows SQL's own statement against writing."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.said: list[str] = []

    def cursor(self) -> "Cursor":
        return Cursor(self)

    def commit(self) -> None:
        self.said.append("commit")

    def rollback(self) -> None:
        self.said.append("rollback")

    def cancel(self) -> None:
        self.connection.interrupt()


class Cursor:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.cursor = engine, engine.connection.cursor()

    def execute(self, statement: str, parameters: Any = ()) -> None:
        self.engine.said.append(statement)
        if statement == "set transaction read only":
            statement = "pragma query_only = on"
        self.cursor.execute(statement, parameters)

    @property
    def description(self) -> Any:
        return self.cursor.description

    def fetchone(self) -> Any:
        row = self.cursor.fetchone()
        if isinstance(row, dict):
            return row
        return row and tuple({3: Decimal("3.50"), 4: dt.date(2026, 1, 2)}.get(v, v) for v in row)

    def close(self) -> None:
        self.cursor.close()


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """A function of SQL that is set once it runs, and returns once the other is set."""
    monkeypatch.setattr(sys.modules["loopwright.tools.sql"], "_WAIT", 0.05)
    begun, over = threading.Event(), threading.Event()
    yield begun, over
    over.set()


def waits(begun: threading.Event, over: threading.Event) -> int:
    begun.set()
    return over.wait(60)


def test_nobody_waits_for_ever_for_a_connection(
    connection: sqlite3.Connection, busy: tuple[threading.Event, threading.Event]
) -> None:
    connection.create_function("waits", 0, lambda: waits(*busy))
    tool = sql(connection)
    first = threading.Thread(target=tool, args=("select waits()",))
    first.start()
    busy[0].wait(60)
    with pytest.raises(TimeoutError, match="another statement"):
        tool("select 1")
    busy[1].set()
    first.join()
    assert tool("select 1").rows == [[1]]


class Asking:
    """A path on whose way another statement is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Tool] = []
        self.answers: list[Any] = []

    def __fspath__(self) -> str:
        if self.waiting:
            self.answers.append(self.waiting.pop()("select 1").rows)
        return str(self.path)


def test_statements_on_a_file_do_not_wait_for_each_other(path: Path) -> None:
    asking = Asking(path)
    tool = sql(asking)
    asking.waiting.append(tool)
    assert tool("select 2").rows == [[2]]
    assert asking.answers == [[[1]]]


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = Engine(path)
    yield engine
    engine.connection.close()


def test_another_engine_is_told_to_read_only(engine: Engine) -> None:
    tool = sql(engine)
    shown = tool("select price from goods order by price;")
    assert tool.render(shown) == (
        '{"columns": ["price"], "rows": [[1], ["3.50"], ["2026-01-02"]], "more": false}'
    )
    assert engine.said == [
        "rollback",
        "set transaction read only",
        "select price from goods order by price",
        "rollback",
    ]
    with pytest.raises(sqlite3.Error):
        tool("with x as (select 1) delete from goods")
    assert tool("select count(*) from goods where price > ?", [0]).rows == [[Decimal("3.50")]]


def test_rows_by_name_of_another_engine_are_shown_by_their_values(engine: Engine) -> None:
    engine.connection.row_factory = by_name
    assert sql(engine)("select name, price + 1 from goods where price = 1").rows == [["milk", 2]]


@pytest.mark.parametrize(
    "statement",
    ["select 1; delete from goods", "commit; delete from goods", "select ';'", "delete from goods",
     "commit", "copy goods to program 'x'", "call f()", "do $$ $$", "set transaction read write",
     ""],
)  # fmt: skip
def test_another_engine_is_given_one_question_at_a_time(engine: Engine, statement: str) -> None:
    with pytest.raises(PermissionError, match=r"one statement|may begin a statement"):
        sql(engine)(statement)
    assert statement not in engine.said


def test_another_engine_writes_where_that_is_allowed(engine: Engine, path: Path) -> None:
    sql(engine, write=True)("delete from goods where name = ?", ["tea"])
    assert engine.said[-1] == "commit"
    assert sql(path)("select what from audit").rows == [["tea"]]
    with pytest.raises(sqlite3.Error):
        sql(engine, write=True)("delete from nowhere")
    assert engine.said[-1] == "rollback"


def test_another_engine_is_cancelled_in_time(engine: Engine) -> None:
    endless = (
        "with recursive n (x) as (select 1 union all select x + 1 from n) select max(x) from n"
    )
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        sql(engine, seconds=0.05)(endless)


# ------------------------------------------------------------------------------------------ a tool


@pytest.mark.parametrize(
    ("database", "options", "said"),
    [
        ("nowhere.db", {}, "'nowhere.db' is no file"),
        (":memory:", {}, "':memory:' is no file"),
        (5, {}, "int is no connection"),
        (sqlite3, {"rows": 0}, "are positive"),
        (sqlite3, {"seconds": 0}, "are positive"),
    ],
)
def test_what_cannot_work_is_refused(database: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        sql(database, **options)


def test_a_model_asks_the_log_itself(log: Log) -> None:
    with pytest.raises(BadInput, match="written by runs alone"):
        sql(log, write=True)
    tool = sql(log)
    assert (tool.effect, tool.labels, sql(log.path, write=True).effect) == (
        "read",
        {"private"},
        "unsafe",
    )
    model = Scripted(
        [
            ToolCall("1", "sql", {"statement": "select count(*) n from runs"}),
            ToolCall("2", "sql", {"statement": "delete from events"}),
            "One.",
        ]
    )
    assert Loop(model, log=log).run_now(Task("How many?", tools=[tool])).output == "One."
    told = [request.messages[-1].blocks[0].content for request in model.requests[1:]]  # type: ignore[union-attr]
    assert told[0] == '{"columns": ["n"], "rows": [[1]], "more": false}'
    assert told[1] == "DatabaseError: not authorized: rows can be read here, and nothing else"
