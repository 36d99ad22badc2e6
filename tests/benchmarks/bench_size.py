"""Bytes on disk for each turn. The floor keeps what was said in the same table, and no intents."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import floor
import pytest
from work import loop, model, task

from loopwright import Log


def _ours(path: Path, turns: int) -> int:
    with closing(Log(path, "process")) as log:
        loop(model(turns), log).run_now(task())
    return path.stat().st_size


def _by_hand(path: Path, planned: floor.Plan) -> int:
    said = [[[row for row in rows if row[0] == "Returned"] for rows in step] for step in planned]
    said = [[rows for rows in step if rows] for step in said]
    with closing(floor.File(path, "process")) as file:
        asyncio.run(floor.logged(model((len(planned) - 2) // 2), file, said))
    return path.stat().st_size


@pytest.mark.parametrize(("few", "many"), [(100, 200), (1_000, 2_000), (9_000, 10_000)])
def bench_bytes_of_a_turn(
    benchmark: Any, ratios: Any, numbered: Iterator[Path], few: int, many: int
) -> None:
    plans = [floor.plan(next(numbered), model(turns)) for turns in (few, many)]
    by_hand = [_by_hand(next(numbered), planned) for planned in plans]
    first = _ours(next(numbered), few)
    last = benchmark.pedantic(_ours, args=(next(numbered), many), rounds=1)
    grown = (last - first, by_hand[1] - by_hand[0])
    ratios.add(
        f"on disk for each turn, from {few} to {many}",
        "B",
        *(size / (many - few) for size in grown),
    )
