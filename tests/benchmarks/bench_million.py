"""The cookbook's questions, asked of a log of a million events that were made within a year.

It is the cookbook's own log, as often as it takes, under ids of their own and at other times. What
waits for a person does so in the newest week only. Each question is about that week, or one run.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from loopwright import Log
from loopwright.log.datasette import questions
from loopwright.log.migrations import transaction

SHOP = Path(__file__).parents[2] / "examples" / "cookbook.py"
EVENTS = 1_000_000
DAY = 86_400.0
WEEK = {"since": "2026-09-21", "run": "01m3250v000000000001"}
"""The shop's two days; the copies reach from a year before to five days after."""

_SCAN = re.compile(r"SCAN (events|e|s)\b(?! USING INDEX events_settings)")
"""All events, or the beginnings of all runs; but for those that name a ceiling, newest first."""

_COPY = """
insert into events
select run, seq, type, time, call, data, checksum(run, seq, type, time, call, data) from (
  select run || :name as run, seq, type, time + :later as time, call,
    iif(type = 'Started' and json_extract(data, '$.parent') is not null,
      json_set(data, '$.parent', json_extract(data, '$.parent') || :name), data) as data
  from copied where :later >= 0 or run not in (select run from waiting)
)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    path = tmp_path_factory.mktemp("million") / "runs.db"
    run_path(str(SHOP))["main"](str(path))
    with closing(Log(path, "process")) as log:
        _grow(log.connection)
        begun = time.perf_counter()
        summed = log.sum_up()
        print(f"\n{summed} runs summed up in {time.perf_counter() - begun:.1f} s")
        yield log


def _grow(connection: sqlite3.Connection) -> None:
    connection.execute("create temp table copied as select * from events")
    query = "create temp table waiting as select run from runs where outcome = 'waiting'"
    connection.execute(query)
    (events,) = connection.execute("select count(*) from events").fetchone()
    copies = EVENTS // events + 1
    with transaction(connection):
        for n in range(1, copies):
            later = (5 - 365 * n / copies) * DAY
            connection.execute(_COPY, {"name": f"-{n:06}", "later": later})


@pytest.mark.parametrize("title", questions())
def bench_question(benchmark: Any, large: Log, title: str, capsys: Any) -> None:
    query = questions()[title]
    with closing(sqlite3.connect(f"file:{large.path}?mode=ro", uri=True)) as reader:
        benchmark.pedantic(lambda: reader.execute(query, WEEK).fetchall(), rounds=3)
        plan = [detail for *_, detail in reader.execute(f"explain query plan {query}", WEEK)]
    scans = [detail for detail in plan if _SCAN.match(detail)]
    with capsys.disabled():
        print(f"\n{benchmark.stats.stats.median * 1e3:8.1f} ms  {title}  {scans or ''}", end="")
