"""Spans: the events of a run as spans of a trace, in the names of OpenTelemetry's conventions.

The conventions for GenAI have a repository of their own and no release so far. This follows branch
main of github.com/open-telemetry/semantic-conventions-genai, upon semantic-conventions v1.44.0: at
024a4f944a12 for inference (docs/gen-ai/client-inference.md), at 002c8a6ea1c8 for agents, tools and
evaluations (model/gen-ai/spans.yaml, docs/gen-ai/gen-ai-events.md). What they have no name for
stands under ``loopwright.``.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from loopwright.calls import NANO, Call, Cost, ModelCall, Question, Reply, ToolResult, Usage
from loopwright.codec import encode
from loopwright.decisions import Switch, TryAgain
from loopwright.events import (
    Decided,
    Declined,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Paused,
    Problem,
    Reconciled,
    Resumed,
    Returned,
    Started,
    Unwinding,
)
from loopwright.fold import blank, fold
from loopwright.otlp.content import Content, output, task, title
from loopwright.otlp.facts import (
    Attributes,
    agent,
    asked,
    came,
    decision,
    doubt,
    failed,
    known,
    money,
    named,
    used,
)
from loopwright.outcome import Outcome
from loopwright.run import Run

BADLY = (Outcome.rejected, Outcome.exhausted, Outcome.stopped, Outcome.failed)
"""The outcomes that count as errors: the task was not done, and nobody interrupted it."""


@frozen
class Mark:
    """Something that happened within a span: an event of it."""

    name: str
    time: float
    attributes: Attributes = field(factory=dict)


@frozen
class Span:
    """A span: times in seconds since 1970, ids in hexadecimal digits.

    `links` are traces and spans that it has to do with. An `error` is the class of what went wrong,
    `message` says it in words.
    """

    trace: str
    id: str
    parent: str
    name: str
    start: float
    end: float = 0.0
    client: bool = False
    attributes: Attributes = field(factory=dict)
    marks: tuple[Mark, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    error: str = ""
    message: str = ""


@frozen
class Place:
    """Where a run stands: in which trace, below which span, and which spans it goes back to.

    Its own events come after the first `shared`, which are those of the run that it is a fork of.
    """

    trace: str
    parent: str = ""
    links: tuple[tuple[str, str], ...] = ()
    shared: int = 0


def trace_id(root: str) -> str:
    """The id of the trace of a run that no other run has begun, and of all that it began.

    >>> len(trace_id("r1")), trace_id("r1") == trace_id("r1")
    (32, True)
    """
    return hashlib.sha256(encode(["trace", root]).encode()).hexdigest()[:32]


def span_id(run: str, seq: int, call: str = "") -> str:
    """The id of the span that event `seq` of a run begins; with `call`, of one beside it.

    >>> len(span_id("r1", 1)), span_id("r1", 1) == span_id("r1", 2)
    (16, False)
    """
    return hashlib.sha256(encode(["span", run, seq, call]).encode()).hexdigest()[:16]


class Tracer:
    """Makes spans of the events of one run: `add` gives those that are complete with an event.

    The run is a span from its beginning until it ends or waits. What is done when it was resumed is
    one more below that; the calls stand below the one in which they were made.
    """

    def __init__(self, run: str, place: Place, content: Content = False) -> None:
        self.run = blank(run)
        self.place = place
        self.content: Content = content
        self.seq = 0
        self.first = ""
        self.stretch: Span | None = None
        self.open: dict[str, Span] = {}
        self.paused: set[str] = set()
        self.answer: Span | None = None
        self.judged = False
        self.cause = ""
        self.usage: list[Usage] = []
        self.nano = 0
        self.done: list[Span] = []

    def add(self, event: Event) -> list[Span]:
        """Take the run's next event; the spans that are complete with it."""
        before, self.run = self.run, fold(self.run, event)
        self.seq += 1
        self.done = []
        if self.seq > self.place.shared:
            _TAKES.get(type(event), _nothing)(self, event, before)
            self._rests(event)
        return self.done

    def _rests(self, event: Event) -> None:
        """A run waits when nothing is under way any more but what a person has to answer."""
        waits = self.run.outcome is Outcome.waiting and self.run.in_flight.keys() <= self.paused
        if self.stretch and waits:
            self.end(event.time, Outcome.waiting, self.run.why)

    # -------------------------------------------------------------------- the run as a whole

    def begin(self, event: Event) -> None:
        """A stretch of work begins."""
        own = span_id(self.run.run_id, self.seq)
        parent, links = (self.first, ()) if self.first else (self.place.parent, self.place.links)
        self.first = self.first or own
        self.paused = set()
        self.usage, self.nano = [], 0
        name = f"invoke_agent {title(self.run, self.content)}"
        facts = {
            **agent(self.run, self.content),
            **(task(self.run) if self.content is True else {}),
        }
        self.stretch = Span(
            self.place.trace, own, parent, name, event.time, attributes=facts, links=links
        )

    def end(self, time: float, outcome: str, why: str, **more: Any) -> None:
        """The stretch is over."""
        assert self.stretch is not None
        facts = {
            **used(self.usage),
            "loopwright.outcome": outcome,
            "loopwright.run.cost.usd": self.nano / NANO,
            "loopwright.steps": self.run.step,
            **more,
        }
        error = outcome if outcome in (*BADLY, INTERRUPTED) else ""
        self.close(self.stretch, time, facts, str(error), why)
        self.stretch = None

    def mark(self, name: str, event: Event, **facts: Any) -> None:
        """Something happened to the run that is no call."""
        if self.stretch:
            mark = Mark(name, event.time, known(facts))
            self.stretch = evolve(self.stretch, marks=(*self.stretch.marks, mark))

    # ------------------------------------------------------------------------------- its calls

    def close(
        self, span: Span, time: float, facts: Attributes, error: str = "", message: str = ""
    ) -> Span:
        """The span is over, and goes out."""
        over = evolve(
            span,
            end=max(span.start, time),
            attributes=known({**span.attributes, **facts, "error.type": error}),
            error=error,
            message=self.words(message) if error else "",
        )
        self.done.append(over)
        return over

    def words(self, text: str) -> str:
        """What policies, checks and errors say in words, which may quote anything."""
        return text if self.content else ""

    def opened(self, call: Call, time: float, beside: bool = False) -> None:
        """A call is under way."""
        own = span_id(self.run.run_id, self.seq, call.id if beside else "")
        parent = self.stretch.id if self.stretch else self.first
        facts = {
            "gen_ai.conversation.id": self.run.run_id,
            "loopwright.step": self.run.step,
            **asked(call, self.run, self.cause, self.content),
        }
        client = isinstance(call, ModelCall)
        span = Span(self.place.trace, own, parent, named(call), time, 0.0, client, facts)
        self.open[call.id] = span

    def doubted(self, time: float, calls: Mapping[str, Call]) -> None:
        """Nobody waits any more for what came of these calls."""
        for call in calls.values():
            if span := self.open.pop(call.id, None):
                facts = doubt(call)
                self.close(span, time, facts, "" if isinstance(call, Question) else IN_DOUBT)

    def let_go(self) -> None:
        """Nobody will look at the answer any more."""
        if self.answer:
            self.done.append(self.answer)
        self.answer, self.judged = None, False


IN_DOUBT = "in_doubt"
"""The class of error of a call of which nobody knows whether it happened."""

INTERRUPTED = "interrupted"
"""What stands for the outcome where a process died."""


# ----------------------------------------------------------------------------- one an event


def _nothing(tracer: Tracer, event: Any, before: Run) -> None:
    """Some events show in the spans of others only."""


def _started(tracer: Tracer, event: Started, before: Run) -> None:
    tracer.begin(event)


def _resumed(tracer: Tracer, event: Resumed, before: Run) -> None:
    """What was under way is in doubt, but for questions, which stay open."""
    asked = {k: call for k, call in before.in_flight.items() if isinstance(call, Question)}
    cut = {k: call for k, call in before.in_flight.items() if k not in asked}
    tracer.doubted(before.time, cut)
    if tracer.stretch:
        tracer.end(before.time, INTERRUPTED, "its process died, or another one took it over")
    tracer.begin(event)
    for question in asked.values():
        if question.id not in tracer.open:
            tracer.opened(question, event.time, beside=True)


def _intended(tracer: Tracer, event: Intended, before: Run) -> None:
    tracer.opened(event.call, event.time)


def _returned(tracer: Tracer, event: Returned, before: Run) -> None:
    call, span = before.in_flight[event.call], tracer.open.pop(event.call, None)
    if isinstance(event.result, Reply | ToolResult):
        tracer.cause = ""
    if isinstance(call, ModelCall):
        tracer.nano += event.cost.high
        if isinstance(event.result, Reply) and event.result.usage:
            tracer.usage.append(event.result.usage)
    if span is None:
        return
    over = tracer.close(span, event.time, came(call, event, tracer.content))
    if tracer.run.answer is not None and tracer.run.answer is not before.answer:
        tracer.done.remove(over)  # it goes out with what the checks say of it
        tracer.let_go()
        tracer.answer = over


def _failed(tracer: Tracer, event: Failed, before: Run) -> None:
    call, failure = before.in_flight[event.call], event.failure
    tracer.cause = ""
    if span := tracer.open.pop(event.call, None):
        tracer.close(span, event.time, failed(call, event), failure.kind, failure.message)


def _paused(tracer: Tracer, event: Paused, before: Run) -> None:
    """A tool that waits for a person is called again afterwards; a question stays open."""
    tracer.paused.add(event.call)
    asks = isinstance(before.in_flight[event.call], Question)
    if not asks and (span := tracer.open.pop(event.call, None)):
        tracer.close(span, event.time, {"loopwright.waits": True})


def _decided(tracer: Tracer, event: Decided, before: Run) -> None:
    opinion = event.decision
    again = isinstance(opinion, TryAgain) and event.moment != "call"
    if again or isinstance(opinion, Switch):
        tracer.cause = event.policy
    tracer.mark("loopwright.decision", event, **decision(event, tracer.content))


def _declined(tracer: Tracer, event: Declined, before: Run) -> None:
    facts = {
        "loopwright.ceiling.name": event.ceiling.name,
        "loopwright.ceiling.unit": event.ceiling.unit,
        "loopwright.ceiling.limit": event.ceiling.limit,
        "loopwright.ceiling.asked": event.asked,
        "loopwright.declined.call": event.call,
    }
    tracer.mark("loopwright.declined", event, **facts)


def _inspected(tracer: Tracer, event: Inspected, before: Run) -> None:
    """What the checks found is an event of the call that gave the answer."""
    if event.judging:
        tracer.judged = True
        return
    if tracer.answer:
        marks = tuple(_evaluations(tracer, event, before))
        tracer.answer = evolve(tracer.answer, marks=marks)
    tracer.let_go()


def _evaluations(tracer: Tracer, event: Inspected, before: Run) -> list[Mark]:
    found = [_found(tracer, one, event.time, "fail", 0.0) for one in event.problems]
    found += [_found(tracer, one, event.time, "", None) for one in event.undecided]
    if event.problems and not tracer.judged:
        return found  # which of the others have spoken, the log does not say
    named = {problem.check for problem in (*event.problems, *event.undecided)}
    passed = [Problem(name, "") for name in before.setting.checks if name not in named]
    return found + [_found(tracer, one, event.time, "pass", 1.0) for one in passed]


def _found(tracer: Tracer, one: Problem, time: float, label: str, score: float | None) -> Mark:
    facts = {
        "gen_ai.evaluation.name": one.check,
        "gen_ai.evaluation.score.label": label,
        "gen_ai.evaluation.score.value": score,
        "gen_ai.evaluation.explanation": tracer.words(one.text),
        "error.type": "" if label else "undecided",
    }
    return Mark("gen_ai.evaluation.result", time, known(facts))


def _unwinding(tracer: Tracer, event: Unwinding, before: Run) -> None:
    tracer.mark("loopwright.unwinding", event, **{"loopwright.outcome": str(event.outcome)})


def _ended(tracer: Tracer, event: Ended, before: Run) -> None:
    tracer.doubted(event.time, before.in_flight)
    tracer.let_go()
    if tracer.stretch is None:  # a run that waited is over: nobody resumed it
        tracer.begin(event)
    more: dict[str, Any] = {"loopwright.verified": event.verified}
    if tracer.content is True and event.output is not None:
        more["gen_ai.output.messages"] = output(event.output)
    tracer.end(event.time, event.outcome, event.why, **more)


def _reconciled(tracer: Tracer, event: Reconciled, before: Run) -> None:
    facts = {**money(Cost(event.cost, event.cost)), "loopwright.reconciled.call": event.call}
    own = span_id(tracer.run.run_id, tracer.seq)
    span = Span(tracer.place.trace, own, tracer.first, "reconcile", event.time)
    tracer.close(span, event.time, facts)


_TAKES: dict[type[Event], Callable[[Tracer, Any, Run], None]] = {
    Started: _started,
    Resumed: _resumed,
    Intended: _intended,
    Returned: _returned,
    Failed: _failed,
    Paused: _paused,
    Decided: _decided,
    Declined: _declined,
    Inspected: _inspected,
    Unwinding: _unwinding,
    Ended: _ended,
    Reconciled: _reconciled,
}
