"""Group commit: runs that wait at the same time share one transaction, and one fsync."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

Batch = Any
Came = Any
"""What came of writing one batch."""


class Group:
    """Commits at once while one run is carried out, and together when there are several.

    With one run, waiting for others costs more than it saves; with a thousand, one fsync for all
    that are ready makes twenty times as many events durable in a second.
    """

    def __init__(self, commit: Callable[[Sequence[Batch]], Sequence[Came]]) -> None:
        self._commit = commit
        self._runs = 0
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[Batch, Any]]] = {}

    def enter(self) -> None:
        """One more run is carried out."""
        self._runs += 1

    def leave(self) -> None:
        """One less."""
        self._runs -= 1

    async def commit(self, batch: Batch) -> Came:
        """Commit `batch`, and say what came of it; when this returns it is durable."""
        if self._runs <= 1:
            return self._commit([batch])[0]
        loop = asyncio.get_running_loop()
        if loop not in self._waiting:
            self._waiting[loop] = []
            loop.call_soon(self._flush, loop)
        done: asyncio.Future[Came] = loop.create_future()
        self._waiting[loop].append((batch, done))
        return await done

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop)
        try:
            all_came = self._commit([batch for batch, _ in waiting])
        except Exception:
            self._flush_singly(waiting)
            return
        for (_, done), came in zip(waiting, all_came, strict=True):
            _settle(done, came)

    def _flush_singly(self, waiting: list[tuple[Batch, Any]]) -> None:
        """One of them cannot be written: it alone shall hear of it."""
        for batch, done in waiting:
            try:
                _settle(done, self._commit([batch])[0])
            except Exception as error:
                _fail(done, error)


def _settle(done: "asyncio.Future[Came]", came: Came) -> None:
    if not done.done():
        done.set_result(came)


def _fail(done: "asyncio.Future[Came]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
