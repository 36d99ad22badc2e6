"""Forks: a run that goes on from a step of another one, with another choice."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from loopwright import steps
from loopwright.calls import Answer, Call, Question, ToolCall, ToolResult
from loopwright.codec import canonical
from loopwright.draft import undone
from loopwright.errors import BadInput
from loopwright.events import Event, Failed, Intended, Returned, Setting, Started
from loopwright.fold import folded
from loopwright.port import fitting
from loopwright.run import Run
from loopwright.task import Task

if TYPE_CHECKING:
    from loopwright.log.store import Log


@frozen
class Shared:
    """What a fork shares: the `run` as it was, and the events that came `after` that in its base.

    `answer` is what a person says to the one question that is open there, if anybody does.
    """

    run: Run
    after: Sequence[Event]
    answer: Answer | None = None

    def begun(
        self, run_id: str, setting: Setting, now: float, parent: str = ""
    ) -> tuple[Started, list[Event]]:
        """The first events of the fork: its beginning, the questions that are open, the answer."""
        facts, doubts = _made_later(self.run, self.after)
        first = self.run.events[0]
        assert isinstance(first, Started)
        started = evolve(
            first,
            time=now,
            run=run_id,
            setting=setting,
            parent=parent,
            base=self.run.run_id,
            shared=self.run.seq,
            steps=self.run.step,
            facts=facts,
            doubts=doubts,
        )
        asked: list[Event] = [Intended(now, question) for question in self.run.questions]
        if self.answer is not None:
            asked.append(Returned(now, self.run.questions[0].id, self.answer))
        return started, asked


def shared(
    log: "Log", run_id: str, task: Task, at: int, answer: str | Answer | None = None
) -> Shared:
    """What a fork of the run after its step `at` shares with it.

    With an `answer`, that is all before the question of this step was answered. Raises
    `RunNotFound`, and `BadInput` for a step, a task or an answer that cannot be.
    """
    events = log.events(run_id)
    cut = steps.end(events, at) if answer is None else _asked(events, at)
    run, after = folded(events[:cut], task), events[cut:]
    _check_task(run, task)
    _check_undone(log, run, at, after)
    if answer is None:
        return Shared(run.but(run_id=run_id), after)
    return Shared(run.but(run_id=run_id), after, _fitting(run, answer, at))


def _check_task(run: Run, task: Task) -> None:
    if run.version and run.version != task.version:
        raise BadInput(
            f"run {run.run_id} is one of {run.title!r} with the prompt version {run.version}, and "
            f"this task is {task.title!r} with {task.version}: give the task that it was run with"
        )


def _check_undone(log: "Log", run: Run, at: int, after: Sequence[Event]) -> None:
    """What was taken back since, by whichever run it was shared with, is no fact any more."""
    done = {e.call.id for e in run.events if isinstance(e, Intended)}
    names = [name for event in after for name in _undoes(event, done)]
    for event in run.events:
        if isinstance(event, Started) and event.base:
            later = log.events(event.base)[event.shared :]
            names += [name for one in later for name in _undoes(one, done)]
    if run.unwinding or names:
        said = f", by {', '.join(dict.fromkeys(names))}" if names else ""
        raise BadInput(
            f"at={at}: what the run had done by then was taken back later{said}, so that a fork "
            "could not rely on it: fork at a step before that was done"
        )


def _undoes(event: Event, done: Container[str]) -> list[str]:
    """The tool by which the event takes back one of these calls."""
    call = event.call if isinstance(event, Intended) else None
    undoes = isinstance(call, ToolCall) and call.purpose == "undo" and undone(call) in done
    return [call.name] if isinstance(call, ToolCall) and undoes else []


# ------------------------------------------------------------------------------------- people


def _asked(events: Sequence[Event], at: int) -> int:
    """How many events there are before the question of the step `at` was answered."""
    steps.end(events, at)
    questions = [
        (step, event.call.id)
        for step, event in steps.numbered(events)
        if isinstance(event, Intended) and isinstance(event.call, Question)
    ]
    here = dict.fromkeys(name for step, name in questions if step == at)
    if len(here) != 1:
        there = ", ".join(str(step) for step in dict.fromkeys(step for step, _ in questions))
        asked = "several questions" if here else "nothing"
        hint = f"; a person was asked at step {there}" if there and not here else ""
        raise BadInput(f"answer=...: at step {at} the run asked {asked}{hint}")
    (name,) = here
    for place, (step, event) in enumerate(steps.numbered(events)):
        if step == at and isinstance(event, Returned) and event.call == name:
            return place
    return steps.end(events, at)


def _fitting(run: Run, answer: str | Answer, at: int) -> Answer:
    questions = run.questions
    if len(questions) != 1:
        raise BadInput(f"answer=...: at step {at} the run waits for {len(questions)} answers")
    return fitting(questions[0], answer)


# ---------------------------------------------------------------------------------- tool calls


def _made_later(run: Run, after: Sequence[Event]) -> tuple[tuple[ToolResult, ...], tuple[str, ...]]:
    """Of the calls that are due in `run`, or in flight: what the base got of those that it made
    later and that must not be repeated; and those of which nobody knows."""
    due = {
        call.id: call
        for call in (*run.pending, *run.held.values(), *run.in_flight.values())
        if isinstance(call, ToolCall)
    }
    facts: dict[str, ToolResult] = {}
    doubts = {name: None for name, call in run.in_flight.items() if _once_only(call, due.get(name))}
    for event in after:
        match event:
            case Started(facts=known, doubts=unknown):
                facts |= {one.call: one for one in known if one.call in due}
                doubts |= dict.fromkeys(name for name in unknown if name in due)
            case Intended(call=ToolCall() as call) if _once_only(call, due.get(call.id)):
                doubts[call.id] = None
            case Returned(call=name, result=ToolResult() as result) if name in doubts:
                facts[name] = evolve(result, call=name)
            case Failed(call=name, failure=failure) if name in doubts:
                outside = run.task is not None and run.task.is_outside(due[name].name)
                facts[name] = ToolResult(name, failure.message, True, outside)
            case _:
                pass
    return tuple(facts.values()), tuple(name for name in doubts if name not in facts)


def _once_only(call: Call, due: ToolCall | None) -> bool:
    """Whether it is the call that was due, and none that may be made again."""
    if due is None or not isinstance(call, ToolCall):
        return False
    if call.purpose == "undo" or call.effect in ("read", "idempotent"):
        return False
    return (call.name, canonical(call.arguments)) == (due.name, canonical(due.arguments))
