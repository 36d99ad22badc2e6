"""`Loop`: what users hold. Model, policies and log, to carry tasks out with."""

import asyncio
import copy
import os
import socket
from collections.abc import (
    AsyncGenerator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from loopwright import forks, models
from loopwright.calls import Answer, Delta
from loopwright.codec import nameable, plain
from loopwright.errors import BadInput, LogError, RunTaken, in_words
from loopwright.events import Ended, Event, Resumed, Setting, Started, Unwinding
from loopwright.fold import blank, fold
from loopwright.given import function
from loopwright.house import House
from loopwright.lint import Forecast, lint
from loopwright.live import Live
from loopwright.log.file import Durability
from loopwright.log.kept import KeptResults
from loopwright.log.recorded import Recorded
from loopwright.log.store import Log
from loopwright.loop import loop
from loopwright.many import Inputs, Progress, each_of, many
from loopwright.models import catalogue
from loopwright.models.provider import Provider
from loopwright.outcome import Outcome
from loopwright.outfit import Watch, Wrap, asked, kept, watching, wrapped, wraps
from loopwright.policy import Policy, flat, switched_to
from loopwright.port import Asker, Port, Watched, run_id
from loopwright.run import Run
from loopwright.running import Carried, check_ending, check_same, finished, goes_on, last, only
from loopwright.task import Task, a_task

_HOST = socket.gethostname()


class Loop:
    """A model, policies and a log: carries tasks out.

    `model` is ``"provider:model"``, or a provider object such as `Scripted`. `policies` is a list
    that reads from top to bottom. `log` is the path of the SQLite file, or a `Log`; without one
    nothing is kept but the run itself. `providers` are provider objects to find by their names.
    `ask` answers questions to a person while the run goes on; without it such a run waits.
    `watch` is called with the run and each event, and with each `Delta` while a model speaks;
    ``watch=True`` shows the progress in the terminal or the notebook. `durability` is that of the
    `Log`. `ports` are objects with ``port(inner, log)``, such as `CacheReplies`, that wrap the port
    through which calls go, the first one innermost. With `strict` a run in which `lint` finds an
    error is refused before it begins.

    Raises `BadInput` for an argument that cannot work, `LogError` for a log.

    >>> from loopwright.models import Scripted
    >>> Loop(Scripted(["Hello Ada."])).run_now(Task("Greet {name}."), name="Ada").output
    'Hello Ada.'
    """

    def __init__(
        self,
        model: str | Provider,
        *,
        policies: Any = (),
        log: str | os.PathLike[str] | Log | None = None,
        providers: Sequence[Provider] = (),
        ask: Asker | None = None,
        watch: Watch | bool | None = None,
        durability: Durability = "power",
        ports: Sequence[Wrap] = (),
        strict: bool = False,
    ) -> None:
        self.model, self.providers = asked(model, providers)
        self.policies = flat(policies)
        self.houses: WeakKeyDictionary[Task, House] = WeakKeyDictionary()
        self.log = kept(log, durability)
        self.house = self._built(self.policies)
        self.ask = function("ask", ask, "a function of the question and the run")
        self.watch = watching(watch)
        self.ports = wraps(ports)
        self.strict = strict
        for name in (self.model, *switched_to(self.policies)):
            self._checked(name)

    # ------------------------------------------------------------------------------- carry out

    async def run(self, task: Task, /, **inputs: Any) -> Run:
        """Carry `task` out with its inputs, until it is over or has to wait for a person."""
        return await last(self.steps(task, **inputs))

    def run_now(self, task: Task, /, **inputs: Any) -> Run:
        """`run` for scripts; it works where an event loop is running already, too."""
        return finished(lambda: self.run(task, **inputs))

    def steps(self, task: Task, /, **inputs: Any) -> AsyncGenerator[Run, None]:
        """The same, step by step: the run after each step, with what is about to happen.

        A run whose generator is closed is cancelled. What it has shown by then stands in the log as
        intended: to whoever resumes it, it may have happened, and its money may be spent.
        """
        port = self._port()
        return self._begun(task, inputs, run_id(port), port)

    async def run_as(
        self,
        run_id: str,
        task: Task,
        inputs: Mapping[str, Any],
        *,
        parent: str = "",
        base: str = "",
        outside: bool = False,
    ) -> Run:
        """The run of this id, begun if the log has none, and else gone on with to its end.

        For ids that follow from something else, so that nothing is done twice; `parent` is the run
        that this one belongs to. If the log has a run `base`, it is begun as a fork of that one, at
        its end: what was done there is not done again. `outside` says that strangers may speak
        through the inputs, as through what a tool with the label ``"outside"`` gives.

        Raises `BadInput` if the run of this id was begun with other inputs, or for another task, or
        if `vacuum` has removed it; one with a `parent` is what the call of that run has made it.
        """
        nameable(run_id, "run")
        each_of([inputs])
        if self.log and self.log.has(run_id):
            if not parent:
                check_same(self.log.run(run_id), a_task(task), inputs)
            return await self.resume(run_id, task)
        if self.log and self.log.removed(run_id):
            said = f"run {run_id} is over, and its events were removed by vacuum: give another id"
            raise BadInput(said)
        if self.log and base and self.log.has(base):
            shared = forks.shared(self.log, base, task, self.log.run(base).step)
            return await last(self._forked(shared, task, None, run_id, parent))
        return await last(self._begun(task, inputs, run_id, self._port(), parent, outside))

    def _begun(
        self,
        task: Task,
        inputs: Mapping[str, Any],
        run_id: str,
        port: Port,
        parent: str = "",
        outside: bool = False,
    ) -> AsyncGenerator[Run, None]:
        self._check_strictly(task, inputs)
        house = self._house(task)
        event = self._started(task, inputs, house, port, run_id, parent, outside)
        run = blank(run_id, task).but(kept=self.log.path if self.log else "")
        return self._carried(run, house.policies, port, event)

    def _check_strictly(self, task: Task, inputs: Inputs) -> None:
        if self.strict:
            self.lint(task, **inputs).check()

    def lint(self, task: Task, /, **inputs: Any) -> Forecast:
        """What `task` may cost at most, and what is wrong with the policies, without running it.

        ``print(loop.lint(task))`` shows it.
        """
        there = bool(self.ask or self.log)
        return lint(self.policies, task, self.model, inputs=inputs, answered=there)

    async def live(
        self, task: Task, /, **inputs: Any
    ) -> AsyncGenerator[tuple[Run, Event | Delta], None]:
        """The same, event by event, and with each piece of what a model says while it says it.

        Gives what a `watch` is called with. A run whose generator is closed is cancelled.
        """
        told: asyncio.Queue[tuple[Run, Event | Delta] | None] = asyncio.Queue()
        listening = copy.copy(self)
        listening.watch = lambda run, event: told.put_nowait((run, event))
        carried = asyncio.ensure_future(listening.run(task, **inputs))
        carried.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (pair := await told.get()) is not None:
                yield pair
            await carried
        finally:
            carried.cancel()
            await asyncio.gather(carried, return_exceptions=True)

    async def resume(self, run_id: str, task: Task) -> Run:
        """Go on with a run of the log, in this process; a run that has ended stays as it is.

        `task` must be the run's task; if its tools, output type or prompt have changed, the run
        first asks whether that is meant. A process that still carries the run on loses it: it
        stops, with `RunTaken`, before it acts again. Raises `RunNotFound`.
        """
        return await last(self.resumed_steps(run_id, task))

    def resume_now(self, run_id: str, task: Task) -> Run:
        """`resume` for scripts."""
        return finished(lambda: self.resume(run_id, task))

    def resumed_steps(self, run_id: str, task: Task) -> AsyncGenerator[Run, None]:
        """`resume`, step by step."""
        house = self._house(task)
        run = self._log().run(run_id, task)
        port = self._port()
        setting = self._setting(task, house, run.model, port)
        if not goes_on(run, setting):
            return only(run)
        self._checked(run.model)
        return self._carried(run, house.policies, port, Resumed(port.now(), setting))

    async def fork(
        self,
        run_id: str,
        task: Task,
        *,
        at: int,
        model: str | None = None,
        policies: Any = None,
        answer: str | Answer | None = None,
    ) -> Run:
        """Carry on from step `at` of a run of the log with another choice, as a run of its own.

        The fork shares what happened up to the end of that step (see `Log.run`), without a copy: to
        have the answer of step 3 given anew, fork at 2. `model` is the one for all that follows,
        `policies` hold in place of the loop's. `answer` is what a person says to the question of
        that step, and the fork then begins where the question was answered.

        What is shared has happened. Of the tool calls that the model had asked for by then and the
        base made later, those that may not be repeated are not: their results are shared, too, and
        where these are not known a person is asked. All other calls are new acts, with keys of
        their own. What the base did it alone takes back, and its children stay its own. A fork has
        its own money, time and numbers of calls, from zero; only its steps are counted on.

        Raises `RunNotFound`, and `BadInput` for a step, a task or an answer that cannot be, and
        where something that would be shared was taken back since.

        >>> from tempfile import TemporaryDirectory
        >>> from loopwright.models import Scripted
        >>> with TemporaryDirectory() as folder:
        ...     task, other = Task("Greet Ada."), Scripted(["Hi Ada."], name="other")
        ...     loop = Loop(Scripted(["Hello."]), providers=[other], log=f"{folder}/runs.db")
        ...     run = loop.run_now(task)
        ...     fork = loop.fork_now(run.run_id, task, at=0, model="other:other")
        >>> fork.output, fork.base == run.run_id
        ('Hi Ada.', True)
        """
        choice = {"at": at, "model": model, "policies": policies, "answer": answer}
        return await last(self.forked_steps(run_id, task, **choice))

    def fork_now(self, run_id: str, task: Task, **choice: Any) -> Run:
        """`fork` for scripts."""
        return finished(lambda: self.fork(run_id, task, **choice))

    def forked_steps(
        self,
        run_id: str,
        task: Task,
        *,
        at: int,
        model: str | None = None,
        policies: Any = None,
        answer: str | Answer | None = None,
    ) -> AsyncGenerator[Run, None]:
        """`fork`, step by step."""
        shared = forks.shared(self._log(), run_id, a_task(task), at, answer)
        carrier = self if policies is None else self._under(policies)
        return carrier._forked(shared, task, model)

    def _under(self, policies: Any) -> "Loop":
        """The same loop with other policies."""
        other = copy.copy(self)
        other.policies, other.houses = flat(policies), WeakKeyDictionary()
        other.house = other._built(other.policies)
        for name in switched_to(other.policies):
            other._checked(name)
        return other

    def _forked(
        self, shared: forks.Shared, task: Task, model: str | None, name: str = "", parent: str = ""
    ) -> AsyncGenerator[Run, None]:
        port, house, run = self._port(), self._house(task), shared.run
        self._checked(model or run.model)
        setting = self._setting(task, house, model or run.model, port)
        now = max(run.time, port.now())
        first, more = shared.begun(name or run_id(port), setting, now, parent)
        return self._carried(run.but(run_id=first.run), house.policies, port, first, *more)

    async def unwind(
        self,
        run_id: str,
        task: Task,
        *,
        why: str = "a person had it taken back",
        outcome: Outcome = Outcome.stopped,
    ) -> Run:
        """Take back what the tools of a run did, last first: for a person who thinks better of it.

        It then ends with this `outcome`, also if it had been accepted, and the runs that its tools
        have begun are over, too. Where that has begun already, it is gone on with; a run that is
        over, with nothing to take back, stays as it is. Raises `BadInput` for an outcome that is no
        bad end.
        """
        check_ending(outcome, why)
        run, port = self._log().run(run_id, a_task(task)), self._port()
        if run.unwinding:
            return await self.resume(run_id, task)
        if not run.undoable and run.outcome not in (None, Outcome.waiting):
            return run
        house, now = self._house(task), max(run.time, port.now())
        first = Resumed(now, self._setting(task, house, run.model, port))
        ending = Unwinding(now, outcome, why, run.output_data)
        return await last(self._carried(run, house.policies, port, first, ending))

    async def map(
        self,
        task: Task,
        inputs: Iterable[Inputs],
        *,
        at_once: int = 8,
        progress: Progress | None = None,
    ) -> list[Run]:
        """Carry `task` out for each of `inputs`, `at_once` at a time; the runs in their order.

        `progress` is called after each run with how many are done, how many there are, and the
        run. All inputs are checked before the first run begins. A run that was cancelled or taken
        over by another process is given as the log has it by then, and the others go on.
        """
        given = each_of(inputs)
        for one in given:
            a_task(task).filled(one)
            self._check_strictly(task, one)
        return await many(given, partial(self._apart, task), at_once, progress)

    async def _apart(self, task: Task, inputs: Inputs) -> Run:
        """`run`, for one of many: who takes this one away has nothing to do with the others."""
        port = self._port()
        name = run_id(port)
        try:
            return await last(self._begun(task, inputs, name, port))
        except RunTaken:
            return self._log().run(name, task)

    def map_now(self, task: Task, inputs: Iterable[Inputs], **options: Any) -> list[Run]:
        """`map` for scripts."""
        return finished(lambda: self.map(task, inputs, **options))

    def answer(
        self, run_id: str, text: str, *, by: str = "", note: str = "", question: str = ""
    ) -> None:
        """Answer what a waiting run asks; see `Log.answer`. `resume` then carries it on."""
        self._log().answer(run_id, text, by=by, note=note, question=question)

    # ------------------------------------------------------------------------------ inner works

    async def _carried(
        self,
        run: Run,
        policies: Sequence[Policy],
        port: Port,
        first: Started | Resumed,
        *more: Event,
    ) -> AsyncGenerator[Run, None]:
        """Through the loop, after the first events; an interruption is written down."""
        with Carried(self.log.group if self.log else None):
            try:
                run = await port.record(run, [first, *more])
                async with aclosing(loop(run, policies, port)) as steps:
                    async for run in steps:
                        if self.log and isinstance(first, Resumed):
                            self.log.end_below(run)
                        yield run
            except BaseException as error:
                self._interrupted(run, first.setting.by, error)
                raise

    def _interrupted(self, run: Run, by: str, error: BaseException) -> None:
        """Write down that the run was broken off, unless another process has it by now."""
        if isinstance(error, LogError):
            return
        with suppress(LogError):  # what interrupted the run is already on its way to the caller
            run = self.log.run(run.run_id, run.task) if self.log else run
            if run.setting.by == by and run.outcome is None:
                ended = Ended(max(run.time, self._port().now()), Outcome.cancelled, in_words(error))
                if self.log:
                    self.log.append_now(run.run_id, run.seq, [ended])
                if self.watch:
                    with suppress(Exception):
                        self.watch(fold(run, ended), ended)

    def _port(self) -> Port:
        port: Port = Live(self.providers, self.ask, self.watch)
        port.loop = self
        if self.log:
            port = KeptResults(port, self.log)
        port = wrapped(port, self.ports, self.log)
        if self.log:
            port = Recorded(self.log, port)
        return Watched(port, self.watch) if self.watch else port

    def _house(self, task: Task) -> House:
        if not a_task(task).limits:
            return self.house
        if task not in self.houses:
            self.houses[task] = self._built((*self.policies, *flat(task.limits)))
        return self.houses[task]

    def _built(self, policies: tuple[Policy, ...]) -> House:
        house = House.of(policies)
        if house.ceilings and self.log is None:
            names = ", ".join(repr(ceiling.name) for ceiling in house.ceilings)
            raise BadInput(f"the ceiling {names} is kept in a log: give the loop one, with log=")
        return house

    def _setting(self, task: Task, house: House, model: str, port: Port) -> Setting:
        return house.setting(task, model, f"{_HOST} process {os.getpid()} ({port.random()})")

    def _started(
        self,
        task: Task,
        inputs: Mapping[str, Any],
        house: House,
        port: Port,
        run_id: str,
        parent: str,
        outside: bool,
    ) -> Started:
        prompt = task.filled(inputs)
        for model in filter(None, _asked_by(task)):
            self._checked(model)
        return Started(
            time=port.now(),
            run=run_id,
            task=task.title,
            prompt=prompt,
            setting=self._setting(task, house, self.model, port),
            version=task.version,
            label=task.label,
            system=task.system,
            inputs=plain(inputs),
            max_tokens=task.max_tokens,
            media=task.media(inputs),
            options=task.options,
            parent=parent,
            outside=outside,
        )

    def _checked(self, model: str) -> None:
        """Raise `BadInput` now rather than in the middle of a run."""
        name, _ = models.resolve(model)
        if name not in self.providers:
            self.providers[name] = models.provider(name)
        check = getattr(self.providers[name], "check", None)
        if check:
            check()
        if not any(getattr(policy, "unpriced", None) == "allow" for policy in self.policies):
            catalogue.quote(model, 0, 0)

    def _log(self) -> Log:
        if self.log is None:
            raise BadInput("this loop keeps no log: give it one with Loop(..., log='runs.db')")
        return self.log


# --------------------------------------------------------------------------------- small pieces


def _asked_by(task: Task) -> Iterator[str]:
    """The models that the task's judges ask."""
    for check in task.checks:
        yield getattr(check, "model", "")
        yield from getattr(check, "models", ())
