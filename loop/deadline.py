"""Deadlines: limits of time for what is awaited, many at the price of one timer.

An event loop keeps its timers in a heap, cancelled ones too, and a run makes several at each step
which nearly always end unused. Those that are not due soon are put together, by the second.
"""

import asyncio
import threading
from types import TracebackType
from typing import Any

SOON = 10.0
"""Seconds up to which a deadline is met to the millisecond; later ones are up to a second late."""

FAR = 1e9
"""Seconds, some 30 years: an event loop takes no infinite time."""

Shelf = dict["Alarm", None]
"""What rings in the same second, in the order in which it was set."""


class _Here(threading.local):
    """The shelves of the event loop that runs in this thread, by the second of its clock."""

    loop: asyncio.AbstractEventLoop | None = None
    shelves: dict[int, Shelf]


_here = _Here()


class Alarm:
    """Rings when the time is over for which it was `set`, unless it was put `off` before."""

    __slots__ = ("_held",)

    def set(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Let it ring in so many seconds of `loop`, which is the one that runs."""
        self._held: Shelf | asyncio.TimerHandle
        seconds = min(seconds, FAR)
        if seconds < SOON:
            self._held = loop.call_later(seconds, self.ring)
            return
        self._held = _shelf(loop, int(loop.time() + seconds) + 1)
        self._held[self] = None

    def ring(self) -> None:
        """The time is over."""
        raise NotImplementedError

    def off(self) -> None:
        """It will not ring any more."""
        if isinstance(self._held, dict):
            self._held.pop(self, None)
        else:
            self._held.cancel()


def _shelf(loop: asyncio.AbstractEventLoop, second: int) -> Shelf:
    if _here.loop is not loop:
        _here.loop, _here.shelves = loop, {}
    shelves = _here.shelves
    if second not in shelves:
        shelves[second] = {}
        loop.call_at(second, _ring, shelves, second)
    return shelves[second]


def _ring(shelves: dict[int, Shelf], second: int) -> None:
    for alarm in list(shelves.pop(second)):
        alarm.ring()


class within(Alarm):
    """``with within(seconds):`` in a coroutine: after them what it awaits there is cancelled.

    It is a `TimeoutError` then, as with `asyncio.timeout`.
    """

    __slots__ = ("_before", "_seconds", "_task", "expired")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.expired = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any] | None = asyncio.current_task(loop)
        assert task is not None, "a coroutine runs in a task"
        self._task, self._before = task, task.cancelling()
        self.set(loop, self._seconds)

    def ring(self) -> None:
        self.expired = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.off()
        ours = self.expired and self._task.uncancel() <= self._before
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error
