"""Dry runs: what policies do about a world that goes wrong, without a call to anybody.

They go through `decide` and `fold` like any run. In each dry run one thing goes wrong again and
again: every answer is rejected, or every model call fails in the same way. Calls take no time, and
those that return cost as much as they can; those that fail cost nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from attrs import field, frozen

from loopwright.budget import defaults, limits
from loopwright.calls import (
    Answer,
    Call,
    FailureKind,
    ModelCall,
    Question,
    Reply,
    Sleep,
    Slept,
    Text,
)
from loopwright.decide import decide
from loopwright.decisions import Decision
from loopwright.events import Event, Failed, Inspected, Problem, Returned, Setting, Started
from loopwright.fold import blank, fold
from loopwright.models.failures import failed
from loopwright.policy import Policy
from loopwright.run import Run
from loopwright.task import Task

REJECTED: Literal["every answer is rejected"] = "every answer is rejected"
"""The world in which every answer has a problem."""

KINDS: tuple[FailureKind, ...] = tuple(k for k in get_args(FailureKind) if k != "tool_error")

World = FailureKind | Literal["every answer is rejected"]

WORLDS: tuple[World, ...] = (REJECTED, *KINDS)
"""What goes wrong again and again: the answers, or the model calls with a failure of this kind."""

MOST_STEPS = 200
"""Twice the default limit of steps: a run without limits is followed no further."""


@frozen(str=False)
class Tried(Policy):
    """A policy that has no opinion where it raises: inputs and answers of a dry run are made up.

    `raised` collects what it raised, by the name of the policy.
    """

    policy: Policy
    raised: dict[str, str] = field(repr=False)

    def decide(self, run: Run) -> Decision | None:
        try:
            return self.policy.decide(run)
        except Exception as error:
            self.raised[self.name] = f"{type(error).__name__}: {error}"
            return None

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.policy.parameters


def beginning(policies: Sequence[Policy], task: Task, model: str, inputs: Mapping[str, Any]) -> Run:
    """A run of `task` that has just begun; inputs that are not given are their own names."""
    filled = {name: f"{{{name}}}" for name in task.fields} | dict(inputs)
    held = limits((*policies, defaults(policies)))
    started = Started(
        time=0.0,
        run="dry run",
        task=task.title,
        prompt=task.filled(filled),
        setting=Setting(model, task.version, task.digests, limits=held),
        version=task.version,
        system=task.system,
        inputs=filled,
        max_tokens=task.max_tokens,
        media=task.media(filled),
        options=task.options,
    )
    return fold(blank("dry run", task), started)


def dry(run: Run, world: World, policies: Sequence[Policy]) -> Run:
    """How `run` goes on in that world, until it is over or has made enough steps."""
    now = run.time
    while run.open and run.step < MOST_STEPS:
        for call in tuple(run.in_flight.values()):
            now += call.seconds if isinstance(call, Sleep) else 0.0
            run = fold(run, _outcome(call, world, now))
        if run.answer is not None and not run.answer.inspected:
            run = fold(run, Inspected(now, (Problem("dry run", "It is rejected."),), (), 1))
        decided = decide(run, policies, now)
        if not decided:
            return run
        run = fold(run, *decided)
    return run


def _outcome(call: Call, world: World, now: float) -> Event:
    match call:
        case Question(choices=choices):
            return Returned(now, call.id, Answer(choices[0] if choices else "made up"))
        case ModelCall() if world != REJECTED:
            return Failed(now, call.id, failed(world, "made up", status=500))
        case Sleep():
            return Returned(now, call.id, Slept())
    return Returned(now, call.id, Reply((Text("made up"),)))
