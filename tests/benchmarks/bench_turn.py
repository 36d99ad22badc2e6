"""A turn: one model call without latency and one tool call, by the number of turns of the run.

The whole run counts, with its beginning and its end, divided by the number of turns.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import floor
import pytest
from work import loop, model, task

from loopwright import Log, Outcome
from loopwright.log.store import Durability

TURNS = (1, 10, 50, 200, 1000)
WEATHER = task()


def _run(runner: asyncio.Runner, turns: int, log: Log | None = None) -> Callable[[], object]:
    carried = loop(model(turns), log)

    def timed() -> None:
        run = runner.run(carried.run(WEATHER))
        assert run.outcome is Outcome.accepted
        assert run.spent.tool_calls == turns

    return timed


@pytest.mark.parametrize("turns", TURNS)
def bench_turn_in_memory(in_turns: Any, turns: int) -> None:
    says = model(turns)
    with asyncio.Runner() as runner:
        in_turns(
            f"turn in memory, K={turns}",
            lambda: _run(runner, turns),
            lambda: lambda: runner.run(floor.run(says)),
            rounds=max(15, min(200, 2000 // turns)),
            unit="µs",
            scale=1e6 / turns,
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
            lambda: lambda: runner.run(floor.logged(says, file, planned)),
            rounds=max(7, min(100, 1000 // turns)),
            unit="µs",
            scale=1e6 / turns,
        )
