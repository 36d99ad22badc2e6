"""`Port`: the one door through which every effect goes, and every clock and random number.

A port wraps a port: `Recorded` writes down what passes, `Watched` shows it. `Inline` carries calls
out one after the other without an event loop; `loopwright.live.Live` does it on asyncio.
"""

import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from math import inf
from operator import attrgetter
from typing import Any

from attrs import evolve, fields

from loopwright.calls import (
    Answer,
    Call,
    Cost,
    Delta,
    DeltaKind,
    Failure,
    ModelCall,
    Question,
    Reply,
    Request,
    Slept,
    Tell,
    ToolCall,
    Usage,
)
from loopwright.errors import BadInput, RealCallForbidden, in_words
from loopwright.events import Event, Failed, Paused, Returned
from loopwright.fold import fold
from loopwright.misfit import filled, misfit
from loopwright.models import catalogue
from loopwright.models.provider import Provider
from loopwright.run import Run
from loopwright.task import Tool
from loopwright.use import StillWaiting, Used, shortened, timeout, used

_LOG = logging.getLogger("loopwright")

LARGEST_ERROR = 2_000
"""Characters of a tool's error that the model is shown."""

Performance = Coroutine[Any, Any, Event]
"""A call being made, which comes to an event."""

Asker = Callable[[Question, Run], "str | Answer | Awaitable[str | Answer | None] | None"]
"""Who answers questions while the run goes on; `None` means that nobody is there."""


class Outcomes:
    """What comes of calls, as it comes: ``async with outcomes as each: async for event in each``.

    Here they are made one after the other. Plain objects, since a run needs two of them a step.
    """

    def __init__(self, performances: Iterable[Performance]) -> None:
        self._due = iter(performances)

    async def __aenter__(self) -> "Outcomes":
        return self

    async def __aexit__(self, *broken_off: object) -> None:
        return None

    def __aiter__(self) -> "Outcomes":
        return self

    def __anext__(self) -> Performance:
        for performance in self._due:
            return performance
        raise StopAsyncIteration


class Port:
    """How effects are carried out. The loop knows nothing else of the world.

    `providers` answer model calls, by name; one that is not there is looked up by its name.
    `ask` answers questions to a person. `tell` is told what a model says while it says it.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider] | None = None,
        ask: Asker | None = None,
        tell: "Callable[[Run, Delta], object] | None" = None,
    ) -> None:
        self.providers = dict(providers or {})
        self.ask = ask
        self.tell = tell
        self.loop: Any = None

    # ------------------------------------------------------------------- what the loop calls

    def now(self) -> float:
        """The time, in seconds since 1970."""
        return time.time()

    def random(self) -> str:
        """Fifty random bits, as text."""
        return _base32(int.from_bytes(os.urandom(7)) >> 6, 10)

    async def record(self, run: Run, events: Sequence[Event]) -> Run:
        """Take `events` as facts: the run that they lead to."""
        return fold(run, *events)

    def outcomes(self, run: Run) -> Outcomes:
        """Make all calls that are under way in `run`, and give what came of each, as it comes."""
        return self.together([self.perform(run, call) for call in run.in_flight.values()])

    # --------------------------------------------------------------------- what a port can do

    def together(self, performances: Sequence[Performance]) -> Outcomes:
        """What comes of each, here one after the other."""
        return Outcomes(performances)

    async def perform(self, run: Run, call: Call) -> Event:
        """Make one call: what came of it, as an event."""
        begun = time.perf_counter()
        try:
            result, trace = await self.result(run, call), ""
            if isinstance(call, ModelCall):
                result = _checked(result, call)
        except StillWaiting as waiting:
            return Paused(self.now(), call.id, str(waiting))
        except Exception as error:
            if isinstance(call, Question):  # nobody was reached: the question stays open
                return Paused(self.now(), call.id, in_words(error))
            if isinstance(error, RealCallForbidden):
                raise
            result, trace = _failure(call, error), traceback.format_exc()
        seconds = round(time.perf_counter() - begun, 4)
        if isinstance(result, Used):
            return Returned(self.now(), call.id, result.result, seconds, result.cost)
        if isinstance(result, Failure):
            return Failed(self.now(), call.id, result, seconds, trace)
        if isinstance(result, Reply):
            assert isinstance(call, ModelCall)
            return _reply(self.now(), call, result, seconds)
        if result is None:
            return Paused(self.now(), call.id)
        return Returned(self.now(), call.id, result, seconds)

    def result(self, run: Run, call: Call) -> Awaitable[Any]:
        """What one call gives, by its kind."""
        if isinstance(call, ModelCall):
            name, _, model = call.model.partition(":")
            tell = self.tell and partial(self._told, run, call)
            return self.asked(self.provider(name), request(run, call, model, tell))
        if isinstance(call, ToolCall):
            return used(run, call, self.loop, self.use)
        if isinstance(call, Question):
            return self.question(run, call)
        return self._slept(call.seconds)

    async def _slept(self, seconds: float) -> Slept:
        await self.sleep(seconds)
        return Slept()

    def asked(self, provider: Provider, request: Request) -> Awaitable[Any]:
        """Ask a provider, here without regard to the time that it may take."""
        return provider.reply(request)

    def _told(self, run: Run, call: ModelCall, kind: DeltaKind, text: str) -> None:
        """Nothing that a listener does can hurt the run."""
        assert self.tell is not None
        try:
            self.tell(run, Delta(call.id, kind, text))
        except Exception:
            _LOG.warning("a listener raised at a piece of a reply", exc_info=True)

    def provider(self, name: str) -> Provider:
        """The provider of that name. Raises `BadInput` if there is none."""
        if name not in self.providers:
            from loopwright import models

            self.providers[name] = models.provider(name)
        return self.providers[name]

    async def use(
        self, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float
    ) -> Any:
        """Call a tool's function, here without regard to the `seconds` that it may take."""
        value = tool.function(*args, **kwargs)
        return await value if isawaitable(value) else value

    async def question(self, run: Run, question: Question) -> Answer | None:
        """Ask a person; `None` if nobody is there."""
        if self.ask is None:
            return None
        said = self.ask(question, run)
        answer = await said if isawaitable(said) else said
        return None if answer is None else fitting(question, answer)

    async def sleep(self, seconds: float) -> None:
        """Let time pass: here none."""


class Inline(Port):
    """Carries calls out one after the other, and never waits: for tests and for laws.

    Its clock moves on by a thousandth of a second at each reading, and by the whole of a sleep;
    sleeps that begin together end as if they had passed at the same time.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider] | None = None,
        ask: Asker | None = None,
        tell: "Callable[[Run, Delta], object] | None" = None,
    ) -> None:
        super().__init__(providers, ask, tell)
        self.begun = self.clock = 1_750_000_000.0

    def now(self) -> float:
        self.clock = round(self.clock + 0.001, 3)
        return self.clock

    def together(self, performances: Sequence[Performance]) -> Outcomes:
        self.begun = self.clock
        return super().together(performances)

    async def sleep(self, seconds: float) -> None:
        self.clock = max(self.clock, self.begun + seconds)


class Through(Port):
    """A port that passes everything on to `inner`: the start of ports that wrap a port."""

    def __init__(self, inner: Port) -> None:
        self.inner = inner

    def now(self) -> float:
        return self.inner.now()

    def random(self) -> str:
        return self.inner.random()

    def record(self, run: Run, events: Sequence[Event]) -> Coroutine[Any, Any, Run]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.inner.record(run, events)

    def perform(self, run: Run, call: Call) -> Performance:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.inner.perform(run, call)

    def together(self, performances: Sequence[Performance]) -> Outcomes:
        return self.inner.together(performances)


async def given(event: Event) -> Event:
    """What came of a call that need not be made."""
    return event


class Watched(Through):
    """Shows each event to `watch`, together with the run that it led to."""

    def __init__(self, inner: Port, watch: Callable[[Run, Event], object]) -> None:
        super().__init__(inner)
        self.watch = watch

    async def record(self, run: Run, events: Sequence[Event]) -> Run:
        run = await self.inner.record(run, events)
        for event in run.events[run.seq - len(events) :] if events else ():
            self.watch(run, event)
        return run


# --------------------------------------------------------------------------------- small pieces

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that could be read as a digit."""

_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


def _base32(number: int, length: int) -> str:
    return "".join([_PAIRS[number >> place & 1023] for place in range(5 * length - 10, -1, -10)])


def run_id(port: Port) -> str:
    """An id that sorts by time: the milliseconds since 1970, then fifty random bits."""
    return _base32(int(port.now() * 1000), 10) + port.random()


def request(run: Run, call: ModelCall, model: str, tell: Tell | None) -> Request:
    """What `call` sends, to the provider's own `model`."""
    seconds, messages, task = timeout(run, call), run.seen(call), run.task
    if call.purpose != "answer" or task is None:
        plain = (model, messages, "", (), call.max_tokens, seconds, None, call.options)
        return Request(*plain, tell=tell)
    return Request(
        model,
        messages,
        task.system,
        task.specs,
        call.max_tokens,
        seconds,
        task.form,
        call.options,
        run.version,
        tell,
    )


def _reply(now: float, call: ModelCall, reply: Reply, seconds: float) -> Returned:
    own = _own(reply, call)
    try:
        cost = catalogue.cost(call.model, reply.model, own.usage, reply.tier)
    except BadInput:
        cost = Cost(table="unpriced")  # allowed by a budget, else the call had not been made
    return Returned(now, call.id, own, seconds, cost)


def _checked(said: Any, call: ModelCall) -> Reply | Failure:
    """A provider is not always ours: what cannot be kept is a malformed answer."""
    if misfit(said):  # to look twice is only for these
        said = filled(said)
        if wrong := misfit(said):
            return _malformed(said, wrong, call)
    return _credibly(said) if isinstance(said, Failure) else said


def _malformed(said: Any, wrong: str, call: ModelCall) -> Failure:
    """What was used has been used: only a report that cannot be kept itself is left out."""
    name = call.model.partition(":")[0]
    message = f"the provider {name!r} gave what cannot be kept: {wrong}; it was {said!r:.200}"
    failure = Failure("malformed", message, usage=_credible(getattr(said, "usage", None)))
    if failure.usage and misfit(failure):
        return evolve(failure, usage=evolve(failure.usage, raw={}))
    return failure


def _credibly(failure: Failure) -> Failure:
    wait = failure.retry_after if 0 <= (failure.retry_after or 0) < inf else None
    return evolve(failure, retry_after=wait, usage=_credible(failure.usage))


def _own(reply: Reply, call: ModelCall) -> Reply:
    """The reply as it is kept. The model is named where it is not the one that was asked, and tool
    calls get ids of our own: real providers repeat theirs, in one reply and over many."""
    blocks = [
        _renamed(block, f"{call.id}-{i}") if isinstance(block, ToolCall) else block
        for i, block in enumerate(reply.blocks)
    ]
    return Reply(
        blocks,
        reply.finish,
        _credible(reply.usage),
        "" if call.model.endswith(f":{reply.model}") else reply.model,
        reply.tier,
        reply.request_id,
        reply.first_token,
        reply.sent,
        reply.details,
    )


def _renamed(call: ToolCall, id: str) -> ToolCall:
    """The call with this id: `evolve` takes ten times as long."""
    return ToolCall(
        id,
        call.name,
        call.arguments,
        call.malformed,
        call.effect,
        call.timeout,
        call.provider,
        call.extra,
        call.purpose,
        call.undoable,
        call.quote,
    )


def _credible(usage: Usage | None) -> Usage | None:
    """A provider is not always ours: less than no tokens, or a part of one, is no report."""
    if not isinstance(usage, Usage):
        return None
    if type(usage.raw) is not dict and not isinstance(usage.raw, Mapping):
        return None
    counted = _buckets(usage)
    return usage if {*map(type, counted)} == {int} and min(counted) >= 0 else None


_buckets = attrgetter(*(one.name for one in fields(Usage) if one.name != "raw"))


def _failure(call: Call, error: Exception) -> Failure:
    said = shortened(in_words(error), LARGEST_ERROR)
    return Failure("tool_error" if isinstance(call, ToolCall) else "malformed", said)


def fitting(question: Question, said: str | Answer) -> Answer:
    """`said` as an answer to `question`. Raises `BadInput` if it is none of its choices."""
    answer = said if isinstance(said, Answer) else Answer(said)
    if not all(isinstance(text, str) for text in (answer.text, answer.by, answer.note)):
        raise BadInput(f"{answer!r:.200} is no answer: its text, by and note are texts")
    if question.choices and answer.text not in question.choices:
        choices = ", ".join(map(repr, question.choices))
        raise BadInput(f"{answer.text!r} is no answer to {question.text!r}: say one of {choices}")
    return answer
