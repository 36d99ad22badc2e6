"""Slots: how many calls to one tool there may be at the same time in this process."""

import asyncio
import threading
from collections import deque
from contextlib import suppress

_Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]
"""Who waits for a slot, in which event loop."""


class _Queue:
    """The free slots of one tool, and who waits for one."""

    def __init__(self, most: int) -> None:
        self.most = self.free = most
        self.waiting: deque[_Waiting] = deque()


_queues: dict[tuple[str, int], _Queue] = {}
_lock = threading.Lock()


class Slot:
    """``async with Slot(name, 3):`` waits, in any thread and event loop, for one of three.

    Whoever has waited longest gets a slot that is given up, also in another event loop.
    """

    def __init__(self, name: str, most: int) -> None:
        self._key = (name, most)

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        with _lock:
            self._queue = queue = _queues.setdefault(self._key, _Queue(self._key[1]))
            if queue.free:
                queue.free -= 1
                return
            turn = loop.create_future()
            queue.waiting.append((loop, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self._left(loop, turn)
            raise

    async def __aexit__(self, *ended: object) -> None:
        self._given_up()

    def _left(self, loop: asyncio.AbstractEventLoop, turn: "asyncio.Future[None]") -> None:
        """Somebody waits no more, whose turn may have come at the same moment."""
        with _lock, suppress(ValueError):
            self._queue.waiting.remove((loop, turn))
        if not turn.cancelled():
            self._given_up()

    def _given_up(self) -> None:
        queue = self._queue
        with _lock:
            while queue.waiting:
                loop, turn = queue.waiting.popleft()
                with suppress(RuntimeError):  # that event loop is closed
                    loop.call_soon_threadsafe(self._given, turn)
                    return
            queue.free += 1
            if queue.free == queue.most:
                _queues.pop(self._key, None)

    def _given(self, turn: "asyncio.Future[None]") -> None:
        if turn.cancelled():
            self._given_up()
        else:
            turn.set_result(None)
