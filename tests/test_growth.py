"""Growth: what a log weighs, and what loading a run takes, follow from what is new in it."""

import json
import sys
from collections.abc import Callable
from functools import cache
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from loopwright import Budget, Log, Loop, Task, unlimited
from loopwright.calls import Request, ToolCall
from loopwright.codec import LONG
from loopwright.models import Scripted
from loopwright.tools import tool

EMPTY = 128 * 1024
"""Bytes of a log in which nothing stands: the schema, and a page for each table and index."""

EVENT = 300
"""Bytes of an event beside what was said: ids, numbers, names, and free space in its page."""

SAID = 3
"""How often a text of up to 512 characters is kept at most: in each event that names it, such as
the answer that asks for a call and the call itself. A longer one is kept once."""

ROW, PAGE = 900, 4096
"""Bytes of a row that SQLite keeps whole in this kind of table; of a longer one it puts the rest in
pages of its own, https://sqlite.org/fileformat2.html#b_tree_pages (index b-trees)."""

FREE = Budget(
    usd=unlimited,
    tokens=unlimited,
    seconds=unlimited,
    model_calls=unlimited,
    tool_calls=unlimited,
    steps=unlimited,
)


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return "seen"


TASK = Task("Look.", tools=[look], limits=FREE)


def looping(texts: list[str], log: Log) -> Loop:
    """With a model that calls a tool with each of the texts, and is done."""

    def said(request: Request) -> Any:
        turn = len(request.messages) // 2
        return "done" if turn == len(texts) else ToolCall("1", "look", {"at": texts[turn]})

    return Loop(Scripted(said), log=log)


@cache
def size(texts: tuple[str, ...]) -> tuple[int, int, tuple[int, ...]]:
    """Bytes of a log of one run with these texts, of what was said, and of each row."""
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        looping(list(texts), log).run_now(TASK)
        query = "select length(cast({} as blob)) from {}"
        rows = log.connection.execute(query.format("data", "events")).fetchall()
        rows += log.connection.execute(query.format("text", "parts")).fetchall()
        log.close()
        said = sum(map(weight, set(texts)))
        return Path(log.path).stat().st_size, said, tuple(length for (length,) in rows)


def weight(text: str) -> int:
    """The bytes of a text in a log: short ones stand in JSON, and may do so several times."""
    if len(text) > LONG:
        return len(text.encode())
    return SAID * len(json.dumps(text, ensure_ascii=False).encode())


def on_disk(row: int) -> int:
    return EVENT + (row if row <= ROW else PAGE * ceil(row / (PAGE - 4)))


def different(turns: int, length: int, letter: str = "x") -> tuple[str, ...]:
    return tuple(f"{turn:06}{letter * length}" for turn in range(turns))


@pytest.mark.parametrize("length", [0, 500, 5_000])
def test_a_step_weighs_the_same_early_and_late(length: int) -> None:
    first, middle, last = (size(different(turns, length))[0] for turns in (100, 200, 300))
    assert last - middle == pytest.approx(middle - first, rel=0.15)


@pytest.mark.parametrize("length", [0, 100, 500, 5_000])
@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", '"'])
def test_the_size_of_a_log_is_bounded_by_what_is_new_in_it(length: int, letter: str) -> None:
    weighs, said, rows = size(different(100, length, letter))
    assert said / SAID < sum(rows) <= EVENT * len(rows) + said
    assert weighs <= EMPTY + sum(map(on_disk, rows))
    assert weighs > sum(rows)


def test_what_was_said_before_adds_no_text() -> None:
    weighs, said, rows = size(("the same " * 1_000,) * 100)
    assert said == 9_000
    assert sum(rows) <= EVENT * len(rows) + said
    assert weighs <= EMPTY + sum(map(on_disk, rows))


def calls(function: Callable[[], object]) -> int:
    """How many calls the interpreter makes for it: what it takes, without a clock."""
    made = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return made


def test_loading_and_resuming_a_run_is_linear_in_its_events(log: Log) -> None:
    taken: dict[int, list[int]] = {}
    for turns in (40, 80, 160):
        run = looping(list(different(turns, 600)), log).run_now(TASK)
        instructions = 0

        def step() -> None:
            nonlocal instructions
            instructions += 1

        log.connection.set_progress_handler(step, 10)
        made = calls(lambda run=run: log.run(run.run_id, TASK))  # type: ignore[misc]
        log.connection.set_progress_handler(None, 0)
        taken[turns] = [made, instructions]
    for small, large in zip(taken[40], taken[160], strict=True):
        assert large < 4.4 * small
        assert large > 2 * small
