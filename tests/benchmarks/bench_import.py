"""The import, each in a fresh process, beside the import of what we stand on."""

import subprocess
import sys
import time
from statistics import median
from typing import Any

ROUNDS = 15
EMPTY, FLOOR = "pass", "import attrs, sqlite_utils"
OURS = ("import loopwright", "from loopwright import Loop, Log")


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def bench_import(benchmark: Any, ratios: Any) -> None:
    """Python's own start-up is taken off."""
    codes = (EMPTY, FLOOR, *OURS)
    taken: dict[str, list[float]] = {code: [] for code in codes}
    for _ in range(ROUNDS):
        for code in codes:
            taken[code].append(_seconds(code))
    benchmark.pedantic(_seconds, args=(OURS[0],), rounds=3)
    empty, by_hand, *ours = (median(taken[code]) * 1e3 for code in codes)
    for code, its in zip(OURS, ours, strict=True):
        ratios.add(f"{code}, beside {FLOOR}", "ms", its - empty, by_hand - empty)


def bench_nothing_heavy_is_imported(benchmark: Any) -> None:
    """Not timed: no SDK comes with the import."""
    heavy = ("anthropic", "openai", "pydantic", "httpx")
    code = f"import sys, loopwright; assert not sys.modules.keys() & set({heavy!r})"
    benchmark.pedantic(_seconds, args=(code,), rounds=1)
