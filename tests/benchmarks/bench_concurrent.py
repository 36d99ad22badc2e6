"""A thousand runs at the same time: five model calls of 50 ms each, and four tool calls."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import floor
import pytest
from work import loop, model, task

from loopwright import Log, Loop
from loopwright.log.file import Durability

RUNS = 1000
TURNS = 4
SAYS = model(TURNS, latency=0.05)
WEATHER = task()
ROUNDS = 5


def _all(start: Callable[[], Awaitable[Any]]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(start() for _ in range(RUNS)))

    return asyncio.run(together())


def _ours(log: Log | None = None) -> Callable[[], list[Any]]:
    carried: Loop = loop(SAYS, log)

    def timed() -> list[Any]:
        runs = _all(lambda: carried.run(WEATHER))
        assert all(run.spent.tool_calls == TURNS for run in runs)
        return runs

    return timed


def bench_concurrent_in_memory(in_turns: Any) -> None:
    in_turns(
        f"{RUNS} runs in memory",
        _ours,
        lambda: lambda: _all(lambda: floor.run(SAYS)),
        rounds=ROUNDS,
        unit="ms",
        scale=1e3,
    )


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("kind", [floor.TogetherFile, floor.File])
def bench_concurrent_logged(
    in_turns: Any, numbered: Iterator[Path], durability: Durability, kind: type[floor.File]
) -> None:
    planned = floor.plan(next(numbered), model(TURNS))
    beside = "group commit" if kind is floor.TogetherFile else "one by one"
    with (
        closing(Log(next(numbered), durability)) as log,
        closing(kind(next(numbered), durability)) as file,
    ):
        in_turns(
            f"{RUNS} runs logged ({durability}), floor: {beside}",
            lambda: _ours(log),
            lambda: lambda: _all(lambda: floor.logged(SAYS, file, planned)),
            rounds=ROUNDS if kind is floor.TogetherFile else 2,
            unit="ms",
            scale=1e3,
        )


def _peak(timed: Callable[[], list[Any]]) -> float:
    """The most kB a run that were held at the same time, the finished runs included."""
    timed()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = timed()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 1000 / len(kept)


def bench_memory_of_a_run(benchmark: Any, ratios: Any, numbered: Iterator[Path]) -> None:
    planned = floor.plan(next(numbered), model(TURNS))
    with (
        closing(Log(next(numbered), "process")) as log,
        closing(floor.TogetherFile(next(numbered), "process")) as file,
    ):
        in_memory = _peak(_ours()), _peak(lambda: _all(lambda: floor.run(SAYS)))
        ours = benchmark.pedantic(_peak, args=(_ours(log),), rounds=1)
        logged = ours, _peak(lambda: _all(lambda: floor.logged(SAYS, file, planned)))
    ratios.add(f"memory of each of {RUNS} runs, in memory", "kB", *in_memory)
    ratios.add(f"memory of each of {RUNS} runs, logged", "kB", *logged)
