"""`Live`: the port on asyncio. Parallel calls, timeouts, threads for synchronous tools, sleep."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable, Sequence
from inspect import isawaitable
from typing import Any

from loopwright.calls import Failure, Request
from loopwright.deadline import Alarm, within
from loopwright.errors import in_words
from loopwright.models.provider import Provider
from loopwright.port import Outcomes, Performance, Port
from loopwright.slots import Slot
from loopwright.task import Tool

GRACE = 1.0
"""Seconds that a cancelled tool has to clean up before it is left to itself."""


class Live(Port):
    """Carries calls out for real, those of one reply at the same time."""

    def together(self, performances: Sequence[Performance]) -> Outcomes:
        return Outcomes(performances) if len(performances) < 2 else _AtOnce(performances)

    async def use(
        self, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float
    ) -> Any:
        if most := getattr(tool, "at_once", 0):
            async with Slot(tool.spec.name, most):  # waiting for it is not timed
                return await _used(tool, args, kwargs, seconds)
        return await _used(tool, args, kwargs, seconds)

    async def asked(self, provider: Provider, request: Request) -> Any:
        alarm = within(request.timeout + GRACE)  # the provider's own comes first
        try:
            with alarm:
                return await provider.reply(request)
        except TimeoutError as error:
            late = f"no answer in {request.timeout:.4g} s"
            message = late if alarm.expired else in_words(error)
            return Failure("timeout", message, may_resend=True)
        except asyncio.CancelledError:
            if _cancelling():
                raise
            return Failure("malformed", f"the provider {provider.name!r} cancelled itself")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _cancelling() -> bool:
    """Whether somebody has cancelled what runs here."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _used(tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Any:
    """What the tool's function gives: an asynchronous one in a task of its own, or in a thread."""
    name, loop = tool.spec.name, asyncio.get_running_loop()
    if tool.asynchronous:
        bell = _Bell(loop, seconds)
        working = loop.create_task(_rung(bell, tool.function, args, kwargs))
        return await _outcome(name, working, bell)
    ends = loop.time() + seconds
    value = await _waited(name, threaded(lambda: tool.function(*args, **kwargs)), seconds)
    if isawaitable(value):  # a plain function around an asynchronous one
        left = max(0.001, ends - loop.time())
        return await _waited(name, asyncio.ensure_future(value), left)
    return value


class _AtOnce(Outcomes):
    """What comes of calls that are made at the same time; what is left over is cancelled."""

    def __init__(self, performances: Iterable[Performance]) -> None:
        self._tasks = [asyncio.ensure_future(performance) for performance in performances]
        done: Any = asyncio.as_completed(self._tasks)
        super().__init__(done)

    async def __aexit__(self, *broken_off: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Bell(Alarm):
    """Rings when the work is done, or when it has taken too long."""

    __slots__ = ("rung", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self.rung: asyncio.Future[None] = loop.create_future()
        self.set(loop, seconds)

    def ring(self, _: object = None) -> None:
        if not self.rung.done():
            self.rung.set_result(None)


async def _rung(
    bell: _Bell, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Ring when the function is done: a turn of the event loop sooner than a callback would."""
    try:
        return await function(*args, **kwargs)
    finally:
        bell.ring()


async def _waited(name: str, working: "asyncio.Future[Any]", seconds: float) -> Any:
    """What work gives that does not ring by itself; see `_outcome`."""
    bell = _Bell(asyncio.get_running_loop(), seconds)
    working.add_done_callback(bell.ring)
    return await _outcome(name, working, bell)


async def _outcome(name: str, working: "asyncio.Future[Any]", bell: _Bell) -> Any:
    """What the work gives, or the failure that it did not end in time."""
    try:
        await bell.rung
    except asyncio.CancelledError:
        await _cancelled(working)
        raise
    finally:
        bell.off()
    if working.cancelled():
        return Failure("tool_error", f"{name} cancelled itself")
    if working.done():
        return working.result()
    if not isinstance(working, asyncio.Task):
        working.cancel()
        end = "a thread cannot be stopped, so it is abandoned, outcome unknown"
    elif await _cancelled(working):
        end = "it was cancelled"
    else:
        end = "it did not stop when cancelled, so it is abandoned, outcome unknown"
    return Failure("timeout", f"{name} did not finish in {bell.seconds:g} s: {end}")


async def _cancelled(working: "asyncio.Future[Any]") -> bool:
    """Whether the work stopped when it was told to; what it raises then is of no interest."""
    working.cancel()
    working.add_done_callback(lambda f: f.cancelled() or f.exception())
    await asyncio.wait([working], timeout=GRACE)
    return working.done()


def threaded(work: Callable[[], Any]) -> "asyncio.Future[Any]":
    """`work` in a thread of its own.

    A pool would be held up by work that hangs, and would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(set_it: Callable[[Any], Any], value: Any) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        set_it: Callable[[Any], Any]
        try:
            result, set_it = context.run(work), future.set_result
        except StopIteration as error:  # a future cannot hold it
            result, set_it = RuntimeError(in_words(error)), future.set_exception
        except asyncio.CancelledError as error:  # it is not this that was cancelled
            result, set_it = error, future.cancel
        except BaseException as error:
            result, set_it = error, future.set_exception
        try:
            loop.call_soon_threadsafe(settle, set_it, result)
        except RuntimeError:
            return  # the event loop is gone, and nobody waits for the result any more

    threading.Thread(target=run, daemon=True, name="loopwright tool").start()
    return future
