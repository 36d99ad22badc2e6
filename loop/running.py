"""How a run is driven to its end: by a script, by a notebook, in a thread of its own."""

import asyncio
import contextvars
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from loopwright.codec import canonical
from loopwright.errors import BadInput
from loopwright.events import Setting
from loopwright.live import GRACE
from loopwright.log.group import Group
from loopwright.log.redaction import MASK
from loopwright.outcome import Outcome
from loopwright.run import Run
from loopwright.task import Task

Result = TypeVar("Result")

TICK = 0.1
"""Seconds between two looks at whether a notebook's cell was interrupted."""


async def only(run: Run) -> AsyncGenerator[Run, None]:
    yield run


async def last(steps: AsyncGenerator[Run, None]) -> Run:
    shown: Run | None = None
    async with aclosing(steps):
        async for run in steps:
            shown = run
    assert shown is not None, "the loop shows a run at least once"
    return shown


def finished(start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Finish a coroutine here; where an event loop is running, in a thread with one of its own."""
    task = _current()
    return _elsewhere(start, task) if task else _here(start)


def _current() -> "asyncio.Task[Any] | bool":
    """The task that runs in this thread, or else whether an event loop does."""
    try:
        return asyncio.current_task() or True
    except RuntimeError:
        return False


def _here(start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    with asyncio.Runner() as runner:
        try:
            result = runner.run(start())
        except BaseException:
            with suppress(KeyboardInterrupt, SystemExit):  # one is on its way already
                _cleared(runner)
            raise
        _cleared(runner)
        return result


def _cleared(runner: asyncio.Runner) -> None:
    left = asyncio.all_tasks(runner.get_loop())
    for task in left:
        task.cancel()
        task.add_done_callback(_unheard)
    if left:
        runner.run(_ended(left))


async def _ended(left: set[asyncio.Task[Any]]) -> None:
    """Tasks that were cancelled have ended; those that will not stop are not waited for."""
    _, stubborn = await asyncio.wait(left, timeout=GRACE)
    for task in stubborn:
        work: Any = task.get_coro()
        with suppress(Exception):
            work.close()
        task.cancel()
    await asyncio.sleep(0)


def _unheard(task: "asyncio.Task[Any]") -> None:
    """What it comes to is of no interest any more."""
    if not task.cancelled():
        task.exception()


def _elsewhere(
    start: Callable[[], Coroutine[Any, Any, Result]], caller: "asyncio.Task[Any] | bool"
) -> Result:
    """Finish it in another thread, unless the user or whoever waits for `caller` breaks it off."""
    before = _cancelled(caller)
    running: list[tuple[asyncio.AbstractEventLoop, Any]] = []
    interrupted: list[bool] = []

    async def main() -> Result:
        running.append((asyncio.get_running_loop(), asyncio.current_task()))
        if interrupted:  # before there was anything to cancel
            raise asyncio.CancelledError
        return await start()

    with ThreadPoolExecutor(1, "loopwright run_now") as thread:
        thread.submit(int).result()  # interrupted while it starts one, it would not wait for it
        try:
            done = thread.submit(contextvars.copy_context().run, _here, main)
            while not wait([done], TICK).done:
                if _cancelled(caller) > before:
                    raise asyncio.CancelledError
            return done.result()
        except BaseException:
            interrupted.append(True)
            for loop_there, task in running:
                with suppress(RuntimeError):  # it has ended by itself
                    loop_there.call_soon_threadsafe(task.cancel)
            raise


def _cancelled(caller: "asyncio.Task[Any] | bool") -> int:
    """How often it was. The first Ctrl-C with `asyncio.run` is no more than that, and a task which
    waits for a thread cannot notice."""
    return caller.cancelling() if isinstance(caller, asyncio.Task) else 0


class Carried:
    """While a run is carried out: the `group` of its log counts it, and a notebook keeps awake.

    There Stop is noticed only when the event loop wakes, so something wakes it now and then.
    """

    __slots__ = ("_group", "_ticker")

    def __init__(self, group: Group | None) -> None:
        self._group = group
        self._ticker: asyncio.Future[None] | None = None

    def __enter__(self) -> None:
        if self._group:
            self._group.enter()
        if "ipykernel" in sys.modules:
            self._ticker = asyncio.ensure_future(_tick())

    def __exit__(self, *ended: object) -> None:
        if self._group:
            self._group.leave()
        if self._ticker:
            with suppress(RuntimeError):  # its event loop is closed already
                self._ticker.cancel()


async def _tick() -> None:
    while True:
        await asyncio.sleep(TICK)


def goes_on(run: Run, setting: Setting) -> bool:
    """An exhausted run goes on if its limits have changed, else it would only end again; what a
    shared ceiling has left may have changed by itself."""
    if run.unwinding and run.outcome not in (None, Outcome.waiting, Outcome.cancelled):
        return False
    if run.unwinding and run.outcome is run.unwinding.outcome:
        return bool(run.undoable or run.in_flight or run.pending or run.held)
    if run.outcome is Outcome.exhausted:
        changed = run.setting.ceilings != setting.ceilings or bool(run.declined)
        return changed or dict(run.setting.limits) != dict(setting.limits)
    return run.outcome in (None, Outcome.waiting, Outcome.cancelled)


def check_ending(outcome: Any, why: Any) -> None:
    """Raise `BadInput` for what no run can be taken back as."""
    bad = [one for one in Outcome if one not in (Outcome.accepted, Outcome.waiting)]
    if outcome not in bad or not isinstance(outcome, Outcome):
        raise BadInput(
            f"outcome={outcome!r:.80}: say one of {', '.join(f'Outcome.{o}' for o in bad)}"
        )
    if not isinstance(why, str):
        raise BadInput(f"why={why!r:.80}: give a text")


def check_same(run: Run, task: Task, inputs: Mapping[str, Any]) -> None:
    """A prompt that reads differently is a version of the same task, about which `resume` asks;
    what was masked in the log may have been anything."""
    if task.title != run.title and task.version != run.setting.version:
        raise BadInput(
            f"run {run.run_id} was begun for the task {run.title!r}, and this is {task.title!r}: "
            "give another id, or go on with that run by resume"
        )
    begun, given = ({k: canonical(v) for k, v in one.items()} for one in (run.inputs, inputs))
    known = [name for name in {**begun, **given} if MASK not in begun.get(name, "")]
    if other := [name for name in known if begun.get(name) != given.get(name)]:
        said = ", ".join(other)
        raise BadInput(f"run {run.run_id} was begun with other inputs ({said}): give another id")
