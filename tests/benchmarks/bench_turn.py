"""A turn: one model call without latency and one tool call, by the number of turns of the run.

The whole run counts, with its beginning and its end, divided by the number of turns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import floor
import pytest
from work import loop, model, task

from loopwright import Log, Outcome
from loopwright.log.file import Durability

TURNS = (1, 10, 50, 200, 1000)
WEATHER = task()


def _run(runner: asyncio.Runner, turns: int, log: Log | None = None) -> Callable[[], object]:
    loops = [loop(model(turns), log) for _ in range(_repeats(turns))]

    async def carried_out() -> None:
        for carried in loops:
            run = await carried.run(WEATHER)
            assert run.outcome is Outcome.accepted
            assert run.spent.tool_calls == turns

    return lambda: runner.run(carried_out())


def _by_hand(
    runner: asyncio.Runner, turns: int, start: Callable[[], Awaitable[object]]
) -> Callable[[], object]:
    async def carried_out() -> None:
        for _ in range(_repeats(turns)):
            await start()

    return lambda: runner.run(carried_out())


def _repeats(turns: int) -> int:
    """Short runs are timed several at once, else the start of the event loop would count."""
    return max(1, 100 // turns)


def _scale(turns: int) -> float:
    return 1e6 / turns / _repeats(turns)


@pytest.mark.parametrize("turns", TURNS)
def bench_turn_in_memory(in_turns: Any, turns: int) -> None:
    says = model(turns)
    with asyncio.Runner() as runner:
        in_turns(
            f"turn in memory, K={turns}",
            lambda: _run(runner, turns),
            lambda: _by_hand(runner, turns, lambda: floor.run(says)),
            rounds=20,
            unit="µs",
            scale=_scale(turns),
        )


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("turns", TURNS)
def bench_turn_logged(
    in_turns: Any, numbered: Iterator[Path], turns: int, durability: Durability
) -> None:
    says = model(turns)
    planned = floor.plan(next(numbered), says)
    with (
        asyncio.Runner() as runner,
        closing(Log(next(numbered), durability)) as log,
        closing(floor.File(next(numbered), durability)) as file,
    ):
        in_turns(
            f"turn logged ({durability}), K={turns}",
            lambda: _run(runner, turns, log),
            lambda: _by_hand(runner, turns, lambda: floor.logged(says, file, planned)),
            rounds=max(7, min(20, 1000 // turns)),
            unit="µs",
            scale=_scale(turns),
        )
