"""A run that was broken off after 200 turns: open the file, load, and go on to the end."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path
from typing import Any

import floor
from work import loop, model, task

from loopwright import Log, Outcome

TURNS = 200
WEATHER = task()


async def _broken_off(log: Log) -> None:
    async with aclosing(loop(model(TURNS), log).steps(WEATHER)) as steps:
        async for run in steps:
            if run.spent.tool_calls == TURNS:
                return


def _cut(path: Path) -> str:
    """Make the file; the id of the run in it."""
    with closing(Log(path, "process")) as log:
        asyncio.run(_broken_off(log))
        return log.ids()[0]


def _copied(cut: Path, numbered: Iterator[Path]) -> Path:
    return Path(shutil.copy(cut, next(numbered)))


def bench_load_200_turns(in_turns: Any, numbered: Iterator[Path]) -> None:
    cut = next(numbered)
    run_id = _cut(cut)

    def ours() -> None:
        with closing(Log(cut, "process")) as log:
            assert log.run(run_id, WEATHER).spent.tool_calls == TURNS

    def by_hand() -> None:
        with closing(sqlite3.connect(cut)) as connection:
            assert floor.read(connection)

    in_turns(
        f"open and load a run of {TURNS} turns",
        lambda: ours,
        lambda: by_hand,
        rounds=30,
        unit="ms",
        scale=1e3,
    )


def _resumed(log: Log, run_id: str) -> None:
    run = loop(model(TURNS), log).resume_now(run_id, WEATHER)
    assert run.outcome is Outcome.accepted


def bench_resume_200_turns(in_turns: Any, numbered: Iterator[Path]) -> None:
    cut = next(numbered)
    run_id = _cut(cut)
    with closing(floor.Noted(_copied(cut, numbered))) as noted:
        _resumed(noted, run_id)
        planned = floor.written_by(noted)

    def ours(path: Path) -> None:
        with closing(Log(path, "process")) as log:
            _resumed(log, run_id)

    def by_hand(path: Path) -> None:
        with closing(floor.File(path, "process", new=False)) as file:
            asyncio.run(floor.resumed(model(TURNS), file, planned, run_id))

    in_turns(
        f"resume a run of {TURNS} turns",
        lambda: partial(ours, _copied(cut, numbered)),
        lambda: partial(by_hand, _copied(cut, numbered)),
        rounds=30,
        unit="ms",
        scale=1e3,
    )
