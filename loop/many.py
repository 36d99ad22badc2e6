"""Many runs at once: so many at a time, and their results in the order of the inputs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from loopwright.given import function, listed, whole
from loopwright.run import Run

Inputs = Mapping[str, Any]
Progress = Callable[[int, int, Run], object]


def each_of(inputs: Any) -> list[dict[str, Any]]:
    """The inputs of each run. Raises `BadInput`."""
    wrong = "holds no inputs: give a dict of them for each run"
    return [dict(one) for one in listed("inputs", inputs, wrong, "keys")]


async def many(
    given: Sequence[Inputs],
    carry: Callable[[Inputs], Awaitable[Run]],
    at_once: int,
    progress: Progress | None,
) -> list[Run]:
    """What `carry` gives for each of `given`. What it or `progress` raises ends all of them."""
    whole("at_once", at_once)
    function("progress", progress, "a function of how many are done, how many there are, and a run")
    runs: dict[int, Run] = {}
    due = iter(enumerate(given))

    async def work() -> None:
        for i, one in due:
            runs[i] = await carry(one)
            if progress:
                progress(len(runs), len(given), runs[i])

    workers = [asyncio.ensure_future(work()) for _ in range(min(at_once, len(given)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [runs[i] for i in range(len(given))]
