"""What-if over a log of many runs of ten steps, with five turns each.

The floor reads the same rows and parses their JSON, and asks nobody.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import floor
import pytest
from work import loop, model, task

from loopwright import Budget, Log
from loopwright.log.migrations import transaction
from loopwright.policies import Approve, Escalate, Retry
from loopwright.quality import quality
from loopwright.whatif import whatif

TURNS = 5
RULES = [Budget(usd=1), Approve("send_*"), Retry(times=2), Escalate("scripted:strong")]


def _log(path: Path, runs: int) -> Log:
    """One run that was carried out, as often as it takes, under ids of their own."""
    log = Log(path, "process")
    run = loop(model(TURNS), log).run_now(task())
    rows = log.connection.execute(
        "select seq, type, time, call, data, checksum from events"
    ).fetchall()
    copy = "insert into events values (?, ?, ?, ?, ?, ?, ?)"
    with transaction(log.connection):
        for number in range(1, runs):
            named = [(f"{run.run_id}-{number:06}", *row) for row in rows]
            log.connection.executemany(copy, named)
    return log


def _seconds(asked: Callable[[], object]) -> float:
    begun = time.perf_counter()
    asked()
    return time.perf_counter() - begun


def _parsed(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        floor.read(connection)


@pytest.mark.parametrize("runs", [100, 1_000, 10_000])
@pytest.mark.parametrize("known", [True, False], ids=["with the task", "without"])
def bench_whatif(
    benchmark: Any, ratios: Any, numbered: Iterator[Path], runs: int, known: bool
) -> None:
    with closing(_log(next(numbered), runs)) as log:

        def asked() -> None:
            (*rows,) = whatif(log, RULES, task=task() if known else None)
            assert len(rows) == runs
            assert not any(row.divergence for row in rows)

        ours = benchmark.pedantic(_seconds, args=(asked,), rounds=1)
        by_hand = _seconds(lambda: _parsed(log.path))
        what = f"what-if of {runs} runs, {'with' if known else 'without'} the task"
        ratios.add(what, "s", ours, by_hand)


@pytest.mark.parametrize("runs", [1_000, 10_000])
def bench_quality(benchmark: Any, ratios: Any, numbered: Iterator[Path], runs: int) -> None:
    with closing(_log(next(numbered), runs)) as log:
        ours = benchmark.pedantic(_seconds, args=(lambda: quality(log),), rounds=1)
        by_hand = _seconds(lambda: _parsed(log.path))
        ratios.add(f"cost of quality of {runs} runs", "s", ours, by_hand)
