"""What the tests of all three wires share: runs through the real SDKs, against a rehearsal."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from loopwright import Log, Loop, Task
from loopwright.calls import Failure, ModelCall
from loopwright.events import Failed, Intended
from loopwright.models.rehearsal import Rehearsal, SeenRequest
from loopwright.run import Run

MODELS = {
    "anthropic": "anthropic:claude-haiku-4-5",
    "openai": "openai:gpt-6-luna",
    "chat": "openai-chat:gpt-6-luna",
}
"""A model on each wire, whose price is known."""

WIRES = tuple(MODELS)

WELL = "All is well."


class Wired:
    """One server, one log and one event loop for many runs on all wires."""

    def __init__(self, folder: Path) -> None:
        self.log = Log(folder / "runs.db", "process")
        self._steps: dict[str, Iterator[Any]] = {}
        self._rehearsal = Rehearsal(self._step)
        self._providers = [getattr(self._rehearsal, wire)() for wire in WIRES]
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._rehearsal.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        self._rehearsal.stop()
        self.log.close()

    def _step(self, seen: SeenRequest) -> Any:
        return next(self._steps[seen.opening], WELL)

    def run(self, wire: str, task: Task, steps: Iterable[Any], policies: Sequence[Any] = ()) -> Run:
        """A run whose requests are answered with `steps`, and then with `WELL`."""
        (run,) = self.run_all(wire, [(task, steps)], policies)
        return run

    def run_all(
        self, wire: str, tasks: Sequence[tuple[Task, Iterable[Any]]], policies: Sequence[Any] = ()
    ) -> list[Run]:
        """The same for many tasks at the same time, which differ in their prompts."""
        self._rehearsal.requests.clear()
        self._steps = {task.prompt: iter(steps) for task, steps in tasks}
        loop = Loop(MODELS[wire], providers=self._providers, policies=list(policies), log=self.log)
        return self._runner.run(_at_once(loop, [task for task, _ in tasks]))

    def requests(self, run: Run) -> list[SeenRequest]:
        """The requests that the last runs made for `run`."""
        return [seen for seen in self._rehearsal.requests if seen.opening == run.prompt]

    def model_calls(self, run: Run) -> list[dict[str, Any]]:
        """The rows that the log has of the model calls of `run`."""
        query = "select * from model_calls where run = ? order by seq"
        return list(self.log.db.query(query, [run.run_id]))


async def _at_once(loop: Loop, tasks: Sequence[Task]) -> list[Run]:
    turns = asyncio.Semaphore(8)

    async def one(task: Task) -> Run:
        async with turns:
            return await loop.run(task)

    return await asyncio.gather(*map(one, tasks))


def failures(run: Run) -> list[Failure]:
    """What went wrong with the calls of `run`."""
    return [event.failure for event in run.events if isinstance(event, Failed)]


def quotes(run: Run) -> list[int]:
    """What each of its model calls was quoted at most, in nano-dollars."""
    calls = [event.call for event in run.events if isinstance(event, Intended)]
    return [call.quote.high for call in calls if isinstance(call, ModelCall)]
