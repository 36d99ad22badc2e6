"""What others read a log with: pandas, Polars, DuckDB and Datasette take the views as they are."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from loopwright import BadInput, Log
from loopwright.log.columns import COLUMNS
from loopwright.log.datasette import metadata, questions

SHOP = Path(__file__).parent.parent / "examples" / "cookbook.py"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readers") / "shop.db"
    run_path(str(SHOP))["main"](str(path))
    return path


@pytest.fixture
def shop(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        yield database


def rows(database: sqlite3.Connection, view: str) -> list[tuple[Any, ...]]:
    return database.execute(f"select * from {view}").fetchall()


@pytest.mark.parametrize("view", COLUMNS)
def test_pandas_reads_every_view(shop: sqlite3.Connection, view: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_sql(f"select * from {view}", shop)
    assert list(frame.columns) == list(COLUMNS[view])
    assert len(frame) == len(rows(shop, view))


def test_pandas_counts_as_sqlite_does(shop: sqlite3.Connection) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_sql("select day, task, cost_nano from spend", shop)
    by_day = shop.execute("select day, sum(cost_nano) from spend group by day").fetchall()
    assert frame.groupby("day").cost_nano.sum().to_dict() == dict(by_day)


@pytest.mark.parametrize("view", COLUMNS)
def test_polars_reads_every_view(shop: sqlite3.Connection, view: str) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_database(f"select * from {view}", shop, infer_schema_length=None)
    there = rows(shop, view)
    assert frame.rows() == there
    assert not there or frame.columns == list(COLUMNS[view])


def test_duckdb_reads_every_view(path: Path, shop: sqlite3.Connection) -> None:
    duckdb = pytest.importorskip("duckdb")
    with closing(duckdb.connect()) as database:
        try:
            database.execute("load sqlite")
        except duckdb.Error as error:
            pytest.skip(f"DuckDB's extension for SQLite is not installed here: {error}")
        database.execute(f"attach '{path}' as shop (type sqlite, read_only)")
        for view in COLUMNS:
            found = database.execute(f"select count(*) from shop.{view}").fetchone()
            assert found == (len(rows(shop, view)),), view


def test_duckdb_reads_what_another_reader_brings(shop: sqlite3.Connection) -> None:
    """Without its extension: a data frame, which DuckDB finds by its name."""
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    spend = pandas.read_sql("select * from spend", shop)
    with closing(duckdb.connect()) as database:
        database.register("spend", spend)
        found = database.execute("select day, sum(cost_nano) from spend group by day order by day")
        there = shop.execute("select day, sum(cost_nano) from spend group by day order by day")
        assert [(day, int(nano)) for day, nano in found.fetchall()] == there.fetchall()


# -------------------------------------------------------------------------------------- Datasette

WRITER = """
import sys
from loopwright import Log, Loop, Task
from loopwright.models import Scripted
loop = Loop(Scripted(lambda request: "done"), log=Log(sys.argv[1], "process"))
for n in sys.stdin:
    loop.run_now(Task("Go on with {n}."), n=n)
    print(n.strip(), flush=True)
"""


# Datasette leaves its connections to the garbage collector, which Python 3.13 warns of.
LEFT_OPEN = pytest.mark.filterwarnings("ignore:Exception ignored in.*sqlite3:pytest.PytestWarning")


@LEFT_OPEN
def test_datasette_reads_while_another_process_writes(tmp_path: Path) -> None:
    app = pytest.importorskip("datasette.app")
    path = tmp_path / "runs.db"
    Log(path).close()
    served = app.Datasette([str(path)], metadata=metadata(), pdb=False)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin
    assert writer.stdout
    asking, telling = writer.stdin, writer.stdout

    async def watched() -> None:
        for n in range(1, 6):
            asking.write(f"{n}\n")
            asking.flush()
            assert telling.readline() == f"{n}\n"
            answer = await served.client.get("/runs/runs.json?_shape=array")
            assert [row["outcome"] for row in answer.json()] == ["accepted"] * n

    with writer:
        asyncio.run(watched())
        asking.close()
    assert writer.returncode == 0


@LEFT_OPEN
def test_datasette_shows_every_view_and_asks_every_question(path: Path) -> None:
    app = pytest.importorskip("datasette.app")
    served = app.Datasette([str(path)], metadata=metadata("shop"))

    async def asked() -> None:
        for view, columns in COLUMNS.items():
            page = await served.client.get(f"/shop/{view}")
            assert page.status_code == 200
            assert next(iter(columns.values())).split("`")[0].split("'")[0][:20] in page.text
        for name, query in metadata("shop")["databases"]["shop"]["queries"].items():
            answer = await served.client.get(
                f"/shop/{name}.json?since=2026-09-21&run=01m3250v000000000001&_shape=array"
            )
            assert answer.status_code == 200, answer.text
            assert answer.json(), query["title"]

    asyncio.run(asked())


def test_the_metadata_names_every_view_and_question(path: Path) -> None:
    told = metadata("shop")["databases"]["shop"]
    shown = {name for name, table in told["tables"].items() if "columns" in table}
    assert shown == set(COLUMNS)
    assert len(told["queries"]) == len(questions()) >= 20
    with closing(sqlite3.connect(path)) as database:
        query = "select name from sqlite_master where type in ('table', 'view')"
        there = {name for (name,) in database.execute(query) if "said_" not in name}
    assert there - {"sqlite_sequence"} <= told["tables"].keys()
    with pytest.raises(BadInput, match="name the database as Datasette does"):
        metadata("")
