"""What the benchmarks share: contenders measured in turns, and the table of ratios at the end."""

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

Prepare = Callable[[], Callable[[], object]]
"""Gets a contender ready, which is not timed, and gives what is."""

_ROWS = pytest.StashKey[list[tuple[str, ...]]]()
_HEAD = ("what", "unit", "ours", "floor", "ratio", "ratio of the fastest")


class Ratios:
    """Collects rows of the table; each is kept with the benchmark's own data, too."""

    def __init__(self, rows: list[tuple[str, ...]], extra: dict[str, Any]) -> None:
        self._rows = rows
        self._extra = extra

    def add(
        self, what: str, unit: str, ours: float, floor: float, fastest: float | None = None
    ) -> None:
        """One row: `ours` beside `floor`; `fastest` is the ratio of the fastest rounds."""
        ratio = ours / floor
        self._extra[what] = {"unit": unit, "ours": ours, "floor": floor, "ratio": ratio}
        fast = "" if fastest is None else f"{fastest:.2f}"
        self._rows.append((what, unit, f"{ours:,.1f}", f"{floor:,.1f}", f"{ratio:.2f}", fast))


class InTurns:
    """Times two contenders in turns, so that what drifts on the machine drifts for both."""

    def __init__(self, benchmark: Any, ratios: Ratios) -> None:
        self._benchmark = benchmark
        self._ratios = ratios

    def __call__(
        self, what: str, ours: Prepare, floor: Prepare, rounds: int, unit: str, scale: float
    ) -> None:
        """Add the row `what`: the medians, in seconds times `scale`.

        The first round of each only warms up.
        """
        mine: list[float] = []
        other: list[float] = []

        def between() -> tuple[tuple[Any, ...], dict[str, Any]]:
            by_hand = floor()
            gc.collect()
            _timed(by_hand, other)
            timed = ours()
            gc.collect()
            return (timed, mine), {}

        self._benchmark.pedantic(_timed, setup=between, rounds=rounds, warmup_rounds=1)
        mine, other = mine[-rounds:], other[-rounds:]
        fastest = min(mine) / min(other)
        self._ratios.add(what, unit, median(mine) * scale, median(other) * scale, fastest)


def _timed(timed: Callable[[], object], seconds: list[float]) -> None:
    begun = time.perf_counter()
    timed()
    seconds.append(time.perf_counter() - begun)


@pytest.fixture
def ratios(request: pytest.FixtureRequest, benchmark: Any) -> Ratios:
    rows = request.config.stash.setdefault(_ROWS, [])
    return Ratios(rows, benchmark.extra_info)


@pytest.fixture
def in_turns(benchmark: Any, ratios: Ratios) -> InTurns:
    return InTurns(benchmark, ratios)


@pytest.fixture
def numbered(tmp_path: Path) -> Iterator[Path]:
    """Paths of files that are not there yet."""
    return (tmp_path / f"{number}.db" for number in range(1_000_000))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    terminalreporter.section("ratios to the hand-written floor")
    for row in (_HEAD, *rows):
        first = row[0].ljust(widths[0])
        others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        terminalreporter.write_line("  ".join((first, *others)))
